"""Join files of a table, or rewrite one with other rows: which may be joined, and the writing by row groups."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.output.footers import FOOTER, Footer, read_footer
from pipelines.output.geography import GEOMETRY, Extent, as_geoparquet
from pipelines.output.tables import PARQUET_OPTIONS, ROWS_PER_GROUP, ROWS_PER_REGION, open_table, read_each

MOST_BYTES = 128 << 20
"""Of a file to which others were joined: about a million rows with 17 labels."""

_Item = TypeVar("_Item")


class Layout(NamedTuple):
    """What the rows of joined files have in common.

    Attributes:
      columns: of the table.
      footer: what the rows were made with.
    """

    columns: list[pa.Field]
    footer: Footer | None


def layout_of(parquet: pq.ParquetFile) -> Layout:
    """Return the layout of a file's rows."""
    return Layout(list(parquet.schema_arrow), read_footer(parquet.schema_arrow))


def divide(
    files: Iterable[tuple[int, _Item]], most_files: int = 0, apart: Callable[[_Item], str] = lambda _: ""
) -> Iterator[list[_Item]]:
    """Divide files into groups to join, of at most `MOST_BYTES` each.

    Nothing is gained by rewriting a file of more than half of that: it is a group of its own. So the others fill their
    groups by half at least, in whatever order they come.

    Args:
      files: with their sizes in bytes.
      most_files: of a group; 0 for any number.
      apart: returns what files of one group have in common, e.g. their table.
    """
    groups: dict[str, list[_Item]] = defaultdict(list)
    sizes: Counter[str] = Counter()
    for size, file in files:
        if 2 * size > MOST_BYTES:
            yield [file]
            continue
        of = apart(file)
        if groups[of] and (sizes[of] + size > MOST_BYTES or len(groups[of]) == most_files):
            yield groups.pop(of)
            sizes[of] = 0
        groups[of].append(file)
        sizes[of] += size
    yield from groups.values()


class Joined(NamedTuple):
    """A file with the rows of others.

    Attributes:
      files: the others.
      size: in bytes.
    """

    files: Sequence[str]
    size: int


def join(path: str, files: Sequence[str]) -> Joined:
    """Write the rows of files to another, in this order; leave out those of another layout than the first.

    A few row groups are in memory at a time, whatever the size of the files.

    Raises:
      OutputError: one of the files is damaged.
      OSError: one cannot be read, or the other cannot be written.
    """
    with open_table(files[0]) as parquet:
        layout, schema = layout_of(parquet), _schema_of(parquet)
    joined: list[str] = []
    size = _write(path, schema, _rows_laid_out(files, layout, joined))
    return Joined(joined, size)


def rewrite(path: str, file: str, leaving: Sequence[str], newer: Sequence[pa.Table]) -> bool:
    """Write the rows of a file to another, without those of some images, and newer rows behind them.

    Of the file, a few row groups are in memory at a time.

    Returns:
      Whether there are any rows; otherwise no file is written.

    Raises:
      OutputError: the file is damaged.
      OSError: it cannot be read, or the other cannot be written.
    """
    with open_table(file) as parquet:
        gone = pa.array(leaving, pa.string())
        kept = (table.filter(pc.invert(pc.is_in(table["path"], value_set=gone))) for table in _row_groups(parquet))
        rows = filter(len, chain(kept, (table.replace_schema_metadata() for table in newer)))
        first = next(rows, None)
        if first is not None:
            _write(path, _schema_of(parquet), chain([first], rows))
    return first is not None


def _schema_of(parquet: pq.ParquetFile) -> pa.Schema:
    """Return the schema of files that take over rows of a file: with its footer, and nothing else that it says."""
    schema = parquet.schema_arrow
    return as_geoparquet(pa.schema(list(schema), {FOOTER: schema.metadata[FOOTER.encode()]}))


def _write(path: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """Write tables to a file, consecutive small ones as one row group, and return its size in bytes."""
    placed = GEOMETRY in schema.names
    extent = Extent()
    with storage.create(path) as file:
        with pq.ParquetWriter(file, schema, **PARQUET_OPTIONS) as writer:
            for table in _regrouped(tables, ROWS_PER_REGION if placed else ROWS_PER_GROUP):
                extent.add(table)
                writer.write_table(table, row_group_size=table.num_rows)
            if placed:
                writer.add_key_value_metadata(extent.metadata())
        return file.tell()


def _rows_laid_out(files: Sequence[str], layout: Layout, joined: list[str]) -> Iterator[pa.Table]:
    """Yield the row groups of those files that have a layout, and name them."""
    # In a bucket, a small file is fetched when it is opened.
    for path, file in zip(files, read_each(files[0], storage.open_to_read, files), strict=True):
        with open_table(path, file) as parquet:
            if layout_of(parquet) == layout:
                joined.append(path)
                yield from _row_groups(parquet)


def _row_groups(parquet: pq.ParquetFile) -> Iterator[pa.Table]:
    for number in range(parquet.num_row_groups):
        yield parquet.read_row_group(number, use_threads=False).replace_schema_metadata()


def _regrouped(tables: Iterable[pa.Table], most: int) -> Iterator[pa.Table]:
    """Yield tables, consecutive small ones as one of at most so many rows.

    Others stay as they are: their statistics are what queries skip rows by.
    """
    waiting: list[pa.Table] = []
    for table in tables:
        if waiting and sum(map(len, waiting)) + len(table) > most:
            yield pa.concat_tables(waiting)
            waiting = []
        waiting.append(table)
    if waiting:
        yield pa.concat_tables(waiting)
