"""What a run has staged that ended before it committed it: which files are whole, and what a commit takes of them."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import pyarrow as pa

from pipelines import storage
from pipelines.output.duplicates import without_duplicates
from pipelines.output.footers import read_footer
from pipelines.output.kinds import StagedRows
from pipelines.output.placing import stage_table
from pipelines.output.run import EMPTY, FAILURES, PREDICTIONS, TABLES, Accounts, OutputRun
from pipelines.output.staged import Contents, is_complete, read_contents
from pipelines.output.tables import OutputError, is_damaged, open_table, read_each, read_table
from pipelines.output.written import StagedFile, Superseded
from pipelines.supervision import interruption

_PREFERRED = (PREDICTIONS, EMPTY, FAILURES)
"""Tables in the order in which they keep the row of an image that several attempts have staged."""


@dataclass(frozen=True)
class DeadRun(OutputRun):
    """A run that has ended before it committed all of its rows.

    Attributes:
      shadow: folder of its tables, relative to the output; empty if it is the output itself.
      since: name of the oldest run that is recovered with it.
    """

    shadow: str = field(default="", kw_only=True)
    since: str = field(kw_only=True)

    @property
    def folder(self) -> str:
        """Folder of the tables."""
        return storage.join(self.output, self.shadow) if self.shadow else self.output


def staged_by(dead: DeadRun) -> tuple[list[StagedRows], list[str]]:
    """Return what a run has staged completely, and the names of those files among it that are damaged.

    Those files come first that keep a row of which there are several.
    """
    folders = (storage.join(dead.staging, table) for table in _PREFERRED)
    sizes = [item for folder in folders for item in storage.list_sizes(folder, ".parquet").items()]
    found = [file for file in read_each(dead.output, partial(_look_at, dead), sizes) if file]
    return [file for file in found if not isinstance(file, str)], [path for path in found if isinstance(path, str)]


def _look_at(dead: DeadRun, sized: tuple[str, int]) -> StagedRows | str | None:
    """Describe a staged file.

    Returns:
      Its name if it is damaged; None if it is incomplete, made of others, or leads out of the output.
    """
    path, size = sized
    interruption.check()
    if storage.leads_away(dead.output, path):
        return None
    try:
        with open_table(path) as parquet:
            footer, fields = read_footer(parquet.schema_arrow), list(parquet.schema_arrow)
            contents, rows = read_contents(parquet.metadata.metadata or {}), parquet.metadata.num_rows
            if not footer or not contents or not {"path", "run"} <= {field.name for field in fields}:
                return None
            # A bucket holds whole objects. What a power failure has left of a file may look complete at both ends.
            # The commit reads those whole that replace older rows.
            columns = ["path"] if storage.is_remote(path) and not contents.replaces else None
            for batch in parquet.iter_batches(columns=columns, use_threads=False):
                paths = batch.column("path")
                paths.validate(full=True)
                if paths.null_count:
                    return None
    except OutputError:
        return path if is_complete(path, size) else None
    except FileNotFoundError:
        return None
    return StagedRows(path, posixpath.basename(posixpath.dirname(path)), rows, size, footer, fields, contents)


def taken_of(dead: DeadRun, file: StagedRows, lost: Collection[bytes] | None, damaged: list[str]) -> StagedFile | None:
    """Describe what a commit takes of a staged file; None if that is nothing, e.g. as the file is damaged."""
    try:
        if lost is not None:
            return _without(dead, file, lost)
        return StagedFile(file.path, file.table, _counted(file), file.size, _named_by(file.contents))
    except OutputError:
        if not is_damaged(file.path):
            raise
    damaged.append(file.path)
    return None


def _without(dead: DeadRun, file: StagedRows, lost: Collection[bytes]) -> StagedFile | None:
    """Stage the rows of a file once more, without those that others keep; return None if none remain."""
    table = without_duplicates(read_table(file.path), lost)
    staged = stage_table(dead, table, file.table)
    if not staged:
        return None
    paths = set(table["path"].to_pylist())
    named = tuple(row for row in _named_by(file.contents) if row.path in paths)
    return StagedFile(staged, file.table, _count(table, file.table), file.size, named)


def _named_by(contents: Contents) -> tuple[Superseded, ...]:
    return tuple(Superseded(path, file) for path, file in contents.replaces.items())


def _counted(file: StagedRows) -> Accounts:
    """Return the accounts of a file's rows: its own, or the rows are counted where these cannot be right."""
    counts = file.contents.accounts
    in_tables = {PREDICTIONS: counts.predictions, FAILURES: counts.failures, EMPTY: counts.empty}
    right = in_tables == {**dict.fromkeys(TABLES, 0), file.table: file.rows} and not counts.inputs + counts.skipped
    return counts if right else _count(read_table(file.path), file.table)


def _count(table: pa.Table, name: str) -> Accounts:
    """Count rows; what was measured of their images is not in them."""
    if name == PREDICTIONS:
        tags, repairs = (Counter(chain.from_iterable(table[column].to_pylist())) for column in ("tags", "repairs"))
        return Accounts(predictions=len(table), tags=tags, repairs=repairs)
    if name == EMPTY:
        return Accounts(empty=len(table))
    errors = zip(table["stage"].to_pylist(), table["error"].to_pylist(), strict=True)
    return Accounts(failures=len(table), errors=Counter(f"{stage}: {error}" for stage, error in errors))
