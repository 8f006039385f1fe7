"""Commit what a dead run has staged: rows of images that nobody has to tag again.

A distributed job commits at its end, so one that is cancelled or fails has committed nothing, but most of its rows are
in complete files of its staging folder. The next run of the same kind takes them over, by a commit of their own. Like
any other commit, it is decided by a journal: a recovery that is killed before is begun again, and after, completed.
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines import storage
from pipelines.output.commit import complete_commit, conclude
from pipelines.output.duplicates import find_committed, find_duplicates, without_duplicates
from pipelines.output.footers import read_footer
from pipelines.output.journal import Journal, read_journal, staging_folders
from pipelines.output.kinds import Kind, StagedRows, kind_of
from pipelines.output.manifest import MOST_BYTES, accounts_of, describe_recovered
from pipelines.output.merging import merge, plan_merges
from pipelines.output.no_rows import outdated_columns, stage_columns
from pipelines.output.placing import place, stage_table, unmoved
from pipelines.output.run import EMPTY, FAILURES, PREDICTIONS, RUNS, STAGING, TABLES, Accounts, OutputRun
from pipelines.output.staged import Announced, Contents, claim, holds_rows, is_complete, read_contents
from pipelines.output.superseded import find_superseded
from pipelines.output.tables import OutputError, count_rows, is_damaged, open_table, read_each, read_table
from pipelines.output.written import StagedFile, Superseded
from pipelines.storage import Move
from pipelines.supervision import interruption

_NAMED = 5
"""Damaged files that a line names."""

_PREFERRED = (PREDICTIONS, EMPTY, FAILURES)
"""Tables in the order in which they keep the row of an image that several attempts have staged."""


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
            besides = "".join(f", and {_several(count, what)}" for count, what in counted if count)
            tagged = _several(self.accounts.predictions, "image")
            lines.append(f"recovered {tagged} that run {self.run} had tagged before it ended{besides}")
        if self.unfit:
            done = f"{'left' if self.stay else 'deleted'} {_several(self.unfit, 'row')}"
            lines.append(f"{done} that run {self.run} had staged: they were made {self.difference}")
        if self.damaged:
            more = f", and {len(self.damaged) - _NAMED:,} more" * (len(self.damaged) > _NAMED)
            named = ", ".join(self.damaged[:_NAMED]) + more
            lines.append(f"left out {named}: damaged; `scenetags predict` tags the images of these rows again")
        return lines


def _several(count: int, what: str) -> str:
    return f"{count:,} {what}" + "s" * (count != 1)


@dataclass(frozen=True)
class _DeadRun(OutputRun):
    """A run that has ended before it committed all of its rows.

    Attributes:
      shadow: folder of its tables, relative to the output; empty if it is the output itself.
      since: name of the oldest run that is recovered with it.
    """

    shadow: str = field(default="", kw_only=True)
    since: str = field(kw_only=True)

    @property
    def folder(self) -> str:
        """Folder of the tables."""
        return storage.join(self.output, self.shadow) if self.shadow else self.output


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
            dead = _DeadRun(name, run.output, shadow=announced.folder, since=oldest)
            joins = kind is not None and kind.folder == dead.folder
            # What an overwrite replaces is committed first: it may end with the old rows in place.
            wanted = kind if kind and (joins or dead.shadow) else kind_of(dead.folder)
            recovered = _recover(dead, announced, wanted, stay=kind is None or joins)
            if recovered.unfit or recovered.accounts.inputs or recovered.damaged:
                yield recovered
            if recovered.unfit and recovered.stay:
                continue
        storage.delete_folder(staging)


def _recover(dead: _DeadRun, announced: Announced, kind: Kind, stay: bool) -> Recovered:
    while True:
        # A worker of the run may have decided on a commit just before the folder was claimed.
        complete_commit(dead.output, dead.staging)
        files, damaged = _staged_by(dead)
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


def _difference(dead: _DeadRun, kind: Kind, files: Sequence[StagedRows]) -> str:
    """Say in words how the rows of a dead run were made differently; empty if they are wanted."""
    elsewhere = "for an overwrite that this run does not resume" if kind.folder != dead.folder else ""
    return next(filter(None, (kind.difference(file) or elsewhere for file in files)), "")


def _staged_by(dead: _DeadRun) -> tuple[list[StagedRows], list[str]]:
    """Return what a run has staged completely, and the names of those files among it that are damaged.

    Those files come first that keep a row of which there are several.
    """
    folders = (storage.join(dead.staging, table) for table in _PREFERRED)
    sizes = [item for folder in folders for item in storage.list_sizes(folder, ".parquet").items()]
    found = [file for file in read_each(dead.output, partial(_look_at, dead), sizes) if file]
    return [file for file in found if not isinstance(file, str)], [path for path in found if isinstance(path, str)]


def _look_at(dead: _DeadRun, sized: tuple[str, int]) -> StagedRows | str | None:
    """Describe a staged file.

    Returns:
      Its name if it is damaged; None if it is incomplete, made of others, or leads out of the output.
    """
    path, size = sized
    interruption.check()
    if storage.leads_away(dead.output, path):
        return None
    try:
        with open_table(path) as parquet:
            footer, fields = read_footer(parquet.schema_arrow), list(parquet.schema_arrow)
            contents, rows = read_contents(parquet.metadata.metadata or {}), parquet.metadata.num_rows
            if not footer or not contents or not {"path", "run"} <= {field.name for field in fields}:
                return None
            # A bucket holds whole objects. What a power failure has left of a file may look complete at both ends.
            # The commit reads those whole that replace older rows.
            columns = ["path"] if storage.is_remote(path) and not contents.replaces else None
            for batch in parquet.iter_batches(columns=columns, use_threads=False):
                paths = batch.column("path")
                paths.validate(full=True)
                if paths.null_count:
                    return None
    except OutputError:
        return path if is_complete(path, size) else None
    except FileNotFoundError:
        return None
    return StagedRows(path, posixpath.basename(posixpath.dirname(path)), rows, size, footer, fields, contents)


def _plan(
    dead: _DeadRun, announced: Announced, files: Sequence[StagedRows], damaged: list[str]
) -> tuple[Accounts, Journal]:
    """Return the accounts of the rows of staged files, once each, and what their commit has to do.

    It also adds to the names of damaged files.
    """
    rows = sum(file.rows for file in files)
    committed = find_committed(dead.output, dead.folder, dead.name, dead.since)
    replacing = [file.contents.replaces for file in files]
    duplicates = find_duplicates(dead.folder, [file.path for file in files], rows, committed, replacing)
    kept = [_kept(dead, file, duplicates.get(number), damaged) for number, file in enumerate(files)]
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


def _merged(dead: _DeadRun, files: Sequence[StagedFile], damaged: list[str]) -> Iterator[StagedFile]:
    """Merge staged files, as workers do: what these had merged themselves does not say what it holds."""
    for group in plan_merges(files):
        interruption.check()
        yield from merge(dead, group, lambda file: damaged.append(file.staged))


def _kept(dead: _DeadRun, file: StagedRows, lost: Collection[bytes] | None, damaged: list[str]) -> StagedFile | None:
    """Describe what a commit takes of a staged file; None if that is nothing, e.g. as the file is damaged."""
    try:
        if lost is not None:
            return _without(dead, file, lost)
        return StagedFile(file.path, file.table, _counted(file), file.size, _named_by(file.contents))
    except OutputError:
        if not is_damaged(file.path):
            raise
    damaged.append(file.path)
    return None


def _without(dead: _DeadRun, file: StagedRows, lost: Collection[bytes]) -> StagedFile | None:
    """Stage the rows of a file once more, without those that others keep; return None if none remain."""
    table = without_duplicates(read_table(file.path), lost)
    staged = stage_table(dead, table, file.table)
    if not staged:
        return None
    paths = set(table["path"].to_pylist())
    named = tuple(row for row in _named_by(file.contents) if row.path in paths)
    return StagedFile(staged, file.table, _count(table, file.table), file.size, named)


def _named_by(contents: Contents) -> tuple[Superseded, ...]:
    return tuple(Superseded(path, file) for path, file in contents.replaces.items())


def _counted(file: StagedRows) -> Accounts:
    """Return the accounts of a file's rows: its own, or the rows are counted where these cannot be right."""
    counts = file.contents.accounts
    in_tables = {PREDICTIONS: counts.predictions, FAILURES: counts.failures, EMPTY: counts.empty}
    right = in_tables == {**dict.fromkeys(TABLES, 0), file.table: file.rows} and not counts.inputs + counts.skipped
    return counts if right else _count(read_table(file.path), file.table)


def _count(table: pa.Table, name: str) -> Accounts:
    """Count rows; what was measured of their images is not in them."""
    if name == PREDICTIONS:
        tags, repairs = (Counter(chain.from_iterable(table[column].to_pylist())) for column in ("tags", "repairs"))
        return Accounts(predictions=len(table), tags=tags, repairs=repairs)
    if name == EMPTY:
        return Accounts(empty=len(table))
    errors = zip(table["stage"].to_pylist(), table["error"].to_pylist(), strict=True)
    return Accounts(failures=len(table), errors=Counter(f"{stage}: {error}" for stage, error in errors))


def _told_so_far(dead: _DeadRun, announced: Announced) -> tuple[Mapping[str, Any], Accounts]:
    """Return what the manifest of a dead run says, and its accounts; what the run announced if it has none."""
    with suppress(FileNotFoundError, ValueError, TypeError, KeyError, RecursionError, storage.FileTooLargeError):
        described = json.loads(storage.read(dead.manifest, MOST_BYTES))
        return described, accounts_of(described)
    return announced.described, Accounts()
