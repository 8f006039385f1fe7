"""The benchmark of a GPU, without one: what it says, and how it measures, with an engine that computes nothing."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import gpu, gpu_engine
from benchmarks.gpu import Job, main, measure_jobs, measure_ways
from benchmarks.gpu_engine import Measured, Way, decoding_and_predicting, predicting, repeated
from benchmarks.processes import CommandError
from pipelines.images.decoding import DecodeSettings
from tests.image_files import encode, picture

CHIP = encode(picture(8, 8), "PNG")


class NoEngine:
    name = "none"
    calls = 1
    takes_batches = True
    on_gpu = False

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict(self, pixels: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.sizes.append(len(pixels))
        return np.zeros((len(pixels), 2), np.float32)


@pytest.mark.parametrize(
    ("installed", "code", "said"), [(False, 0, "TensorFlow is not installed"), (True, 1, "TensorFlow finds no GPU")]
)
def test_a_machine_without_a_gpu_or_tensorflow_gets_one_line(
    installed: bool, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(subprocess, "run", lambda command, **how: subprocess.CompletedProcess(command, code))

    assert main([]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"nothing to measure: {said}")
    assert told.err.count("\n") == 1


def test_an_engine_gets_whole_batches() -> None:
    engine = NoEngine()

    assert predicting(engine, [np.zeros((8, 8, 3), np.uint8)] * 5, 2, 0.01) > 0
    assert set(engine.sizes) == {5}


def test_a_rate_counts_the_work_of_all_threads() -> None:
    assert repeated(lambda: 0, 3, 0.01) == 0
    assert repeated(lambda: 10**9, 3, 0.01) > 3 * 10**9


def test_decoders_feed_the_engine_and_end_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_engine, "BATCH", 4)
    engine = NoEngine()

    assert decoding_and_predicting(engine, [CHIP], DecodeSettings(4, "bilinear"), 0.05) > 0
    assert set(engine.sizes) == {4}


def test_the_tables_hold_what_was_measured_and_what_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure_way(way: Way, flags: object) -> Measured:
        if way.xla:
            raise CommandError("ended with exit code 1: python\nno memory")
        return Measured("a card", 5.0, 8.1e-7, [498, 1681, None, 3063, 2945, 3274], [4278, 4404], 959)

    def run_job(job: Job, model: str, paths: list[Path]) -> float:
        # A second to start, and a tenth of a millisecond per image; nothing is gained by more calls than one.
        return 1 + len(paths) / 10_000 if job.calls == 1 else 1

    monkeypatch.setattr(gpu, "measure_apart", measure_way)
    monkeypatch.setattr(gpu, "run_job", run_job)

    ways = measure_ways([])
    jobs = measure_jobs("a bundle", [Path("chip.png")], 2000)

    assert ways.keys() == {Way(precision, False) for precision in ("float32", "tf32", "float16")}
    assert jobs == {Job(32, 1): pytest.approx(10_000), Job(128, 1): pytest.approx(10_000)}
    printed = capsys.readouterr().out
    row = "float32        5 s  8.1e-07      498    1,681        -    3,063    2,945    3,274    4,278    4,404      959"
    assert row in printed
    assert "float16 XLA failed: no memory" in printed
    assert "32      1          1  10,000" in printed
    assert "failed: too few images: 1968 took no longer than the start" in printed
