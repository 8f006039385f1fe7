"""Run a job on the workers of a distributed runner, as one pipeline."""

from __future__ import annotations

import copy
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, TestOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException
from apache_beam.runners.runner import PipelineResult

from pipelines import storage
from pipelines.commandline.options import PredictOptions
from pipelines.commandline.parser import UsageError
from pipelines.commandline.printing import log
from pipelines.credentials import without_secrets
from pipelines.errors import StillRunningError, quantity
from pipelines.job.counters import read_meter
from pipelines.job.pipeline import TagImages, tag_listed
from pipelines.job.preparation import inputs_of
from pipelines.listing import STANDARD_INPUT, anchor, list_images
from pipelines.listing.inputs import spread
from pipelines.output.lock import check_still_held
from pipelines.output.manifest import ENDED, read_accounts, read_status
from pipelines.output.run import Accounts, Run, Wave
from pipelines.output.staged import announce
from pipelines.runners.beam_flags import makes_template, refused_flags_reported
from pipelines.runners.dataflow import check_buckets, end_retries_of_refusals, is_dataflow, name_job, refusals_reported
from pipelines.runners.job_errors import JobFailedError, explain
from pipelines.runners.staging import stage_package
from pipelines.supervision import interruption, progress
from pipelines.supervision.temporary import temporary_folder

SECONDS_BETWEEN_LINES = 30.0
SECONDS_TO_CANCEL = 300.0
"""In which a job that was cancelled has to end."""
_IF_RUNNING = "cancel it on the runner's own page, or let it end; the same command then recovers its rows"


def build_job(tagging: TagImages, options: PredictOptions, beam_options: PipelineOptions) -> beam.Pipeline:
    """Build the pipeline of a whole job.

    Raises:
      InputError: the input names no images.
      UsageError: Beam refuses its flags.
    """
    patterns = [anchor(pattern) for pattern in options.input]
    if options.input_list == STANDARD_INPUT:
        raise UsageError("--input_list -: workers cannot read the standard input of this command", "name a file")
    input_list = options.input_list and storage.normalize(options.input_list)
    inputs = inputs_of(tagging.run, options)._replace(patterns=patterns, input_list=input_list)
    # List one image here, so that a mistyped input is found before workers start.
    next(list_images(**inputs._asdict()), None)
    with refused_flags_reported():
        pipeline = beam.Pipeline(options=beam_options)
    _ = tag_listed(pipeline, tagging, inputs._replace(patterns=spread(patterns)), options.commit_every)
    return pipeline


def rehearse(tagging: TagImages, options: PredictOptions, beam_options: PipelineOptions) -> None:
    """Build a whole job and check it as far as possible without submitting it.

    Raises:
      InputError: the input names no images.
      UsageError: Beam or Dataflow refuse the job.
    """
    # Dataflow's runner supports dry runs and checks more than others. The pipeline copies the options.
    beam_options.view_as(TestOptions).dry_run = True
    with _prepared(tagging.run, beam_options):
        pipeline = build_job(tagging, options, beam_options)
        if is_dataflow(beam_options):
            with refusals_reported():
                pipeline.run()
        else:
            pipeline.to_runner_api()
            # Beam removes it when a pipeline has run.
            shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)


def run_on_workers(tagging: TagImages, options: PredictOptions, beam_options: PipelineOptions) -> Accounts | None:
    """Run a whole job, wave by wave if it is to commit before it ends, and wait for it to end.

    Every wave is a pipeline of its own, which lists everything again and leaves out what is tagged by then. Images
    whose rows were damaged before they were committed make another wave.

    Returns:
      The accounts of the run; None if the job continues without this process.

    Raises:
      InputError: the input names no images.
      InterruptedRunError: a signal asked to stop; the job was cancelled.
      JobFailedError: the job failed, or a wave has committed nothing.
      StillRunningError: contact with the job was lost, or it was not cancelled.
      BundleError, OutputError, NoAccessError, WorkerReleaseError: a worker refused.
      OutputError: another run has taken over the output between two waves.
      UsageError: Beam or Dataflow refuse the job.
    """
    before, accounts = Accounts(), _run_wave(tagging, options, beam_options)
    while accounts is not None and read_status(tagging.run.manifest) not in ENDED:
        if accounts.inputs == before.inputs:
            raise JobFailedError("all that the workers staged was damaged before it was merged; check their storage")
        # While this machine slept, another run may have taken over, and marked this one as killed.
        check_still_held(tagging.run)
        log(
            f"scenetags predict: {quantity(accounts.inputs, 'image is', 'images are')} committed; the job continues",
            severity="INFO",
        )
        before, accounts = accounts, _run_wave(replace(tagging, wave=Wave(accounts)), options, beam_options)
    return accounts


def _run_wave(tagging: TagImages, options: PredictOptions, beam_options: PipelineOptions) -> Accounts | None:
    # Its options name files that are gone once it is submitted; those of the next wave name others.
    beam_options = copy.deepcopy(beam_options)
    with _prepared(tagging.run, beam_options):
        pipeline = build_job(tagging, options, beam_options)
        announce(tagging.run)
        # Other runners may finish the whole job here, and raise whatever went wrong with it.
        with refusals_reported() if is_dataflow(beam_options) else nullcontext():
            result = pipeline.run()
    # Other runners have no page to link to, and report their counts at the end.
    reports = options.progress != "off" and hasattr(result, "job_id")
    if reports and not makes_template(beam_options):
        _report_job(result, beam_options, tagging.run.detached)
    if tagging.run.detached:
        return None
    _wait(result, reports)
    try:
        return read_accounts(tagging.run.manifest)
    except FileNotFoundError:
        raise JobFailedError("the job ended without writing a manifest") from None


@contextmanager
def _prepared(run: Run, beam_options: PipelineOptions) -> Iterator[None]:
    """Complete Beam's options, and keep the files they name until the job is submitted."""
    with temporary_folder() as folder:
        stage_package(beam_options, folder)
        if is_dataflow(beam_options):
            end_retries_of_refusals()
            name_job(beam_options, run.name)
            check_buckets(beam_options)
        yield


def _report_job(result: PipelineResult, beam_options: PipelineOptions, detached: bool) -> None:
    google = beam_options.view_as(GoogleCloudOptions)
    place = f"https://console.cloud.google.com/dataflow/jobs/{google.region}/{result.job_id()}?project={google.project}"
    remedy = "" if detached else "; Ctrl-C cancels it"
    running = f"scenetags: Dataflow job {result.job_id()} is running{remedy}: {place}"
    log(running, severity="INFO", job=result.job_id())


def _report_progress(result: PipelineResult, seconds: float) -> None:
    try:
        meter = read_meter(result)
    except Exception:
        # The job must not fail because its counts cannot be read.
        return
    if meter.total:
        log(progress.line(meter, seconds), severity="INFO", **meter.described(seconds))


def _wait(result: PipelineResult, reports: bool) -> None:
    """Wait for a job, and cancel it if this process is asked to stop; with `reports`, report progress regularly.

    Raises:
      InterruptedRunError: this process was asked to stop; the job was cancelled.
      JobFailedError: the job failed; for errors of workers, see `explain`.
      StillRunningError: contact with the job was lost, or it was not cancelled.
    """
    ended: Future[Any] = Future()

    def wait_until_finish() -> None:
        try:
            ended.set_result(result.wait_until_finish())
        except BaseException as error:
            ended.set_exception(error)

    # Some runners ignore signals while they wait. A daemon thread, so that one that never returns blocks no exit.
    threading.Thread(target=wait_until_finish, name="job", daemon=True).start()
    begun = reported = time.monotonic()
    while not wait([ended], interruption.SECONDS_BETWEEN_LOOKS).done:
        now = time.monotonic()
        if reports and now - reported >= SECONDS_BETWEEN_LINES:
            _report_progress(result, now - begun)
            reported = now
        try:
            interruption.check()
        except interruption.InterruptedRunError:
            _cancel(result, ended)
            raise
    try:
        ended.result()
    except AssertionError as error:
        # Beam raises this when Dataflow no longer answers its requests.
        raise StillRunningError(
            f"lost contact with the job, which may still be running ({error})", _IF_RUNNING
        ) from None
    except (RuntimeError, DataflowRuntimeException) as error:
        # Runners raise the errors of workers as text.
        raise explain(str(error)) or error from None


def _cancel(result: PipelineResult, ended: Future[Any]) -> None:
    """Cancel a job, and wait until it has ended: until then workers may write to the output.

    Raises:
      StillRunningError: it cannot be cancelled, or does not end.
    """
    try:
        result.cancel()
    except Exception as error:
        # Each runner, and each library with which it reaches its service, raises others.
        reason = without_secrets(" ".join(str(error).split()))
        raise StillRunningError(f"the job was not cancelled and may still be running ({reason})", _IF_RUNNING) from None
    if not wait([ended], SECONDS_TO_CANCEL).done:
        raise StillRunningError(
            f"the job was cancelled, and has not ended after {SECONDS_TO_CANCEL:g} seconds", _IF_RUNNING
        )
