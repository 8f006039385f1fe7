"""Plan where the rows of staged files go.

A newer row replaces the older row of the same image within the older row's file, so that a plain `SELECT` over the
folder sees one row per image at any time, even between a crash and its repair.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import storage
from pipelines.output.joining import rewrite
from pipelines.output.run import OutputRun
from pipelines.output.tables import read_each, read_table, write_table
from pipelines.output.written import StagedFile, Superseded
from pipelines.storage import Move


def place(
    run: OutputRun, files: Sequence[StagedFile], gone: Sequence[Superseded]
) -> tuple[Sequence[Move], Sequence[str]]:
    """Plan where the rows of staged files go: into new files, or into the files with older rows of their images.

    Only files whose rows replace older ones are read.

    If the older row is in the other table, the newer file is moved first: for a moment, such an image may be visible in
    both tables, but never in neither.
    """
    # Of an archive that two waves complete, the first may have deleted the file.
    there = {file: storage.exists(storage.join(run.folder, file)) for file in {row.file for row in gone}}
    leaving: dict[str, set[str]] = defaultdict(set)
    for row in chain((row for row in gone if there[row.file]), *(file.superseded for file in files)):
        leaving[row.file].add(row.path)
    newer: dict[str, list[pa.Table]] = defaultdict(list)
    new = [(file.table, file.staged) for file in files if not file.superseded]
    replacing = [file for file in files if file.superseded]
    taken_apart = read_each(run.output, partial(_take_newer, run), replacing)
    for file, (staged, taken) in zip(replacing, taken_apart, strict=True):
        new += [(file.table, staged)] * bool(staged)
        for name, rows in taken.items():
            newer[name].append(rows)
    moves = [Move(run.relative(staged), _in_output(run, table, posixpath.basename(staged))) for table, staged in new]
    deletions = []
    rewrites = [(name, sorted(paths), newer[name]) for name, paths in sorted(leaving.items())]
    rewritten = read_each(run.output, partial(_rewrite, run), rewrites)
    for (name, *_), staged in zip(rewrites, rewritten, strict=True):
        if staged:
            moves.append(Move(run.relative(staged), _in_output(run, name)))
        else:
            deletions.append(_in_output(run, name))
    return moves, deletions


def _take_newer(run: OutputRun, file: StagedFile) -> tuple[str, Mapping[str, pa.Table]]:
    """Take the rows that belong in older files of the same table out of a staged file.

    Args:
      run: of the job.
      file: the staged file, all of whose rows replace older ones.

    Returns:
      The file with the remaining rows, empty if none remain; and the rows that it has lost, by older file.
    """
    table = read_table(file.staged)
    older = {row.path: row.file for row in file.superseded}
    homes = [older.get(path, "") for path in table["path"].to_pylist()]
    homes = [home if posixpath.dirname(home) == file.table else "" for home in homes]
    column = pa.array(homes, pa.string())
    taken = {home: table.filter(pc.equal(column, home)) for home in set(homes) - {""}}
    kept = table.filter(pc.equal(column, ""))
    return file.staged if not taken else stage_table(run, kept, file.table) or "", taken


def _rewrite(run: OutputRun, change: tuple[str, Sequence[str], Sequence[pa.Table]]) -> str:
    """Rewrite an older file, without the rows of some images and with newer rows; return "" if no row is left."""
    name, going, newer = change
    staged = run.stage(posixpath.dirname(name))
    return staged if rewrite(staged, storage.join(run.folder, name), going, newer) else ""


def stage_table(run: OutputRun, table: pa.Table, folder: str) -> str | None:
    """Write rows to a new staged file, and return its path; None if there are no rows, and hence no file."""
    if table.num_rows == 0:
        return None
    staged = run.stage(folder)
    write_table(staged, table)
    return staged


def unmoved(run: OutputRun, files: Iterable[StagedFile], moves: Iterable[Move]) -> list[str]:
    """Name the staged files, relative to the output, whose rows go into other files.

    A commit deletes them, so that nobody takes them for rows that are not committed.
    """
    moved = {move.source for move in moves}
    staged = (run.relative(path) for file in files for path in (file.staged, *file.merged))
    return [path for path in staged if path not in moved]


def _in_output(run: OutputRun, *names: str) -> str:
    """Return the path of a table file relative to the output."""
    return posixpath.join(run.relative(run.folder), *names)
