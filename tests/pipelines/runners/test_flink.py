"""A job on a real Flink cluster of two task managers: the rows of a local run, also where one of them dies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.material import large_bundle, synthetic_chips
from pipelines import predict
from pipelines.errors import ExitCode
from tests.outputs import accounts, rows_by_path
from tools.flink import FlinkCluster, Parts, flink_cluster
from tools.workers import ROOT

CHIPS = 2000

READING = "Predict"
"""A part of the name of the step that reads, predicts and writes."""


@pytest.fixture(scope="module")
def parts() -> Parts:
    folder = os.environ.get("SCENETAGS_FLINK")
    if not folder:
        pytest.skip("Flink is not here: make test-flink")
    return Parts.under(Path(folder).resolve())


@pytest.fixture
def cluster(parts: Parts, tmp_path: Path) -> Iterator[FlinkCluster]:
    with flink_cluster(parts, tmp_path / "flink") as cluster:
        yield cluster
        # Of a test that has failed this is shown.
        print(cluster.tail)


@pytest.fixture(scope="module")
def flags() -> list[str]:
    return [f"--input={synthetic_chips(CHIPS)}", f"--model={large_bundle()}", "--progress=off"]


@pytest.fixture(scope="module")
def expected(parts: Parts, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("local") / "out"
    assert predict.main([*flags, f"--output={output}"]) == ExitCode.DONE
    return rows_by_path(output)


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, f"the job was over before: {process.communicate()}"
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.2)


def test_the_rows_are_those_of_a_local_run_and_both_task_managers_have_worked(
    cluster: FlinkCluster, flags: list[str], expected: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "out"

    assert predict.main([*flags, f"--output={output}", *cluster.flags]) == ExitCode.DONE

    shares = cluster.shares(READING)
    assert sorted(shares) == sorted(manager.name for manager in cluster.task_managers)
    assert min(records for _, records in shares.values()) > CHIPS / 4, f"one had next to nothing to do: {shares}"
    counted = accounts(output)
    assert (counted["status"], counted["inputs"], counted["predictions"]) == ("done", CHIPS, CHIPS)
    # Floats are compared as they are: probabilities are the same bit for bit.
    assert rows_by_path(output) == expected


def test_a_task_manager_that_dies_costs_no_row_and_doubles_none(
    cluster: FlinkCluster, flags: list[str], expected: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "pipelines.predict", *flags, f"--output={output}", *cluster.flags]
    job = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: len(at_work(cluster)) == len(cluster.task_managers), job)
        # In the middle of the images, of which nobody tells before the end of a bundle.
        time.sleep(4)
        assert len(at_work(cluster)) == len(cluster.task_managers), "the job is too short to die in it"
        cluster.task_managers[0].process.kill()
        told, errors = job.communicate(timeout=300)
    finally:
        job.kill()

    assert job.returncode == ExitCode.DONE, errors
    assert f"{CHIPS:,} tagged, 0 failed" in told
    assert max(cluster.attempts(READING)) > 0, "nothing was tried again: the one that died had nothing to do"
    counted = accounts(output)
    assert (counted["status"], counted["inputs"], counted["predictions"]) == ("done", CHIPS, CHIPS)
    assert rows_by_path(output) == expected
    assert [path.name for path in output.iterdir() if path.name.startswith("_")] == []


def at_work(cluster: FlinkCluster) -> list[str]:
    return [name for name, (status, _) in cluster.shares(READING).items() if status == "RUNNING"]
