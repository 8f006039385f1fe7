"""Which images the rows of an output are of: their paths and fingerprints, and digests that stand for them."""

from __future__ import annotations

import hashlib
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.output.tables import OutputError, bounds_of, open_table, table_files

PATH_BYTES, FINGERPRINT_BYTES = 16, 8
"""Of the digests of a path and of a fingerprint."""

_ROWS_AT_ONCE = 1024
"""Rows whose paths exist as Python strings at a time."""


class Unlisted(NamedTuple):
    """Rows of one file whose images were not listed again.

    Attributes:
      file: relative to the folder of the tables.
      digests: of the paths of the images, joined; see `storage.digest_path`.
    """

    file: str
    digests: bytes

    def keep_others(self, table: pa.Table) -> pa.Table:
        """Return the rows of the file without those."""
        digests = np.frombuffer(b"".join(map(storage.digest_path, table["path"].to_pylist())), f"S{PATH_BYTES}")
        return table.filter(pa.array(~np.isin(digests, np.frombuffer(self.digests, f"S{PATH_BYTES}"))))


def join_by_file(unlisted: Iterable[Unlisted]) -> list[Unlisted]:
    """Join what is said of the same file: each partition says it of its own rows."""
    digests: dict[str, bytearray] = defaultdict(bytearray)
    for rows in unlisted:
        digests[rows.file] += rows.digests
    return [Unlisted(file, bytes(those)) for file, those in digests.items()]


def earlier_files(folder: str, run: str | None) -> list[str]:
    """List the files with rows of runs before `run`, or of all runs, relative to the folder of the tables."""
    paths = [path for path in table_files(folder) if run is None or not posixpath.basename(path).startswith(run)]
    return [path.removeprefix(f"{folder}/") for path in paths]


def read_images(path: str, beginning: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and fingerprint of each row of a file.

    Args:
      path: of the file.
      beginning: of the paths that are looked for; row groups without any may be left out.

    Raises:
      OutputError: the file is damaged.
    """
    return ((image, fingerprint) for image, fingerprint in _read(path, ["path", "fingerprint"], beginning))


def read_rows(path: str) -> Iterator[tuple[str, str, str]]:
    """Yield path, fingerprint and run of each row of a file.

    Raises:
      OutputError: the file is damaged.
    """
    return ((image, fingerprint, run) for image, fingerprint, run in _read(path, ["path", "fingerprint", "run"]))


def digest_fingerprint(fingerprint: str) -> bytes:
    """Return 8 bytes that stand for the fingerprint of an image.

    They are compared only for the same path: the probability that any of a billion changed images is considered
    unchanged is 5e-11.
    """
    return hashlib.blake2b(fingerprint.encode(), digest_size=FINGERPRINT_BYTES).digest()


def _read(path: str, columns: Sequence[str], beginning: str = "") -> Iterator[Sequence[str]]:
    with open_table(path) as parquet:
        groups = [number for number in range(parquet.num_row_groups) if _may_hold(parquet, number, beginning)]
        # For narrow columns, Arrow's threads would cost more memory than the time they save.
        for batch in parquet.iter_batches(_ROWS_AT_ONCE, groups, columns, use_threads=False) if groups else ():
            for name in columns:
                if batch.column(name).null_count:
                    raise OutputError(
                        f"{path} holds a row without a {name}",
                        "move it elsewhere, and `scenetags predict` tags its images again",
                    )
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)


def _may_hold(parquet: pq.ParquetFile, group: int, beginning: str) -> bool:
    """Return whether a row group may hold a path that begins so, by its statistics."""
    bounds = bounds_of(parquet, group, "path") if beginning else None
    if bounds is None:
        return True
    least, greatest = bounds
    return greatest >= beginning and (least <= beginning or least.startswith(beginning))
