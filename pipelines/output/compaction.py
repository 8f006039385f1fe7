"""Join small files to larger ones within a commit: readers of tables want few files of about 100 MB.

The files of a commit are joined to one another before any of their rows is visible, and to a file in place by one move,
which replaces that file. So a plain `SELECT` sees each row once at any time. If several files in place made way for a
new one, it would see rows twice for a moment, and after a crash until the next run.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

from pipelines import storage
from pipelines.output import joining
from pipelines.output.run import MERGED, Run
from pipelines.output.tables import NO_ROWS, OutputError, open_table
from pipelines.storage import Move
from pipelines.supervision import interruption

SMALL_BYTES = 8 << 20
"""A file in place of at most this size is always rewritten to take in more rows, which takes a tenth of a second."""

_MOST_TIMES = 32
"""A larger file in place takes in rows only while it has at most so many times their bytes. Files of an archive that is
tagged wave by wave end with 680,000 rows, each of which is rewritten 16 times on average: 14 µs per image."""

_LOOKED_AT = 8
"""Files in place that are looked at, the newest first, for one that the rows may join."""


class _Group(NamedTuple):
    """New files that are joined.

    Attributes:
      moves: of them.
      size: of all of them, in bytes.
    """

    moves: Sequence[Move]
    size: int


def compact(run: Run, moves: Sequence[Move], deletions: Collection[str]) -> list[Move]:
    """Join new files of a commit to one another, and to files in place.

    Files that cannot be joined are moved as they are: with a full disk, or next to a damaged file, a run still commits
    its rows. A run that was asked to stop does not wait for larger files either.

    Args:
      run: of the job.
      moves: of files of the tables.
      deletions: of files in place.

    Returns:
      The moves in place of `moves`.
    """
    if interruption.asked():
        return list(moves)
    by_folder: dict[str, list[Move]] = defaultdict(list)
    for move in moves:
        by_folder[posixpath.dirname(move.target)].append(move)
    tables = [_compact_table(run, folder, those, deletions) for folder, those in by_folder.items()]
    # New rows first: one that leaves another table is then visible in both for a moment, and never in neither.
    return [*chain.from_iterable(new for new, _ in tables), *chain.from_iterable(rewritten for _, rewritten in tables)]


def _compact_table(
    run: Run, folder: str, moves: Sequence[Move], deletions: Collection[str]
) -> tuple[list[Move], list[Move]]:
    """Return the moves of new rows into one folder, and those of files that were rewritten without older rows."""
    in_place = {run.relative(path): size for path, size in _sizes(run, folder).items()}
    new = [move for move in moves if move.target not in in_place]
    rewritten = [move for move in moves if move.target in in_place]
    busy = {posixpath.join(folder, NO_ROWS), *(move.target for move in rewritten), *deletions}
    free = {name: size for name, size in in_place.items() if name not in busy}
    compacted: list[Move] = []
    for group in _divide(run, new):
        joined = None
        with suppress(OutputError, OSError):
            joined = _join(run, group, free)
        compacted += [joined] if joined else group.moves
        if joined:
            free.pop(joined.target, None)
    return compacted, rewritten


def _sizes(run: Run, folder: str) -> Mapping[str, int]:
    return storage.list_sizes(storage.join(run.output, folder), ".parquet")


def _divide(run: Run, moves: Sequence[Move]) -> Iterator[_Group]:
    """Divide new files into groups to join, small ones first."""
    sizes: dict[str, int] = {}
    for folder in {posixpath.dirname(move.source) for move in moves}:
        sizes |= {run.relative(path): size for path, size in _sizes(run, folder).items()}
    for move in moves:
        if f"/{MERGED}/" in move.source and sizes.get(move.source, 0) > SMALL_BYTES:
            # It has as many rows as a file takes, or they are the last ones: workers have seen to that, side by side.
            sizes[move.source] = joining.MOST_BYTES
    # Another run may have taken over, and deleted what was staged; the commit says so.
    for group in joining.divide(sorted((sizes.get(move.source, 0), move) for move in moves)):
        yield _Group(group, sum(sizes.get(move.source, 0) for move in group))


def _join(run: Run, group: _Group, free: Mapping[str, int]) -> Move | None:
    """Join new files to one another and to a file in place.

    Returns:
      The move of the joined file; None if there is nothing to join.
    """
    new = [storage.join(run.output, move.source) for move in group.moves]
    host = _find_host(run, group, free)
    if host is None and len(new) == 1:
        return None
    target = host or group.moves[0].target
    staged = run.stage(posixpath.basename(posixpath.dirname(target)))
    files = [storage.join(run.output, host), *new] if host else new
    try:
        if len(joining.join(staged, files).files) < len(files):
            raise OutputError("staged files are of several kinds")
    except BaseException:
        # On a full disk, what remains of it would be missing for the manifest.
        with suppress(OSError):
            storage.delete([staged])
        raise
    return Move(run.relative(staged), target)


def _find_host(run: Run, group: _Group, free: Mapping[str, int]) -> str | None:
    """Find a file in place that takes in the rows of new files; None if there is none."""
    most = min(joining.MOST_BYTES - group.size, max(SMALL_BYTES, _MOST_TIMES * group.size))
    # Which rows an overwrite gathered earlier is known by their files: its own rows must not come between them.
    begins = run.name if run.overwrite else ""
    fitting = [name for name, size in free.items() if size <= most and posixpath.basename(name).startswith(begins)]
    layout = _layout(run, group.moves[0].source) if fitting else None
    for name in sorted(fitting, reverse=True)[:_LOOKED_AT]:
        with suppress(OutputError):
            if _layout(run, name) == layout:
                return name
    return None


def _layout(run: Run, name: str) -> joining.Layout:
    with open_table(storage.join(run.output, name)) as parquet:
        return joining.layout_of(parquet)
