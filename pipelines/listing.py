"""Turn what a user names (folders, patterns, files, lists of paths) into images, each of them once."""

from __future__ import annotations

import glob
import io
import json
import os
import stat
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pipelines import archives, images, storage
from pipelines.bucket_listing import expand_in_bucket, refer_in_bucket
from pipelines.naming import compile_pattern, is_image
from pipelines.records import Failure, ImageRef, Listed, Span

LIST_COLUMN = "path"
_ITEMS_A_PACK = 1024
_LOOK_UPS = 32


def list_images(
    inputs: Sequence[str], input_list: str | None = None, passed_over: Counter[str] | None = None
) -> Iterator[Listed]:
    """List the images that inputs and a list name, each path once, in a stable order.

    Args:
      inputs: folders (searched through to the bottom), patterns with `*`, `?`, `[...]` and `**`, or files. A name
        that exists is taken as it is, whatever signs are in it.
      input_list: a `.txt` (a path a line), `.csv` or `.parquet` file (a column `path`). Relative paths in it start at
        the list's own folder.
      passed_over: is given the count of files that a folder holds and that are not named like images, by the ending of
        their names.

    Yields:
      An `ImageRef` for each file, or a `Failure` for what is named and cannot be one.

    Raises:
      InputError: an input matches nothing, or the list cannot be read.
    """
    seen = set()
    named = (listed for pattern in inputs for listed in expand(pattern, passed_over))
    from_list = read_list(input_list) if input_list else iter(())
    for source in (named, from_list):
        for listed in source:
            if listed.path not in seen:
                seen.add(listed.path)
                yield listed


class InputError(ValueError):
    """An input that names nothing, or a list that cannot be read."""


class Listing:
    """What was listed, packed: in a tenth of the memory that it takes as objects."""

    def __init__(self, listed: Iterable[Listed]) -> None:
        """Take in all items."""
        self._count = 0
        self._packs: list[bytes] = []
        items = iter(listed)
        while taken := list(islice(items, _ITEMS_A_PACK)):
            self._count += len(taken)
            rows = json.dumps([(isinstance(item, Failure), *item) for item in taken])
            self._packs.append(zlib.compress(rows.encode(), level=1))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Listed]:
        for pack in self._packs:
            for failed, *fields in json.loads(zlib.decompress(pack)):
                yield Failure(*fields) if failed else _unpack(*fields)


def _unpack(path: str, size: int, fingerprint: str, span: Sequence[Any] | None) -> ImageRef:
    return ImageRef(path, size, fingerprint, Span(*span) if span else None)


def expand(pattern: str, passed_over: Counter[str] | None = None) -> Iterator[Listed]:
    """List what one input names.

    Raises:
      InputError: it names nothing, or a bucket cannot be listed.
    """
    found = False
    try:
        for listed in _expand(pattern, passed_over):
            found = True
            yield listed
    except storage.UnsupportedStorageError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(f"cannot list {pattern}: {error.strerror or error}") from error
    if not found:
        raise InputError(f"no images in {pattern} (looked for names ending in {', '.join(images.ENDINGS)})")


def read_list(path: str) -> Iterator[Listed]:
    """List the images that a file names, without holding all of it in memory.

    Raises:
      InputError: the file cannot be read, or has no column `path`.
    """
    try:
        folder = os.path.dirname(storage.normalize(path))
    except storage.UnsupportedStorageError as error:
        raise InputError(str(error)) from error
    empty = True
    with ThreadPoolExecutor(_LOOK_UPS, thread_name_prefix="list") as executor:
        ahead: deque[Listed | Future[Listed]] = deque()
        for name in _read_names(path):
            if not name:
                continue
            empty = False
            ahead.append(_refer_named(name, folder, executor))
            if len(ahead) > 4 * _LOOK_UPS:
                yield _result(ahead.popleft())
        yield from map(_result, ahead)
    if empty:
        raise InputError(f"{path} names no images")


def _refer_named(name: str, folder: str, executor: Executor) -> Listed | Future[Listed]:
    """Look up what a list names; in a bucket, which answers slowly, beside others."""
    try:
        path = storage.normalize(name if "://" in name else os.path.join(folder, name))
    except (storage.UnsupportedStorageError, ValueError) as error:
        return _failure(storage.without_secrets(name), error)
    archive, member = archives.split_member(path)
    if member and not os.path.lexists(path):
        return _find_member(archive, member)
    return executor.submit(refer, path) if storage.in_bucket(path) else refer(path)


def _find_member(path: str, name: str) -> Listed:
    """Find a member of an archive by its name."""
    archive = refer(path)
    if isinstance(archive, Failure):
        return archive._replace(path=f"{path}{archives.SEPARATOR}{name}")
    found = _directory(archive).get(name)
    return found or _failure(f"{path}{archives.SEPARATOR}{name}", FileNotFoundError("no such member in the archive"))


@lru_cache(maxsize=4)
def _directory(archive: ImageRef) -> Mapping[str, Listed]:
    return dict(archives.list_members(archive))


def _result(listed: Listed | Future[Listed]) -> Listed:
    return listed.result() if isinstance(listed, Future) else listed


def refer(path: str) -> Listed:
    """Look a file up, without reading it."""
    if storage.in_bucket(path):
        return refer_in_bucket(path)
    try:
        path.encode()
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
    except UnicodeEncodeError as error:
        return _failure(path, error, "the name is not UTF-8")
    except (OSError, ValueError) as error:
        return _failure(path, error)
    return ImageRef(path, status.st_size, f"{status.st_size}-{status.st_mtime_ns}")


def _expand(pattern: str, passed_over: Counter[str] | None) -> Iterator[Listed]:
    """List what one input names, members of archives among it."""
    outer, inner = archives.split_member(pattern)
    if inner and os.path.lexists(pattern):
        outer, inner = pattern, None
    in_bucket = storage.in_bucket(storage.normalize(outer))
    for listed in (expand_in_bucket if in_bucket else _expand_here)(outer, passed_over):
        if isinstance(listed, ImageRef) and archives.is_archive(listed.path):
            yield from _members(listed, inner, passed_over)
        else:
            yield listed


def _members(archive: ImageRef, pattern: str | None, passed_over: Counter[str] | None) -> Iterator[Listed]:
    """List those members of an archive that a pattern matches; without one, those that are named like images."""
    matches = compile_pattern(pattern) if pattern else None
    for name, listed in archives.list_members(archive):
        if not name or name == pattern or (matches(name) if matches else is_image(name, passed_over)):
            yield listed


def _expand_here(pattern: str, passed_over: Counter[str] | None) -> Iterator[Listed]:
    root = storage.normalize(pattern)
    if os.path.lexists(root):
        names = [root]
    else:
        # The pattern is made absolute after it is matched: its own signs must not be read in the folders above it.
        names = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))
        names = [storage.normalize(name) for name in names]
    if not names:
        raise InputError(f"no such file or folder, and no match: {pattern}")
    for name in names:
        yield from _walk(name, passed_over) if os.path.isdir(name) else (refer(name),)


def _walk(
    folder: str, passed_over: Counter[str] | None, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[Listed]:
    """List a folder to the bottom, following links, but not round in circles; hidden files and folders are left out."""
    try:
        status = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield _failure(folder, error)
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            is_folder = entry.is_dir()
        except OSError as error:
            yield _failure(entry.path, error)
            continue
        if is_folder:
            yield from _walk(entry.path, passed_over, above | {here})
        elif is_image(entry.name, passed_over):
            yield refer(entry.path)


def _failure(path: str, error: Exception, message: str = "") -> Failure:
    reason = message or (error.strerror if isinstance(error, OSError) else None) or str(error)
    # Names that are not UTF-8 cannot be written as they are.
    return Failure(path.encode("utf-8", "backslashreplace").decode(), "list", type(error).__name__, reason, "")


def _read_names(path: str) -> Iterator[str]:
    ending = os.path.splitext(path)[1].lower()
    try:
        if ending == ".txt":
            # Names that are not UTF-8 pass through as they are; `refer` gives each its own failure.
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
            raise InputError(f"{path}: a list is a .txt, .csv or .parquet file")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (pa.ArrowException, KeyError, IndexError) as error:
        raise InputError(f"{path} has no readable column {LIST_COLUMN!r}: {error}") from error


def _column(batches: Iterator[pa.RecordBatch]) -> Iterator[str]:
    for batch in batches:
        yield from (name or "" for name in batch.column(LIST_COLUMN).cast(pa.string()).to_pylist())
