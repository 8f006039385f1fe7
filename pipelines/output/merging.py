"""Merge staged files to files as readers of tables want them, before they are committed.

Workers stage many small files: one for each Beam bundle. They merge them, too, side by side, so that the commit finds
few files, which it moves as they are. What cannot be merged, e.g. on a full disk, is committed as it was staged. What
is damaged is left out, so that no reader meets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from pipelines import storage
from pipelines.output import joining
from pipelines.output.run import Accounts, OutputRun
from pipelines.output.tables import OutputError, is_damaged
from pipelines.output.written import StagedFile

MOST_ROWS = 1 << 20
"""Of a merged file; only failures and empty windows, whose rows are small, come to that before `joining.MOST_BYTES`."""

_MOST_FILES = 1000
"""Of a group, which crosses to another worker as a whole, a kilobyte per file."""


class Group(NamedTuple):
    """Staged files of one table, to be merged if there are several."""

    files: tuple[StagedFile, ...]


def plan_merges(files: Iterable[StagedFile]) -> Iterator[Group]:
    """Divide staged files into groups, as they come."""
    weighed = ((_weight(file), file) for file in files)
    for group in joining.divide(weighed, _MOST_FILES, lambda file: file.table):
        yield Group(tuple(group))


def merge(run: OutputRun, group: Group, leave_out: Callable[[StagedFile], object]) -> Iterator[StagedFile]:
    """Write the rows of a group's files to one file, or to one for each kind of rows.

    Every attempt writes files of its own names.

    Args:
      run: that commits them.
      group: of staged files.
      leave_out: called with each file that is damaged, whose rows are in none of the files that are returned.
    """
    left = list(group.files)
    with suppress(OSError):
        while len(left) > 1:
            try:
                merged = _merge(run, left)
            except OutputError:
                # Reading each by itself shows which; one that is whole the second time was badly transferred.
                whole = _whole(left, leave_out)
                if len(whole) == len(left):
                    break
                left = whole
            else:
                yield merged
                taken = set(merged.merged)
                left = [file for file in left if file.staged not in taken]
        if len(left) == 1:
            # No reading of others has shown it.
            left = _whole(left, leave_out)
    yield from left


def _whole(files: Sequence[StagedFile], leave_out: Callable[[StagedFile], object]) -> list[StagedFile]:
    """Return those files that are not damaged, and pass on the others."""
    damaged = [file for file in files if is_damaged(file.staged)]
    for file in damaged:
        leave_out(file)
    return [file for file in files if file not in damaged]


def count_rows(file: StagedFile) -> int:
    """Return the number of rows of a staged file."""
    return file.accounts.predictions + file.accounts.failures + file.accounts.empty


def _weight(file: StagedFile) -> int:
    """Return the size of a file, at least as much as a million rows let it have."""
    if file.superseded:
        # It stays alone: the commit takes its rows apart.
        return joining.MOST_BYTES
    return max(file.size, count_rows(file) * joining.MOST_BYTES // MOST_ROWS)


def _merge(run: OutputRun, files: Sequence[StagedFile]) -> StagedFile:
    """Merge those of the files that are of the kind of the first.

    Raises:
      OutputError: one of the files is damaged.
      OSError: one cannot be read, or the merged one cannot be written.
    """
    table = files[0].table
    path = run.stage_merged(table)
    try:
        joined = joining.join(path, [file.staged for file in files])
    except (OutputError, OSError):
        with suppress(OSError):
            storage.delete([path])
        raise
    taken = set(joined.files)
    accounts = sum((file.accounts for file in files if file.staged in taken), Accounts())
    return StagedFile(path, table, accounts, joined.size, merged=tuple(joined.files))
