"""Commit what a dead run has staged: rows of images that nobody has to tag again.

A distributed job commits at its end, so one that is cancelled or fails has committed nothing, but most of its rows are
in complete files of its staging folder. The next run of the same kind takes them over, by a commit of their own. Like
any other commit, it is decided by a journal: a recovery that is killed before is begun again, and after, completed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from pipelines import storage
from pipelines.errors import quantity
from pipelines.output.commit import complete_commit, conclude
from pipelines.output.dead_runs import DeadRun, staged_by, taken_of
from pipelines.output.duplicates import find_committed, find_duplicates
from pipelines.output.journal import Journal, read_journal, staging_folders
from pipelines.output.kinds import Kind, StagedRows, kind_of
from pipelines.output.manifest import accounts_of, describe_recovered, find_content
from pipelines.output.merging import merge, plan_merges
from pipelines.output.no_rows import outdated_columns, stage_columns
from pipelines.output.placing import place, unmoved
from pipelines.output.run import RUNS, STAGING, TABLES, Accounts, OutputRun
from pipelines.output.staged import Announced, claim, holds_rows
from pipelines.output.superseded import find_superseded
from pipelines.output.tables import OutputError, count_rows
from pipelines.output.written import StagedFile
from pipelines.storage import Move
from pipelines.supervision import interruption

_NAMED = 5
"""Damaged files that a line names."""


class Recovered(NamedTuple):
    """What became of the rows that a dead run had staged.

    Attributes:
      run: name of that run.
      accounts: of the rows that were committed.
      unfit: number of rows that were not, as they differ from those that they would join.
      difference: how, in words; empty if there are none.
      stay: whether these stay where they are, and are not deleted.
      damaged: files that cannot be read, though the run had finished them.
      folder: of the tables with the rows that were committed.
    """

    run: str
    accounts: Accounts
    unfit: int
    difference: str
    stay: bool
    damaged: Sequence[str]
    folder: str

    def lines(self) -> list[str]:
        """Say in words what became of the rows."""
        lines = []
        if self.accounts.inputs:
            counted = (self.accounts.failures, "failure"), (self.accounts.empty, "empty window")
            besides = "".join(f", and {quantity(count, what)}" for count, what in counted if count)
            tagged = quantity(self.accounts.predictions, "image")
            lines.append(f"recovered {tagged} that run {self.run} had tagged before it ended{besides}")
        if self.unfit:
            done = f"{'left' if self.stay else 'deleted'} {quantity(self.unfit, 'row')}"
            lines.append(f"{done} that run {self.run} had staged: they were made {self.difference}")
        if self.damaged:
            more = f", and {len(self.damaged) - _NAMED:,} more" * (len(self.damaged) > _NAMED)
            named = ", ".join(self.damaged[:_NAMED]) + more
            lines.append(f"left out {named}: damaged; `scenetags predict` tags the images of these rows again")
        return lines


def recover_rows(run: OutputRun, kind: Kind | None = None) -> Iterator[Recovered]:
    """Commit the rows that dead runs have staged, and delete their staging folders.

    Args:
      run: that holds the output.
      kind: of the rows that the run will write. Rows of an overwrite that it does not resume are deleted, and so is
        what does not fit the rows that it will replace; other rows that do not fit stay where they are. None for a run
        that writes none: then all of these stay.

    Raises:
      InterruptedRunError: the run was asked to stop.
      OutputError: the output holds a damaged file.
      OSError: the output cannot be written.
    """
    oldest = ""
    for staging in staging_folders(run.output):
        if staging == run.staging or storage.leads_away(run.output, staging):
            continue
        name = posixpath.basename(staging).removeprefix(STAGING)
        announced = claim(staging)
        if not announced and holds_rows(run.output, staging):
            yield _not_understood(name, staging)
            continue
        if announced:
            # Of two that were at work at once, the older one may just have been recovered.
            oldest = oldest or name
            dead = DeadRun(name, run.output, shadow=announced.folder, since=oldest)
            joins = kind is not None and kind.folder == dead.folder
            # What an overwrite replaces is committed first: it may end with the old rows in place.
            wanted = kind if kind and (joins or dead.shadow) else kind_of(dead.folder)
            recovered = _recover(dead, announced, wanted, stay=kind is None or joins)
            if recovered.unfit or recovered.accounts.inputs or recovered.damaged:
                yield recovered
            if recovered.unfit and recovered.stay:
                continue
        storage.delete_folder(staging)


def _recover(dead: DeadRun, announced: Announced, kind: Kind, stay: bool) -> Recovered:
    while True:
        # A worker of the run may have decided on a commit just before the folder was claimed.
        complete_commit(dead.output, dead.staging)
        files, damaged = staged_by(dead)
        difference = _difference(dead, kind, files)
        accounts, journal = _plan(dead, announced, [] if difference else files, damaged)
        if not read_journal(dead.staging):
            break
    if accounts.inputs:
        conclude(dead, journal)
    if difference:
        return Recovered(dead.name, accounts, sum(file.rows for file in files), difference, stay, (), dead.folder)
    return Recovered(dead.name, accounts, 0, "", stay, damaged, dead.folder)


def _not_understood(name: str, staging: str) -> Recovered:
    """Describe the rows of a run whose folder does not say what they are, at least to this version."""
    rows = 0
    for table in TABLES:
        for file in storage.list_files(storage.join(staging, table), ".parquet"):
            with suppress(OutputError):
                rows += count_rows(file)
    reason = f"by a later version of scenetags, or {staging} is damaged; delete it if you do not need them"
    return Recovered(name, Accounts(), rows, reason, True, (), "")


def _difference(dead: DeadRun, kind: Kind, files: Sequence[StagedRows]) -> str:
    """Say in words how the rows of a dead run were made differently; empty if they are wanted."""
    elsewhere = "for an overwrite that this run does not resume" if kind.folder != dead.folder else ""
    return next(filter(None, (kind.difference(file) or elsewhere for file in files)), "")


def _plan(
    dead: DeadRun, announced: Announced, files: Sequence[StagedRows], damaged: list[str]
) -> tuple[Accounts, Journal]:
    """Return the accounts of the rows of staged files, once each, and what their commit has to do.

    It also adds to the names of damaged files.
    """
    rows = sum(file.rows for file in files)
    committed = find_committed(dead.output, dead.folder, dead.name, dead.since)
    replacing = [file.contents.replaces for file in files]
    duplicates = find_duplicates(dead.folder, [file.path for file in files], rows, committed, replacing)
    kept = [taken_of(dead, file, duplicates.get(number), damaged) for number, file in enumerate(files)]
    staged = list(_merged(dead, find_superseded(dead.folder, [file for file in kept if file]), damaged))
    accounts = sum((file.accounts for file in staged), Accounts())
    accounts = replace(accounts, inputs=accounts.predictions + accounts.failures + accounts.empty)
    moves, deletions = place(dead, staged, ())
    spent = {dead.relative(file.path) for file in files} | set(unmoved(dead, staged, moves))
    spent -= {move.source for move in moves}
    described, earlier = _told_so_far(dead, announced)
    manifest = storage.join(dead.staging, RUNS, f"{dead.name}.json")
    storage.write(manifest, describe_recovered(described, earlier + accounts))
    outdated = outdated_columns(dead, moves)
    # Nobody reads the shadow folder of an overwrite.
    visible = accounts.inputs and not dead.shadow
    columns = stage_columns(dead, announced.columns, moves, [*deletions, *outdated]) if visible else []
    moves = [*moves, *columns, Move(dead.relative(manifest), dead.relative(dead.manifest))]
    return accounts, Journal(earlier.inputs, moves, [*deletions, *sorted(spent), *outdated])


def _merged(dead: DeadRun, files: Sequence[StagedFile], damaged: list[str]) -> Iterator[StagedFile]:
    """Merge staged files, as workers do: what these had merged themselves does not say what it holds."""
    for group in plan_merges(files):
        interruption.check()
        yield from merge(dead, group, lambda file: damaged.append(file.staged))


def _told_so_far(dead: DeadRun, announced: Announced) -> tuple[Mapping[str, Any], Accounts]:
    """Return what the manifest of a dead run says, and its accounts; what the run announced if it has none."""
    described = find_content(dead.manifest) or {}
    with suppress(ValueError, TypeError, KeyError):
        return described, accounts_of(described)
    return announced.described, Accounts()
