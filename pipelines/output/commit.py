"""Commit a wave's rows to the output, all or none, whatever happens in between.

A single atomic write decides: that of a journal, which lists the files to move and to delete. Before it, nothing of the
wave is visible. After it, the wave is committed: a run that is killed while it applies the journal leaves it in its
staging folder, and the next run begins by applying it again, which is idempotent.
"""

from __future__ import annotations

import errno
import os
import posixpath
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from pipelines import storage
from pipelines.output.compaction import compact
from pipelines.output.journal import JOURNAL, REPLACING, Journal, read_journal, staging_folders, write_journal
from pipelines.output.manifest import describe, read_accounts
from pipelines.output.no_rows import columns_of, stage_columns
from pipelines.output.placing import place, unmoved
from pipelines.output.run import EMPTY, RUNS, STAGING, Accounts, OutputRun, Run, Wave
from pipelines.output.staged import holds_rows, is_announced
from pipelines.output.tables import OutputError
from pipelines.output.written import Written
from pipelines.storage import Move


class Unfinished(NamedTuple):
    """A commit of which a part is done.

    Attributes:
      run: name of the run.
      replaces: whether it is the end of an overwrite, which replaces all rows.
    """

    run: str
    replaces: bool

    def told_finished(self) -> str:
        """Say in words that it has been finished."""
        what = "overwrite" if self.replaces else "commit"
        return f"finished the {what} of run {self.run}, which had died while it moved files into place"


def commit(run: Run, wave: Wave, written: Written) -> Accounts:
    """Commit the rows of a wave to the output, or complete the commit that an earlier attempt began.

    Returns:
      The accounts of the run so far.

    Raises:
      OutputError: another run has taken over, or a later wave of this one is committed.
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
    columns = [] if run.overwrite else stage_columns(run, columns_of(run), moves, deletions)
    moves = [*moves, *columns, stage_manifest(run, accounts, status)]
    return accounts, Journal(wave.earlier.inputs, moves, [*deletions, *spent])


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


def find_unfinished(output: str) -> Unfinished | None:
    """Return the commit that a run has begun and not finished, so that tables hold a part of it; None if there is none.

    Raises:
      OutputError: a journal is damaged.
      OSError: the output cannot be read.
    """
    for staging in staging_folders(output):
        journal = read_journal(staging)
        # A run keeps the journal of its last commit until the next one.
        if journal and _is_left(output, [*(move.source for move in journal.moves), *journal.deletions]):
            return Unfinished(posixpath.basename(staging).removeprefix(STAGING), journal.wave == REPLACING)
    return None


def _is_left(output: str, names: Sequence[str]) -> bool:
    """Return whether one of these files, which a finished commit leaves none of, is there."""
    folders = {storage.join(output, posixpath.dirname(name)) for name in names}
    there = {path for folder in folders for path in storage.list_files(folder)}
    return any(storage.join(output, name) in there for name in names)


def _begun(run: Run, wave: Wave) -> Journal | None:
    """Return the journal of an earlier attempt at the same commit, if there is one.

    Raises:
      OutputError: a later wave of the run was committed, so that this attempt is of a worker that was given up.
    """
    begun = read_journal(run.staging)
    if begun and begun.wave > wave.earlier.inputs:
        raise OutputError(f"output {run.output} holds a later wave of run {run.name}; this attempt comes too late")
    return begun if begun and begun.wave in (wave.earlier.inputs, REPLACING) else None


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
        missing = storage.move_all([Move(*(storage.join(output, name) for name in move)) for move in moves])
        if missing and at_work:
            _check_moved(storage.join(output, folder), missing)
    storage.delete([storage.join(output, name) for name in journal.deletions])
    if EMPTY in changed and not storage.is_remote(output):
        # Readers fail on a folder without files. The other tables always have one.
        with suppress(OSError):
            os.rmdir(storage.join(output, EMPTY))


def _check_moved(folder: str, missing: Sequence[Move]) -> None:
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
