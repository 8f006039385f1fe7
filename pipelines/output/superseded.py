"""Find the older rows that staged ones replace: their files may have been joined to others, or removed, since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import storage
from pipelines.output.tables import open_table, read_each, table_files
from pipelines.output.written import StagedFile


def find_superseded(folder: str, files: Sequence[StagedFile]) -> list[StagedFile]:
    """Look where the older rows are that those of staged files replace.

    Args:
      folder: of the tables.
      files: staged, which say where the older rows were.

    Returns:
      The files, which say where they are. A row whose older one is nowhere is a new one.

    Raises:
      OutputError: a file of the tables is damaged.
      OSError: a file cannot be read.
    """
    named = {row.path: row.file for file in files for row in file.superseded}
    found = _locate(folder, named) if named else {}
    return [
        file._replace(
            superseded=tuple(row._replace(file=found[row.path]) for row in file.superseded if row.path in found)
        )
        for file in files
    ]


def _locate(folder: str, named: Mapping[str, str]) -> dict[str, str]:
    """Return the file with the row of each path, relative to the folder, looking first where it is said to be."""
    files = [path.removeprefix(f"{folder}/") for path in table_files(folder)]
    said = set(named.values())
    found: dict[str, str] = {}
    for some in ([name for name in files if name in said], [name for name in files if name not in said]):
        missing = pa.array(sorted(named.keys() - found.keys()), pa.string())
        if not len(missing):
            break
        for name, paths in zip(some, read_each(folder, partial(_paths_among, folder, missing), some), strict=True):
            found |= dict.fromkeys(paths, name)
    return found


def _paths_among(folder: str, wanted: pa.Array, name: str) -> list[str]:
    """Return the paths of a file that are wanted."""
    found: list[str] = []
    with open_table(storage.join(folder, name)) as parquet:
        for batch in parquet.iter_batches(columns=["path"], use_threads=False):
            paths = batch.column("path")
            found += paths.filter(pc.is_in(paths, value_set=wanted)).to_pylist()
    return found
