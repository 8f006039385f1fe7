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
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import storage
from pipelines.output.compaction import compact
from pipelines.output.journal import REPLACING, Journal, Move, read_journal, staging_folders, write_journal
from pipelines.output.manifest import describe, read_accounts
from pipelines.output.no_rows import stage_columns
from pipelines.output.run import RUNS, Accounts, OutputRun, Run, Wave
from pipelines.output.tables import OutputError, open_table, read_each, write_table


class StagedFile(NamedTuple):
    """A complete file, ready to be moved into place.

    Attributes:
      staged: where it is.
      table: the folder it belongs in, `predictions` or `failures`.
      accounts: counts of its rows.
    """

    staged: str
    table: str
    accounts: Accounts


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


class Written(NamedTuple):
    """The results of a wave.

    Attributes:
      files: its rows, in staged files.
      superseded: older rows of its images.
      counted: accounts of everything except the rows of the files.
      found: in an overwrite, digests of the paths of images that have a row in its shadow folder.
    """

    files: Sequence[StagedFile]
    superseded: Sequence[Superseded]
    counted: Accounts
    found: Iterable[bytes] = ()


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
    # Images lost before they were counted would be missing on both sides of the accounts.
    counted = written.counted if wave.inputs is None else replace(written.counted, inputs=wave.inputs)
    accounts = sum((file.accounts for file in written.files), wave.earlier + counted)
    # An overwrite is done only once its rows have left the shadow folder.
    status = "running" if not wave.last or run.overwrite else "done" if accounts.balanced else "unbalanced"
    moves, deletions = _place(run, written.files, written.superseded)
    moves = compact(run, moves, deletions)
    # Nobody reads the shadow folder of an overwrite.
    columns = [] if run.overwrite else stage_columns(run, moves, deletions)
    journal = Journal(wave.earlier.inputs, [*moves, *columns, stage_manifest(run, accounts, status)], deletions)
    concurrent = _begun(run, wave)
    if concurrent:
        # A runner that believed this worker to be dead started another. The same rows may have come into the files in
        # place, and be in them twice by now.
        carry_out(run.output, concurrent)
    else:
        conclude(run, journal)
    return accounts


def recover(output: str) -> None:
    """Complete interrupted commits, and delete what was never committed.

    Raises:
      OutputError: what is left to do is none of the output's own files.
      OSError: the output cannot be written.
    """
    for staging in staging_folders(output):
        journal = read_journal(staging)
        if journal:
            carry_out(output, journal, at_work=False)
        storage.delete_folder(staging)


def _begun(run: Run, wave: Wave) -> Journal | None:
    """Return the journal of an earlier attempt at the same commit, if there is one."""
    begun = read_journal(run.staging)
    return begun if begun and begun.wave in (wave.earlier.inputs, REPLACING) else None


def _place(
    run: Run, files: Sequence[StagedFile], superseded: Sequence[Superseded]
) -> tuple[Sequence[Move], Sequence[str]]:
    """Plan where the rows of staged files go: into new files, or into the files with older rows of their images.

    If the older row is in the other table, the newer file is moved first: for a moment, such an image may be visible in
    both tables, but never in neither.
    """
    # Of an archive that two waves complete, the first may have deleted it.
    lost = {file for file in {row.file for row in superseded if row.gone} if not _is_there(run, file)}
    older = {row.path: row.file for row in superseded if row.file not in lost}
    arrived = {row.path for row in superseded if row.gone and row.file not in lost}
    newer: dict[str, list[pa.Table]] = defaultdict(list)
    moves = []
    for file in files:
        staged: str | None = file.staged
        if older:
            staged = _take_newer(run, file, older, newer, arrived)
        if staged:
            moves.append(Move(run.relative(staged), _in_output(run, file.table, posixpath.basename(staged))))
    deletions = []
    for name in sorted({older[path] for path in arrived}):
        going = [path for path in arrived if older[path] == name]
        merged = _merge(run, name, going, newer[name])
        if merged:
            moves.append(Move(run.relative(merged), _in_output(run, name)))
        else:
            deletions.append(_in_output(run, name))
    return moves, deletions


def _is_there(run: Run, file: str) -> bool:
    return storage.exists(storage.join(run.folder, file))


def _take_newer(
    run: Run, file: StagedFile, older: Mapping[str, str], newer: dict[str, list[pa.Table]], arrived: set[str]
) -> str | None:
    """Take the rows that belong in older files of the same table out of a staged file.

    Args:
      run: of the job.
      file: the staged file.
      older: the file of each superseded row, by the image's path.
      newer: receives the rows, by older file.
      arrived: receives the paths of all superseded images whose newer row is in the staged file.

    Returns:
      The file with the remaining rows; None if none remain.
    """
    table = read_table(file.staged)
    paths = table["path"].to_pylist()
    arrived.update(path for path in paths if path in older)
    homes = [older.get(path, "") for path in paths]
    homes = [home if posixpath.dirname(home) == file.table else "" for home in homes]
    column = pa.array(homes, pa.string())
    for home in set(homes) - {""}:
        newer[home].append(table.filter(pc.equal(column, home)))
    kept = table.filter(pc.equal(column, ""))
    return file.staged if kept.num_rows == table.num_rows else stage_table(run, kept, file.table)


def _merge(run: Run, name: str, going: Sequence[str], newer: Sequence[pa.Table]) -> str | None:
    """Rewrite an older file, with newer rows in place of superseded ones; return None if no row is left."""
    table = read_table(storage.join(run.folder, name))
    kept = table.filter(pc.invert(pc.is_in(table["path"], value_set=pa.array(going, pa.string()))))
    return stage_table(run, pa.concat_tables([kept, *newer]), posixpath.dirname(name))


def read_table(path: str) -> pa.Table:
    """Read a whole file of a table.

    Raises:
      OutputError: it is damaged.
    """
    with open_table(path) as parquet:
        return parquet.read(use_threads=False)


def stage_table(run: Run, table: pa.Table, folder: str) -> str | None:
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
    for move in journal.moves:
        # After a power failure, the journal must not exist without the files it lists.
        storage.sync(storage.join(run.output, move.source))
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
    for _, moves in groupby(journal.moves, lambda move: posixpath.dirname(move.target)):
        # In any order, and in a bucket side by side: no row goes from one file of a table into another.
        list(read_each(output, partial(_move, output, at_work), moves))
    storage.delete([storage.join(output, name) for name in journal.deletions])


def _move(output: str, at_work: bool, move: Move) -> None:
    source, target = storage.join(output, move.source), storage.join(output, move.target)
    # A missing source was moved by an earlier attempt or a concurrent one: a runner that believes a worker is dead
    # starts another.
    with suppress(FileNotFoundError):
        if storage.exists(source):
            storage.move(source, target)
    if at_work and not storage.exists(target):
        # Another run took over and cleaned up after this one. The older rows stay, as there are no newer ones.
        raise FileNotFoundError(errno.ENOENT, f"staged rows were deleted by another run: {source}")


def _refuse_links(output: str, names: Iterable[str]) -> None:
    for name in names:
        if storage.leads_away(output, path := storage.join(output, name)):
            raise OutputError(f"{path} is, or lies behind, a link", "remove it: scenetags moves only files of its own")


def _in_output(run: Run, *names: str) -> str:
    """Return the path of a table file relative to the output."""
    return posixpath.join(run.relative(run.folder), *names)
