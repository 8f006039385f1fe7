"""A stand-in for Google's Dataflow service, and what to submit to it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from apache_beam.runners.dataflow import dataflow_runner
from apache_beam.utils import retry

from pipelines import storage
from pipelines.storage import stores
from tests.image_files import picture, unmarked_rgba_jpeg
from tests.pipelines.runners.submitting import Submission, Submit, submit_to, submitted
from tools import job_service
from tools.emulators import Emulator, environment
from tools.job_service import JobService


@pytest.fixture(scope="module")
def archive(emulators: Mapping[str, Emulator], bundle_path: str, packages_listed_once: None) -> Iterator[str]:
    """Put two chips and the bundle into a folder of a bucket."""
    emulator = emulators["gs"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment("gs", emulator.host).items():
            patch.setenv(name, value)
        stores.open_store.cache_clear()
        folder = f"{emulator.bucket}/{uuid.uuid4().hex}"
        for seed in range(2):
            storage.write(f"{folder}/chips/{seed}.jpg", unmarked_rgba_jpeg(picture(seed=seed)))
        for file in Path(bundle_path).rglob("*"):
            if file.is_file():
                storage.write(f"{folder}/bundle/{file.relative_to(bundle_path)}", file.read_bytes())
        # Beam asks for the job every five seconds, and waits longer before it tries again what has failed.
        patch.setattr(dataflow_runner, "time", SimpleNamespace(sleep=lambda _: time.sleep(0.01), time=time.time))
        patch.setattr(retry.Clock, "sleep", lambda *_: None)
        yield folder
    stores.open_store.cache_clear()


@pytest.fixture(scope="module")
def anywhere(archive: str) -> Iterator[JobService]:
    """Serve all tests of this module that look at one submission."""
    with job_service.serve() as serving:
        yield serving


@pytest.fixture
def service() -> Iterator[JobService]:
    """Serve one test."""
    with job_service.serve() as serving:
        yield serving


@pytest.fixture
def submit(archive: str, service: JobService) -> Submit:
    """Submit a job of the archive to the service of this test, unless the flags say otherwise."""

    def run(*arguments: str, **flags: str | None) -> int:
        return submit_to(service, archive, *arguments, **flags)

    return run


@pytest.fixture(scope="module")
def submission(archive: str, anywhere: JobService) -> Submission:
    """Submit a job with no more flags than there must be."""
    submit_to(anywhere, archive)
    return submitted(anywhere)
