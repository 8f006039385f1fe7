"""What Google's Dataflow asks of a job: said before Beam would say it, late and in many lines."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import NoReturn

from apache_beam.io.gcp.gcsio import create_storage_client
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    S3Options,
    StandardOptions,
)
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.utils import retry
from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound
from google.auth.exceptions import GoogleAuthError

from pipelines import storage
from pipelines.commandline.options import PredictOptions
from pipelines.commandline.parser import UsageError

# Without one more library Beam takes a refusal of Google's for a server's trouble, and tries again for minutes.
retry.GoogleAPICallError = GoogleAPICallError


ONE_PROCESS = "no_use_multiple_sdk_containers"
"""Dataflow's experiment by which a worker has one process and not one a core."""


def is_dataflow(beam_options: PipelineOptions) -> bool:
    """Tell whether a job runs on Google's Dataflow."""
    runner = beam_options.view_as(StandardOptions).runner or ""
    return runner.lower().rpartition(".")[2] in ("dataflow", "dataflowrunner")


def check_dataflow_options(options: PredictOptions, beam_options: PipelineOptions) -> None:
    """Refuse a job that Dataflow could not run; complete the region and the folder for staging as Beam does.

    Raises:
      UsageError: an option or a library is missing, or a path is of this machine, which workers cannot reach.
    """
    try:
        importlib.import_module("apache_beam.runners.dataflow.internal.apiclient")
    except ImportError as error:
        raise UsageError(
            f"Dataflow needs more than is installed ({error}): pip install 'scenetags[dataflow]'"
        ) from error
    google = beam_options.view_as(GoogleCloudOptions)
    google.temp_location = google.temp_location or google.staging_location
    google.staging_location = google.staging_location or google.temp_location
    google.region = google.region or _configured_region()
    for flag, value, example in (
        ("--project", google.project, "the identifier of the project that pays"),
        ("--region", google.region, "europe-west1, where the bucket of the images is"),
        ("--temp_location", google.temp_location, "gs://BUCKET/temp, for what workers need to begin"),
    ):
        if not value:
            raise UsageError(f"Dataflow needs {flag}, e.g. {example}")
    for flag, path in (("--temp_location", google.temp_location), ("--staging_location", google.staging_location)):
        if not re.match("gs://[^/]+/.", path):
            raise UsageError(f"{flag} {path}: Dataflow stages what workers need in gs:// only, as in gs://BUCKET/temp")
    for flag, path in (
        *(("--input", pattern) for pattern in options.input),
        ("--input_list", options.input_list),
        ("--model", options.model),
        ("--output", options.output),
    ):
        if path and not storage.is_remote(path):
            raise UsageError(f"{flag} {path} is on this machine, where Dataflow's workers cannot reach it; see gs://")


def shape_workers(options: PredictOptions, beam_options: PipelineOptions) -> None:
    """Have each process of a worker take up one share of the images at a time, and one process take all of a GPU.

    A share keeps a process busy by itself. Side by side, as Dataflow would have twelve of them in each process, they
    would only take memory. The memory of a GPU goes to the first process that asks for it.

    Raises:
      UsageError: Dataflow has no accelerators for a job that is asked for in this way.
    """
    debug = beam_options.view_as(DebugOptions)
    debug.number_of_worker_harness_threads = debug.number_of_worker_harness_threads or 1
    if options.accelerator:
        if beam_options.view_as(GoogleCloudOptions).flexrs_goal:
            raise UsageError("--accelerator cannot be had with --flexrs_goal: leave one of them out")
        debug.add_experiment(ONE_PROCESS)


def check_buckets(beam_options: PipelineOptions) -> None:
    """See that the buckets for staging are there: Beam would try to write to one that is not for eight minutes.

    Raises:
      UsageError: there is none, or Beam may not ask for it.
    """
    google = beam_options.view_as(GoogleCloudOptions)
    client = create_storage_client(beam_options, not google.no_auth)
    for flag in ("temp_location", "staging_location", "template_location"):
        path = getattr(google, flag)
        if not path or not path.startswith("gs://"):
            continue
        bucket = path.split("/")[2]
        try:
            client.get_bucket(bucket)
        except NotFound:
            raise UsageError(f"--{flag} {path}: there is no bucket {bucket}") from None
        except Forbidden as error:
            raise UsageError(
                f"--{flag} {path}: {_reason(error)}; Beam needs the permission storage.buckets.get for it"
            ) from error
        except (GoogleAPICallError, GoogleAuthError) as error:
            raise UsageError(f"--{flag} {path}: {_reason(error)}") from error


def name_job(beam_options: PipelineOptions, run: str) -> None:
    """Give a job that has no name that of its run, and the label by which jobs of this version are found."""
    google = beam_options.view_as(GoogleCloudOptions)
    google.job_name = google.job_name or "scenetags-" + re.sub("[^-a-z0-9]", "", run.lower())
    release = re.sub("[^-_a-z0-9]", "-", version("scenetags"))
    # First, so that the user's own label of this name would win.
    google.labels = [f"scenetags-version={release}", *(google.labels or ())]


def withhold_secrets(beam_options: PipelineOptions) -> None:
    """Take the keys of S3 out of the options: Dataflow shows these to everybody who may look at the job.

    Workers are given the keys within the steps.
    """
    s3 = beam_options.view_as(S3Options)
    s3.s3_access_key_id = s3.s3_secret_access_key = s3.s3_session_token = None


@contextmanager
def refusals_told() -> Iterator[None]:
    """Tell in one line what Beam or Google find wrong with a job while it is submitted.

    Raises:
      UsageError: they refuse it. What does not look like a refusal is raised as it is.
    """
    try:
        yield
    except (GoogleAPICallError, GoogleAuthError) as error:
        _refuse(_reason(error), error)
    except (OSError, retry.PermanentException) as error:
        _refuse(str(error), error)
    except (RuntimeError, ValueError) as error:
        # What names a flag is meant for who gave it; all else would be an error of ours.
        if not re.search("--[a-z]", str(error)):
            raise
        _refuse(str(error), error)


def _refuse(reason: str, error: Exception) -> NoReturn:
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    raise UsageError(f"the job cannot be submitted: {' '.join(lines)}") from error


def _reason(error: Exception) -> str:
    """Find what Google says, without the request that its library puts before it."""
    try:
        return str(error.response.json()["error"]["message"])  # type: ignore[attr-defined]
    except (AttributeError, KeyError, TypeError, ValueError):
        return storage.without_secrets(str(getattr(error, "message", error)))


def _configured_region() -> str | None:
    """Find the region in the environment, or in gcloud's configuration."""
    region: str | None = DataflowRunner().get_default_gcp_region()
    return region
