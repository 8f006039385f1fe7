"""Find rows that are staged twice: a runner that tries a bundle again stages its rows again.

Nobody knows which attempt a file is of, so the paths of images are compared, as digests. Memory is bounded: each pass
looks at a share of the paths.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.output.manifest import RECOVERED, find_content
from pipelines.output.run import RUNS
from pipelines.output.tables import bounds_of, open_table, read_each, table_files

ROWS_PER_PASS = 8_000_000
"""Rows that a pass compares; it takes 20 bytes for each, and up to twice that while reading."""

_ROWS_AT_ONCE = 8192
_PATH, _FILE = 16, 4
_ROW = _PATH + _FILE


class Share:
    """One of equal shares of all paths.

    Which share a path is in differs between processes, and does not cost a digest to know.
    """

    def __init__(self, number: int, shares: int) -> None:
        self._number = number
        self._shares = shares

    def digests(self, paths: Sequence[str]) -> Iterator[bytes]:
        """Yield the digests of those paths that are in the share."""
        for path in paths:
            if hash(path) % self._shares == self._number:
                yield storage.digest_path(path)


class Committed(NamedTuple):
    """What may have been committed since a run began.

    Attributes:
      files: of the output's tables.
      since: name of the oldest run whose rows it may be.
      run: name of the run.
    """

    files: Sequence[str]
    since: str
    run: str


def find_committed(output: str, folder: str, run: str, oldest: str) -> Committed:
    """Look for what may have been committed since a dead run began, e.g. by that one itself.

    Rows of an older run may have been recovered since: of two that were at work at once, the recovery of the one may
    have been cut off before that of the other, or may have left that where it was.

    Args:
      output: the output folder.
      folder: of the tables.
      run: name of the dead run.
      oldest: name of the oldest run that is being recovered.

    Raises:
      OSError: the output cannot be read.
    """
    paths = {posixpath.basename(path)[:-5]: path for path in storage.list_files(storage.join(output, RUNS), ".json")}
    older = [path for name, path in paths.items() if name < oldest]
    recovered = read_each(output, partial(_is_recovered_since, run), older)
    names = (posixpath.basename(path)[:-5] for path, is_one in zip(older, recovered, strict=True) if is_one)
    since = min(oldest, *names)
    return Committed(list(table_files(folder)) if any(name >= since for name in paths) else [], since, run)


def _is_recovered_since(run: str, manifest: str) -> bool:
    """Return whether rows of the manifest's run were recovered since another one began, or shortly before."""
    described = find_content(manifest) or {}
    with suppress(ValueError, TypeError, KeyError):
        began = datetime.strptime(run[:15], "%Y%m%dT%H%M%S")
        # Clocks of machines differ.
        written = datetime.strptime(described["written"], "%Y-%m-%dT%H:%M:%SZ")
        return bool(described["status"] == RECOVERED and written >= began - timedelta(days=1))
    return False


def find_duplicates(
    folder: str, files: Sequence[str], rows: int, committed: Committed, replacing: Sequence[Collection[str]]
) -> Mapping[int, Collection[bytes]]:
    """Find rows that another staged file holds as well, or the output by now.

    Args:
      folder: of the tables.
      files: staged files; of several with a row for the same image, the first keeps it.
      rows: number of rows in all of them.
      committed: what may have been committed since their run began.
      replacing: paths of each file whose rows replace older ones: the run knew of rows of older runs.

    Returns:
      For each file that has to be rewritten, by its number, the digests of the paths whose rows it loses. There may be
      none: then it holds two rows for the same image itself.

    Raises:
      OutputError: a file is damaged.
      OSError: a file cannot be read.
    """
    duplicates: dict[int, set[bytes]] = defaultdict(set)
    shares = max(1, -(-rows // ROWS_PER_PASS))
    known = [frozenset(map(storage.digest_path, paths)) for paths in replacing]
    for share in (Share(number, shares) for number in range(shares)):
        found = bytearray()
        for part in read_each(folder, partial(_digests, files, share), range(len(files))):
            found += part
        ordered = np.frombuffer(found, f"S{_ROW}")
        ordered.sort()
        _note_duplicates(found, duplicates)
        for since in read_each(folder, partial(_digests_since, committed, share), committed.files):
            for later, digests in since.items():
                for digest in digests:
                    for number in _files_with(digest, found, ordered):
                        if later or digest not in known[number]:
                            duplicates[number].add(digest)
    return duplicates


def without_duplicates(table: pa.Table, lost: Collection[bytes]) -> pa.Table:
    """Return the rows of a file without those that others keep, and once each."""
    seen = set(lost)
    kept = []
    for path in table["path"].to_pylist():
        digest = storage.digest_path(path)
        kept.append(digest not in seen)
        seen.add(digest)
    return table.filter(pa.array(kept, pa.bool_()))


def read_paths(parquet: pq.ParquetFile) -> Iterator[list[str]]:
    """Yield the paths of a file in pieces."""
    for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=["path"], use_threads=False):
        yield batch.column("path").to_pylist()


def _digests(files: Sequence[str], share: Share, number: int) -> bytearray:
    """Return digest and number of the file for each row of a file in the share."""
    found = bytearray()
    ending = number.to_bytes(_FILE)
    with open_table(files[number]) as parquet:
        for paths in read_paths(parquet):
            for digest in share.digests(paths):
                found += digest + ending
    return found


def _digests_since(committed: Committed, share: Share, path: str) -> Mapping[bool, Sequence[bytes]]:
    """Return the digests of a file's rows in the share that were committed since a run began.

    Returns:
      Under `True` those of the run itself and of later ones, under `False` those of older ones.
    """
    digests: dict[bool, list[bytes]] = {True: [], False: []}
    with open_table(path) as parquet:
        groups = [number for number in range(parquet.num_row_groups) if _may_be_since(parquet, number, committed.since)]
        if groups:
            columns = ["path", "run"]
            for batch in parquet.iter_batches(_ROWS_AT_ONCE, groups, columns, use_threads=False):
                # Names of runs begin with their time.
                rows = list(zip(batch.column("path").to_pylist(), batch.column("run").to_pylist(), strict=True))
                for later, those in digests.items():
                    paths = [path for path, run in rows if run >= committed.since and (run >= committed.run) == later]
                    those += share.digests(paths)
    return digests


def _may_be_since(parquet: pq.ParquetFile, group: int, since: str) -> bool:
    """Return whether a row group may hold rows of a run or a later one, by its statistics."""
    bounds = bounds_of(parquet, group, "run")
    return bounds is None or bounds[1] >= since


def _note_duplicates(found: bytearray, duplicates: dict[int, set[bytes]]) -> None:
    """Note the rows, sorted, that do not come first among those of the same path."""
    keys = np.frombuffer(found, [("path", f"S{_PATH}"), ("file", f"S{_FILE}")])["path"]
    first, last = 0, -1
    for index in np.flatnonzero(keys[1:] == keys[:-1]).tolist():
        first = first if index == last + 1 else index
        last = index
        row = bytes(found[(index + 1) * _ROW : (index + 2) * _ROW])
        lost = duplicates[_file(row)]
        if _file(row) != _file(bytes(found[first * _ROW : (first + 1) * _ROW])):
            lost.add(row[:_PATH])


def _files_with(digest: bytes, found: bytearray, ordered: np.ndarray) -> Iterator[int]:
    """Yield the number of each file with a row of this path."""
    index = int(ordered.searchsorted(digest))
    # Not from the array: NumPy strips zeros at the end of byte strings.
    while (row := bytes(found[index * _ROW : (index + 1) * _ROW])).startswith(digest):
        yield _file(row)
        index += 1


def _file(row: bytes) -> int:
    return int.from_bytes(row[_PATH:])
