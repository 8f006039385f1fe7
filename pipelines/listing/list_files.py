"""Read the names in lists, piece by piece: files of text, compressed or not, and tables of Parquet."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from typing import IO, Any, cast

import pyarrow as pa

from pipelines import archives, storage
from pipelines.listing.list_names import ListError, Named, reason
from pipelines.listing.list_tables import read_folder, read_parquet
from pipelines.listing.list_texts import as_text, read_cells, read_json, read_lines
from pipelines.listing.lookup import InputError
from pipelines.listing.names import MAGIC, is_image

PATH_COLUMN = "path"
STANDARD_INPUT = "-"

_TABLES = (".parquet", ".pq")
_READ_AHEAD = 1 << 16
_KINDS = "a .txt, .csv, .tsv, .jsonl (each also .gz or .zst) or .parquet file, or a folder of .parquet files"


def read_names(path: str, column: str, passed_over: Counter[str] | None = None) -> Iterator[Named]:
    """Read the names in a list, without loading the whole of it into memory.

    Args:
      path: of the list; `-` is standard input, a text with one path per line.
      column: that holds the paths, in a list with columns.
      passed_over: receives the number of files in a folder of Parquet files that are none, by their endings.

    Raises:
      InputError: the list cannot be read, has no such column, or has it twice.
    """
    name = describe(path)
    try:
        yield from _read(path, column, passed_over)
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
    base, ending = os.path.splitext(path.lower())
    return ending in (*_READ, *_TABLES) or (ending in _UNPACK and os.path.splitext(base)[1] in _READ)


def describe(path: str) -> str:
    """Return what a list is called in messages and rows."""
    return "standard input" if path == STANDARD_INPUT else path


def _read(path: str, column: str, passed_over: Counter[str] | None) -> Iterator[Named]:
    base, packing = os.path.splitext(path)
    packing = packing.lower()
    kind = os.path.splitext(base)[1].lower() if packing in _UNPACK else packing
    if path == STANDARD_INPUT:
        if sys.stdin is None:
            raise ListError(" is closed", "pipe the list into the command, or name a file")
        # Not Python's own, which would be closed at the end.
        with open(0, "rb", closefd=False) as file:
            yield from _read_lines(file, column)
    elif _is_folder(path):
        yield from read_folder(path, column, passed_over)
    elif packing in _TABLES:
        with storage.open_to_read(path) as table:
            yield from read_parquet(table, column)
    elif kind in _READ:
        with storage.open_to_read(path) as packed, _UNPACK.get(packing, _as_it_is)(packed) as text:
            yield from _READ[kind](text, column)
    elif packing in _UNPACK and kind in _TABLES:
        raise ListError(" is packed twice, and a Parquet file is read from its end", "unpack it")
    else:
        if not storage.is_remote(path):
            os.stat(os.path.expanduser(path))
        if archives.is_archive(path) or is_image(os.path.basename(path)):
            raise ListError(" is not a list of images", "give it as --input")
        raise ListError(" is not a list of images", f"give {_KINDS}")


def _is_folder(path: str) -> bool:
    """Return whether a list is a folder, of which programs like Spark fill one with Parquet files."""
    if not storage.is_remote(path):
        return os.path.isdir(path)
    # Only of such names: another request for each list would not be worth it.
    if os.path.splitext(path)[1].lower() in (*_READ, *_UNPACK) or not any(storage.walk(f"{path.rstrip('/')}/")):
        return False
    with suppress(FileNotFoundError):
        if not path.endswith("/") and storage.look_up(path).size:
            raise ListError(" is both a file and a folder", "put a slash behind the name of the folder")
    return True


def _read_lines(file: IO[bytes], column: str) -> Iterator[Named]:
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
_READ: Mapping[str, Callable[[IO[bytes], str], Iterator[Named]]] = {
    ".txt": _read_lines,
    ".csv": lambda file, column: read_cells(as_text(file, newline=""), ",", column),
    ".tsv": lambda file, column: read_cells(as_text(file, newline=""), "\t", column),
    ".jsonl": lambda file, column: read_json(as_text(file, newline="\n"), column),
    ".ndjson": lambda file, column: read_json(as_text(file, newline="\n"), column),
}
