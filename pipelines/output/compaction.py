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

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.output.footers import FOOTER, Footer, read_footer
from pipelines.output.geography import GEOMETRY, Extent
from pipelines.output.journal import Move
from pipelines.output.run import Run
from pipelines.output.tables import FORMAT, NO_ROWS, ROWS_PER_GROUP, ROWS_PER_REGION, OutputError, open_table
from pipelines.supervision import interruption

MOST_BYTES = 128 << 20
"""Of a file to which others were joined: about a million rows with 17 labels."""

SMALL_BYTES = 8 << 20
"""A file in place of at most this size is always rewritten to take in more rows, which takes a tenth of a second."""

_MOST_TIMES = 32
"""A larger file in place takes in rows only while it has at most so many times their bytes. Files of an archive that is
tagged wave by wave end with 680,000 rows, each of which is rewritten 16 times on average: 14 µs per image."""

_LOOKED_AT = 8
"""Files in place that are looked at, the newest first, for one that the rows may join."""


_Kind = tuple[Sequence[pa.Field], Footer | None]


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
    """Divide new files into groups of at most `MOST_BYTES`, small ones first; a larger file is a group of its own."""
    sizes: dict[str, int] = {}
    for folder in {posixpath.dirname(move.source) for move in moves}:
        sizes |= {run.relative(path): size for path, size in _sizes(run, folder).items()}
    group = _Group([], 0)
    # Another run may have taken over, and deleted what was staged; the commit says so.
    for size, move in sorted((sizes.get(move.source, 0), move) for move in moves):
        if group.moves and group.size + size > MOST_BYTES:
            yield group
            group = _Group([], 0)
        group = _Group([*group.moves, move], group.size + size)
    if group.moves:
        yield group


def _join(run: Run, group: _Group, free: Mapping[str, int]) -> Move | None:
    """Join new files to one another and to a file in place.

    Returns:
      The move of the joined file; None if there is nothing to join.
    """
    new = [storage.join(run.output, move.source) for move in group.moves]
    host = _find_host(run, group, _kind(new[0]), free)
    if host is None and len(new) == 1:
        return None
    target = host or group.moves[0].target
    staged = run.stage(posixpath.basename(posixpath.dirname(target)))
    try:
        _write(staged, [storage.join(run.output, host), *new] if host else new)
    except BaseException:
        # On a full disk, what remains of it would be missing for the manifest.
        with suppress(OSError):
            storage.delete([staged])
        raise
    return Move(run.relative(staged), target)


def _find_host(run: Run, group: _Group, kind: _Kind, free: Mapping[str, int]) -> str | None:
    """Find a file in place that takes in the rows of new files; None if there is none."""
    most = min(MOST_BYTES - group.size, max(SMALL_BYTES, _MOST_TIMES * group.size))
    # Which rows an overwrite gathered earlier is known by their files: its own rows must not come between them.
    begins = run.name if run.overwrite else ""
    fitting = [name for name, size in free.items() if size <= most and posixpath.basename(name).startswith(begins)]
    for name in sorted(fitting, reverse=True)[:_LOOKED_AT]:
        with suppress(OutputError):
            if _kind(storage.join(run.output, name)) == kind:
                return name
    return None


def _kind(path: str) -> _Kind:
    """Return what the rows of joined files have in common: their columns, and what they were made with."""
    with open_table(path) as parquet:
        return list(parquet.schema_arrow), read_footer(parquet.schema_arrow)


def _write(path: str, files: Sequence[str]) -> None:
    """Write the rows of files of one kind to another, in this order."""
    with open_table(files[0]) as parquet:
        schema = pa.schema(list(parquet.schema_arrow))
        schema = schema.with_metadata({FOOTER: parquet.schema_arrow.metadata[FOOTER.encode()]})
    placed = GEOMETRY in schema.names
    extent = Extent()
    with storage.create(path) as file, pq.ParquetWriter(file, schema, **FORMAT) as writer:
        for table in _row_groups(files, ROWS_PER_REGION if placed else ROWS_PER_GROUP):
            extent.add(table)
            writer.write_table(table, row_group_size=table.num_rows)
        if placed:
            writer.add_key_value_metadata(extent.metadata())


def _row_groups(files: Sequence[str], most: int) -> Iterator[pa.Table]:
    """Yield the row groups of files, consecutive small ones as one of at most so many rows.

    Others stay as they are: their statistics are what queries skip rows by.
    """
    waiting: list[pa.Table] = []
    for path in files:
        with open_table(path) as parquet:
            for number in range(parquet.num_row_groups):
                table = parquet.read_row_group(number, use_threads=False).replace_schema_metadata()
                if waiting and sum(map(len, waiting)) + len(table) > most:
                    yield pa.concat_tables(waiting)
                    waiting = []
                waiting.append(table)
    if waiting:
        yield pa.concat_tables(waiting)
