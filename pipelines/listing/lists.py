"""Read lists of images: .txt, .csv or .parquet files of any length."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import lru_cache

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pipelines import archives, storage
from pipelines.listing.lookup import InputError, refer
from pipelines.listing.masking import MaskedNames
from pipelines.records import Failure, ImageRef, Listed, not_listed, writable

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
    empty, masked = True, MaskedNames()
    # Looked up once for all its members: in a bucket each look-up is a request.
    refer_archive = lru_cache(_ARCHIVES)(refer)
    with ThreadPoolExecutor(_LOOK_UPS, thread_name_prefix="list") as executor:
        ahead: deque[Listed | Future[Listed]] = deque()
        for name in _read_names(path):
            if not name:
                continue
            empty = False
            ahead.append(_refer_named(name, folder, executor, refer_archive))
            if len(ahead) > 4 * _LOOK_UPS:
                yield masked.mask(_result(ahead.popleft()))
        yield from (masked.mask(_result(listed)) for listed in ahead)
    if empty:
        raise InputError(f"{path} lists no images")


def _refer_named(
    name: str, folder: str, executor: Executor, refer_archive: Callable[[str], Listed]
) -> Listed | Future[Listed]:
    """Look up a listed name; in a bucket, which responds slowly, concurrently with others."""
    path = name if storage.is_remote(name) else os.path.join(folder, name)
    # Split before it is normalized: the name of a member is no path, and `a//b.jpg` another member than `a/b.jpg`.
    archive, member = archives.split_member(path)
    try:
        if member and not os.path.lexists(path):
            archive = storage.normalize(archive)
            found = _find_member(refer_archive(archive), archive, member)
            # In a bucket it takes a request to see whether an object has this very name: only made if no member has.
            itself = refer(_normalize(path)) if isinstance(found, Failure) and storage.is_remote(path) else None
            return itself if isinstance(itself, ImageRef) else found
        path = _normalize(path)
    except (storage.UnsupportedStorageError, ValueError) as error:
        # It names nothing that could be escaped as a path is.
        escaped = name.replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode()
        return not_listed(escaped, error)
    return executor.submit(refer, path) if storage.is_remote(path) else refer(path)


def _normalize(path: str) -> str:
    """Normalize a path, but keep slashes at the end of an object's name: they are a part of it."""
    normalized = storage.normalize(path)
    is_object = path.endswith("/") and storage.is_remote(path) and "/" in normalized.partition("://")[2]
    return storage.unmarked(path) if is_object else normalized


def _find_member(archive: Listed, path: str, name: str) -> Listed:
    """Find a member of an archive by its name."""
    member = f"{archives.name_file(path)}{archives.SEPARATOR}{name}"
    if isinstance(archive, Failure):
        return archive._replace(path=writable(member))
    try:
        directory = _directory(archive)
    except OSError as error:
        return not_listed(member, error)
    broken = directory.get(None)
    if name not in directory and isinstance(broken, Failure):
        return broken._replace(path=writable(member))
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
