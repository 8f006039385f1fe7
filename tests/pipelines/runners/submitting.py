"""Submit jobs to a stand-in for Google's service."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from apache_beam.portability.api import beam_runner_api_pb2 as beam_proto
from google.cloud.dataflow_v1beta3 import types

from pipelines import predict, storage
from tools.job_service import JobService

PLACES = {"input": "chips", "model": "bundle", "output": "out", "temp_location": "temp"}
PAR_DO = "beam:transform:pardo:v1"
Submit = Callable[..., int]


class Submission(NamedTuple):
    """What has been submitted.

    Attributes:
      job: the request.
      pipeline: that was staged for it.
    """

    job: types.Job
    pipeline: beam_proto.Pipeline

    @property
    def staged(self) -> dict[str, str]:
        """Paths of the files that workers are to fetch, by their names."""
        packages = self.job.environment.worker_pools[0].packages
        return {package.name: package.location.replace("storage.googleapis.com", "gs:/") for package in packages}


def submit_to(service: JobService, archive: str, *arguments: str, **flags: str | None) -> int:
    given: dict[str, str | None] = {name: f"{archive}/{folder}" for name, folder in PLACES.items()}
    given |= {"project": "some-project", "region": "europe-west1", "dataflow_endpoint": service.endpoint, **flags}
    written = [f"--{name}={value}" for name, value in given.items() if value is not None]
    return predict.main([*written, "--runner=DataflowRunner", "--no_auth", "--progress=off", *arguments])


def submitted(service: JobService) -> Submission:
    path = service.job.environment.sdk_pipeline_options["options"]["pipelineUrl"]
    return Submission(service.job, beam_proto.Pipeline.FromString(storage.read(path)))


def refused(capsys: pytest.CaptureFixture[str], code: int, why: str) -> None:
    """See that a command ended with one line."""
    told = capsys.readouterr()
    assert code == 2, told.err
    assert told.err.startswith(f"scenetags predict: {why}")
    assert told.err.count("\n") == 1, told.err
