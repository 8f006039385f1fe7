"""Check whether a run may add its rows to those in the output, or replace them."""

from __future__ import annotations

import os
import posixpath
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import NamedTuple

import pyarrow as pa

from pipelines import storage
from pipelines.output.arrow import make_schema
from pipelines.output.footers import Footer, probability_columns, read_footer
from pipelines.output.journal import staging_folders
from pipelines.output.kinds import Kind
from pipelines.output.run import EMPTY, FAILURES, PREDICTIONS, STAGING, TABLES, Run
from pipelines.output.schema import (
    EMBEDDING,
    EMPTY_COLUMNS,
    FAILURE_COLUMNS,
    NOVELTY,
    PREDICTION_COLUMNS,
    SCENE_COLUMNS,
    Column,
    failure_columns,
    prediction_columns,
)
from pipelines.output.staged import holds_rows, look_at
from pipelines.output.tables import NO_ROWS, OutputError, check_folders, count_rows, open_table, read_each, table_files
from pipelines.supervision.packages import version

_KNOWN: Mapping[str, Sequence[Column]] = {
    PREDICTIONS: (*PREDICTION_COLUMNS, NOVELTY, EMBEDDING, *SCENE_COLUMNS),
    FAILURES: FAILURE_COLUMNS,
    EMPTY: EMPTY_COLUMNS,
}

_IN_EVERY_VERSION = {"path", "fingerprint", "model", "run"}


class _Sample(NamedTuple):
    """A staged file, which is like all others of its run and its table.

    Attributes:
      run: name of that run.
      path: of the file.
      footer: what its rows were made with.
      fields: its columns.
    """

    run: str
    path: str
    footer: Footer
    fields: Sequence[pa.Field]


def check_output(run: Run) -> None:
    """Verify that a run may write to its output.

    Raises:
      OutputError: a file in it is damaged, was not written by scenetags, or is where its rows are not looked for; or,
        without `overwrite`, its rows, or those that a dead run has staged for it, were made with a different model,
        different thresholds or different columns.
    """
    check_folders(run.output)
    _check_kept(run)
    expected = _expected(run)
    if run.overwrite:
        check_written_by_us(run, table_files(run.output))
    list(read_each(run.output, partial(_check_joins, run, expected), table_files(run.folder)))
    for sample in () if run.overwrite else _staged_samples(run):
        try:
            _check_alike(run, expected, sample.path, sample.footer, sample.fields)
        except OutputError as error:
            remedy = f"repeat its command to resume it, commit them with `scenetags recover {run.output}`"
            if _holds_predictions(run):
                # This run fits these, so the staged rows do not, and neither that command nor this one takes them.
                staging = posixpath.dirname(posixpath.dirname(sample.path))
                remedy = f"delete {staging} to have its images tagged again"
            raise OutputError(
                f"run {sample.run} staged rows and ended before it committed them: {error.message}",
                f"{remedy}, choose another --output, or replace them with --overwrite",
            ) from None


def kind_of_run(run: Run) -> Kind:
    """Return what the rows have in common that a run would write."""
    return Kind(run.folder, read_footer(make_schema(prediction_columns(run), run)), _expected(run))


def first_footer(run: Run) -> Footer | None:
    """Return what the first file of the predictions that a run would add to was made with.

    Where the output has none, this is a file that a dead run has staged for it.

    Returns:
      None if there is none, or if the run overwrites the output; without a precision if the file has no rows.

    Raises:
      OutputError: the file is damaged, or was not written by scenetags.
    """
    if run.overwrite:
        return None
    of_none = None
    for path in storage.list_files(storage.join(run.folder, PREDICTIONS), ".parquet")[:1]:
        footer, _ = describe_file(run.output, path)
        if posixpath.basename(path) != NO_ROWS or count_rows(path):
            return footer
        of_none = footer._replace(precision="")
    staged = (sample.footer for sample in _staged_samples(run) if _table_of(sample.path) == PREDICTIONS)
    return next(staged, of_none)


def as_retagged(run: Run, footer: Footer | None, explicit: bool) -> Run:
    """Let a run tag its images as `scenetags retag` has tagged those in the output.

    Args:
      run: about to begin.
      footer: of the first file of the predictions.
      explicit: whether its thresholds were asked for; then those of the output are taken only if they are the same.

    Returns:
      The run; unchanged if nothing was retagged, or for a different bundle.
    """
    if footer is None or not footer.retagged or footer.bundle != run.bundle.digest:
        return run
    if explicit and footer.thresholds != run.thresholds:
        return run
    return replace(run, thresholds=footer.thresholds, rules=footer.rules, retagged=True)


def _check_kept(run: Run) -> None:
    """Verify that no column of the list has the name of one of the output's, as programs see it that ignore case."""
    ours = [column.name for columns in _KNOWN.values() for column in columns]
    ours += [*probability_columns(run.bundle.labels).values(), *(column.name for column in SCENE_COLUMNS)]
    taken = set(map(str.lower, ours))
    kept: dict[str, str] = {}
    for name, _ in run.kept:
        if name.lower() in taken:
            raise OutputError(
                f"--keep_columns: the output already has a column {name}",
                "rename yours in the list, or leave it out of --keep_columns",
            )
        if twin := kept.get(name.lower()):
            raise OutputError(
                f"--keep_columns: many programs take {twin} and {name} for one column",
                "rename one in the list, or leave it out of --keep_columns",
            )
        kept[name.lower()] = name


def check_written_by_us(run: Run, files: Iterable[str]) -> None:
    """Verify that a run may delete files of its output's tables.

    Raises:
      OutputError: one is damaged, or was not written by scenetags.
    """
    list(read_each(run.output, partial(describe_file, run.output), files))


def describe_file(output: str, path: str) -> tuple[Footer, Sequence[pa.Field]]:
    """Return the footer and the columns of a file of an output.

    Raises:
      OutputError: it is damaged, or scenetags did not write it.
    """
    if not path.isascii() and path != os.fsencode(path).decode(errors="replace"):
        raise OutputError(f"output {output} holds {path!a}, whose name is not UTF-8", "rename that file")
    with open_table(path) as parquet:
        schema = parquet.schema_arrow
        fields = list(schema)
        footer = read_footer(schema)
    if footer is None or not _are_ours(_table_of(path), footer, fields):
        raise OutputError(
            f"output {output} holds {path}, which scenetags did not write",
            "move it elsewhere, or choose another --output",
        )
    return footer, fields


def _are_ours(table: str, footer: Footer, fields: Sequence[pa.Field]) -> bool:
    """Return whether scenetags, of any version, may have written these columns."""
    names = [field.name for field in fields]
    probabilities = set(footer.columns.values()) if table == PREDICTIONS else set()
    kept = {column.name for column in footer.kept} if table != EMPTY else set()
    known = {column.name for column in _KNOWN[table]} | probabilities | kept
    strange = set(names) - known if footer.version == version("scenetags") else set()
    complete = set(names) >= _IN_EVERY_VERSION | probabilities
    texts = all(str(field.type) == "string" for field in fields if field.name in _IN_EVERY_VERSION)
    return complete and texts and not strange and len(names) == len(set(names))


def _staged_samples(run: Run) -> Iterator[_Sample]:
    """Yield a file of each table that each dead run has staged for the output, of those that are whole."""
    for staging in staging_folders(run.output):
        announced = None if storage.leads_away(run.output, staging) else look_at(staging)
        # What an overwrite has staged joins nothing but its shadow folder.
        if staging == run.staging or not announced or announced.folder or not holds_rows(run.output, staging):
            continue
        name = posixpath.basename(staging).removeprefix(STAGING)
        for table in TABLES:
            paths = storage.list_files(storage.join(staging, table), ".parquet")
            described = ((path, _describe_if_whole(run.output, path)) for path in paths)
            yield from islice((_Sample(name, path, *found) for path, found in described if found), 1)


def _holds_predictions(run: Run) -> bool:
    files = storage.list_files(storage.join(run.folder, PREDICTIONS), ".parquet")
    return any(posixpath.basename(path) != NO_ROWS for path in files)


def _describe_if_whole(output: str, path: str) -> tuple[Footer, Sequence[pa.Field]] | None:
    with suppress(OutputError, FileNotFoundError):
        return describe_file(output, path)
    return None


def _check_joins(run: Run, expected: Mapping[str, Sequence[pa.Field]], path: str) -> None:
    """Verify that the run's rows may join those of one file; `expected` holds the columns of each table."""
    footer, fields = describe_file(run.output, path)
    if posixpath.basename(path) == NO_ROWS and not count_rows(path):
        # The run's first commit replaces it, if its columns are others.
        return
    _check_alike(run, expected, path, footer, fields)


def _check_alike(
    run: Run, expected: Mapping[str, Sequence[pa.Field]], path: str, footer: Footer, fields: Sequence[pa.Field]
) -> None:
    """Verify that the run's rows are made as those of a file with this footer and these columns."""
    holds = f"output {run.output} holds"
    remedy = "choose another --output, or replace the rows with --overwrite"
    if run.overwrite:
        remedy = f"delete {run.folder}, in which an overwrite gathers its rows"
    if footer.bundle != run.bundle.digest:
        theirs, ours = footer.bundle[:12], run.bundle.digest[:12]
        raise OutputError(f"{holds} rows of a different bundle ({theirs}, not {ours})", remedy)
    if _table_of(path) == PREDICTIONS:
        if footer.precision != run.precision:
            raise OutputError(
                f"{holds} rows computed in {footer.precision}, and those of this run are in {run.precision}",
                f"use --precision {footer.precision}, or {remedy}",
            )
        _check_choice(run, footer, holds, remedy)
    # A failure has no pixels, and may be mended by the flags that its reason names.
    if _table_of(path) != FAILURES and footer.rendering != run.rendering:
        raise OutputError(f"{holds} rows made with different --bands, --stretch or --product", remedy)
    if footer.grid != run.grid:
        theirs, ours = (f"with {grid}" if grid else "without --tile" for grid in (footer.grid, run.grid))
        raise OutputError(f"{holds} rows made {theirs}, not {ours}", remedy)
    if footer.relative != bool(run.relative_to):
        theirs, ours = ("relative" if relative else "absolute" for relative in (footer.relative, bool(run.relative_to)))
        flag = f"{'give' if footer.relative else 'omit'} --relative_to"
        raise OutputError(f"{holds} rows with {theirs} paths, and those of this run are {ours}", f"{flag}, {remedy}")
    if footer.embedding_size != run.embedding_size:
        theirs, ours = ("with" if size else "without" for size in (footer.embedding_size, run.embedding_size))
        flag = f"{'give' if footer.embedding_size else 'omit'} --embeddings"
        raise OutputError(f"{holds} rows {theirs} --embeddings, and those of this run are {ours}", f"{flag}, {remedy}")
    if footer.kept != run.kept:
        theirs, ours = (", ".join(map(":".join, kept)) or "no columns" for kept in (footer.kept, run.kept))
        named = shlex.quote(",".join(map(":".join, footer.kept)))
        given = f"give --keep_columns {named}" if footer.kept else "omit --keep_columns"
        remedy = f"{given}, {remedy}"
        raise OutputError(f"{holds} rows with {theirs} of the list, and this run keeps {ours}", remedy)
    if fields != expected[_table_of(path)]:
        raise OutputError(f"{holds} {path}, whose columns differ from those of this version", remedy)


def _check_choice(run: Run, footer: Footer, holds: str, remedy: str) -> None:
    """Verify that the tags of a file were chosen as the run would choose them."""
    if footer.thresholds != run.thresholds and footer.retagged and not run.overwrite:
        raise OutputError(
            f"{holds} rows to which `scenetags retag` gave different thresholds",
            "omit --threshold to give new rows the same, or retag the output with the new one first",
        )
    if not run.overwrite:
        remedy = "choose another --output, retag this one with `scenetags retag`, or replace the rows with --overwrite"
    if footer.thresholds != run.thresholds:
        raise OutputError(f"{holds} rows tagged with different thresholds", remedy)
    if footer.rules != run.rules:
        theirs, ours = (f"with {rules}" if rules else "without rules" for rules in (footer.rules, run.rules))
        raise OutputError(f"{holds} rows tagged {theirs}, not {ours}", remedy)


def _expected(run: Run) -> dict[str, Sequence[pa.Field]]:
    columns = {**_KNOWN, PREDICTIONS: prediction_columns(run), FAILURES: failure_columns(run)}
    return {table: list(make_schema(columns[table], run)) for table in TABLES}


def _table_of(path: str) -> str:
    return posixpath.basename(posixpath.dirname(path))
