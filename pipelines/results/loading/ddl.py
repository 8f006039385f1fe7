"""Write the statements that load an output into a database, from the columns that its files have."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from pipelines import storage
from pipelines.errors import quantity
from pipelines.output.geography import GEOMETRY
from pipelines.output.run import FAILURES, PREDICTIONS
from pipelines.output.schema import EMBEDDING, FAILURE_COLUMNS, NOVELTY, PREDICTION_COLUMNS, SCENE_COLUMNS
from pipelines.results import sql
from pipelines.results.loading.types import ATHENA, BIGQUERY, PLAIN, POSTGRES, SNOWFLAKE, SPARK, DdlError, Types
from pipelines.results.outputs import Output

_OF_POSTGRES = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
"""Columns that each of its tables has, whose names it refuses."""
_LONGEST_OF_POSTGRES = 63
"""Bytes of a name; it cuts off the rest, and then takes two names for one."""
_LONGEST = {"BigQuery": 300, "Athena": 255, "Snowflake": 255}
"""Characters of a name of a column."""
_SHORTER = "train or import a model with shorter labels, and tag with it"
_RENAME = "rename it in the list of images, and tag them again"
_SHOWN = 60
_DOCUMENTED = {
    column.name: column.documentation.replace("`", "")
    for column in (*FAILURE_COLUMNS, NOVELTY, EMBEDDING, *SCENE_COLUMNS, *PREDICTION_COLUMNS)
}


class _Column(NamedTuple):
    """A column of a table.

    Attributes:
      name: in the files.
      type: in the files.
      documentation: in one line, without quotes.
      is_of_label: whether it holds the probabilities of a label, after which it is named.
    """

    name: str
    type: pa.DataType
    documentation: str
    is_of_label: bool


class _Table(NamedTuple):
    """A table of an output.

    Attributes:
      name: of its folder, and in the database.
      folder: where an engine finds its files.
      columns: that they have.
    """

    name: str
    folder: str
    columns: Sequence[_Column]


class _Engine(NamedTuple):
    """A database.

    Attributes:
      title: its name.
      schemes: of the places whose files it reads; with an empty one, also files of this machine.
      write: writes the statements that load a table.
      reads_half: whether it reads numbers of half precision, as in embeddings.
    """

    title: str
    schemes: Sequence[str]
    write: Callable[[_Table], Iterator[str]]
    reads_half: bool = False


def write_ddl(output: Output, engine: str, location: str | None = None) -> list[str]:
    """Write the statements that load an output.

    Args:
      output: the output.
      engine: a name in `ENGINES`.
      location: where the engine finds the output, if that is elsewhere.

    Returns:
      Lines without line breaks of their own.

    Raises:
      DdlError: the engine cannot read files there, or takes no column of a name or type that the files have.
      NoOutputError, OutputError: the files cannot be read.
    """
    chosen = _ENGINES[engine]
    place = location or output.path
    if not place.startswith(tuple(filter(None, chosen.schemes))) and (
        storage.is_remote(place) or "" not in chosen.schemes
    ):
        readable = " or ".join(scheme or "this machine" for scheme in chosen.schemes)
        raise DdlError(
            f"{place}: {chosen.title} reads files in {readable} alone",
            "copy the output there, and say where it is with --location",
        )
    head, failures = output.head(), output.failure_columns()
    predictions = _describe(head.columns, head.footer.columns)
    left_out = [] if chosen.reads_half else [column for column in predictions if _is_half(column.type)]
    predictions = [column for column in predictions if column not in left_out]
    tables = [_Table(PREDICTIONS, storage.join(place, PREDICTIONS), predictions)]
    # Earlier releases wrote no file where there was no failure.
    if failures is not None:
        tables.append(_Table(FAILURES, storage.join(place, FAILURES), _describe(failures, {})))
    notes = [f"-- without {column.name}: {chosen.title} reads no numbers of half precision" for column in left_out]
    return [*notes, *(line for table in tables for line in chosen.write(table))]


def _is_half(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) and pa.types.is_float16(kind.value_type))


def _describe(schema: pa.Schema, columns: Mapping[str, str]) -> list[_Column]:
    labels = {column: label for label, column in columns.items()}
    return [
        _Column(field.name, field.type, _harmless(_document(field.name, labels.get(field.name))), field.name in labels)
        for field in schema
    ]


def _document(name: str, label: str | None) -> str:
    return _DOCUMENTED.get(name, "as in the list of images") if label is None else f"probability of {label}, 0 to 1"


def _harmless(text: str) -> str:
    """Replace what could end a text in SQL, whatever the engine."""
    plain = text.replace("'", "’")
    return "".join(character if character.isprintable() and character not in '"\\' else " " for character in plain)


def _bigquery(table: _Table) -> Iterator[str]:
    types = {GEOMETRY: "GEOGRAPHY"}
    lines = (
        f"{_plain(column, 'BigQuery')} {types.get(column.name) or BIGQUERY.name(column.name, column.type)}"
        f" OPTIONS (description = '{column.documentation}')"
        for column in table.columns
    )
    yield f"LOAD DATA OVERWRITE {table.name} ("
    yield from _listed(lines)
    yield ")"
    yield f"FROM FILES (format = 'PARQUET', enable_list_inference = TRUE, uris = ['{_place(table)}/*.parquet']);"


def _hive(table: _Table, title: str, types: Types) -> Iterator[str]:
    """Write the columns of a table as Athena and Spark take them."""
    yield from _listed(
        f"`{_plain(column, title)}` {types.name(column.name, column.type)} COMMENT '{column.documentation}'"
        for column in table.columns
    )


def _athena(table: _Table) -> Iterator[str]:
    yield f"CREATE EXTERNAL TABLE {table.name} ("
    yield from _hive(table, "Athena", ATHENA)
    yield ")"
    yield "STORED AS PARQUET"
    yield f"LOCATION '{_place(table)}/';"


def _spark(table: _Table) -> Iterator[str]:
    yield f"CREATE TABLE {table.name} ("
    yield from _hive(table, "Spark", SPARK)
    yield ")"
    yield "USING PARQUET"
    # The name by which Hadoop's own file system knows S3.
    yield f"LOCATION '{re.sub('^s3://', 's3a://', _place(table))}';"


def _snowflake(table: _Table) -> Iterator[str]:
    yield f"CREATE OR REPLACE TABLE {table.name} ("
    yield from _listed(
        f"{_plain(column, 'Snowflake')} {SNOWFLAKE.name(column.name, column.type)} COMMENT '{column.documentation}'"
        for column in table.columns
    )
    yield ");"
    yield "-- from a private bucket: put STORAGE_INTEGRATION = NAME before FILE_FORMAT"
    yield f"COPY INTO {table.name}"
    yield f"FROM '{re.sub('^gs://', 'gcs://', _place(table))}/'"
    yield "FILE_FORMAT = (TYPE = PARQUET, BINARY_AS_TEXT = FALSE, USE_LOGICAL_TYPE = TRUE)"
    yield "MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE;"


def _duckdb(table: _Table) -> Iterator[str]:
    yield f"CREATE OR REPLACE VIEW {table.name} AS"
    yield f"SELECT * FROM {_read_parquet(table)};"


def _postgres(table: _Table) -> Iterator[str]:
    columns: dict[str, str] = {}
    taken, renamed = [], []
    for column in table.columns:
        if pa.types.is_struct(column.type):
            for field in column.type:
                # By itself, xmin is a column that each table has.
                flat = _for_postgres(f"{column.name}_{field.name}")
                columns[flat] = POSTGRES.name(column.name, field.type)
                taken.append(f"{sql.name(column.name)}.{sql.name(field.name)} AS {sql.name(flat)}")
        else:
            name = _for_postgres(column.name)
            columns[name] = POSTGRES.name(column.name, column.type)
            if name == column.name:
                taken.append(sql.name(name))
            else:
                taken.append(f"{sql.name(column.name)} AS {sql.name(name)}")
                renamed.append(f"-- {sql.name(name)}: {column.name}, {column.documentation}")
    yield from renamed
    yield f"CREATE TABLE {table.name} ("
    yield from _listed(f"{sql.name(name)} {kind}" for name, kind in columns.items())
    yield ");"
    yield "-- PostgreSQL cannot read Parquet; DuckDB can, and writes to PostgreSQL:"
    yield "-- ATTACH 'host=HOST dbname=NAME user=USER' AS pg (TYPE postgres);"
    yield f"-- INSERT INTO pg.{table.name} BY NAME SELECT {', '.join(taken)} FROM {_read_parquet(table)};"


def _read_parquet(table: _Table) -> str:
    # Folders above the output may be named like columns of their own: `date=2026-01-01`.
    return f"read_parquet({sql.pattern(table.folder, '.parquet')}, hive_partitioning = false)"


def _listed(lines: Iterable[str]) -> Iterator[str]:
    *first, last = lines
    yield from (f"  {line}," for line in first)
    yield f"  {last}"


def _plain(column: _Column, title: str) -> str:
    if not PLAIN.fullmatch(column.name):
        raise DdlError(
            f"column {column.name!r}: {title} takes letters, digits and _ alone",
            f"{_RENAME} with this version",
        )
    longest = _LONGEST.get(title, len(column.name))
    if len(column.name) > longest:
        raise DdlError(
            f"column {column.name[:_SHOWN]}... has {quantity(len(column.name), 'character')}: {title} allows {longest}",
            _SHORTER if column.is_of_label else _RENAME,
        )
    return column.name


def _for_postgres(name: str) -> str:
    """Return a column's name in PostgreSQL: another one if PostgreSQL has it itself or would cut it.

    Raises:
      DdlError: it would end a comment.
    """
    if not name.isprintable():
        raise DdlError(f"column {name!r} has characters that the statement cannot hold", _RENAME)
    if name not in _OF_POSTGRES and len(name.encode()) <= _LONGEST_OF_POSTGRES:
        return name
    mark = f"_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name.encode()[: _LONGEST_OF_POSTGRES - len(mark)].decode(errors="ignore") + mark


def _place(table: _Table) -> str:
    if not _harmless(table.folder) == table.folder or "*" in table.folder:
        raise DdlError(f"{table.folder!r} has characters that the statement cannot hold", "rename the folder")
    return table.folder


_ENGINES: Mapping[str, _Engine] = {
    "bigquery": _Engine("BigQuery", ["gs://"], _bigquery),
    "duckdb": _Engine("DuckDB", ["", *storage.BUCKETS], _duckdb, reads_half=True),
    "athena": _Engine("Athena", ["s3://"], _athena),
    "snowflake": _Engine("Snowflake", storage.BUCKETS, _snowflake),
    "spark": _Engine("Spark", ["", *storage.BUCKETS], _spark),
    "postgres": _Engine("PostgreSQL", ["", *storage.BUCKETS], _postgres, reads_half=True),
}
