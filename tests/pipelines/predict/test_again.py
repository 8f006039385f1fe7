"""The same command again does what is left, whatever ended the run before, and mixes nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.output import commit
from pipelines.output import manifest as manifest_of
from pipelines.output.run import Accounts, Run
from pipelines.reading.fetched import Fetched, Refusal
from pipelines.reading.source import ImageSource
from pipelines.records import ImageRef
from tests.outputs import failed, manifest, rows, tagged
from tests.pipelines.conftest import on_both_runners
from tests.pipelines.predict.predicting import Predict, chip, interrupt_at, without


@on_both_runners
def test_the_same_command_again_does_only_what_is_left(run: Predict, chips: Path, tmp_path: Path) -> None:
    (chips / "bad.jpg").write_bytes(b"")
    (chips / "worse.jpg").write_bytes(b"")
    assert run("--max_failure_rate=1") == 0
    first = {row["path"]: row for row in rows(tmp_path / "out")}

    (chips / "bad.jpg").write_bytes(chip(20))
    (chips / "3.jpg").write_bytes(chip(21))
    (chips / "new.jpg").write_bytes(chip(22))
    assert run("--max_failure_rate=1") == 0

    described = manifest(tmp_path / "out")
    assert [described[name] for name in ("inputs", "skipped", "predictions", "failures")] == [13, 9, 3, 1]
    second = {row["path"]: row for row in rows(tmp_path / "out")}
    assert len(second) == len(tagged(tmp_path / "out")) == 12, "each image has one row"
    assert failed(tmp_path / "out") == {"worse.jpg": "empty file"}
    kept = [path for path in first if os.path.basename(path) != "3.jpg"]
    assert [second[path] for path in kept] == [first[path] for path in kept]
    assert second[f"{chips}/3.jpg"]["fingerprint"] != first[f"{chips}/3.jpg"]["fingerprint"]


def test_what_a_failed_run_has_tagged_is_recovered_and_not_tagged_again(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (chips / "bad.jpg").write_bytes(b"")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "out"))

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.job.steps.rows.close_wave", fail)
        assert run() == 1
    assert capsys.readouterr().err.endswith(
        "this run committed nothing, but has staged rows; run the same command again to recover them\n"
    )
    assert run(threshold=0.9) == 2
    [refused] = capsys.readouterr().err.splitlines()
    assert f"output {tmp_path / 'out'} holds rows tagged with different thresholds; repeat its command" in refused
    assert run("--max_failure_rate=1") == 0

    told = capsys.readouterr().err
    assert "recovered 10 images that run " in told
    assert ", and 1 failure\n" in told
    described = manifest(tmp_path / "out")
    assert [described[name] for name in ("inputs", "skipped", "predictions", "failures")] == [11, 10, 0, 1]
    assert len(rows(tmp_path / "out")) == 10
    assert [name for name in os.listdir(tmp_path / "out") if name.startswith("_")] == []


def test_tagged_images_are_skipped_without_being_read(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run() == 0
    (chips / "new.jpg").write_bytes(chip(20))
    names, fetch = [], ImageSource.fetch

    def noted(source: ImageSource, ref: ImageRef, waits: bool = True) -> Fetched | Refusal | None:
        names.append(os.path.basename(ref.path))
        return fetch(source, ref, waits)

    monkeypatch.setattr(ImageSource, "fetch", noted)
    assert run() == 0

    assert names == ["new.jpg"]
    assert manifest(tmp_path / "out")["skipped"] == 10


def test_an_image_that_is_replaced_after_it_was_listed_is_done_again_by_the_next_run(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = ImageSource.fetch

    def replaced(source: ImageSource, ref: ImageRef, waits: bool = True) -> Fetched | Refusal | None:
        if ref.path.endswith("3.jpg"):
            (chips / "3.jpg").write_bytes(chip(20))
        return fetch(source, ref, waits)

    monkeypatch.setattr(ImageSource, "fetch", replaced)
    assert run() == 0
    monkeypatch.undo()

    assert run() == 0
    assert [manifest(tmp_path / "out")[name] for name in ("predictions", "skipped")] == [1, 9]
    assert run() == 0
    assert [manifest(tmp_path / "out")[name] for name in ("predictions", "skipped")] == [0, 10]
    assert run(output=tmp_path / "fresh") == 0
    assert [without(row, "run") for row in rows(tmp_path / "out")] == [
        without(row, "run") for row in rows(tmp_path / "fresh")
    ]


def test_other_thresholds_are_not_mixed_into_one_output(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0

    assert run(threshold=0.9) == 2
    assert "holds rows tagged with different thresholds; choose another --output" in capsys.readouterr().err

    assert run("--overwrite", threshold=0.9) == 0
    assert len(tagged(tmp_path / "out")) == 10


def test_an_output_of_another_program_is_refused(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out/predictions").mkdir(parents=True)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "out/predictions/x.parquet")

    assert run() == 2

    assert "which scenetags did not write" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("runner", "column"), [("local", "path"), ("portable", "path"), ("local", "p_green")], indirect=["runner"]
)
def test_a_damaged_file_of_an_earlier_run_is_named_in_one_line(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    assert run() == 0
    [file] = (tmp_path / "out/predictions").iterdir()
    group = pq.read_metadata(file).row_group(0)
    [chunk] = [chunk for chunk in map(group.column, range(group.num_columns)) if chunk.path_in_schema == column]
    data = bytearray(file.read_bytes())
    begin = chunk.dictionary_page_offset or chunk.data_page_offset
    data[begin : begin + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    file.write_bytes(data)
    # Its row goes into that file in the place of the older one.
    (chips / "3.jpg").write_bytes(chip(seed=33))
    capsys.readouterr()

    assert run() == 2

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"scenetags predict: {file} is damaged or not a Parquet file (")
    file.rename(tmp_path / "moved away")
    assert run() == 0
    assert tagged(tmp_path / "out") == [f"{seed}.jpg" for seed in range(10)]


def test_an_output_that_fails_in_mid_run_is_one_clear_line(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill_the_disk(run: Run, accounts: Accounts, status: str) -> bytes:
        if accounts.inputs > 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return manifest_of.describe(run, accounts, status)

    monkeypatch.setattr(commit, "describe", fill_the_disk)
    assert run(checkpoint_every=4) == 1
    printed = capsys.readouterr().err
    assert "scenetags predict: stopped: No space left on device; 8 images are committed to" in printed
    assert "Traceback" not in printed
    assert manifest(tmp_path / "out")["status"] == "stopped"

    monkeypatch.undo()
    assert run() == 0
    assert len(tagged(tmp_path / "out")) == len(set(tagged(tmp_path / "out"))) == 10


def test_a_wave_whose_time_is_up_commits_what_it_has_and_the_next_goes_on(
    run: Predict, chips: Path, tmp_path: Path
) -> None:
    (chips / "3.jpg").write_bytes(b"")
    assert run("--max_failure_rate=1") == 0
    (chips / "3.jpg").write_bytes(chip(3))
    for seed in (1, 4):
        (chips / f"{seed}.jpg").write_bytes(chip(seed + 100))

    assert run(checkpoint_every=8, checkpoint_seconds=1e-9) == 0

    counts = manifest(tmp_path / "out")
    assert [counts[name] for name in ("status", "inputs", "predictions", "skipped")] == ["done", 10, 3, 7]
    assert tagged(tmp_path / "out") == [f"{seed}.jpg" for seed in range(10)]
    assert failed(tmp_path / "out") == {}


def test_an_overwrite_in_waves_whose_time_is_up_replaces_the_old_rows_at_its_end(
    run: Predict, chips: Path, tmp_path: Path
) -> None:
    for seed in range(4, 10):
        (chips / f"{seed}.jpg").unlink()
    assert run() == 0
    old = {row["run"] for row in rows(tmp_path / "out")}

    assert run("--overwrite", checkpoint_seconds=1e-9) == 0

    assert tagged(tmp_path / "out") == [f"{seed}.jpg" for seed in range(4)]
    assert old.isdisjoint(row["run"] for row in rows(tmp_path / "out"))
    assert manifest(tmp_path / "out")["status"] == "done"


def test_a_run_that_is_interrupted_before_its_first_image_is_done_leaves_nothing(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ImageSource, "fetch", interrupt_at("0.jpg"))

    assert run(threads=1) == 130

    assert "this run committed nothing; run the same command again to start over" in capsys.readouterr().err
    assert list(tmp_path.glob("out/*")) == []


def test_an_interrupted_run_says_so_and_resumes_later(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ImageSource, "fetch", interrupt_at("7.jpg"))
    assert run(checkpoint_every=5, threads=1) == 130
    assert "scenetags predict: interrupted by SIGINT; 7 images are committed to" in capsys.readouterr().err
    assert tagged(tmp_path / "out") == [f"{seed}.jpg" for seed in range(7)]
    assert manifest(tmp_path / "out")["status"] == "interrupted"

    monkeypatch.undo()
    assert run() == 0
    assert manifest(tmp_path / "out")["skipped"] == 7
    assert tagged(tmp_path / "out") == [f"{seed}.jpg" for seed in range(10)]
