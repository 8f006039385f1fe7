"""`scenetags predict` from the command line to the rows, on real files."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import predict
from pipelines.images import Resized
from pipelines.inference.bundle import load_bundle
from pipelines.inference.tagging import Predictor
from pipelines.listing.packed import PackedNames
from pipelines.output import commit
from pipelines.output import manifest as manifest_of
from pipelines.output.run import Accounts, Run
from pipelines.reading.source import ImageSource, Refusal
from pipelines.records import Failure, Image, ImageRef, Prediction
from pipelines.runners import jobs
from tests.conftest import IMAGE_SIZE, POISON, on_both_runners
from tests.image_files import bomb, encode, picture, unmarked_rgba_jpeg

CHIP = unmarked_rgba_jpeg(picture())
ODD_NAMES = (
    "with space.jpg",
    "a#1.jpg",
    "100%.jpg",
    "[x].jpg",
    "a?b*c.jpg",
    "森 ä🛰.jpg",
    "quote'\".jpg",
    "new\nline.jpg",
)

Predict = Callable[..., int]


def chip(seed: int) -> bytes:
    return unmarked_rgba_jpeg(picture(seed=seed))


@pytest.fixture
def run(tmp_path: Path, bundle_path: str, runner: Sequence[str]) -> Predict:
    """Run the command on `tmp_path/chips` into `tmp_path/out`, unless the arguments say otherwise."""

    def run(*arguments: str, **flags: Any) -> int:
        flags = {"input": tmp_path / "chips", "model": bundle_path, "output": tmp_path / "out", **flags}
        named = [f"--{name}={value}" for name, value in flags.items() if value is not None]
        return predict.main([*named, "--progress=off", *runner, *arguments])

    return run


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    folder = tmp_path / "chips"
    folder.mkdir()
    for seed in range(10):
        (folder / f"{seed}.jpg").write_bytes(chip(seed))
    return folder


def rows(output: Path, table: str = "predictions") -> list[dict[str, Any]]:
    files = sorted((output / table).glob("*.parquet"))
    found = [row for file in files for row in pq.read_table(file).to_pylist()]
    return sorted(found, key=lambda row: row["path"])


def tagged(output: Path) -> list[str]:
    return [os.path.basename(row["path"]) for row in rows(output)]


def failed(output: Path) -> dict[str, str]:
    return {os.path.basename(row["path"]): row["message"] for row in rows(output, "failures")}


def manifest(output: Path) -> dict[str, Any]:
    newest = max((output / "runs").glob("*.json"))
    described: dict[str, Any] = json.loads(newest.read_text())
    return described


def without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def interrupt_at(name: str) -> Callable[[ImageSource, ImageRef], Resized | Refusal]:
    """Make a reader that presses Ctrl-C when it comes to an image."""
    read = ImageSource.read

    def interrupted(source: ImageSource, ref: ImageRef) -> Resized | Refusal:
        if ref.path.endswith(name):
            signal.raise_signal(signal.SIGINT)
        return read(source, ref)

    return interrupted


@on_both_runners
def test_every_image_becomes_one_row(run: Predict, chips: Path, tmp_path: Path, bundle_path: str) -> None:
    bundle = load_bundle(bundle_path)

    assert run() == 0

    found = rows(tmp_path / "out")
    assert [row["path"] for row in found] == [f"{chips}/{seed}.jpg" for seed in range(10)]
    for row in found:
        status = os.stat(row["path"])
        probabilities = np.array([row[f"p_{label}"] for label in bundle.labels])
        above = [label for label, p, t in zip(bundle.labels, probabilities, bundle.thresholds, strict=True) if p >= t]
        assert row["tags"] == above
        assert ((probabilities >= 0) & (probabilities <= 1)).all()
        assert without(row, "path", "tags", "run", *(f"p_{label}" for label in bundle.labels)) == {
            "width": 64,
            "height": 48,
            "source": "jpeg 4x8",
            "repairs": ["unmarked_rgba_jpeg"],
            "fingerprint": f"{status.st_size}-{status.st_mtime_ns}",
            "model": bundle.digest,
        }
    assert sorted(os.listdir(tmp_path / "out")) == ["predictions", "runs"]


@on_both_runners
def test_good_and_bad_files_each_land_in_their_table(run: Predict, tmp_path: Path) -> None:
    folder = tmp_path / "chips"
    folder.mkdir()
    for name in ODD_NAMES:
        (folder / name).write_bytes(CHIP)
    bad = {"empty.jpg": b"", "text.jpg": b"not an image", "cut.jpg": CHIP[: len(CHIP) // 2], "bomb.png": bomb("png")}
    for name, data in bad.items():
        (folder / name).write_bytes(data)

    assert run("--max_failure_rate=0.5") == 0

    assert sorted(tagged(tmp_path / "out")) == sorted(ODD_NAMES)
    found = failed(tmp_path / "out")
    assert found.keys() == bad.keys()
    for name, reason in {
        "empty.jpg": "empty",
        "text.jpg": "no image",
        "cut.jpg": "truncated",
        "bomb.png": "60000 x",
    }.items():
        assert reason in found[name]
    assert {row["stage"] for row in rows(tmp_path / "out", "failures")} == {"decode"}
    assert [manifest(tmp_path / "out")[name] for name in ("inputs", "predictions", "failures")] == [12, 8, 4]


def test_too_many_failures_end_with_code_3_after_all_is_written(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (chips / "empty.jpg").write_bytes(b"")

    assert run("--max_failure_rate=0.09") == 3
    assert run("--max_failure_rate=0.09") == 3, "the same again"

    assert len(tagged(tmp_path / "out")) == 10
    assert failed(tmp_path / "out") == {"empty.jpg": "empty file"}
    assert "9.1% of the images failed" in capsys.readouterr().err
    assert run("--max_failure_rate=0.10", "--overwrite") == 0


@on_both_runners
def test_one_image_that_fails_in_the_engine_costs_no_other(
    run: Predict, tmp_path: Path, poisoned_bundle_path: str
) -> None:
    (tmp_path / "chips").mkdir()
    good = tmp_path / "chips/0.jpg"
    good.write_bytes(CHIP)
    for number in range(1, 999):
        os.link(good, tmp_path / f"chips/{number}.jpg")
    poison = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), POISON, np.uint8)
    (tmp_path / "chips/500 poison.png").write_bytes(encode(poison, "png"))

    assert run(model=poisoned_bundle_path) == 0

    assert len(rows(tmp_path / "out")) == 999
    [failure] = rows(tmp_path / "out", "failures")
    assert (os.path.basename(failure["path"]), failure["stage"], failure["error"]) == (
        "500 poison.png",
        "predict",
        "RuntimeError",
    )
    assert "gather" in failure["message"].lower()
    assert manifest(tmp_path / "out")["errors"] == {"predict: RuntimeError": 1}


def test_a_run_that_fails_fast_ends_at_once_and_keeps_what_it_has_committed(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (chips / "2.jpg").write_bytes(b"")
    (chips / "7.jpg").write_bytes(b"")
    (chips / "8.jpg").write_bytes(b"")

    assert run("--fail_fast", max_failure_rate=0.1, checkpoint_every=5) == 3
    said = capsys.readouterr().err
    assert "2 images have failed, more than --max_failure_rate 10.0% allows, and --fail_fast ends the run" in said
    assert "5 images are committed to" in said
    assert f"\n  {chips}/2.jpg: decode: empty file\n  {chips}/7.jpg: decode: empty file\n" in said
    assert tagged(tmp_path / "out") == ["0.jpg", "1.jpg", "3.jpg", "4.jpg"]
    assert manifest(tmp_path / "out")["status"] == "failed_fast"

    assert run("--fail_fast", max_failure_rate=0.3, checkpoint_every=5) == 0
    assert len(tagged(tmp_path / "out")) == 7
    assert list(failed(tmp_path / "out")) == ["2.jpg", "7.jpg", "8.jpg"]


def test_failing_fast_at_a_rate_of_0_ends_at_the_first_failure(run: Predict, chips: Path, tmp_path: Path) -> None:
    (chips / "0.jpg").write_bytes(b"")

    assert run("--fail_fast", max_failure_rate=0) == 3
    assert not (tmp_path / "out" / "predictions").exists()


@on_both_runners
def test_images_beyond_the_limits_are_failures_with_a_reason(run: Predict, chips: Path, tmp_path: Path) -> None:
    (chips / "large.png").write_bytes(encode(picture(200, 200), "png"))
    (chips / "heavy.bmp").write_bytes(encode(picture(48, 64), "bmp"))

    assert run(max_pixels=10_000, max_bytes=8000, max_failure_rate=1) == 0

    assert len(tagged(tmp_path / "out")) == 10
    assert {row["error"] for row in rows(tmp_path / "out", "failures")} == {"FileTooLargeError"}
    assert run(max_pixels=10_000, max_failure_rate=1) == 0
    assert failed(tmp_path / "out") == {"large.png": "200 x 200 pixels: more than the 10,000 that are decoded"}


@on_both_runners
def test_failures_alone_leave_no_predictions_folder(run: Predict, tmp_path: Path) -> None:
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips/empty.jpg").write_bytes(b"")

    assert run() == 3

    assert failed(tmp_path / "out") == {"empty.jpg": "empty file"}
    assert not (tmp_path / "out/predictions").exists()


def test_unbalanced_accounts_end_with_code_4(
    run: Predict, chips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "run_job", lambda *_: Accounts(inputs=10, predictions=9))

    assert run() == 4

    assert "ROW COUNT MISMATCH: 10 inputs, but 9 rows and skips; please report this" in capsys.readouterr().out


@pytest.mark.parametrize(("times", "rows_and_skips"), [(0, 8), (2, 12)], ids=["lost", "doubled"])
def test_rows_lost_or_doubled_in_the_pipeline_end_with_code_4(
    run: Predict,
    chips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    times: int,
    rows_and_skips: int,
) -> None:
    whole = Predictor.predict

    def predict_wrongly(self: Predictor, images: Sequence[Image]) -> Iterator[Prediction | Failure]:
        for image, result in zip(images, whole(self, images), strict=True):
            yield from [result] * (times if image.ref.path.endswith(("3.jpg", "7.jpg")) else 1)

    monkeypatch.setattr(Predictor, "predict", predict_wrongly)

    assert run(checkpoint_every=5) == 4

    assert f"ROW COUNT MISMATCH: 10 inputs, but {rows_and_skips} rows and skips" in capsys.readouterr().out
    assert len(rows(tmp_path / "out")) == rows_and_skips
    assert manifest(tmp_path / "out")["status"] == "unbalanced"


def test_names_lost_on_their_way_into_the_pipeline_end_with_code_4(
    run: Predict, chips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = PackedNames.__iter__
    monkeypatch.setattr(PackedNames, "__iter__", lambda self: islice(whole(self), len(self) - 1))

    assert run(checkpoint_every=5) == 4

    assert "ROW COUNT MISMATCH: 10 inputs, but 8 rows and skips" in capsys.readouterr().out


def test_an_overwrite_that_loses_a_row_keeps_the_old_ones(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run() == 0
    old = rows(tmp_path / "out")
    whole = Predictor.predict
    monkeypatch.setattr(Predictor, "predict", lambda self, images: islice(whole(self, images), len(images) - 1))

    assert run("--overwrite") == 4

    assert rows(tmp_path / "out") == old
    assert manifest(tmp_path / "out")["status"] == "unbalanced"


def test_the_manifest_says_what_was_done_and_with_what(
    run: Predict, chips: Path, tmp_path: Path, bundle_path: str
) -> None:
    (chips / "bad.jpg").write_bytes(b"")
    (chips / "notes.txt").write_text("no image")

    assert run(max_failure_rate=0.5, batch_size=7) == 0

    described = manifest(tmp_path / "out")
    found = rows(tmp_path / "out")
    bundle = load_bundle(bundle_path)
    assert [described[name] for name in ("inputs", "predictions", "failures", "skipped")] == [11, 10, 1, 0]
    assert described["tags"] == Counter(tag for row in found for tag in row["tags"])
    assert described["repairs"] == {"unmarked_rgba_jpeg": 10}
    assert described["errors"] == {"decode: NotAnImageError": 1}
    assert described["passed_over"] == {".txt": 1}
    assert described["options"]["batch_size"] == 7
    assert described["bundle"]["digest"] == bundle.digest
    assert described["thresholds"] == dict(zip(bundle.labels, bundle.thresholds, strict=True))
    assert described["versions"].keys() == {"python", *manifest_of.PACKAGES}
    assert described["timings"].keys() == {"listing", "loading", "tagging"}
    assert sum(described["timings"].values()) == pytest.approx(described["seconds"], abs=0.01)
    assert described["machine"]["cores"] >= 1
    assert described["machine"]["memory_bytes"] > 0


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"input": "gone"}, "no such file or folder, and no match: gone"),
        ({"input": None}, "nothing to tag; give --input PATTERN or --input_list FILE"),
        (
            {"input": "ftp://host/chips"},
            "ftp://host/chips: only local paths and those in gs:// and s3://",
        ),
        ({"input_list": "gone.csv"}, "cannot read gone.csv"),
        ({"model": "gone"}, "gone: bundle.json cannot be read"),
        ({"model": None}, "the following arguments are required: --model"),
        ({"output": ""}, "--output is empty"),
        ({"input": ""}, "--input is empty"),
        ({"input": "nu\udcff"}, "--input 'nu\\udcff' is not UTF-8"),
        (
            {"input_list": "ftp://host/list.txt"},
            "ftp://host/list.txt: only local paths and those in gs:// and s3://",
        ),
        (
            {"model": "ftp://host/model"},
            "ftp://host/model: only local paths and those in gs:// and s3://",
        ),
        ({"output": "made/" + 300 * "x"}, "File name too long"),
        ({"output": "/proc/no/such"}, "cannot write into output /proc/no/such"),
        ({"output": "chips/0.jpg"}, "cannot write into output"),
        ({"batch_size": 0}, "--batch_size must be at least 1, not 0"),
        ({"batch_size": "many"}, "argument --batch_size: invalid int value: 'many'"),
        ({"checkpoint_every": 0}, "--checkpoint_every must be at least 1, not 0"),
        ({"threshold": 1.5}, "--threshold must be between 0 and 1, not 1.5"),
        ({"max_failure_rate": -1}, "--max_failure_rate must be between 0 and 1, not -1.0"),
        ({"max_failure_rate": "nan"}, "--max_failure_rate must be between 0 and 1, not nan"),
        ({"engine": "abacus"}, "argument --engine: invalid choice: 'abacus'"),
        ({"batch_sise": 1}, "unknown argument --batch_sise; did you mean --batch_size?"),
        ({"no_such_flag": 1}, "unknown argument --no_such_flag"),
        ({"runner": "directrunner", "input": "gone"}, "no such file or folder, and no match: gone"),
        ({"max_bytes": "0"}, "--max_bytes must be more than 0, not 0"),
        ({"max_seconds": "5"}, "--max_seconds needs --isolate_decoding"),
        ({"runner": "NoRunner"}, "--runner NoRunner: Unexpected pipeline runner"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_usage_is_one_clear_line_and_writes_nothing(
    run: Predict,
    chips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: dict[str, Any],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    assert run(**flags) == 2

    printed = capsys.readouterr()
    assert printed.err.startswith("scenetags predict: ")
    assert reason in printed.err
    assert printed.err.count("\n") == 1, printed.err
    assert printed.out == ""
    assert sorted(tmp_path.rglob("*")) == before


@on_both_runners
def test_a_damaged_bundle_is_refused(
    run: Predict, chips: Path, tmp_path: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(bundle_path, damaged)
    model = bytearray((damaged / "model.tflite").read_bytes())
    model[len(model) // 2] ^= 1
    (damaged / "model.tflite").write_bytes(model)

    assert run(model=damaged) == 2

    assert f"bundle {damaged}: model.tflite is damaged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_rows_are_the_same_whatever_the_batches_and_waves(run: Predict, chips: Path, tmp_path: Path) -> None:
    expected = None
    for batch_size, checkpoint_every in ((32, 1000), (32, 1000), (1, 1000), (3, 4), (7, 3)):
        assert run(output=tmp_path / "x", batch_size=batch_size, checkpoint_every=checkpoint_every) == 0
        found = [without(row, "run") for row in rows(tmp_path / "x")]
        shutil.rmtree(tmp_path / "x")
        expected = expected or found
        assert found == expected, f"batches of {batch_size}, waves of {checkpoint_every}"


def test_litert_and_tensorflow_give_the_same_rows(run: Predict, chips: Path, tmp_path: Path, bundle_path: str) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is an extra")
    for engine in ("litert", "tensorflow"):
        assert run(engine=engine, output=tmp_path / engine) == 0

    for one, other in zip(rows(tmp_path / "litert"), rows(tmp_path / "tensorflow"), strict=True):
        for label in load_bundle(bundle_path).labels:
            assert abs(one[f"p_{label}"] - other[f"p_{label}"]) <= 2e-5, (one["path"], label)


def test_a_threshold_for_all_labels_replaces_the_bundles_own(
    run: Predict, chips: Path, tmp_path: Path, bundle_path: str
) -> None:
    labels = list(load_bundle(bundle_path).labels)
    for threshold, expected in ((0.0, labels), (1.0, [])):
        assert run(threshold=threshold, output=tmp_path / str(threshold)) == 0
        assert all(row["tags"] == expected for row in rows(tmp_path / str(threshold)))


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


def test_tagged_images_are_skipped_without_being_read(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run() == 0
    (chips / "new.jpg").write_bytes(chip(20))
    names, read = [], ImageSource.read

    def noted(source: ImageSource, ref: ImageRef) -> Resized | Refusal:
        names.append(os.path.basename(ref.path))
        return read(source, ref)

    monkeypatch.setattr(ImageSource, "read", noted)
    assert run() == 0

    assert names == ["new.jpg"]
    assert manifest(tmp_path / "out")["skipped"] == 10


def test_an_image_that_is_replaced_after_it_was_listed_is_done_again_by_the_next_run(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ImageSource.read

    def replaced(source: ImageSource, ref: ImageRef) -> Resized | Refusal:
        if ref.path.endswith("3.jpg"):
            (chips / "3.jpg").write_bytes(chip(20))
        return read(source, ref)

    monkeypatch.setattr(ImageSource, "read", replaced)
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


def test_after_a_stopped_overwrite_the_plain_command_goes_on_with_the_old_rows(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run() == 0
    old = rows(tmp_path / "out")
    monkeypatch.setattr(ImageSource, "read", interrupt_at("7.jpg"))
    assert run("--overwrite", checkpoint_every=5, threshold=0.9) == 130
    monkeypatch.undo()

    assert run() == 0

    assert manifest(tmp_path / "out")["skipped"] == 10
    assert rows(tmp_path / "out") == old
    assert sorted(os.listdir(tmp_path / "out")) == ["predictions", "runs"]


@on_both_runners
def test_another_bundle_is_refused_unless_it_may_overwrite(
    run: Predict, chips: Path, tmp_path: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines.inference.bundle import seal_bundle

    assert run() == 0
    before = rows(tmp_path / "out")
    other = tmp_path / "other"
    shutil.copytree(bundle_path, other)
    bundle = load_bundle(bundle_path)
    sealed = seal_bundle(
        other,
        name="other",
        labels=bundle.labels,
        thresholds=[0.5] * len(bundle.labels),
        image_size=bundle.image_size,
        resize_filter=bundle.resize_filter,
        training={},
        metrics={},
        versions={},
    )

    assert run(model=other) == 2
    assert f"holds rows of another bundle ({bundle.digest[:12]}" in capsys.readouterr().err
    assert rows(tmp_path / "out") == before

    assert run("--overwrite", model=other) == 0
    assert [row["model"] for row in rows(tmp_path / "out")] == [sealed.digest] * 10


def test_an_interrupted_overwrite_keeps_the_old_rows_and_goes_on_later(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (chips / "3.jpg").write_bytes(b"")
    assert run("--max_failure_rate=1") == 0
    old = rows(tmp_path / "out"), rows(tmp_path / "out", "failures")
    (chips / "3.jpg").write_bytes(chip(3))

    monkeypatch.setattr(ImageSource, "read", interrupt_at("7.jpg"))
    assert run("--overwrite", checkpoint_every=5) == 130
    monkeypatch.undo()
    assert "5 images are committed, and the old rows are untouched; run the same command" in capsys.readouterr().err
    assert (rows(tmp_path / "out"), rows(tmp_path / "out", "failures")) == old
    assert manifest(tmp_path / "out")["status"] == "interrupted"

    assert run("--overwrite") == 0
    assert "5 tagged, 0 failed, 5 skipped" in capsys.readouterr().out
    assert tagged(tmp_path / "out") == [f"{seed}.jpg" for seed in range(10)]
    assert failed(tmp_path / "out") == {}
    assert {row["run"] for row in old[0]}.isdisjoint(row["run"] for row in rows(tmp_path / "out"))
    assert sorted(os.listdir(tmp_path / "out")) == ["failures", "predictions", "runs"]


@on_both_runners
def test_an_overwrite_with_too_many_failures_keeps_the_old_rows(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    old = rows(tmp_path / "out")
    (chips / "3.jpg").write_bytes(b"")

    assert run("--overwrite") == 3
    said = capsys.readouterr().err
    assert "10.0% of the images failed, more than --max_failure_rate 5.0%; the reasons are in" in said
    assert "the old rows stay, and the same command retries what failed" in said
    assert rows(tmp_path / "out") == old
    assert manifest(tmp_path / "out")["status"] == "kept_old"

    assert run("--overwrite", "--max_failure_rate=0.1") == 0
    assert len(rows(tmp_path / "out")) == 9
    assert failed(tmp_path / "out") == {"3.jpg": "empty file"}


@on_both_runners
def test_foreign_files_survive_an_overwrite(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out/predictions").mkdir(parents=True)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "out/predictions/x.parquet")

    assert run("--overwrite") == 2

    assert "which scenetags did not write" in capsys.readouterr().err
    assert pq.read_table(tmp_path / "out/predictions/x.parquet").num_rows == 1


@on_both_runners
def test_other_thresholds_are_not_mixed_into_one_output(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0

    assert run(threshold=0.9) == 2
    assert "holds rows that were tagged with other thresholds: choose another --output" in capsys.readouterr().err

    assert run("--overwrite", threshold=0.9) == 0
    assert len(tagged(tmp_path / "out")) == 10


@on_both_runners
def test_an_output_of_another_program_is_refused(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out/predictions").mkdir(parents=True)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "out/predictions/x.parquet")

    assert run() == 2

    assert "which scenetags did not write" in capsys.readouterr().err


@on_both_runners
@pytest.mark.parametrize("column", ["path", "p_green"])
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
    assert line.startswith(f"scenetags predict: {file} is damaged, or no Parquet file at all (")
    file.rename(tmp_path / "moved away")
    assert run() == 0
    assert tagged(tmp_path / "out") == [f"{seed}.jpg" for seed in range(10)]


def test_the_output_loads_without_glue(run: Predict, chips: Path, tmp_path: Path, bundle_path: str) -> None:
    bundle = load_bundle(bundle_path)
    (chips / "bad.jpg").write_bytes(b"")
    assert run(checkpoint_every=4) == 3
    [failure_file] = (tmp_path / "out/failures").glob("*.parquet")
    prediction_files = list((tmp_path / "out/predictions").glob("*.parquet"))

    assert len(prediction_files) == 3
    for file in [failure_file, *prediction_files]:
        metadata = pq.read_metadata(file)
        footer = json.loads(metadata.metadata[b"scenetags"])
        assert footer["bundle"] == bundle.digest
        assert footer["labels"] == list(bundle.labels)
        assert footer["thresholds"] == list(bundle.thresholds)
        codecs = {metadata.row_group(0).column(index).compression for index in range(metadata.num_columns)}
        assert codecs == {"ZSTD"}
    assert pq.read_schema(failure_file).names == ["path", "stage", "error", "message", "fingerprint", "model", "run"]
    probability = f"p_{bundle.labels[0]}"
    query = f"""
        select count(*), count(distinct path), min({probability}) >= 0, sum(len(repairs))
        from '{tmp_path}/out/predictions/*.parquet'
    """
    assert duckdb.execute(query).fetchall() == [(10, 10, True, 10)]


@on_both_runners
def test_the_summary_says_what_happened_and_where_things_are(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (chips / "bad.jpg").write_bytes(b"")
    run()

    printed = capsys.readouterr().out
    assert "11 images: 10 tagged, 1 failed, 0 skipped" in printed
    assert "images per second" in printed
    assert "repairs: unmarked_rgba_jpeg 10" in printed
    assert f"predictions: {tmp_path}/out/predictions/*.parquet" in printed
    assert f"failures: {tmp_path}/out/failures/*.parquet" in printed
    assert str(max((tmp_path / "out/runs").glob("*.json"))) in printed


def test_a_summary_that_cannot_be_printed_is_one_line_and_code_1(chips: Path, tmp_path: Path, bundle_path: str) -> None:
    flags = [f"--input={chips}", f"--model={bundle_path}", f"--output={tmp_path / 'out'}"]
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "predict", *flags], stdout=full, stderr=subprocess.PIPE, text=True
        )

    assert process.returncode == 1
    assert process.stderr == (
        "scenetags predict: everything is written, but the summary cannot be printed: No space left on device\n"
    )
    assert manifest(tmp_path / "out")["status"] == "done"
    assert len(tagged(tmp_path / "out")) == 10


@on_both_runners
def test_real_chips_are_tagged_with_true_colours(run: Predict, tmp_path: Path, planet: Path) -> None:
    assert run(input=planet / "jpg") == 0
    assert len(rows(tmp_path / "out")) == 20
    assert all(row["repairs"] == ["unmarked_rgba_jpeg"] for row in rows(tmp_path / "out"))


@on_both_runners
def test_real_analytic_tiffs_are_refused_with_a_reason(run: Predict, tmp_path: Path, planet: Path) -> None:
    assert run(input=planet / "tif") == 3
    assert not (tmp_path / "out/predictions").exists()
    assert len(failed(tmp_path / "out")) == 6
    assert all("16-bit multi-band TIFF" in reason for reason in failed(tmp_path / "out").values())


def test_ordinary_images_need_no_repair(run: Predict, tmp_path: Path) -> None:
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips/a.jpg").write_bytes(encode(picture(), "jpeg"))
    (tmp_path / "chips/b.png").write_bytes(encode(picture(), "png"))
    assert run() == 0
    assert [row["repairs"] for row in rows(tmp_path / "out")] == [[], []]
    assert [row["source"] for row in rows(tmp_path / "out")] == ["jpeg 3x8", "png 3x8"]


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


def test_an_interrupted_run_says_so_and_goes_on_later(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ImageSource, "read", interrupt_at("7.jpg"))
    assert run(checkpoint_every=5) == 130
    assert "scenetags predict: interrupted by SIGINT; " in capsys.readouterr().err
    assert tagged(tmp_path / "out") == [f"{seed}.jpg" for seed in range(5)]

    monkeypatch.undo()
    assert run() == 0
    assert tagged(tmp_path / "out") == [f"{seed}.jpg" for seed in range(10)]
