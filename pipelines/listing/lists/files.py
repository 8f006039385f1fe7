"""Read the names in lists, piece by piece: files of text, compressed or not, and tables of Parquet."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from typing import IO, Any, NamedTuple, cast

import pyarrow as pa

from pipelines import archives, storage
from pipelines.listing.lists.names import ListError, Named, reason
from pipelines.listing.lists.tables import (
    find_in_folder,
    read_common_types,
    read_in_folder,
    read_parquet,
)
from pipelines.listing.lists.texts import as_text, read_cells, read_header, read_json, read_keys, read_lines
from pipelines.listing.lookup import InputError
from pipelines.listing.names import MAGIC, is_image

PATH_COLUMN = "path"
STANDARD_INPUT = "-"

_TABLES = (".parquet", ".pq")
_READ_AHEAD = 1 << 16
_KINDS = "a .txt, .csv, .tsv, .jsonl (each also .gz or .zst) or .parquet file, or a folder of .parquet files"


def read_names(
    path: str, column: str, passed_over: Counter[str] | None = None, kept: Sequence[str] = ()
) -> Iterator[Named]:
    """Read the names in a list, without loading the whole of it into memory.

    Args:
      path: of the list; `-` is standard input, a text with one path per line.
      column: that holds the paths, in a list with columns.
      passed_over: receives the number of files in a folder of Parquet files that are none, by their endings.
      kept: columns whose values are kept; with any, names come in a `Row`.

    Raises:
      InputError: the list cannot be read, has no such column, or has it twice.
    """
    with refusals_explained(path):
        yield from _read(path, column, passed_over, kept)


def find_tables(path: str, passed_over: Counter[str] | None = None) -> list[str]:
    """Find the Parquet files of a list that is a folder; none if it is a file.

    Raises:
      InputError: the folder cannot be read, has none, or is still being written.
    """
    with refusals_explained(path):
        return find_in_folder(path, passed_over) if path != STANDARD_INPUT and _is_folder(path) else []


def read_table_names(folder: str, path: str, column: str, kept: Sequence[str] = ()) -> Iterator[Named]:
    """Read the names in a file of a list that is a folder; see `read_names`."""
    with refusals_explained(folder):
        yield from read_in_folder(folder, path, column, kept)


def read_types(path: str, column: str, wanted: Collection[str] | None) -> dict[str, str]:
    """Return the types of a list's columns by name.

    A type is empty where a column has none, or none that can be kept, or where the files of a folder have several.

    Args:
      path: of the list.
      column: that holds the paths.
      wanted: columns that no file of a folder may lack; None for all that any has.

    Raises:
      InputError: the list cannot be read, or has lines, not columns; or a file of a folder lacks a column.
    """
    with refusals_explained(path):
        kind, packing = _kind_of(path)
        if files := find_tables(path) or [path] * (packing in _TABLES):
            return read_common_types(path, files, wanted)
        if kind not in _TEXTS:
            _no_columns()
        with storage.open_to_read(path) as packed, _UNPACK.get(packing, _as_it_is)(packed) as text:
            return dict.fromkeys(_TEXTS[kind].columns(text, column), "")


def is_typed(path: str) -> bool:
    """Return whether the values in a list's columns have types."""
    return _kind_of(path)[0] not in _TEXTS or _TEXTS[_kind_of(path)[0]].typed


@contextmanager
def refusals_explained(path: str) -> Iterator[None]:
    """Raise an `InputError` for whatever is wrong with a list."""
    name = describe(path)
    try:
        yield
    except ListError as error:
        raise InputError(f"{name}{error.message}", error.remedy) from error
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read {name}: it is damaged {error.encoding}: {error.reason}") from error
    except FileNotFoundError as error:
        pattern = "give a pattern as --input" if MAGIC.search(path) else storage.hint_at_near(path)
        raise InputError(f"cannot read {name}: {reason(error)}", pattern) from error
    except (OSError, EOFError, zlib.error, IndexError, KeyError, pa.ArrowException) as error:
        raise InputError(f"cannot read {name}: {reason(error)}") from error


def is_list(path: str) -> bool:
    """Return whether a file is a list, judging by its name."""
    kind, packing = _kind_of(path)
    return packing in _TABLES or kind in _TEXTS


def locate(path: str) -> str:
    """Return the path of a list as the user writes it, without what only URLs and shells understand.

    Raises:
      InputError: nothing can be read from such a URL.
    """
    try:
        return path if path == STANDARD_INPUT else os.path.expanduser(storage.plain(path))
    except storage.UnsupportedStorageError as error:
        raise InputError(error.message, error.remedy) from error


def describe(path: str) -> str:
    """Return what a list is called in messages and rows."""
    return "standard input" if path == STANDARD_INPUT else path


def _kind_of(path: str) -> tuple[str, str]:
    """Return a list's kind and how it is packed: endings of its name."""
    base, packing = os.path.splitext(path.lower())
    return os.path.splitext(base)[1] if packing in _UNPACK else packing, packing


def _read(path: str, column: str, passed_over: Counter[str] | None, kept: Sequence[str]) -> Iterator[Named]:
    kind, packing = _kind_of(path)
    if path == STANDARD_INPUT:
        if sys.stdin is None:
            raise ListError(" is closed", "pipe the list into the command, or name a file")
        # Not Python's own, which would be closed at the end.
        with open(0, "rb", closefd=False) as file:
            yield from _read_lines(file, column, kept)
    elif _is_folder(path):
        for found in find_in_folder(path, passed_over):
            yield from read_in_folder(path, found, column, kept)
    elif packing in _TABLES:
        with storage.open_to_read(path) as table:
            yield from read_parquet(table, column, kept)
    elif kind in _TEXTS:
        with storage.open_to_read(path) as packed, _UNPACK.get(packing, _as_it_is)(packed) as text:
            yield from _TEXTS[kind].read(text, column, kept)
    elif packing in _UNPACK and kind in _TABLES:
        raise ListError(" is packed twice, and a Parquet file is read from its end", "unpack it")
    else:
        if not storage.is_remote(path):
            os.stat(os.path.expanduser(path))
        if archives.is_archive(path) or is_image(os.path.basename(path)):
            raise ListError(" is not a list of images", "give it as --input")
        raise ListError(" is not a list of images", f"give {_KINDS}")


def _is_folder(path: str) -> bool:
    """Return whether a list is a folder of Parquet files, as Spark and others write them."""
    if not storage.is_remote(path):
        return os.path.isdir(path)
    # Only of such names: another request for each list would not be worth it.
    if os.path.splitext(path)[1].lower() in (*_TEXTS, *_UNPACK) or not any(storage.walk(f"{path.rstrip('/')}/")):
        return False
    with suppress(FileNotFoundError):
        if not path.endswith("/") and storage.look_up(path).size:
            raise ListError(" is both a file and a folder", "add a slash to the name of the folder")
    return True


class _Text(NamedTuple):
    """A kind of list that is text.

    Attributes:
      read: reads the names, with the column that holds them and those that are kept.
      columns: reads the names of its columns.
      typed: whether its values have types.
    """

    read: Callable[[IO[bytes], str, Sequence[str]], Iterator[Named]]
    columns: Callable[[IO[bytes], str], Sequence[str]]
    typed: bool = False


def _cells(delimiter: str) -> _Text:
    return _Text(
        lambda file, column, kept: read_cells(as_text(file, newline=""), delimiter, column, kept),
        lambda file, _: read_header(as_text(file, newline=""), delimiter),
    )


def _no_columns(*_: Any) -> Sequence[str]:
    raise ListError(" has lines, not columns", "omit --keep_columns")


def _read_lines(file: IO[bytes], column: str, kept: Sequence[str] = ()) -> Iterator[Named]:
    if kept:
        _no_columns()
    if column != PATH_COLUMN:
        raise ListError(" has lines, not columns", "omit --path_column")
    return read_lines(as_text(file, newline="\n"))


def _as_it_is(file: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    return nullcontext(file)


def _unpack_gzip(file: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    return closing(cast(IO[bytes], gzip.open(file)))


def _unpack_zstd(file: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    raw: Any = pa.input_stream(file, compression="zstd")
    return io.BufferedReader(raw, _READ_AHEAD)


_UNPACK: Mapping[str, Callable[[IO[bytes]], AbstractContextManager[IO[bytes]]]] = {
    ".gz": _unpack_gzip,
    ".zst": _unpack_zstd,
}
_JSON = _Text(
    # No value of JSON has a line break that is not escaped.
    lambda file, column, kept: read_json(as_text(file, newline=None), column, kept),
    lambda file, column: read_keys(as_text(file, newline=None), column),
    typed=True,
)
_TEXTS: Mapping[str, _Text] = {
    ".txt": _Text(_read_lines, _no_columns),
    ".csv": _cells(","),
    ".tsv": _cells("\t"),
    ".jsonl": _JSON,
    ".ndjson": _JSON,
}
