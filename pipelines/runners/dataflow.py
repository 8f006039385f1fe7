"""Check what Google Dataflow requires of a job, before Beam reports it late and in many lines."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from apache_beam.io.gcp.gcsio import create_storage_client
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.utils import retry
from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound
from google.auth.exceptions import GoogleAuthError

from pipelines import storage
from pipelines.commandline.options import PredictOptions
from pipelines.commandline.parser import UsageError
from pipelines.credentials import without_secrets
from pipelines.storage.google import server_message
from pipelines.supervision.packages import version

ONE_PROCESS = "no_use_multiple_sdk_containers"
"""Dataflow's experiment that gives a worker one process instead of one per core."""


def is_dataflow(beam_options: PipelineOptions) -> bool:
    """Return whether a job runs on Google Dataflow."""
    runner = beam_options.view_as(StandardOptions).runner or ""
    return runner.lower().rpartition(".")[2] in ("dataflow", "dataflowrunner")


def check_dataflow_options(options: PredictOptions, beam_options: PipelineOptions) -> None:
    """Refuse a job that Dataflow could not run; fill in region and staging folder as Beam does.

    Raises:
      UsageError: an option or a library is missing, or a path is on this machine, where workers cannot reach it.
    """
    try:
        importlib.import_module("apache_beam.runners.dataflow.internal.apiclient")
    except ImportError as error:
        raise UsageError(
            f"Dataflow's client libraries are not installed ({error})", "run pip install 'scenetags[dataflow]'"
        ) from error
    google = beam_options.view_as(GoogleCloudOptions)
    google.temp_location = google.temp_location or google.staging_location
    google.staging_location = google.staging_location or google.temp_location
    google.region = google.region or _configured_region()
    for flag, value, meaning in (
        ("--project", google.project, "the ID of the project to bill"),
        ("--region", google.region, "e.g. europe-west1, ideally the region of the images' bucket"),
        ("--temp_location", google.temp_location, "e.g. gs://BUCKET/temp, for the files that workers need to start"),
    ):
        if not value:
            raise UsageError(f"Dataflow needs {flag}: {meaning}")
    for flag, path in (("--temp_location", google.temp_location), ("--staging_location", google.staging_location)):
        if not re.match("gs://[^/]+/.", path):
            raise UsageError(
                f"{flag} {path}: Dataflow stages files in gs:// only", "use a folder such as gs://BUCKET/temp"
            )
    for flag, path in (
        *(("--input", pattern) for pattern in options.input),
        ("--input_list", options.input_list),
        ("--model", options.model),
        ("--output", options.output),
    ):
        if path and not storage.is_remote(path):
            raise UsageError(
                f"{flag} {path} is on this machine, where Dataflow's workers cannot reach it",
                "use a path in gs:// or s3://",
            )


def shape_workers(options: PredictOptions, beam_options: PipelineOptions) -> None:
    """Make each worker process handle one bundle at a time, and give a GPU to a single process.

    One bundle keeps a process busy. By default, Dataflow runs twelve of them concurrently in each process, where they
    would only take memory. A GPU's memory goes to the first process that asks for it.

    Raises:
      UsageError: Dataflow offers no accelerators with these options.
    """
    debug = beam_options.view_as(DebugOptions)
    debug.number_of_worker_harness_threads = debug.number_of_worker_harness_threads or 1
    if options.accelerator:
        if beam_options.view_as(GoogleCloudOptions).flexrs_goal:
            raise UsageError("--accelerator and --flexrs_goal cannot be combined", "omit one of them")
        debug.add_experiment(ONE_PROCESS)


def check_buckets(beam_options: PipelineOptions) -> None:
    """Verify that the staging buckets exist: Beam would retry writing to a missing one for eight minutes.

    Raises:
      UsageError: a bucket does not exist, or cannot be looked up.
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
            raise UsageError(f"--{flag} {path}: bucket {bucket} does not exist", "create it first") from None
        except Forbidden as error:
            raise UsageError(
                f"--{flag} {path}: {_reason(error)}", f"grant storage.buckets.get on {bucket}, which Beam needs"
            ) from error
        except (GoogleAPICallError, GoogleAuthError) as error:
            raise UsageError(f"--{flag} {path}: {_reason(error)}") from error


def end_retries_of_refusals() -> None:
    """Make Beam raise what Google refuses at once, in this process.

    Unless an additional library is installed, Beam mistakes a refusal for a server error, and retries for minutes.
    """
    assert hasattr(retry, "GoogleAPICallError"), "this release of Beam has no such name to replace"
    retry.GoogleAPICallError = GoogleAPICallError


def name_job(beam_options: PipelineOptions, run: str) -> None:
    """Name an unnamed job after its run, and label it with this version, so that its jobs can be found."""
    google = beam_options.view_as(GoogleCloudOptions)
    google.job_name = google.job_name or "scenetags-" + re.sub("[^-a-z0-9]", "", run.lower())
    release = re.sub("[^-_a-z0-9]", "-", version("scenetags"))
    # First, so that the user's own label of this name wins.
    google.labels = [f"scenetags-version={release}", *(google.labels or ())]


@contextmanager
def refusals_reported() -> Iterator[None]:
    """Report in one line why Beam or Google refuse a job while it is submitted.

    Raises:
      UsageError: they refuse it. Errors that do not look like refusals are raised unchanged.
    """
    try:
        yield
    except (GoogleAPICallError, GoogleAuthError) as error:
        _refuse(_reason(error), error)
    except (OSError, retry.PermanentException) as error:
        _refuse(str(error), error)
    except (RuntimeError, ValueError) as error:
        # A message that names a flag is meant for the user; anything else is a bug in scenetags.
        if not re.search("--[a-z]", str(error)):
            raise
        _refuse(str(error), error)


def _refuse(reason: str, error: Exception) -> NoReturn:
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    raise UsageError(f"the job cannot be submitted: {' '.join(lines)}") from error


def _reason(error: Exception) -> str:
    return server_message(error) or without_secrets(str(getattr(error, "message", error)))


def _configured_region() -> str | None:
    """Return the region set in the environment or in gcloud's configuration."""
    region: str | None = DataflowRunner().get_default_gcp_region()
    return region
