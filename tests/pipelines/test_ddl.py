"""`scenetags ddl`: the statements load an output where the engine runs here, and are its language elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlglot
from sqlglot import expressions as exp

from pipelines import ddl as command
from pipelines.output.run import Run
from pipelines.records import Failure, KeptColumn
from pipelines.results.loading import ENGINES
from pipelines.results.loading import ddl as room
from tests.pipelines.results.tagged_outputs import image, run_of, window, with_grid, write

LABELS = ("clear", "bare ground", 'it\'s \\ "old"\n', "Clear")
COLUMNS = ["path", "tags", "p_clear", "p_bare_ground", "p_it_s____old__", "p_Clear_2", "width", "height", "source"]
COLUMNS += ["repairs", "fingerprint", "model", "run", "scene", "col_off", "row_off", "datetime", "geometry", "bbox"]
ELSEWHERE = {"bigquery": "gs://b/out", "athena": "s3://b/out", "snowflake": "s3://b/out"}

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def output(run: Run, tmp_path: Path) -> Path:
    """Write an output of an image, a window and a failure, in folders that are named like columns and patterns."""
    here = with_grid(run_of(run, tmp_path / "path=1" / "it's [1]*", LABELS))
    rows = [window("/archive/a.tif", 256, [0.9, 0.1, 0.6, 0.2]), image("/archive/b.jpg", [0.1, 0.2, 0.3, 0.4])]
    write(here, rows, [Failure("/archive/c.jpg", "read", "OSError", "gone", "1-1")])
    return Path(here.output)


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run the command; return its exit code, and what it prints."""

    def ask(*words: object) -> tuple[int, str, str]:
        code = command.main([str(word) for word in words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return ask


def test_duckdb_loads_all_rows_and_nothing_of_the_folders_above(ask: Ask, output: Path) -> None:
    code, statements, _ = ask("duckdb", output)

    assert code == 0
    with duckdb.connect() as database:
        database.execute(statements)
        found = database.execute("select * from predictions order by path")
        assert [column[0] for column in found.description or ()] == COLUMNS
        assert [row[:2] for row in found.fetchall()] == [
            ("/archive/a.tif#xywh=256,0,256,256", ["clear", LABELS[2]]),
            ("/archive/b.jpg", []),
        ]
        assert database.execute("select path, message from failures").fetchall() == [("/archive/c.jpg", "gone")]


def test_postgres_gets_the_columns_and_duckdb_fills_them(ask: Ask, output: Path) -> None:
    code, statements, _ = ask("postgres", output)

    assert code == 0
    tables = [table for table in sqlglot.parse(statements, dialect="postgres") if isinstance(table, exp.Create)]
    assert len(tables) == 2
    fill = [line[3:] for line in statements.splitlines() if line.startswith("-- INSERT")]
    with duckdb.connect() as database:
        # Another database in the place of PostgreSQL's, with the same types.
        database.execute("attach ':memory:' as pg")
        for table in tables:
            database.execute(f"use pg; {table.sql(dialect='duckdb')}; use memory")
        for statement in fill:
            database.execute(statement)
        found = database.execute(
            "select path, tags, bbox_xmin, datetime is null from pg.predictions order by path"
        ).fetchall()
        assert found == [
            ("/archive/a.tif#xywh=256,0,256,256", ["clear", LABELS[2]], 0.256, False),
            ("/archive/b.jpg", [], None, True),
        ]
        assert database.execute("select count(*) from pg.failures").fetchall() == [(1,)]


@pytest.mark.parametrize("engine", [*ELSEWHERE, "spark", "duckdb"])
def test_statements_are_the_language_of_their_engine(ask: Ask, output: Path, engine: str) -> None:
    location = ELSEWHERE.get(engine, "/data/out")

    code, statements, _ = ask(engine, output, "--location", location)

    assert code == 0
    parsed = [statement for statement in sqlglot.parse(statements, dialect=engine) if statement]
    assert all(isinstance(statement, exp.Create | exp.LoadData | exp.Copy) for statement in parsed)
    assert len(parsed) == (4 if engine == "snowflake" else 2)
    assert f"{location}/predictions" in statements
    if engine != "duckdb":
        columns = [column.name for column in parsed[0].find_all(exp.ColumnDef)]
        assert [name for name in columns if name not in ("xmin", "ymin", "xmax", "ymax")] == COLUMNS


def test_spark_and_snowflake_name_buckets_in_their_own_way(ask: Ask, output: Path) -> None:
    assert "LOCATION 's3a://b/out/predictions'" in ask("spark", output, "--location", "s3://b/out")[1]
    assert "FROM 'gcs://b/out/predictions/'" in ask("snowflake", output, "--location", "gs://b/out")[1]


def rename(output: Path, column: str, name: str) -> None:
    """Name a column otherwise, as an earlier release did, or another program."""
    [file] = [file for file in (output / "predictions").glob("*.parquet") if pq.read_metadata(file).num_rows]
    table = pq.read_table(file, partitioning=None)
    footer = json.loads(table.schema.metadata[b"scenetags"])
    footer["columns"] = {label: name if own == column else own for label, own in footer["columns"].items()}
    renamed = table.rename_columns([name if own == column else own for own in table.column_names])
    pq.write_table(renamed.replace_schema_metadata({"scenetags": json.dumps(footer)}), file)


@pytest.mark.parametrize("name", ["p_bare ground", "p_x`); DROP TABLE predictions; --", 'p_x" text); DROP TABLE x; --'])
def test_names_of_columns_stay_names(ask: Ask, output: Path, name: str) -> None:
    rename(output, "p_bare_ground", name)

    for engine, location in (*ELSEWHERE.items(), ("spark", "/data/out")):
        code, printed, error = ask(engine, output, "--location", location)
        assert (code, printed, error.count("\n")) == (2, "", 1)
        assert "takes letters, digits and _ alone" in error
    code, statements, _ = ask("postgres", output)
    assert code == 0
    table, *_ = [one for one in sqlglot.parse(statements, dialect="postgres") if one]
    assert name in [column.name for column in table.find_all(exp.ColumnDef)]


@pytest.mark.parametrize("name", ["xmin", "ctid", "é" * 32, "p_" + 100 * "x"])
def test_a_column_whose_name_postgres_refuses_gets_another(ask: Ask, output: Path, name: str) -> None:
    rename(output, "p_bare_ground", name)

    code, statements, _ = ask("postgres", output)

    assert code == 0
    [table, *_] = [one for one in sqlglot.parse(statements, dialect="postgres") if isinstance(one, exp.Create)]
    columns = [column.name for column in table.find_all(exp.ColumnDef)]
    [other] = [column for column in columns if re.search("_[0-9a-f]{8}$", column)]
    assert name not in columns
    assert len(other.encode()) <= 63
    assert f'-- "{other}": {name}, probability of bare ground, 0 to 1\n' in statements
    assert f'"{name}" AS "{other}"' in statements


def test_two_long_names_that_begin_alike_stay_two_columns(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = run_of(run, tmp_path / "out", ("road " * 20 + "wide", "road " * 20 + "narrow"))
    write(here, [image("/archive/a.jpg", [0.9, 0.1])])
    code, statements, _ = ask("postgres", here.output)

    assert code == 0
    [fill] = [line for line in statements.splitlines() if line.startswith("-- INSERT INTO pg.predictions")]
    with duckdb.connect() as database:
        database.execute("attach ':memory:' as pg")
        [table] = [one for one in sqlglot.parse(statements, dialect="postgres") if isinstance(one, exp.Create)][:1]
        database.execute(f"use pg; {table.sql(dialect='duckdb')}; use memory; {fill[3:]}")
        found = database.execute("select columns('p_.*') from pg.predictions")
        assert found.fetchall() == [(pytest.approx(0.9), pytest.approx(0.1))]


def test_postgres_is_given_no_name_that_ends_a_comment(ask: Ask, output: Path) -> None:
    rename(output, "p_bare_ground", "two\nlines")

    code, printed, error = ask("postgres", output)

    assert (code, printed, error.count("\n")) == (2, "", 1)
    assert "column 'two\\nlines' has characters that the statement cannot hold; rename it in the list" in error


@pytest.mark.parametrize(("engine", "longest"), [("bigquery", 300), ("athena", 255), ("snowflake", 255)])
def test_a_name_that_an_engine_refuses_for_its_length_has_a_remedy(
    ask: Ask, output: Path, engine: str, longest: int
) -> None:
    rename(output, "p_bare_ground", "p_" + "x" * (longest - 2))
    assert ask(engine, output, "--location", ELSEWHERE[engine])[0] == 0
    rename(output, "p_" + "x" * (longest - 2), "p_" + "x" * (longest - 1))

    code, printed, error = ask(engine, output, "--location", ELSEWHERE[engine])

    assert (code, printed, error.count("\n")) == (2, "", 1)
    assert f"x... has {longest + 1} characters: " in error
    assert "train or import a model with shorter labels, and tag with it" in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mysql", "."], "invalid choice: 'mysql'"),
        (["athena", "."], "Athena reads files in s3:// alone; copy the output there"),
        (["bigquery", ".", "--location", "s3://b/x"], "BigQuery reads files in gs:// alone"),
        (["bigquery", ".", "--location", "gs:/b/x"], "did you mean gs://b/x?"),
        (["spark", ".", "--location", "/it's"], "has characters that the statement cannot hold"),
        (["duckdb", "/nowhere"], "no folder at /nowhere"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_line(ask: Ask, output: Path, words: list[str], said: str) -> None:
    code, printed, error = ask(words[0], output if words[1] == "." else words[1], *words[2:])

    assert (code, printed, error.count("\n")) == (2, "", 1)
    assert said in error


@pytest.mark.parametrize("kind", [pa.decimal128(30, 2), pa.struct([("x int>); DROP TABLE x; --", pa.int32())])])
def test_a_type_that_has_no_name_there_is_said(ask: Ask, output: Path, kind: pa.DataType) -> None:
    [file] = [file for file in (output / "predictions").glob("*.parquet") if pq.read_metadata(file).num_rows]
    table = pq.read_table(file, partitioning=None)
    pq.write_table(table.append_column("far", pa.nulls(2, kind)), file)

    code, printed, error = ask("spark", output)

    assert (code, printed, error.count("\n")) == (2, "", 1)
    assert "column far has the type" in error


def test_columns_of_the_list_are_loaded_with_their_types(ask: Ask, run: Run, tmp_path: Path) -> None:
    kinds = {"site": "string", "visits": "int64", "area": "float64", "dry": "bool", "day": "date"}
    kinds |= {"seen": "timestamp", "local": "local_timestamp"}
    here = replace(run_of(run, tmp_path / "out", LABELS), kept=tuple(KeptColumn(*kept) for kept in kinds.items()))
    write(here, [], [Failure("/archive/c.jpg", "read", "OSError", "gone", "1-1")])

    for engine, location in (*ELSEWHERE.items(), ("spark", "/data/out"), ("postgres", "/data/out")):
        code, statements, _ = ask(engine, here.output, "--location", location)
        assert code == 0
        tables = [
            one for one in sqlglot.parse(statements, dialect=engine) if isinstance(one, exp.Create | exp.LoadData)
        ]
        for table in tables:
            columns = {column.name: str(column.kind) for column in table.find_all(exp.ColumnDef)}
            assert list(columns)[-7:] == list(kinds)
            assert len({columns["seen"], columns["local"], columns["day"]}) == (2 if engine == "athena" else 3)


def test_embeddings_go_where_they_can_be_read(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = replace(run_of(run, tmp_path / "out", LABELS), embedding_size=4)
    one = image("/archive/a.jpg", [0.9, 0, 0, 0])._replace(embedding=np.array([0.5, 1, 2, 3], np.float16))
    write(here, [one])

    with duckdb.connect() as database:
        database.execute(ask("duckdb", here.output)[1])
        assert database.execute("select embedding from predictions").fetchall() == [([0.5, 1, 2, 3],)]
    assert '"embedding" real[]' in ask("postgres", here.output)[1]
    for engine, location in (*ELSEWHERE.items(), ("spark", "/data/out")):
        code, printed, _ = ask(engine, here.output, "--location", location)
        assert code == 0
        assert printed.startswith("-- without embedding")
        assert printed.count("embedding") == 1


def test_an_earlier_output_without_failures_has_one_table(ask: Ask, output: Path) -> None:
    for file in (output / "failures").iterdir():
        file.unlink()

    assert re.findall(r"VIEW (\w+)", ask("duckdb", output)[1]) == ["predictions"]


def test_the_command_knows_the_engines_of_its_room() -> None:
    assert tuple(room._ENGINES) == ENGINES
