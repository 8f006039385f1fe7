"""Put a wave's rows into the output, all of them or none, whatever happens in between.

One atomic write decides: that of a journal, which lists the files to move and to delete. Before it, nothing of a wave
is to be seen. After it, the wave is done: whoever is cut off while he carries the journal out leaves it in his staging
folder, and the next run begins by carrying it out once more, which does no harm to what is done already.

A newer row takes the place of an older one of the same image within the older one's file, so that a plain `SELECT` over
the folder sees one row of each image at every moment, even between a crash and its repair.
"""

from __future__ import annotations

import errno
import json
import posixpath
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.output.manifest import describe, read_accounts
from pipelines.output.run import RUNS, STAGING, Accounts, Run, Wave
from pipelines.output.tables import FORMAT, ROWS_A_GROUP, open_table, table_files

JOURNAL = "commit.json"

_REPLACING = -1
"""In the journal of an overwrite that replaces rows, in the place of a wave."""


class StagedFile(NamedTuple):
    """A whole file that waits to be moved into place.

    Attributes:
      staged: where it is.
      table: the folder in which it belongs, `predictions` or `failures`.
      accounts: counts of its rows.
    """

    staged: str
    table: str
    accounts: Accounts


class Superseded(NamedTuple):
    """An older row, which goes when the newer one of the same image comes.

    Attributes:
      path: of the image.
      file: that holds the row, relative to the folder of the tables, e.g. `failures/x.parquet`.
    """

    path: str
    file: str


class Written(NamedTuple):
    """What came of a wave.

    Attributes:
      files: its rows, in staged files.
      superseded: older rows of its images.
      counted: what was counted besides the rows of the files.
    """

    files: Sequence[StagedFile]
    superseded: Sequence[Superseded]
    counted: Accounts


class Move(NamedTuple):
    """A file and its new place, both relative to the output."""

    source: str
    target: str


class Journal(NamedTuple):
    """All that is left to do for a commit, in this order.

    Attributes:
      wave: inputs of the run before those of the commit, which tell its waves apart; or `_REPLACING`.
      moves: done first; what is in the way of a target is replaced.
      deletions: files, relative to the output.
    """

    wave: int
    moves: Sequence[Move]
    deletions: Sequence[str]


def commit(run: Run, wave: Wave, written: Written) -> Accounts:
    """Put the rows of a wave into the output; where an earlier attempt had begun to, end what that one began.

    Returns:
      The accounts of the run so far.

    Raises:
      OSError: the output cannot be written.
    """
    begun = _read_journal(run.staging)
    if begun and begun.wave in (wave.earlier.inputs, _REPLACING):
        # A runner tried this step again, and its files may be in place already.
        _carry_out(run.output, begun)
        return read_accounts(run.manifest)
    # What was lost before it was counted would be missing on both sides of the accounts.
    counted = written.counted if wave.inputs is None else replace(written.counted, inputs=wave.inputs)
    accounts = sum((file.accounts for file in written.files), wave.earlier + counted)
    # An overwrite is done when its rows have left the shadow, and not before.
    status = "running" if not wave.last or run.overwrite else "done" if accounts.balanced else "unbalanced"
    moves, deletions = _place(run, written.files, written.superseded)
    _conclude(run, Journal(wave.earlier.inputs, [*moves, _stage_manifest(run, accounts, status)], deletions))
    return accounts


def replace_rows(run: Run, accounts: Accounts) -> None:
    """Put the rows that an overwrite has gathered in the place of all that the output holds.

    Readers see old and new rows side by side while the files are moved, and never neither. Where an earlier attempt had
    begun to, end what that one began: the rows that the output holds are the new ones by then.

    Raises:
      OSError: the output cannot be written.
    """
    begun = _read_journal(run.staging)
    if begun and begun.wave == _REPLACING:
        _carry_out(run.output, begun)
        storage.delete_folder(run.folder)
        return
    old = list(table_files(run.output))
    new = [Move(_relative(run, path), posixpath.join(*_last_two(path))) for path in table_files(run.folder)]
    manifest = _stage_manifest(run, accounts, "done")
    _conclude(run, Journal(_REPLACING, [*new, manifest], [_relative(run, path) for path in old]))
    storage.delete_folder(run.folder)


def recover(output: str) -> None:
    """Carry out what interrupted commits have left to do, and delete what was never committed.

    Raises:
      OSError: the output cannot be written.
    """
    for staging in storage.list_folders(output, STAGING):
        journal = _read_journal(staging)
        if journal:
            _carry_out(output, journal, at_work=False)
        storage.delete_folder(staging)


def _place(
    run: Run, files: Sequence[StagedFile], superseded: Sequence[Superseded]
) -> tuple[Sequence[Move], Sequence[str]]:
    """Plan where the rows of staged files go: into files of their own, or to where older rows of their images are.

    Where the older row is in the other table, newer files come first: such an image may be seen in both tables for a
    moment, and never in neither.
    """
    older = {row.path: row.file for row in superseded}
    arrived: set[str] = set()
    newer: dict[str, list[pa.Table]] = defaultdict(list)
    moves = []
    for file in files:
        staged: str | None = file.staged
        if older:
            staged = _take_newer(run, file, older, newer, arrived)
        if staged:
            moves.append(Move(_relative(run, staged), _in_output(run, file.table, posixpath.basename(staged))))
    deletions = []
    for name in sorted({older[path] for path in arrived}):
        going = [path for path in arrived if older[path] == name]
        merged = _merge(run, name, going, newer[name])
        if merged:
            moves.append(Move(_relative(run, merged), _in_output(run, name)))
        else:
            deletions.append(_in_output(run, name))
    return moves, deletions


def _take_newer(
    run: Run, file: StagedFile, older: Mapping[str, str], newer: dict[str, list[pa.Table]], arrived: set[str]
) -> str | None:
    """Take those rows out of a staged file that belong into older files of the same table.

    Args:
      run: of the job.
      file: the staged file.
      older: the file of each superseded row, by the image's path.
      newer: receives the rows, by the older file.
      arrived: receives the paths of all superseded images of which the file holds the newer row.

    Returns:
      The file that holds the remaining rows; None where none remain.
    """
    table = _read_table(file.staged)
    paths = table["path"].to_pylist()
    arrived.update(path for path in paths if path in older)
    homes = [older.get(path, "") for path in paths]
    homes = [home if posixpath.dirname(home) == file.table else "" for home in homes]
    column = pa.array(homes, pa.string())
    for home in set(homes) - {""}:
        newer[home].append(table.filter(pc.equal(column, home)))
    kept = table.filter(pc.equal(column, ""))
    return file.staged if kept.num_rows == table.num_rows else _stage_table(run, kept, file.table)


def _merge(run: Run, name: str, going: Sequence[str], newer: Sequence[pa.Table]) -> str | None:
    """Write an older file anew, with newer rows in the place of those that go; None where no row is left."""
    table = _read_table(storage.join(run.folder, name))
    kept = table.filter(pc.invert(pc.is_in(table["path"], value_set=pa.array(going, pa.string()))))
    return _stage_table(run, pa.concat_tables([kept, *newer]), posixpath.dirname(name))


def _read_table(path: str) -> pa.Table:
    with open_table(path) as parquet:
        return parquet.read()


def _stage_table(run: Run, table: pa.Table, folder: str) -> str | None:
    if table.num_rows == 0:
        return None
    staged = storage.join(run.staging, folder, f"{run.name}-{uuid.uuid4().hex[:12]}.parquet")
    with storage.create(staged) as file:
        pq.write_table(table, file, row_group_size=ROWS_A_GROUP, **FORMAT)
    return staged


def _stage_manifest(run: Run, accounts: Accounts, status: str) -> Move:
    staged = storage.join(run.staging, RUNS, f"{uuid.uuid4().hex[:12]}.json")
    storage.write(staged, describe(run, accounts, status))
    return Move(_relative(run, staged), _relative(run, run.manifest))


def _conclude(run: Run, journal: Journal) -> None:
    """Decide for a commit and carry it out."""
    for move in journal.moves:
        # The journal must not outlive, in a loss of power, the files of which it speaks.
        storage.sync(storage.join(run.output, move.source))
    described = {"wave": journal.wave, "moves": journal.moves, "deletions": journal.deletions}
    storage.write(storage.join(run.staging, JOURNAL), json.dumps(described).encode())
    _carry_out(run.output, journal)


def _carry_out(output: str, journal: Journal, at_work: bool = True) -> None:
    """Do what a journal lists.

    Args:
      output: the output folder.
      journal: of a commit.
      at_work: whether its run is. The rows of one that has ended may have been replaced since.
    """
    for move in journal.moves:
        source, target = storage.join(output, move.source), storage.join(output, move.target)
        # A source that is gone was moved by an earlier attempt, or by one beside this one: a runner that takes a worker
        # for dead starts another.
        with suppress(FileNotFoundError):
            if storage.exists(source):
                storage.move(source, target)
        if at_work and not storage.exists(target):
            # Somebody has ended this run and cleared up behind it. The older rows stay, for want of newer ones.
            raise FileNotFoundError(errno.ENOENT, f"staged rows have been cleared away: {source}")
    storage.delete([storage.join(output, name) for name in journal.deletions])


def _read_journal(staging: str) -> Journal | None:
    try:
        described = json.loads(storage.read(storage.join(staging, JOURNAL)))
    except FileNotFoundError:
        return None
    return Journal(described["wave"], [Move(*move) for move in described["moves"]], described["deletions"])


def _relative(run: Run, path: str) -> str:
    return path.removeprefix(run.output).lstrip("/")


def _in_output(run: Run, *names: str) -> str:
    """Name a file of the tables relative to the output."""
    return posixpath.join(_relative(run, run.folder), *names)


def _last_two(path: str) -> tuple[str, str]:
    folder, name = posixpath.split(path)
    return posixpath.basename(folder), name
