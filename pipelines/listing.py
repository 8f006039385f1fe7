"""Turn what a user names (folders, patterns, files, lists of paths) into images, each of them once."""

from __future__ import annotations

import glob
import json
import os
import stat
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pipelines import images, storage
from pipelines.records import Failure, ImageRef, Listed

LIST_COLUMN = "path"
_ITEMS_A_PACK = 1024


class InputError(ValueError):
    """An input that names nothing, or a list that cannot be read."""


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
                yield Failure(*fields) if failed else ImageRef(*fields)


def expand(pattern: str, passed_over: Counter[str] | None = None) -> Iterator[Listed]:
    """List what one input names.

    Raises:
      InputError: it names nothing.
    """
    try:
        root = storage.normalize(pattern)
    except storage.UnsupportedStorageError as error:
        raise InputError(str(error)) from error
    if os.path.lexists(root):
        names = [root]
    else:
        # The pattern is made absolute after it is matched: its own signs must not be read in the folders above it.
        names = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))
        names = [storage.normalize(name) for name in names]
    if not names:
        raise InputError(f"no such file or folder, and no match: {pattern}")
    found = False
    for name in names:
        for listed in _walk(name, passed_over) if os.path.isdir(name) else (refer(name),):
            found = True
            yield listed
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
    for name in _read_names(path):
        if not name:
            continue
        empty = False
        try:
            yield refer(storage.normalize(os.path.join(folder, name)) if "://" not in name else storage.normalize(name))
        except (storage.UnsupportedStorageError, ValueError) as error:
            yield _failure(name, error)
    if empty:
        raise InputError(f"{path} names no images")


def refer(path: str) -> Listed:
    """Look a file up, without reading it."""
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
        elif entry.name.lower().endswith(images.ENDINGS):
            yield refer(entry.path)
        elif passed_over is not None:
            passed_over[os.path.splitext(entry.name)[1].lower() or "no ending"] += 1


def _failure(path: str, error: Exception, message: str = "") -> Failure:
    reason = message or (error.strerror if isinstance(error, OSError) else None) or str(error)
    # Names that are not UTF-8 cannot be written as they are.
    return Failure(path.encode("utf-8", "backslashreplace").decode(), "list", type(error).__name__, reason, "")


def _read_names(path: str) -> Iterator[str]:
    ending = os.path.splitext(path)[1].lower()
    try:
        if ending == ".txt":
            # Names that are not UTF-8 pass through as they are; `refer` gives each its own failure.
            with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as lines:
                yield from (line.rstrip("\r\n") for line in lines)
        elif ending == ".csv":
            options = pyarrow.csv.ConvertOptions(
                include_columns=[LIST_COLUMN], column_types={LIST_COLUMN: pa.string()}, strings_can_be_null=False
            )
            yield from _column(pyarrow.csv.open_csv(path, convert_options=options))
        elif ending in (".parquet", ".pq"):
            with pyarrow.parquet.ParquetFile(path) as file:
                yield from _column(file.iter_batches(columns=[LIST_COLUMN]))
        else:
            raise InputError(f"{path}: a list is a .txt, .csv or .parquet file")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (pa.ArrowException, KeyError, IndexError) as error:
        raise InputError(f"{path} has no readable column {LIST_COLUMN!r}: {error}") from error


def _column(batches: Iterator[pa.RecordBatch]) -> Iterator[str]:
    for batch in batches:
        yield from (name or "" for name in batch.column(LIST_COLUMN).cast(pa.string()).to_pylist())
