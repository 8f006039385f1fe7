"""A job on a real Flink cluster of two task managers: the rows of a local run, also where one of them dies.

The images are chips, or the windows of a single scene.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.material import large_bundle, synthetic_chips
from benchmarks.scenes import write_scene
from pipelines import predict
from pipelines.errors import ExitCode
from tests.outputs import accounts, rows_by_path
from tools.flink import FlinkCluster, Parts, flink_cluster
from tools.workers import ROOT

CHIPS = 2000
SIDE, PARTS = 8192, 16
"""Of the scene: pixels, and parts that one worker reads each."""
CUT = ("--tile=256", "--stride=182", "--bands=3,2,1", "--stretch=0:2500")
"""Into about as many windows as there are chips."""

READING = "SpreadReads, TagImages"
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


class Job(NamedTuple):
    """What is tagged.

    Attributes:
      flags: that say it.
      expected: the rows of a local run, by path.
      least: of what is spread, images or parts of a scene, that each task manager must get.
    """

    flags: list[str]
    expected: dict[str, Any]
    least: int


@pytest.fixture(scope="module", params=["chips", "scene"])
def job(parts: Parts, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("local")
    flags = [f"--input={synthetic_chips(CHIPS)}"] if request.param == "chips" else [f"--input={folder}/s.tif", *CUT]
    if request.param == "scene":
        write_scene(folder / "s.tif", SIDE)
    flags += [f"--model={large_bundle()}", "--progress=off"]
    assert predict.main([*flags, f"--output={folder / 'out'}"]) == ExitCode.DONE
    expected = rows_by_path(folder / "out")
    assert len(expected) >= CHIPS
    return Job(flags, expected, CHIPS // 4 if request.param == "chips" else PARTS // 8)


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, f"the job was over before: {process.communicate()}"
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.2)


def test_the_rows_are_those_of_a_local_run_and_both_task_managers_have_worked(
    cluster: FlinkCluster, job: Job, tmp_path: Path
) -> None:
    output = tmp_path / "out"

    assert predict.main([*job.flags, f"--output={output}", *cluster.flags]) == ExitCode.DONE

    shares = cluster.shares(READING)
    assert sorted(shares) == sorted(manager.name for manager in cluster.task_managers)
    assert min(records for _, records in shares.values()) >= job.least, f"one had next to nothing to do: {shares}"
    # Floats are compared as they are: probabilities are the same bit for bit.
    assert rows_by_path(output) == job.expected
    counted = accounts(output)
    number = len(job.expected)
    assert (counted["status"], counted["inputs"], counted["predictions"]) == ("done", number, number)


def test_a_task_manager_that_dies_costs_no_row_and_doubles_none(
    cluster: FlinkCluster, job: Job, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "pipelines.predict", *job.flags, f"--output={output}", *cluster.flags]
    running = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: len(at_work(cluster)) == len(cluster.task_managers), running)
        # In the middle of the images, of which nobody tells before the end of a bundle.
        time.sleep(4)
        assert len(at_work(cluster)) == len(cluster.task_managers), "the job is too short to die in it"
        cluster.task_managers[0].process.kill()
        told, errors = running.communicate(timeout=300)
    finally:
        running.kill()

    number = len(job.expected)
    assert running.returncode == ExitCode.DONE, errors
    assert f"{number:,} tagged, 0 failed" in told
    assert max(cluster.attempts(READING)) > 0, "nothing was tried again: the one that died had nothing to do"
    counted = accounts(output)
    assert (counted["status"], counted["inputs"], counted["predictions"]) == ("done", number, number)
    assert rows_by_path(output) == job.expected
    assert [path.name for path in output.iterdir() if path.name.startswith("_")] == []


def at_work(cluster: FlinkCluster) -> list[str]:
    return [name for name, (status, _) in cluster.shares(READING).items() if status == "RUNNING"]
