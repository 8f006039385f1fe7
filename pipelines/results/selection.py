"""Select rows of an output's predictions by their tags and probabilities.

The condition is SQL, which DuckDB evaluates, but DuckDB does not read the files: it does not verify the checksums of
their pages, so that most flipped bits would be wrong rows. Nor would it reach a bucket as the run did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from pipelines import storage
from pipelines.output.footers import Footer
from pipelines.output.run import PREDICTIONS
from pipelines.output.schema import SCENE_COLUMNS
from pipelines.results import sql
from pipelines.results.expressions import find_label, read_expression
from pipelines.results.outputs import Output

_OF_SCENES = tuple(column.name for column in SCENE_COLUMNS)


@dataclass(frozen=True)
class Selection:
    """Some rows of an output's predictions.

    Attributes:
      output: the output.
      footer: what its rows were made with.
      condition: which rows, in DuckDB's SQL; empty for all.
      labels: that the condition is about.
    """

    output: Output
    footer: Footer
    condition: str
    labels: tuple[str, ...]

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
        return f"{statement}\nWHERE {self.condition};" if self.condition else f"{statement};"

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read columns of the selected rows, piece by piece, in the order of the files.

        Raises:
          NoOutputError: there is no file, one lacks a column, or cannot be read.
          OutputError: a file is damaged.
        """
        schema = self.output.schema()
        needed = ["tags", *self.probabilities] if self.condition else []
        names = list(dict.fromkeys([*columns, *needed]))
        fields = pa.schema([schema.field(name) for name in names], metadata=schema.metadata)
        with duckdb.connect(config={"threads": 1}) as database:
            for batch in self.output.pieces(fields, missing=_OF_SCENES):
                yield (self._filter(database, batch) if self.condition else batch).select(list(columns))

    def _filter(self, database: duckdb.DuckDBPyConnection, batch: pa.RecordBatch) -> pa.RecordBatch:
        database.register("piece", batch.select(["tags", *self.probabilities]))
        chosen = database.execute(f"SELECT coalesce({self.condition}, false) AS chosen FROM piece").fetchnumpy()
        return batch.filter(pa.array(np.asarray(chosen["chosen"], bool)))


def select(
    output: Output,
    expression: str | None,
    least: Mapping[str, float],
    most: Mapping[str, float],
) -> Selection:
    """Select rows.

    Args:
      output: the output.
      expression: over tags; None for all rows.
      least: least probabilities, by label.
      most: largest probabilities, by label.

    Raises:
      ExpressionError: the expression is malformed, or the model does not know a label.
      NoOutputError, OutputError: the output cannot be read as a whole.
    """
    footer = output.footer()
    conditions: list[str] = []
    labels: list[str] = []
    if expression is not None:
        read = read_expression(expression, footer.labels)
        conditions.append(read.condition)
        labels += read.labels
    for flag, sign, bounds in (("--min", ">=", least), ("--max", "<=", most)):
        for name, bound in bounds.items():
            label = find_label(name, footer.labels, f"{flag} {name}={bound:g}")
            column = sql.plain_name(footer.columns[label])
            # As float32, like the probabilities, and like the thresholds of tags.
            conditions.append(f"{column} {sign} CAST({bound!r} AS FLOAT)")
            labels.append(label)
    return Selection(output, footer, " AND ".join(conditions), tuple(dict.fromkeys(labels)))
