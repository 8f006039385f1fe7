"""Fixtures of the tests of `pipelines`: chips, runs, and workers that are other processes."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.commandline import printing
from pipelines.inference.bundle import load_bundle
from pipelines.output.run import Run
from tests import image_files
from tests.pipelines import forking_pool
from tools.workers import Cluster, Server, job_service, worker_pool

WriteChips = Callable[[Sequence[str]], Path]

on_both_runners = pytest.mark.parametrize("runner", ["local", "portable"], indirect=True)
"""For tests of what a job promises wherever it runs. Those without it change something in the process that launches,
which workers elsewhere know nothing of, or are about what a local run has alone: waves, progress, signals."""


@pytest.fixture(autouse=True)
def messages_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test print JSON because one before it in this process did."""
    monkeypatch.setattr(printing, "_log_format", "text")


@pytest.fixture(scope="session")
def packages_listed_once() -> Iterator[None]:
    """Have Beam ask pip only once what is installed, which it stages with each job: to list it takes half a second."""
    from apache_beam.runners.portability import stager

    listed = cache(lambda *command: subprocess.check_output(command))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stager, "subprocess", SimpleNamespace(check_output=lambda command: listed(*command)))
        yield


@pytest.fixture(scope="session")
def jobs(tmp_path_factory: pytest.TempPathFactory, packages_listed_once: None) -> Iterator[Server]:
    """Beam's portable runner, which has no workers of its own."""
    with job_service(tmp_path_factory.mktemp("jobs") / "service") as jobs:
        yield jobs


@pytest.fixture(scope="session")
def workers(jobs: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Beam's own pool, whose workers share nothing with this process."""
    with worker_pool(tmp_path_factory.mktemp("workers") / "pool") as workers:
        yield Cluster(jobs, workers)


@pytest.fixture(scope="session")
def forked_workers(jobs: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Workers that share as little, and begin at once."""
    with worker_pool(tmp_path_factory.mktemp("forked") / "pool", module=forking_pool.__name__) as workers:
        yield Cluster(jobs, workers)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pack the wheel that is staged with each job."""
    from pipelines.runners import staging

    return staging.pack_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def runner(request: pytest.FixtureRequest) -> Iterator[Sequence[str]]:
    """Beam's flags that choose the runner: none for the local one, which a test gets that does not ask for both."""
    if getattr(request, "param", "local") == "local":
        yield ()
        return
    workers: Cluster = request.getfixturevalue("forked_workers")
    wheel: Path = request.getfixturevalue("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.runners.staging.pack_wheel", lambda folder: shutil.copy(wheel, folder))
        yield workers.flags
    # Of a test that has failed this is shown.
    print(workers.jobs.tail, workers.workers.tail, sep="\n")


@pytest.fixture
def bundle_copy(bundle_path: str, tmp_path: Path) -> Path:
    """Copy the small bundle, for tests that do it harm."""
    return Path(shutil.copytree(bundle_path, tmp_path / "bundle_copy"))


@pytest.fixture
def chips(tmp_path: Path) -> WriteChips:
    """Write chips of these names, with the reference set's defect, and return their folder."""

    def write(names: Sequence[str]) -> Path:
        image_files.write_chips(tmp_path / "chips", names)
        return tmp_path / "chips"

    return write


@pytest.fixture
def run(tmp_path: Path, bundle_path: str) -> Run:
    """Make a run of the small bundle, into a folder that is not there yet."""
    bundle = load_bundle(bundle_path)
    return Run("20260101T000000Z-0002", str(tmp_path / "out"), bundle, bundle.thresholds)


@pytest.fixture
def earlier(run: Run) -> Run:
    """Make a run into the same folder that began before."""
    return replace(run, name="20260101T000000Z-0001")


@pytest.fixture
def in_time() -> Iterator[None]:
    """Interrupt what waits for longer than any test should."""

    def interrupt(number: int, frame: object) -> None:
        raise TimeoutError("it is waited for")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 60)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
