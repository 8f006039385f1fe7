"""An overwrite keeps the old rows until the new ones are complete."""

from __future__ import annotations

import os
import shutil
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import storage
from pipelines.inference.bundle import Description, load_bundle, seal_bundle
from pipelines.output.lock import LOCK
from pipelines.reading.ahead import PredictAhead
from pipelines.reading.source import ImageSource
from tests.outputs import failed, manifest, rows, tagged
from tests.pipelines.conftest import on_both_runners
from tests.pipelines.predict.predicting import Predict, chip, interrupt_at


def test_an_overwrite_that_loses_a_row_keeps_the_old_ones(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run() == 0
    old = rows(tmp_path / "out")
    whole = PredictAhead.drain
    monkeypatch.setattr(PredictAhead, "drain", lambda self: islice(whole(self), len(old) - 1))

    assert run("--overwrite") == 4

    assert rows(tmp_path / "out") == old
    assert manifest(tmp_path / "out")["status"] == "unbalanced"


def test_after_a_stopped_overwrite_the_plain_command_continues_with_the_old_rows(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run() == 0
    old = rows(tmp_path / "out")
    monkeypatch.setattr(ImageSource, "fetch", interrupt_at("7.jpg"))
    assert run("--overwrite", checkpoint_every=5, threads=1, threshold=0.9) == 130
    monkeypatch.undo()

    assert run() == 0

    assert manifest(tmp_path / "out")["skipped"] == 10
    assert rows(tmp_path / "out") == old
    assert sorted(os.listdir(tmp_path / "out")) == ["failures", "predictions", "runs"]


def test_another_bundle_is_refused_unless_it_may_overwrite(
    run: Predict, chips: Path, tmp_path: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    before = rows(tmp_path / "out")
    other = tmp_path / "other"
    shutil.copytree(bundle_path, other)
    bundle = load_bundle(bundle_path)
    sealed = seal_bundle(
        other,
        Description(
            name="other",
            labels=bundle.labels,
            thresholds=[0.5] * len(bundle.labels),
            image_size=bundle.image_size,
            resize_filter=bundle.resize_filter,
            training={},
            metrics={},
            versions={},
        ),
    )

    assert run(model=other) == 2
    assert f"holds rows of a different bundle ({bundle.digest[:12]}" in capsys.readouterr().err
    assert rows(tmp_path / "out") == before

    assert run("--overwrite", model=other) == 0
    assert [row["model"] for row in rows(tmp_path / "out")] == [sealed.digest] * 10


def test_an_interrupted_overwrite_keeps_the_old_rows_and_resumes_later(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (chips / "3.jpg").write_bytes(b"")
    assert run("--max_failure_rate=1") == 0
    old = rows(tmp_path / "out"), rows(tmp_path / "out", "failures")
    (chips / "3.jpg").write_bytes(chip(3))

    monkeypatch.setattr(ImageSource, "fetch", interrupt_at("7.jpg"))
    assert run("--overwrite", checkpoint_every=5, threads=1) == 130
    monkeypatch.undo()
    assert "7 images are committed, and the old rows are untouched; run the same command" in capsys.readouterr().err
    assert (rows(tmp_path / "out"), rows(tmp_path / "out", "failures")) == old
    assert manifest(tmp_path / "out")["status"] == "interrupted"

    assert run("--overwrite") == 0
    assert "3 tagged, 0 failed, 7 skipped" in capsys.readouterr().out
    assert tagged(tmp_path / "out") == [f"{seed}.jpg" for seed in range(10)]
    assert failed(tmp_path / "out") == {}
    assert {row["run"] for row in old[0]}.isdisjoint(row["run"] for row in rows(tmp_path / "out"))
    assert sorted(os.listdir(tmp_path / "out")) == ["failures", "predictions", "runs"]


def test_an_overwrite_with_too_many_failures_keeps_the_old_rows(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    old = rows(tmp_path / "out")
    (chips / "3.jpg").write_bytes(b"")
    capsys.readouterr()

    assert run("--overwrite") == 3
    summary, said = capsys.readouterr()
    for table in ("predictions", "failures"):
        [named] = [line for line in summary.splitlines() if line.startswith(f"{table}: ")]
        [folder] = tmp_path.glob(f"out/_overwrite-*/{table}")
        assert named == f"{table}: {folder}/*.parquet"
    assert "10.0% of the images failed, more than --max_failure_rate 0.05 allows; the reasons are in" in said
    assert "the old rows stay, and the same command retries what failed" in said
    assert said.endswith("/3.jpg: decode: empty file\n")
    assert rows(tmp_path / "out") == old
    assert manifest(tmp_path / "out")["status"] == "kept_old"

    assert run("--overwrite", "--max_failure_rate=0.1") == 0
    assert len(rows(tmp_path / "out")) == 9
    assert failed(tmp_path / "out") == {"3.jpg": "empty file"}


@on_both_runners
def test_an_overwrite_publishes_only_what_it_has_listed_itself(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    (chips / "3.jpg").write_bytes(b"")
    assert run("--overwrite", checkpoint_every=5) == 3
    few = tmp_path / "few"
    few.mkdir()
    (few / "new.jpg").write_bytes(chip(20))
    for name in ("3.jpg", "7.jpg"):
        (few / name).symlink_to(chips / name)
    (chips / "8.jpg").unlink()
    listed = f"--input={chips}/[89].jpg"

    assert run("--overwrite", listed, "--max_failure_rate=0.5", input=few, checkpoint_every=1) == 0

    assert tagged(tmp_path / "out") == ["9.jpg", "7.jpg", "new.jpg"]
    assert failed(tmp_path / "out") == {"3.jpg": "empty file"}
    counts = manifest(tmp_path / "out")
    assert [counts[name] for name in ("inputs", "predictions", "failures", "skipped")] == [4, 2, 1, 1]
    assert sorted(os.listdir(tmp_path / "out")) == ["failures", "predictions", "runs"]


@on_both_runners
def test_foreign_files_survive_an_overwrite(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out/predictions").mkdir(parents=True)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "out/predictions/x.parquet")

    assert run("--overwrite") == 2

    assert "which scenetags did not write" in capsys.readouterr().err
    assert pq.read_table(tmp_path / "out/predictions/x.parquet").num_rows == 1


def test_an_overwrite_that_died_in_its_last_moment_is_finished_and_that_is_said(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    output, dead = tmp_path / "out", tmp_path / "dead"
    delete = storage.delete

    def keep_a_copy(paths: list[str]) -> None:
        if any(path.startswith(f"{output}/predictions/") for path in paths):
            shutil.copytree(output, dead, ignore=shutil.ignore_patterns(LOCK))
        delete(paths)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete", keep_a_copy)
        assert run("--overwrite", threshold=0.9) == 0
    name = manifest(output)["run"]
    capsys.readouterr()

    shutil.copytree(dead, tmp_path / "again")
    assert run(output=dead, threshold=0.9) == 0
    told = f"scenetags predict: finished the overwrite of run {name}, which had died while it moved files into place"
    assert told in capsys.readouterr().err.splitlines()
    assert (manifest(dead)["predictions"], rows(dead)) == (0, rows(output))
    assert run("--overwrite", output=tmp_path / "again", threshold=0.9) == 0
    assert f"{told}; this one tags all images again" in capsys.readouterr().err.splitlines()
