"""Replace all rows of an output with those that an overwrite has gathered in its shadow folder.

An overwrite that was stopped, or kept out for its failures, leaves its rows in the shadow folder for the next one,
which may have other images. So each wave notes which of these rows are of images that were listed again. In the end the
other rows are dropped: what replaces the old rows is exactly what the last overwrite has listed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from pipelines import storage
from pipelines.errors import quantity
from pipelines.output.commit import carry_out, conclude, stage_manifest
from pipelines.output.compatible import check_written_by_us
from pipelines.output.earlier import read_earlier
from pipelines.output.identities import Unlisted, join_by_file
from pipelines.output.journal import REPLACING, Journal, read_journal
from pipelines.output.no_rows import columns_of, stage_columns
from pipelines.output.placing import stage_table
from pipelines.output.run import TABLES, Accounts, Run, Wave
from pipelines.output.tables import NO_ROWS, OutputError, count_rows, read_each, read_table, table_files
from pipelines.storage import Move

_NOTES = "found"
_BYTES_AT_ONCE = 1 << 20


def note_found(run: Run, wave: Wave, found: Iterable[bytes]) -> None:
    """Note which rows of the shadow folder are of images in this wave.

    On disk, not in memory: the next wave may be closed by another process.

    Args:
      run: an overwrite.
      wave: of the run.
      found: digests of paths, joined; see `storage.digest_path`.

    Raises:
      OSError: the output cannot be written.
    """
    pieces = iter(found)
    first = next(pieces, None)
    if first is None:
        return
    with storage.create(storage.join(run.staging, _NOTES, str(wave.earlier.inputs))) as file:
        file.write(first)
        for piece in pieces:
            file.write(piece)


def replace_rows(run: Run, accounts: Accounts, unlisted: Iterable[Unlisted] | None = None) -> None:
    """Replace all rows of the output with those of the run, which are in its shadow folder.

    While the files are moved, readers may see old and new rows together, but never neither. If an earlier attempt had
    begun, complete it instead: by then, the output holds the new rows.

    Args:
      run: an overwrite.
      accounts: of all of it.
      unlisted: rows of the shadow folder whose images it did not list; None if its waves have noted the others.

    Raises:
      OutputError: the shadow folder does not hold exactly one row for each input, or a file in the output's tables is
        not of scenetags; nothing is replaced.
      OSError: the output cannot be written.
    """
    begun = begun_to_replace(run)
    if begun:
        carry_out(run.output, begun)
    else:
        old = list(table_files(run.output))
        # Again, since files may have come in since the run began.
        check_written_by_us(run, old)
        moves, emptied = _gather(run, accounts, find_unlisted(run) if unlisted is None else unlisted)
        kept = {*(move.target for move in moves), *(posixpath.join(table, NO_ROWS) for table in TABLES)}
        deletions = [*emptied, *(path for path in map(run.relative, old) if path not in kept)]
        columns = stage_columns(run, columns_of(run), moves, deletions)
        conclude(run, Journal(REPLACING, [*moves, *columns, stage_manifest(run, accounts, "done")], deletions))
    storage.delete_folder(run.folder)


def begun_to_replace(run: Run) -> Journal | None:
    """Return the journal of an attempt to replace the rows, once there is one; what is in it is decided."""
    begun = read_journal(run.staging)
    return begun if begun and begun.wave == REPLACING else None


def _gather(run: Run, accounts: Accounts, unlisted: Iterable[Unlisted]) -> tuple[list[Move], list[str]]:
    """Plan where the files of the shadow folder go, without the rows of images that the run did not list.

    Returns:
      What to move, and the files of which a copy with fewer rows is moved instead, or none.
    """
    partly = {storage.join(run.folder, file): digests for file, digests in join_by_file(unlisted)}
    moves, emptied = [], []
    rows = 0
    whole = [path for path in table_files(run.folder) if path not in partly]
    for path, count in zip(whole, read_each(run.folder, count_rows, whole), strict=True):
        rows += count
        moves.append(Move(run.relative(path), posixpath.join(*_last_two(path))))
    for path, digests in sorted(partly.items()):
        table = Unlisted(path, digests).keep_others(read_table(path))
        rows += table.num_rows
        folder, name = _last_two(path)
        emptied.append(run.relative(path))
        if staged := stage_table(run, table, folder):
            moves.append(Move(run.relative(staged), posixpath.join(folder, name)))
    if rows != accounts.inputs:
        raise OutputError(
            f"{run.folder} holds {quantity(rows, 'row')} for {quantity(accounts.inputs, 'input')}: its files were "
            "changed during the run",
            f"delete {run.folder}; the old rows are untouched",
        )
    return moves, emptied


def find_unlisted(run: Run) -> Iterator[Unlisted]:
    """Find the rows that the shadow folder held before the run, of images that it has not listed."""
    earlier = read_earlier(run.folder, run.name)
    for notes in storage.list_files(storage.join(run.staging, _NOTES)):
        with storage.open_to_read(notes) as file:
            while digests := file.read(_BYTES_AT_ONCE):
                earlier.mark_listed(digests)
    return earlier.unlisted()


def _last_two(path: str) -> tuple[str, str]:
    folder, name = posixpath.split(path)
    return posixpath.basename(folder), name
