"""`scenetags predict` from the command line to the rows, on real files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.images import Resized
from pipelines.images.isolation import DecoderPool
from pipelines.inference import ahead
from pipelines.inference.bundle import load_bundle
from pipelines.inference.litert_engine import LiteRTEngine
from pipelines.job.predictor_process import Settings
from pipelines.output import manifest as manifest_of
from pipelines.output.tables import NO_ROWS
from pipelines.runners import sharing
from tests.image_files import encode, picture
from tests.outputs import manifest, rows, tagged
from tests.pipelines.conftest import on_both_runners
from tests.pipelines.predict.predicting import Predict, without


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
    assert sorted(os.listdir(tmp_path / "out")) == ["failures", "predictions", "runs"]


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


def test_rows_are_the_same_whatever_the_batches_and_waves(run: Predict, chips: Path, tmp_path: Path) -> None:
    expected = None
    for batch_size, checkpoint_every in ((32, 1000), (32, 1000), (1, 1000), (3, 4), (7, 3)):
        assert run(output=tmp_path / "x", batch_size=batch_size, checkpoint_every=checkpoint_every) == 0
        found = [without(row, "run") for row in rows(tmp_path / "x")]
        shutil.rmtree(tmp_path / "x")
        expected = expected or found
        assert found == expected, f"batches of {batch_size}, waves of {checkpoint_every}"


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_engines_give_the_same_rows(run: Predict, chips: Path, tmp_path: Path, bundle_path: str, engine: str) -> None:
    if find_spec(engine) is None:
        pytest.skip(f"{engine} is an extra")
    for name in ("litert", engine):
        assert run(engine=name, output=tmp_path / name) == 0
        assert manifest(tmp_path / name)["engine"] == name
        assert manifest(tmp_path / name)["precision"] == "float32"

    for one, other in zip(rows(tmp_path / "litert"), rows(tmp_path / engine), strict=True):
        for label in load_bundle(bundle_path).labels:
            assert abs(one[f"p_{label}"] - other[f"p_{label}"]) <= 2e-5, (one["path"], label)


def test_for_an_engine_on_a_gpu_images_are_decoded_in_processes_and_rows_are_the_same(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run() == 0
    decoded: list[int] = []
    decode = DecoderPool.decode

    def counted(pool: DecoderPool, data: bytes) -> Resized:
        decoded.append(len(data))
        return decode(pool, data)

    monkeypatch.setattr(DecoderPool, "decode", counted)
    monkeypatch.setattr(LiteRTEngine, "on_gpu", True)
    ahead._load.cache_clear()
    assert run(output=tmp_path / "gpu") == 0
    assert len(decoded) == 10
    assert [without(row, "run") for row in rows(tmp_path / "gpu")] == [
        without(row, "run") for row in rows(tmp_path / "out")
    ]


def test_processes_that_share_a_gpu_decode_in_threads(
    run: Predict, chips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Settings] = []

    @contextmanager
    def noted(settings: Settings, threads: Sequence[int]) -> Iterator[None]:
        asked.append(settings)
        yield

    monkeypatch.setattr(sharing, "in_processes", noted)
    monkeypatch.setattr(LiteRTEngine, "on_gpu", True)
    ahead._load.cache_clear()
    assert run(processes=2) == 0
    assert [settings.predicting.limits.isolated for settings in asked] == [False]


def test_a_threshold_for_all_labels_replaces_the_bundles_own(
    run: Predict, chips: Path, tmp_path: Path, bundle_path: str
) -> None:
    labels = list(load_bundle(bundle_path).labels)
    for threshold, expected in ((0.0, labels), (1.0, [])):
        assert run(threshold=threshold, output=tmp_path / str(threshold)) == 0
        assert all(row["tags"] == expected for row in rows(tmp_path / str(threshold)))


def test_the_output_loads_without_glue(run: Predict, chips: Path, tmp_path: Path, bundle_path: str) -> None:
    bundle = load_bundle(bundle_path)
    (chips / "bad.jpg").write_bytes(b"")
    assert run(checkpoint_every=4) == 3
    [failure_file] = (file for file in (tmp_path / "out/failures").glob("*.parquet") if file.name != NO_ROWS)
    [prediction_file] = (tmp_path / "out/predictions").glob("*.parquet")

    for file in (failure_file, prediction_file):
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


def test_real_chips_are_tagged_with_true_colours(run: Predict, tmp_path: Path, planet: Path) -> None:
    assert run(input=planet / "jpg") == 0
    assert len(rows(tmp_path / "out")) == 20
    assert all(row["repairs"] == ["unmarked_rgba_jpeg"] for row in rows(tmp_path / "out"))


def test_ordinary_images_need_no_repair(run: Predict, tmp_path: Path) -> None:
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips/a.jpg").write_bytes(encode(picture(), "jpeg"))
    (tmp_path / "chips/b.png").write_bytes(encode(picture(), "png"))
    assert run() == 0
    assert [row["repairs"] for row in rows(tmp_path / "out")] == [[], []]
    assert [row["source"] for row in rows(tmp_path / "out")] == ["jpeg 3x8", "png 3x8"]
