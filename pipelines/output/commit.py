"""Commit a wave's rows to the output, all or none, whatever happens in between.

A single atomic write decides: that of a journal, which lists the files to move and to delete. Before it, nothing of the
wave is visible. After it, the wave is committed: a run that is killed while it applies the journal leaves it in its
staging folder, and the next run begins by applying it again, which is idempotent.

A newer row replaces the older row of the same image within the older row's file, so that a plain `SELECT` over the
folder sees one row per image at any time, even between a crash and its repair.
"""

from __future__ import annotations

import errno
import posixpath
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, groupby
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import storage
from pipelines.output.compaction import compact
from pipelines.output.identities import Unlisted
from pipelines.output.joining import rewrite
from pipelines.output.journal import JOURNAL, REPLACING, Journal, Move, read_journal, staging_folders, write_journal
from pipelines.output.manifest import describe, read_accounts
from pipelines.output.no_rows import stage_columns
from pipelines.output.run import RUNS, Accounts, OutputRun, Run, Wave
from pipelines.output.staged import holds_rows, is_announced
from pipelines.output.tables import OutputError, read_each, read_table, write_table


class Superseded(NamedTuple):
    """An older row, to be replaced by a newer one of the same image.

    Attributes:
      path: of the image.
      file: file with the row, relative to the folder of the tables, e.g. `failures/x.parquet`.
      gone: whether there is no such image any more, so that the row is deleted although none replaces it.
    """

    path: str
    file: str
    gone: bool = False


class StagedFile(NamedTuple):
    """A complete file, ready to be moved into place.

    Attributes:
      staged: where it is.
      table: the folder it belongs in, one of `TABLES`.
      accounts: counts of its rows.
      size: in bytes.
      superseded: the older rows that its rows replace, one for each; empty if its rows are all of new images.
      merged: other staged files, whose rows it holds.
    """

    staged: str
    table: str
    accounts: Accounts
    size: int = 0
    superseded: tuple[Superseded, ...] = ()
    merged: tuple[str, ...] = ()


class Written(NamedTuple):
    """The results of a wave.

    Attributes:
      files: its rows, in staged files.
      superseded: older rows without a newer one: of images that are not there any more.
      counted: accounts of everything except the rows of the files.
      found: in an overwrite, digests of the paths of images that have a row in its shadow folder.
      unlisted: in an overwrite by workers, the rows of its shadow folder whose images were not listed, in its place.
    """

    files: Sequence[StagedFile]
    superseded: Sequence[Superseded]
    counted: Accounts
    found: Iterable[bytes] = ()
    unlisted: Iterable[Unlisted] | None = None


def commit(run: Run, wave: Wave, written: Written) -> Accounts:
    """Commit the rows of a wave to the output, or complete the commit that an earlier attempt began.

    Returns:
      The accounts of the run so far.

    Raises:
      OSError: the output cannot be written.
    """
    begun = _begun(run, wave)
    if begun:
        # The runner retried this step, and its files may already be in place.
        carry_out(run.output, begun)
        return read_accounts(run.manifest)
    announced = is_announced(run.staging)
    try:
        accounts, journal = _plan(run, wave, written)
    except FileNotFoundError:
        # A concurrent attempt may have carried out its commit, and deleted what that has spent.
        if not _begun(run, wave):
            raise
        return read_accounts(run.manifest)
    concurrent = _begun(run, wave)
    if concurrent:
        # A runner that believed this worker to be dead started another. The same rows may have come into the files in
        # place, and be in them twice by now.
        carry_out(run.output, concurrent)
    elif announced and not is_announced(run.staging):
        raise OutputError(f"output {run.output} was taken over by another run, which recovered what this one had done")
    else:
        conclude(run, journal)
    return accounts


def _plan(run: Run, wave: Wave, written: Written) -> tuple[Accounts, Journal]:
    """Return the accounts of the run with those of a wave, and what its commit has to do."""
    # Images lost before they were counted would be missing on both sides of the accounts.
    counted = written.counted if wave.inputs is None else replace(written.counted, inputs=wave.inputs)
    accounts = sum((file.accounts for file in written.files), wave.earlier + counted)
    # An overwrite is done only once its rows have left the shadow folder.
    status = "running" if not wave.last or run.overwrite else "done" if accounts.balanced else "unbalanced"
    moves, deletions = place(run, written.files, written.superseded)
    moves = compact(run, moves, deletions)
    spent = unmoved(run, written.files, moves)
    # Nobody reads the shadow folder of an overwrite.
    columns = [] if run.overwrite else stage_columns(run, moves, deletions)
    moves = [*moves, *columns, stage_manifest(run, accounts, status)]
    return accounts, Journal(wave.earlier.inputs, moves, [*deletions, *spent])


def unmoved(run: OutputRun, files: Iterable[StagedFile], moves: Iterable[Move]) -> list[str]:
    """Name the staged files, relative to the output, whose rows go into other files.

    A commit deletes them, so that nobody takes them for rows that are not committed.
    """
    moved = {move.source for move in moves}
    staged = (run.relative(path) for file in files for path in (file.staged, *file.merged))
    return [path for path in staged if path not in moved]


def recover(output: str) -> None:
    """Complete interrupted commits, and delete what was staged but cannot be recovered.

    Raises:
      OutputError: what is left to do is none of the output's own files.
      OSError: the output cannot be written.
    """
    for staging in staging_folders(output):
        complete_commit(output, staging)
        if not holds_rows(output, staging):
            storage.delete_folder(staging)


def complete_commit(output: str, staging: str) -> None:
    """Complete the commit that a dead run has decided on, if there is one; raises as `recover` does."""
    journal = read_journal(staging)
    if journal:
        carry_out(output, journal, at_work=False)
        storage.delete([storage.join(staging, JOURNAL)])


def _begun(run: Run, wave: Wave) -> Journal | None:
    """Return the journal of an earlier attempt at the same commit, if there is one."""
    begun = read_journal(run.staging)
    return begun if begun and begun.wave in (wave.earlier.inputs, REPLACING) else None


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


def stage_manifest(run: Run, accounts: Accounts, status: str) -> Move:
    """Write the manifest to the staging folder, and return its way from there."""
    staged = storage.join(run.staging, RUNS, f"{uuid.uuid4().hex[:12]}.json")
    storage.write(staged, describe(run, accounts, status))
    return Move(run.relative(staged), run.relative(run.manifest))


def conclude(run: OutputRun, journal: Journal) -> None:
    """Write the journal, which decides the commit, and apply it."""
    # After a power failure, the journal must not exist without the files it lists.
    storage.sync_all([storage.join(run.output, move.source) for move in journal.moves])
    write_journal(run.staging, journal)
    carry_out(run.output, journal)


def carry_out(output: str, journal: Journal, at_work: bool = True) -> None:
    """Apply a journal.

    Args:
      output: the output folder.
      journal: of a commit.
      at_work: whether its run is still running; the rows of an ended run may have been replaced since.

    Raises:
      OutputError: a file or a folder that it names is a link, or lies behind one; nothing is changed.
      OSError: the output cannot be written.
    """
    changed = {posixpath.dirname(name) for name in (*(move.target for move in journal.moves), *journal.deletions)}
    _refuse_links(output, [*(move.source for move in journal.moves), *sorted(changed)])
    for folder, moves in groupby(journal.moves, lambda move: posixpath.dirname(move.target)):
        # In any order, and in a bucket side by side: no row goes from one file of a table into another.
        missing = storage.move_all([storage.Move(*(storage.join(output, name) for name in move)) for move in moves])
        if missing and at_work:
            _check_moved(storage.join(output, folder), missing)
    storage.delete([storage.join(output, name) for name in journal.deletions])


def _check_moved(folder: str, missing: Sequence[storage.Move]) -> None:
    """Make sure that an earlier attempt has moved the files whose sources are missing, or a concurrent one.

    A runner that believes a worker is dead starts another.
    """
    there = set(storage.list_files(folder))
    for move in missing:
        if move.target not in there and not storage.exists(move.target):
            # Another run took over and cleaned up after this one. The older rows stay, as there are no newer ones.
            raise FileNotFoundError(errno.ENOENT, f"staged rows were deleted by another run: {move.source}")


def _refuse_links(output: str, names: Iterable[str]) -> None:
    for name in names:
        if storage.leads_away(output, path := storage.join(output, name)):
            raise OutputError(f"{path} is, or lies behind, a link", "remove it: scenetags moves only files of its own")


def _in_output(run: OutputRun, *names: str) -> str:
    """Return the path of a table file relative to the output."""
    return posixpath.join(run.relative(run.folder), *names)
