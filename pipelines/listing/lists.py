"""Read lists of images: .txt, .csv or .parquet files of any length."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import lru_cache

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pipelines import archives, storage
from pipelines.listing.lookup import InputError, refer
from pipelines.listing.threads import UnawaitedPool
from pipelines.records import Failure, ImageRef, Listed, not_listed
from pipelines.supervision import interruption

LIST_COLUMN = "path"
_LOOK_UPS = 32
_ARCHIVES = 4


def read_list(path: str) -> Iterator[Listed]:
    """List the images that a file names, without loading the whole file into memory.

    Raises:
      InputError: the file cannot be read, is empty or has no column `path`.
    """
    try:
        folder = os.path.dirname(storage.normalize(path))
    except storage.UnsupportedStorageError as error:
        raise InputError(error.message, error.remedy) from error
    empty = True
    # Looked up once for all its members: in a bucket each look-up is a request.
    refer_archive = lru_cache(_ARCHIVES)(refer)
    with UnawaitedPool(_LOOK_UPS, "list") as pool:
        ahead: deque[Listed | Future[Listed]] = deque()
        for name in _read_names(path):
            interruption.check()
            if not name:
                continue
            empty = False
            ahead.append(_refer_named(name, folder, pool, refer_archive))
            if len(ahead) > 4 * _LOOK_UPS:
                yield _result(ahead.popleft())
        yield from map(_result, ahead)
    if empty:
        raise InputError(f"{path} lists no images")


def _refer_named(
    name: str, folder: str, pool: UnawaitedPool, refer_archive: Callable[[str], Listed]
) -> Listed | Future[Listed]:
    """Look up a listed name; in a bucket, which responds slowly, concurrently with others."""
    try:
        path = storage.normalize(name if storage.is_remote(name) else os.path.join(folder, name))
    except (storage.UnsupportedStorageError, ValueError) as error:
        return not_listed(storage.without_secrets(name), error)
    archive, member = archives.split_member(path)
    if member and not os.path.lexists(path):
        return _find_member(refer_archive(archive), archive, member)
    return pool.submit(refer, path) if storage.is_remote(path) else refer(path)


def _find_member(archive: Listed, path: str, name: str) -> Listed:
    """Find a member of an archive by its name."""
    member = f"{path}{archives.SEPARATOR}{name}"
    if isinstance(archive, Failure):
        return archive._replace(path=member)
    try:
        directory = _directory(archive)
    except OSError as error:
        return not_listed(member, error)
    broken = directory.get(None)
    if name not in directory and isinstance(broken, Failure):
        return broken._replace(path=member)
    return directory.get(name) or not_listed(member, FileNotFoundError("no such member in the archive"))


@lru_cache(_ARCHIVES)
def _directory(archive: ImageRef) -> Mapping[str | None, Listed]:
    return dict(archives.list_members(archive))


def _result(listed: Listed | Future[Listed]) -> Listed:
    return listed.result() if isinstance(listed, Future) else listed


def _read_names(path: str) -> Iterator[str]:
    ending = os.path.splitext(path)[1].lower()
    try:
        if ending == ".txt":
            # Names that are not UTF-8 pass through unchanged; `refer` turns each into a failure.
            with (
                storage.open_to_read(path) as file,
                io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="\n") as lines,
            ):
                yield from (line.rstrip("\r\n") for line in lines)
        elif ending == ".csv":
            options = pyarrow.csv.ConvertOptions(
                include_columns=[LIST_COLUMN], column_types={LIST_COLUMN: pa.string()}, strings_can_be_null=False
            )
            with storage.open_to_read(path) as file:
                yield from _column(pyarrow.csv.open_csv(file, convert_options=options))
        elif ending in (".parquet", ".pq"):
            with storage.open_to_read(path) as file, pyarrow.parquet.ParquetFile(file) as table:
                yield from _column(table.iter_batches(columns=[LIST_COLUMN]))
        else:
            raise InputError(f"{path} is not a list of images", "give a .txt, .csv or .parquet file")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except KeyError as error:
        raise InputError(
            f"{path} has no column {LIST_COLUMN!r}", f"rename the column that holds the paths to {LIST_COLUMN!r}"
        ) from error
    except (pa.ArrowException, IndexError) as error:
        raise InputError(f"cannot read {path}: {str(error).rstrip('.')}") from error


def _column(batches: Iterator[pa.RecordBatch]) -> Iterator[str]:
    for batch in batches:
        yield from (name or "" for name in batch.column(LIST_COLUMN).cast(pa.string()).to_pylist())
