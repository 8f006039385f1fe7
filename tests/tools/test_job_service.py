"""The stand-in for Google's job service, as Beam's own runner finds it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.dataflow import dataflow_runner
from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException
from apache_beam.runners.runner import PipelineState
from google.api_core.exceptions import NotFound
from google.cloud.dataflow_v1beta3 import types

from tools import job_service
from tools.job_service import Course, JobService, RefusedError

JOBS = "/v1b3/projects/some-project/locations/europe-west1/jobs"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobService]:
    # Beam asks for the job every five seconds.
    monkeypatch.setattr(dataflow_runner, "time", SimpleNamespace(sleep=lambda _: time.sleep(0.01), time=time.time))
    with job_service.serve() as serving:
        yield serving


def submit(service: JobService, course: Course, folder: Path) -> Any:
    """Submit a small job, staged on this machine, and give what Beam gives for it."""
    service.course = course
    flags = ["--project=some-project", "--region=europe-west1", f"--dataflow_endpoint={service.endpoint}", "--no_auth"]
    flags += [f"--temp_location={folder}", "--experiments=disable_logging_submission_environment"]
    pipeline = beam.Pipeline(options=PipelineOptions([*flags, "--runner=DataflowRunner"]))
    _ = pipeline | beam.Create([1])
    return pipeline.run()


def test_a_job_that_is_done_ends_well(service: JobService, tmp_path: Path) -> None:
    assert submit(service, job_service.done(), tmp_path).wait_until_finish() == PipelineState.DONE


def test_a_job_that_fails_says_why(service: JobService, tmp_path: Path) -> None:
    job = submit(service, job_service.failed("Workflow failed.", "Traceback: the disk is full"), tmp_path)
    with pytest.raises(DataflowRuntimeException, match="State: FAILED, Error:\nTraceback: the disk is full"):
        job.wait_until_finish()


def test_a_job_runs_until_it_is_cancelled(service: JobService, tmp_path: Path) -> None:
    job = submit(service, job_service.running(), tmp_path)
    assert [job.state, job.state] == [PipelineState.RUNNING] * 2
    assert job.cancel() == PipelineState.CANCELLED
    assert service.job.current_state == types.JobState.JOB_STATE_CANCELLED


def test_metrics_are_none_and_no_error(service: JobService, tmp_path: Path) -> None:
    job = submit(service, job_service.done(), tmp_path)
    job.wait_until_finish()
    assert job.metrics().query()["counters"] == []


def test_a_job_that_nobody_submitted_is_not_found(service: JobService, tmp_path: Path) -> None:
    job = submit(service, job_service.running(), tmp_path)
    client = job._runner.dataflow_client._jobs_client
    with pytest.raises(NotFound, match=r"\(job-7\): no such job"):
        client.get_job(types.GetJobRequest(project_id="some-project", location="europe-west1", job_id="job-7"))


@pytest.mark.parametrize(
    "body", [b'{"nmae": "monday"}', b'{"environment": {"workerPools": [{"machine": 1}]}}', b"{", b'{"name": 1}']
)
def test_a_request_that_google_could_not_read_is_refused(service: JobService, body: bytes) -> None:
    with pytest.raises(RefusedError, match="Invalid JSON payload received"):
        service.answer("POST", JOBS, body)
    assert service.submitted == []
