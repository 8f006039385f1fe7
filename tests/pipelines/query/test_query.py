"""`scenetags query`: what is selected, listed and handed over is what the rows say, and nothing else."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import report
from pipelines.output.footers import read_footer
from pipelines.output.run import Run
from pipelines.records import Failure, KeptColumn
from tests import outputs
from tests.pipelines.query.asking import IMAGES, LABELS, Ask, names
from tests.pipelines.results.tagged_outputs import image, run_of, window, with_grid, write, write_images


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], list(IMAGES)),
        (["road"], ["2025/a.jpg", "2025/b.jpg", "2026/deep/c.jpg"]),
        (["road and not 'bare ground'"], ["2025/a.jpg", "2026/deep/c.jpg"]),
        (["\"it's\" or 'bare ground'"], ["2025/b.jpg", "2026/a.jpg"]),
        (["--min", "road=0.51"], ["2025/a.jpg", "2026/deep/c.jpg"]),
        (["clear", "--min", "road=0.3", "--max", "road=0.51"], ["2025/b.jpg", "2026/deep/c.jpg"]),
        (["--min", "road=0.51", "--min", "road=0.1", "--min", "clear=0.8"], ["2025/a.jpg"]),
        (["road and not road"], []),
    ],
)
def test_what_is_asked_for_is_found_also_by_the_statement(
    ask: Ask, output: Path, archive: Path, words: list[str], expected: list[str]
) -> None:
    code, printed, _ = ask(output, *words, "--paths")
    assert (code, names(printed, archive)) == (0, expected)

    code, statement, _ = ask(output, *words, "--sql")
    assert code == 0
    found = duckdb.sql(statement)
    assert found is not None
    assert [row[0].removeprefix(f"{archive}/") for row in found.fetchall()] == expected
    assert found.columns[:2] == ["path", "tags"]


def test_without_a_flag_it_shows_the_first_rows_and_counts(ask: Ask, output: Path, archive: Path) -> None:
    code, printed, _ = ask(output, "clear and road")

    assert code == 0
    assert printed.splitlines() == [
        "clear   road  path",
        f"0.900  0.800  {archive}/2025/a.jpg",
        f"0.900  0.500  {archive}/2025/b.jpg",
        f"0.700  0.510  {archive}/2026/deep/c.jpg",
        "found: 3 of 4 images (75.0%)",
        "tags: clear 3, road 3, bare ground 1",
        "failures: 1, without tags",
    ]


def test_csv_has_all_columns_as_text_and_no_formulas(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = run_of(run, tmp_path / "out", ("=1+1", "@x"))
    hostile = '/archive/"x"\n<script>\u202e.jpg'
    write_images(here, {hostile: (0.9, 0.9), "/archive/b.jpg": (0.1, 0.25)})

    code, printed, _ = ask(here.output, "--csv", "-")

    rows = list(csv.DictReader(io.StringIO(printed, newline="")))
    assert code == 0
    assert [row["path"] for row in rows] == [hostile, "/archive/b.jpg"]
    assert [row["tags"] for row in rows] == ["'=1+1;'@x", ""]
    assert (rows[1]["p__1_1"], rows[1]["p__x"], rows[1]["repairs"]) == ("0.1", "0.25", "cmyk")
    code, printed, error = ask(here.output, "--paths")
    assert (code, printed) == (2, "")
    assert error.count("\n") == 1
    assert "has a line break" in error


def test_tags_with_a_semicolon_stay_apart_in_csv(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = run_of(run, tmp_path / "out", ("a", "b", "a;b", '"c"'))
    write_images(here, {"/1.jpg": (0.9, 0.9, 0.1, 0.1), "/2.jpg": (0.1, 0.1, 0.9, 0.9), "/3.jpg": (0.1,) * 4})

    rows = csv.DictReader(io.StringIO(ask(here.output, "--csv", "-")[1], newline=""))

    assert [row["tags"] for row in rows] == ["a;b", '"a;b";"""c"""', ""]


def test_a_list_with_a_null_is_written_without_it(ask: Ask, run: Run, tmp_path: Path) -> None:
    """Only another program writes such a list."""
    here = run_of(run, tmp_path / "out", ("road",))
    write_images(here, {"/a.jpg": [0.9], "/b.jpg": [0.9]})
    [file] = (tmp_path / "out" / "predictions").iterdir()
    table = pq.read_table(file, partitioning=None)
    lists = pa.array([["cmyk", None, "palette"], [None]], pa.list_(pa.string()))
    pq.write_table(table.set_column(table.schema.get_field_index("repairs"), "repairs", lists), file)

    assert ask(tmp_path / "out", "--csv", str(tmp_path / "x.csv"))[0] == 0
    with (tmp_path / "x.csv").open(newline="") as csv_file:
        assert [row["repairs"] for row in csv.DictReader(csv_file)] == ["cmyk;palette", ""]


def test_standard_output_by_another_name_gets_rows_alone(ask: Ask, output: Path) -> None:
    command = [sys.executable, "-m", "pipelines.query", str(output), "--csv", "/dev/stdout"]

    printed = subprocess.run(command, capture_output=True, text=True)

    assert (printed.stdout, printed.stderr) == (ask(output, "--csv", "-")[1], "/dev/stdout: 4 images\n")


def test_parquet_has_the_rows_as_they_are(ask: Ask, output: Path, tmp_path: Path) -> None:
    code, printed, _ = ask(output, "road", "--parquet", str(tmp_path / "roads.parquet"))

    assert (code, printed) == (0, f"{tmp_path}/roads.parquet: 3 images\n")
    written = pq.read_table(tmp_path / "roads.parquet")
    assert sorted(written.to_pylist(), key=lambda row: row["path"]) == [
        row for row in outputs.rows(output) if "road" in row["tags"]
    ]
    [file] = (output / "predictions").glob("*.parquet")
    assert written.schema == pq.read_schema(file)
    assert read_footer(written.schema) == read_footer(pq.read_schema(file))


def test_windows_are_written_with_their_place(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = with_grid(run_of(run, tmp_path / "out", ("road",)))
    write(here, [window("/archive/a.tif", column, [column / 1000]) for column in (0, 256, 512, 768)])

    assert ask(here.output, "--min", "road=0.5", "--parquet", str(tmp_path / "x.parquet"))[0] == 0
    _, printed, _ = ask(here.output, "--min", "road=0.5", "--csv", "-")

    described = json.loads(pq.read_metadata(tmp_path / "x.parquet").metadata[b"geo"])
    assert described["columns"]["geometry"]["bbox"] == pytest.approx([0.512, 20, 0.778, 20.01])
    assert b"geo" in pq.read_schema(tmp_path / "x.parquet").metadata
    row = next(csv.DictReader(io.StringIO(printed)))
    assert (row["scene"], row["xmin"], row["datetime"]) == ("/archive/a.tif", "0.512", "2026-03-01 10:30:00.000000Z")
    assert "geometry" not in row


def test_review_tools_get_paths_tags_and_probabilities(ask: Ask, output: Path, archive: Path, tmp_path: Path) -> None:
    assert ask(output, "'bare ground'", "--fiftyone", str(tmp_path / "f.json"))[0] == 0
    _, printed, _ = ask(output, "'bare ground'", "--label_studio", str(tmp_path / "l.json"))

    fiftyone = json.loads((tmp_path / "f.json").read_text())
    assert sorted(fiftyone["paths"].values()) == [f"{archive}/2025/b.jpg", f"{archive}/2026/a.jpg"]
    labels = {fiftyone["paths"][name]: labels for name, labels in fiftyone["labels"].items()}
    assert labels[f"{archive}/2026/a.jpg"] == [
        {"label": "bare ground", "confidence": 0.7},
        {"label": "it's", "confidence": 0.9},
    ]
    tasks = json.loads((tmp_path / "l.json").read_text())
    assert tasks[1]["data"] == {"image": f"/data/local-files/?d={str(archive)[1:]}/2026/a.jpg"}
    assert tasks[1]["predictions"][0]["score"] == 0.7
    assert tasks[1]["predictions"][0]["result"][0]["value"] == {"choices": ["bare ground", "it's"]}
    interface = ElementTree.fromstring(printed.partition("labelling interface: ")[2])
    assert tuple(choice.attrib["value"] for choice in interface.iter("Choice")) == LABELS
    result, name = tasks[1]["predictions"][0]["result"][0], interface[1].attrib
    assert (result["from_name"], result["to_name"]) == (name["name"], name["toName"])


def test_what_is_no_file_is_not_handed_over(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = run_of(run, tmp_path / "out", LABELS)
    write_images(here, {"/archive/x.zip::a.jpg": IMAGES["2025/a.jpg"]})

    for flag in ("--fiftyone", "--label_studio"):
        code, _, error = ask(here.output, flag, str(tmp_path / "x.json"))
        assert (code, error.count("\n")) == (2, 1)
        assert "/archive/x.zip::a.jpg is part of another file" in error
    assert not (tmp_path / "x.json").exists()


def test_a_run_without_predictions_is_queried_like_any_other(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = run_of(run, tmp_path / "out", LABELS)
    write(here, [], [Failure("/d.jpg", "decode", "DamagedImageError", "cut off", "1-1")])

    assert ask(here.output, "road")[:2] == (
        0,
        "found: 0 of 0 images\nfailures: 1, without tags\n",
    )
    assert ask(here.output, "--like", "/a.jpg")[0] == 2
    assert ask(here.output, "road", "--copy_to", str(tmp_path / "to"))[0] == 0
    assert ask(here.output, "road", "--csv", "-")[1].startswith('"path","tags","p_clear"')


def test_rows_that_are_there_twice_are_refused(ask: Ask, output: Path, tmp_path: Path) -> None:
    [file] = (output / "predictions").iterdir()
    shutil.copy(file, file.with_name("copy.parquet"))

    for flags in ((), ("--paths",), ("--csv", f"{tmp_path}/x.csv"), ("--copy_to", f"{tmp_path}/to")):
        code, printed, error = ask(output, *flags)
        assert (code, printed, error.count("\n")) == (2, "", 1)
        assert f"{output}/predictions has two rows for" in error
    assert not (tmp_path / "x.csv").exists()
    assert report.main([str(output), "--html", f"{tmp_path}/x.html"]) == 2


def test_an_expression_may_follow_flags(ask: Ask, output: Path) -> None:
    assert ask(output, "--paths", "road") == ask(output, "road", "--paths")
    assert ask("--paths", str(output), "road")[0] == 0


def test_a_statement_that_duckdb_could_not_carry_out_is_not_written(ask: Ask, output: Path) -> None:
    moved = output.rename(output.with_name("back\\slash"))
    code, printed, error = ask(moved, "road", "--sql")
    assert (code, printed) == (2, "")
    assert error.endswith("DuckDB takes a backslash for the end of a folder's name; rename the folder\n")


def test_columns_of_the_list_are_in_csv_whatever_their_names(ask: Ask, run: Run, tmp_path: Path) -> None:
    kept = tuple(KeptColumn(name, "string") for name in ("xmin", "bbox_xmin", "=1+1"))
    (tmp_path / "s.tif").touch()
    one = window(f"{tmp_path}/s.tif", 0, [0.9])
    one = one._replace(ref=one.ref._replace(kept=("mine", "mine, too", "@x")))
    write(replace(with_grid(run_of(run, tmp_path / "out", ("road",))), kept=kept), [one])

    [row] = csv.DictReader(io.StringIO(ask(tmp_path / "out", "--csv", "-")[1]))

    assert (row["xmin"], row["bbox_xmin"], row["bbox_xmin_2"], row["ymin"]) == ("mine", "mine, too", "0", "20")
    assert row["'=1+1"] == "'@x"


def test_embeddings_stay_in_parquet_and_out_of_csv(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = replace(run_of(run, tmp_path / "out", ("road",)), embedding_size=4)
    one = image("/archive/a.jpg", [0.9])._replace(embedding=np.array([0.5, 1, 2, 3], np.float16))
    write(here, [one])

    assert ask(here.output, "road", "--parquet", str(tmp_path / "x.parquet"))[0] == 0
    assert pq.read_table(tmp_path / "x.parquet")["embedding"].to_pylist() == [[0.5, 1, 2, 3]]
    assert "embedding" not in ask(here.output, "road", "--csv", "-")[1].splitlines()[0]
