"""Select rows of an output's predictions by their tags, their probabilities, and how strange their images are.

The condition is SQL, which DuckDB evaluates, but DuckDB does not read the files: it does not verify the checksums of
their pages, so that most flipped bits would be wrong rows. Nor would it reach a bucket as the run did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import storage
from pipelines.inference.reference import LEAST_IMAGES
from pipelines.output.footers import Footer
from pipelines.output.run import PREDICTIONS
from pipelines.output.schema import EMBEDDING, NOVELTY, SCENE_COLUMNS
from pipelines.results import sql
from pipelines.results.files import Head, NoOutputError
from pipelines.results.outputs import Output
from pipelines.results.selecting.expressions import check_tag, read_expression
from pipelines.results.selecting.likeness import find_embedding, score_likeness
from pipelines.results.selecting.ranking import Ranking, rank, score_novelty
from pipelines.results.whereabouts import Whereabouts, find_whereabouts

_OPTIONAL = (NOVELTY.name, *(column.name for column in SCENE_COLUMNS))
"""Columns that some files of an output may lack."""

_BY_SQL = "use SQL: add a condition to the statement that --sql prints, or load the table as scenetags ddl says"


class Bound(NamedTuple):
    """A bound of the probability of a label."""

    label: str
    probability: float


class Novelty(NamedTuple):
    """Bounds of how strange images are.

    Attributes:
      least: least novelty; None for any.
      most: largest novelty; None for any.
    """

    least: float | None = None
    most: float | None = None


ANY_NOVELTY = Novelty()


class Shown(NamedTuple):
    """A column that a selection is about.

    Attributes:
      heading: of the column where it is shown.
      name: of the column.
    """

    heading: str
    name: str


_NOVELTY = Shown(NOVELTY.name, NOVELTY.name)


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
      shown: columns that the condition and the ranking are about.
      ranking: their order; None for that of the files.
    """

    output: Output
    footer: Footer
    columns: pa.Schema
    rows: int
    whereabouts: Whereabouts
    condition: str
    shown: tuple[Shown, ...]
    ranking: Ranking | None = None

    def statement(self) -> str:
        """Write the statement that selects the rows, as DuckDB's shell takes it."""
        columns = ", ".join(["path", "tags", *(sql.plain_name(column.name) for column in self.shown)])
        lines = [f"SELECT {columns}", f"FROM {self.table}", *[f"WHERE {self.condition}"] * bool(self.condition)]
        if self.ranking:
            lines.append(f"ORDER BY {self.ranking.order} DESC NULLS LAST, path LIMIT {len(self.ranking.scores)}")
        return "\n".join(lines) + ";"

    @property
    def table(self) -> str:
        """The output's predictions, as an expression of DuckDB's SQL."""
        files = sql.pattern(storage.join(self.output.path, PREDICTIONS), ".parquet")
        # Folders above the output may be named like the columns of a table that is split by them: `date=2026-01-01`.
        return f"read_parquet({files}, hive_partitioning = false)"

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read columns of the selected rows, piece by piece, in the order of the files or of the ranking.

        Raises:
          NoOutputError: there is no file, one lacks a column, or cannot be read.
          OutputError: a file is damaged.
        """
        if not self.ranking:
            yield from self._read(columns)
            return
        places = {path: place for place, path in enumerate(self.ranking.scores)}
        found = [
            batch.filter(pc.is_in(batch.column("path"), pa.array(places, pa.string())))
            for batch in self._read(list(dict.fromkeys([*columns, "path"])))
        ]
        if not found:
            return
        rows = pa.Table.from_batches(found)
        order = np.argsort([places[path] for path in rows.column("path").to_pylist()])
        yield from rows.take(pa.array(order)).select(list(columns)).combine_chunks().to_batches()

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        needed = self._needed if self.condition else []
        names = list(dict.fromkeys([*columns, *needed]))
        fields = pa.schema([self.columns.field(name) for name in names], metadata=self.columns.metadata)
        with duckdb.connect(config={"threads": 1}) as database:
            for batch in self.output.pieces(fields, missing=_OPTIONAL, made_with=self.footer):
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

    @property
    def _needed(self) -> list[str]:
        """Columns that the condition needs."""
        return ["path", "tags", *(column.name for column in self.shown)]

    def _filter(self, database: duckdb.DuckDBPyConnection, batch: pa.RecordBatch) -> pa.RecordBatch:
        database.register("piece", batch.select(self._needed))
        chosen = database.execute(f"SELECT coalesce({self.condition}, false) AS chosen FROM piece").fetchnumpy()
        return batch.filter(pa.array(np.asarray(chosen["chosen"], bool)))


def select(
    output: Output,
    expression: str | None,
    least: Sequence[Bound] = (),
    most: Sequence[Bound] = (),
    novelty: Novelty = ANY_NOVELTY,
    folder: str | None = None,
) -> Selection:
    """Select rows.

    Args:
      output: the output.
      expression: over tags; None for all rows.
      least: least probabilities.
      most: largest probabilities.
      novelty: bounds of it.
      folder: below which the images are now, if rows have only the rest of their paths; None for that of the last run.

    Raises:
      ExpressionError: the expression is malformed, or names a column.
      UnknownLabelError: the model does not know a label.
      NoOutputError: the output cannot be read as a whole, or does not say how strange its images are.
      OutputError: a file is damaged.
    """
    head = output.head()
    footer = head.footer
    columns = _ways_to_columns(head)
    conditions: list[str] = []
    labels: list[str] = []
    if expression is not None:
        read = read_expression(expression, footer.labels, columns)
        conditions.append(read.condition)
        labels += read.labels
    for flag, sign, bounds in (("--min", ">=", least), ("--max", "<=", most)):
        for name, probability in bounds:
            label = check_tag(name, footer.labels, columns, f"{flag} {name}={probability:g}")
            column = sql.plain_name(footer.columns[label])
            # As float32, like the probabilities, and like the thresholds of tags.
            conditions.append(f"{column} {sign} CAST({probability!r} AS FLOAT)")
            labels.append(label)
    of_novelty = [
        f"{NOVELTY.name} {sign} CAST({bound!r} AS FLOAT)"
        for sign, bound in ((">=", novelty.least), ("<=", novelty.most))
        if bound is not None
    ]
    if of_novelty:
        _require_novelty(output, head)
    shown = [Shown(label, footer.columns[label]) for label in dict.fromkeys(labels)]
    return Selection(
        output,
        footer,
        head.columns,
        head.rows,
        find_whereabouts(output, footer, folder),
        " AND ".join([*conditions, *of_novelty]),
        (*[_NOVELTY] * bool(of_novelty), *shown),
    )


def _ways_to_columns(head: Head) -> Mapping[str, str]:
    """Say for each column of the rows what asks for it: an expression is of tags alone."""
    return {
        **dict.fromkeys(head.columns.names, _BY_SQL),
        NOVELTY.name: "use --min_novelty or --max_novelty",
        **{column: f"use --min {label}=P or --max {label}=P" for label, column in head.footer.columns.items()},
    }


def strangest(selection: Selection, top: int) -> Selection:
    """Narrow a selection down to the images that are strangest compared with the model's training images.

    Args:
      selection: of rows.
      top: number of images.

    Raises:
      NoOutputError: the output does not say how strange its images are.
      OutputError: a file is damaged.
    """
    _require_novelty(selection.output, Head(selection.footer, selection.columns, selection.rows))
    scores = rank(score_novelty(selection.read(["path", NOVELTY.name])), top)
    shown = tuple(dict.fromkeys([_NOVELTY, *selection.shown]))
    return replace(selection, shown=shown, ranking=Ranking(NOVELTY.name, scores))


def _require_novelty(output: Output, head: Head) -> None:
    if not head.has_novelty:
        raise NoOutputError(
            f"{output.path} does not say how strange its images are: the model's bundle has no statistics of its "
            "training images",
            f"train a bundle with this version, on at least {LEAST_IMAGES} images, and tag with it",
        )


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
    text = sql.text(path)
    others = [*[selection.condition] * bool(selection.condition), f"path <> {text}"]
    selection = replace(selection, condition=" AND ".join(others))
    scores = rank(score_likeness(selection.read(["path", EMBEDDING.name]), embedding), top)
    of_image = f"(SELECT embedding FROM {selection.table} WHERE path = {text})"
    order = f"list_cosine_similarity(embedding, {of_image})"
    return replace(selection, ranking=Ranking(order, scores, "like"))
