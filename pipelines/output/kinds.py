"""What rows must have in common to be in one output, and what staged ones have."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from pipelines import storage
from pipelines.output.footers import Footer, name_difference, read_footer
from pipelines.output.run import EMPTY, FAILURES, PREDICTIONS, TABLES
from pipelines.output.staged import Contents
from pipelines.output.tables import NO_ROWS, open_table

_NOT_OF: Mapping[str, Sequence[str]] = {
    PREDICTIONS: (),
    EMPTY: ("precision", "thresholds", "rules"),
    FAILURES: ("precision", "thresholds", "rules", "rendering"),
}
"""What the rows of a table are not made with: failures have no pixels, and empty windows no probabilities."""


class StagedRows(NamedTuple):
    """A complete staged file.

    Attributes:
      path: of the file.
      table: that it belongs to.
      rows: number of its rows.
      size: in bytes.
      footer: what they were made with.
      fields: its columns.
      contents: what it says of its rows.
    """

    path: str
    table: str
    rows: int
    size: int
    footer: Footer
    fields: Sequence[pa.Field]
    contents: Contents


@dataclass
class Kind:
    """What rows must have in common to be in one output.

    Attributes:
      folder: of the tables.
      footer: of their files; None as long as there is none.
      fields: columns of each table, as far as they are known.
      undecided: names of fields of the footer that no row depends on yet, as in an output with nothing but failures.
    """

    folder: str
    footer: Footer | None = None
    fields: dict[str, Sequence[pa.Field]] = field(default_factory=dict)
    undecided: Collection[str] = ()

    def difference(self, file: StagedRows) -> str:
        """Say in words how a file's rows were made differently; empty if they were not.

        The first rows of all say what others must have in common with them.
        """
        ours = self.take(file.table, file.footer)
        fields = self.fields.setdefault(file.table, file.fields)
        theirs = file.footer._replace(**{name: getattr(ours, name) for name in _NOT_OF[file.table]})
        if what := name_difference(ours, theirs):
            return f"with different {what}"
        flags = (
            ("--tile", ours.grid, theirs.grid),
            ("--relative_to", ours.relative, theirs.relative),
            ("--embeddings", ours.embedding_size, theirs.embedding_size),
            ("--keep_columns", ours.kept, theirs.kept),
        )
        flag = next((flag for flag, mine, other in flags if mine != other), "")
        if flag:
            return f"with a different {flag}"
        return "with different columns" * (list(fields) != list(file.fields))

    def take(self, table: str, footer: Footer) -> Footer:
        """Let a file of a table say what no other has said yet, and return what all rows have in common."""
        if self.footer is None:
            self.footer, self.undecided = footer, _NOT_OF[table]
        said = [name for name in self.undecided if name not in _NOT_OF[table]]
        self.footer = self.footer._replace(**{name: getattr(footer, name) for name in said})
        self.undecided = [name for name in self.undecided if name not in said]
        return self.footer


def kind_of(folder: str) -> Kind:
    """Return what the rows have in common that a folder of tables holds."""
    kind = Kind(folder)
    for table in TABLES:
        files = storage.list_files(storage.join(folder, table), ".parquet")
        for path in [path for path in files if posixpath.basename(path) != NO_ROWS][:1]:
            with open_table(path) as parquet:
                kind.fields[table] = list(parquet.schema_arrow)
                if footer := read_footer(parquet.schema_arrow):
                    kind.take(table, footer)
    return kind
