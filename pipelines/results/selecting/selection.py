"""Select rows of an output's predictions by their tags and probabilities.

The condition is SQL, which DuckDB evaluates, but DuckDB does not read the files: it does not verify the checksums of
their pages, so that most flipped bits would be wrong rows. Nor would it reach a bucket as the run did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import storage
from pipelines.output.footers import Footer
from pipelines.output.run import PREDICTIONS
from pipelines.output.schema import EMBEDDING, SCENE_COLUMNS
from pipelines.results import sql
from pipelines.results.outputs import Output
from pipelines.results.selecting.expressions import find_label, read_expression
from pipelines.results.selecting.likeness import find_embedding, rank
from pipelines.results.whereabouts import Whereabouts, find_whereabouts

_OF_SCENES = tuple(column.name for column in SCENE_COLUMNS)


class Bound(NamedTuple):
    """A bound of the probability of a label."""

    label: str
    probability: float


@dataclass(frozen=True)
class Selection:
    """Some rows of an output's predictions.

    Attributes:
      output: the output.
      footer: what its rows were made with.
      columns: that its files have.
      rows: number of all its predictions.
      whereabouts: of the images.
      condition: which rows, in DuckDB's SQL; empty for all.
      labels: that the condition is about.
      like: the image that the rows are most like, if they are chosen by that.
      likeness: of each of them to it, -1 to 1, by path, the most alike first.
    """

    output: Output
    footer: Footer
    columns: pa.Schema
    rows: int
    whereabouts: Whereabouts
    condition: str
    labels: tuple[str, ...]
    like: str = ""
    likeness: Mapping[str, float] = field(default_factory=dict)

    @property
    def probabilities(self) -> list[str]:
        """Columns of the probabilities that the condition is about."""
        return [self.footer.columns[label] for label in self.labels]

    def statement(self) -> str:
        """Write the statement that selects the rows, as DuckDB's shell takes it."""
        columns = ", ".join(["path", "tags", *map(sql.plain_name, self.probabilities)])
        files = sql.pattern(storage.join(self.output.path, PREDICTIONS), ".parquet")
        # Folders above the output may be named like the columns of a table that is split by them: `date=2026-01-01`.
        statement = f"SELECT {columns}\nFROM read_parquet({files}, hive_partitioning = false)"
        conditions = [self.condition] if self.condition else []
        if not self.like:
            return f"{statement}{self._where(conditions)};"
        path = sql.text(self.like)
        of_image = f"(SELECT embedding FROM read_parquet({files}, hive_partitioning = false) WHERE path = {path})"
        order = f"ORDER BY list_cosine_similarity(embedding, {of_image}) DESC LIMIT {len(self.likeness)}"
        return f"{statement}{self._where([*conditions, f'path <> {path}'])}\n{order};"

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read columns of the selected rows, piece by piece, in the order of the files; those most like an image first.

        Raises:
          NoOutputError: there is no file, one lacks a column, or cannot be read.
          OutputError: a file is damaged.
        """
        if not self.like:
            yield from self._read(columns)
            return
        places = {path: place for place, path in enumerate(self.likeness)}
        found = [
            batch.filter(pc.is_in(batch.column("path"), pa.array(places, pa.string())))
            for batch in self._read(list(dict.fromkeys([*columns, "path"])))
        ]
        rows = pa.Table.from_batches(found)
        order = np.argsort([places[path] for path in rows.column("path").to_pylist()])
        yield from rows.take(pa.array(order)).select(list(columns)).combine_chunks().to_batches()

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        needed = ["tags", *self.probabilities] if self.condition else []
        names = list(dict.fromkeys([*columns, *needed]))
        fields = pa.schema([self.columns.field(name) for name in names], metadata=self.columns.metadata)
        with duckdb.connect(config={"threads": 1}) as database:
            for batch in self.output.pieces(fields, missing=_OF_SCENES, made_with=self.footer):
                yield (self._filter(database, batch) if self.condition else batch).select(list(columns))

    def first_and_last(self) -> tuple[str, str] | None:
        """Return the first and the last place of all images, selected or not; None if there are none.

        Raises:
          OutputError: a file is damaged.
        """
        ends: list[str] = []
        for batch in self.output.pieces(pa.schema([("path", pa.string())])):
            found = pc.min_max(batch.column("path")).as_py()
            ends += [path for path in found.values() if path is not None]
            ends = [min(ends), max(ends)] if ends else []
        return (self.whereabouts.whole(ends[0]), self.whereabouts.whole(ends[1])) if ends else None

    @staticmethod
    def _where(conditions: Sequence[str]) -> str:
        return f"\nWHERE {' AND '.join(conditions)}" if conditions else ""

    def _filter(self, database: duckdb.DuckDBPyConnection, batch: pa.RecordBatch) -> pa.RecordBatch:
        database.register("piece", batch.select(["tags", *self.probabilities]))
        chosen = database.execute(f"SELECT coalesce({self.condition}, false) AS chosen FROM piece").fetchnumpy()
        return batch.filter(pa.array(np.asarray(chosen["chosen"], bool)))


def select(
    output: Output,
    expression: str | None,
    least: Sequence[Bound] = (),
    most: Sequence[Bound] = (),
    folder: str | None = None,
) -> Selection:
    """Select rows.

    Args:
      output: the output.
      expression: over tags; None for all rows.
      least: least probabilities.
      most: largest probabilities.
      folder: below which the images are now, if rows have only the rest of their paths; None for that of the last run.

    Raises:
      ExpressionError: the expression is malformed, or the model does not know a label.
      NoOutputError, OutputError: the output cannot be read as a whole.
    """
    head = output.head()
    footer = head.footer
    conditions: list[str] = []
    labels: list[str] = []
    if expression is not None:
        read = read_expression(expression, footer.labels)
        conditions.append(read.condition)
        labels += read.labels
    for flag, sign, bounds in (("--min", ">=", least), ("--max", "<=", most)):
        for name, probability in bounds:
            label = find_label(name, footer.labels, f"{flag} {name}={probability:g}")
            column = sql.plain_name(footer.columns[label])
            # As float32, like the probabilities, and like the thresholds of tags.
            conditions.append(f"{column} {sign} CAST({probability!r} AS FLOAT)")
            labels.append(label)
    whereabouts = find_whereabouts(output, footer, folder)
    condition = " AND ".join(conditions)
    return Selection(output, footer, head.columns, head.rows, whereabouts, condition, tuple(dict.fromkeys(labels)))


def most_like(selection: Selection, image: str, top: int) -> Selection:
    """Narrow a selection down to the images that look most like one.

    Args:
      selection: of rows.
      image: path of an image of the output, selected or not.
      top: number of images.

    Raises:
      NoOutputError: the output has no embeddings, or not this image.
      OutputError: a file is damaged.
    """
    spellings = [image]
    with suppress(storage.UnsupportedStorageError):
        whole = storage.normalize(image)
        spellings += [whole, whole.removeprefix(f"{selection.whereabouts.folder}/")]
    path, embedding = find_embedding(selection.output, selection.columns, spellings)
    likeness = rank(selection.read(["path", EMBEDDING.name]), path, embedding, top)
    return replace(selection, like=path, likeness=likeness)
