"""`scenetags query`: what cannot be done is one line, and nothing is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from pipelines.output.run import Run
from pipelines.records import KeptColumn
from tests.pipelines.query.asking import Ask, tree
from tests.pipelines.results.tagged_outputs import image, run_of, write


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["clody"], "clody is not a label of the model"),
        (["--min", "road"], "road is not LABEL=P"),
        (["--min", "road=2"], "road=2 is not LABEL=P"),
        (["--max", "rod=0.5"], "--max rod=0.5: rod is not a label of the model; did you mean road?"),
        (["--csv", "a", "--paths"], "--csv and --paths cannot be combined; omit one of them"),
        (["--copy_to", ""], "--copy_to is empty"),
        (["road", "and", "clear"], "the expression has several words: road and ...; put it in quotes"),
        (["--top", "3", "road"], "--top 3 needs --like or --strangest; for the images with the highest probability of"),
        (
            ["width > 64"],
            '"width > 64", character 1: width is a column of the rows, not a tag; use SQL: add a condition',
        ),
        (["road and width>64"], '"road and width>64", character 10: width is a column of the rows, not a tag; use SQL'),
        (["p_road"], "p_road is a column of the rows, not a tag; use --min road=P or --max road=P"),
        (["--max", "height=0.5"], "--max height=0.5: height is a column of the rows, not a tag; use SQL"),
        (["--strangest", "--top", "9" * 20], "9: not a whole number from 1 to 1,000,000,000"),
        (["road", "--pats"], "unknown argument --pats; did you mean --paths?"),
        (["--fiftyone", "x.txt"], "--fiftyone x.txt is not a .json file"),
        (["--csv", "s3:/x/y.csv"], "did you mean s3://x/y.csv?"),
        (["--parquet", "-"], "only --csv goes to standard output; name a file"),
        (["--copy_to", "http://host/x"], "--copy_to http://host/x cannot be written to"),
        (["--link_to", "gs://x"], "--link_to gs://x is not a local folder"),
        (["--csv", "/nowhere/x.csv"], "--csv /nowhere/x.csv cannot be written: No such file"),
        (["--copy_to", "/proc/x"], "/proc/x cannot be written to"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(ask: Ask, output: Path, words: list[str], said: str) -> None:
    code, printed, error = ask(output, *words)

    assert (code, printed, error.count("\n")) == (2, "", 1)
    assert said in error


@pytest.mark.parametrize("flag", ["--parquet", "--csv", "--copy_to", "--link_to"])
def test_nothing_is_written_among_the_rows_of_the_output(ask: Ask, output: Path, flag: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(output)
    before = tree(tmp_path)
    for place in (output / "predictions/x.parquet", tmp_path / "link/failures/x.parquet", output / "runs"):
        code, _, error = ask(output, "road", flag, str(place))
        assert (code, error.count("\n")) == (2, 1)
        assert "would be among the output's own files; write it outside of" in error
    assert tree(tmp_path) == before


def test_an_output_that_cannot_be_read_is_said_in_one_line(ask: Ask, output: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    [file] = (output / "predictions").glob("*.parquet")
    for path, said in ((tmp_path / "gone", "no folder at"), (tmp_path / "empty", "has no predictions")):
        code, _, error = ask(path, "road")
        assert (code, error.count("\n")) == (2, 1)
        assert said in error
    paths = pq.read_metadata(file).row_group(0).column(0)
    data = bytearray(file.read_bytes())
    # In the data: the head of a page has no checksum.
    data[paths.data_page_offset + paths.total_compressed_size - 5] ^= 1
    file.write_bytes(data)
    code, _, error = ask(output, "--csv", str(tmp_path / "x.csv"))
    assert (code, error.count("\n")) == (2, 1)
    assert "is damaged" in error
    assert not (tmp_path / "x.csv").exists()


def test_a_column_of_the_list_is_asked_for_by_sql(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = replace(run_of(run, tmp_path / "out", ("road", "site")), kept=(KeptColumn("day", "string"),))
    images = [image(f"/{name}.jpg", [probability, 0]) for name, probability in (("a", 0.5), ("b", 0.9), ("c", 0.7))]
    write(here, [one._replace(ref=one.ref._replace(kept=("2025-01-01",))) for one in images])

    said = (
        "day is a column of the rows, not a tag; use SQL: add a condition to the statement that --sql prints, or load"
    )
    assert said in ask(here.output, "day = '2025-01-01'")[2]
    assert ask(here.output, "site")[0] == 0, "a label"

    said = "use SQL: end the statement that --sql prints with ORDER BY p_LABEL DESC LIMIT 2\n"
    assert ask(here.output, "road", "--top", "2")[2].endswith(said)
    statement = ask(here.output, "road", "--sql")[1].rstrip().removesuffix(";")
    rows = duckdb.execute(f"{statement} AND day = '2025-01-01' ORDER BY p_road DESC LIMIT 2").fetchall()
    assert [path for path, *_ in rows] == ["/b.jpg", "/c.jpg"]
