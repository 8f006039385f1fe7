"""What cannot be measured is refused in one line, and nothing is measured by halves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.model.evaluation.conftest import Chips, Evaluate, copied


def harm_bytes(file: Path) -> None:
    file.write_bytes(b"PAR1 is how it begins, and PAR1 how it ends; in between: PAR1")


def harm_pages(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[8:400] = bytes(392)
    file.write_bytes(data)


def harm_footer(file: Path) -> None:
    pq.write_table(pq.read_table(file).replace_schema_metadata(None), file)


def harm_columns(file: Path) -> None:
    pq.write_table(pq.read_table(file).drop_columns(["p_green"]), file)


def add_model(file: Path) -> None:
    rows = pq.read_table(file)
    footer = json.loads(rows.schema.metadata[b"scenetags"]) | {"bundle": "other"}
    pq.write_table(rows.replace_schema_metadata({"scenetags": json.dumps(footer)}), file.with_name("z.parquet"))


def add_thresholds(file: Path) -> None:
    rows = pq.read_table(file)
    footer = json.loads(rows.schema.metadata[b"scenetags"]) | {"thresholds": [0.1, 0.1, 0.1]}
    pq.write_table(rows.replace_schema_metadata({"scenetags": json.dumps(footer)}), file.with_name("z.parquet"))


def remove(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (harm_bytes, "is damaged or not a Parquet file"),
        (harm_pages, "is damaged or not a Parquet file"),
        (harm_footer, ": its footer names no model"),
        (harm_columns, "or columns are missing"),
        (add_model, "predictions made with several models"),
        (add_thresholds, "predictions made with several thresholds"),
        (remove, "no files predictions/*.parquet; give the --output of predict"),
    ],
)
def test_predictions_that_cannot_be_measured_are_one_line(
    harm: Callable[[Path], None], named: str, run: Evaluate, chips: Chips, tmp_path: Path
) -> None:
    harm(copied(chips, tmp_path / "out"))
    told = run("chip_0,green", predictions=tmp_path / "out", flags=("--json", str(tmp_path / "scores.json")))
    assert told.exit_code == 2
    assert named in told.err
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert not (tmp_path / "scores.json").exists()


@pytest.mark.parametrize(
    ("flags", "rows", "named"),
    [
        (("--predictions=nowhere",), ("chip_0,green",), "no folder at nowhere"),
        (("--predictions=ftp://host/out",), ("chip_0,green",), "ftp://host/out"),
        (("--labels=nothing.csv",), ("chip_0,green",), "nothing.csv"),
        (
            ("--json=no/such/folder/scores.json",),
            ("chip_0,green",),
            "--json no/such/folder/scores.json: the folder does not exist; create it first",
        ),
        (("--json=chip.jpg",), ("chip_0,green",), "--json chip.jpg is not a .json file"),
        (
            ("--threshold=0.5",),
            ("chip_0,green",),
            "unknown argument --threshold (see scenetags evaluate --help)",
        ),
        ((), ("other_0,green",), "other_0"),
        ((), ("chip_0,lake",), "have none of those of the model: they are lake, and the model's are "),
        (
            ("--tags_column=Seen",),
            ("chip_0,green",),
            "--tags_column Seen: no such column; the columns are image_name, t",
        ),
        ((), ("broken,green",), "only images that predict failed on; add rows"),
        ((), (), "labels.csv"),
    ],
)
def test_wrong_usage_is_one_line(flags: tuple[str, ...], rows: tuple[str, ...], named: str, run: Evaluate) -> None:
    told = run(*rows, flags=flags)
    assert told.exit_code == 2
    assert told.err.startswith("scenetags evaluate: ")
    assert named in told.err
    assert (told.out, told.err.count("\n")) == ("", 1)


def test_neither_rows_nor_labels_are_written_over(run: Evaluate, chips: Chips, tmp_path: Path) -> None:
    copied(chips, tmp_path / "out")
    labels = tmp_path / "labels.json"
    labels.write_text('[{"image": "chip_0", "tags": ["green"]}]')
    for path, reason in ((tmp_path / "out/predictions/x.json", "among the output's own files"), (labels, "the labels")):
        told = run("chip_0,green", predictions=tmp_path / "out", flags=(f"--labels={labels}", f"--json={path}"))
        assert (told.exit_code, told.err.count("\n")) == (2, 1), told.err
        assert reason in told.err
    assert "chip_0" in labels.read_text()


def test_an_output_of_failures_alone_says_so(run: Evaluate, chips: Chips, tmp_path: Path) -> None:
    remove(copied(chips, tmp_path / "out"))
    (tmp_path / "out" / "failures").mkdir()
    [failures] = (chips.output / "failures").iterdir()
    shutil.copy(failures, tmp_path / "out" / "failures")
    told = run("chip_0,green", predictions=tmp_path / "out")
    assert told.exit_code == 2
    assert "predict failed on every image" in told.err
