"""Run a job, on this machine or on a distributed runner, and tell how it ended."""

from __future__ import annotations

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import interruption, progress, storage
from pipelines.bundle import BundleError
from pipelines.distributed import rehearse, run_on_workers
from pipelines.engines import check_engine
from pipelines.inference import Model
from pipelines.job_errors import JobFailedError
from pipelines.ledger import Accounts, Run, mark
from pipelines.listing import InputError
from pipelines.options import PredictOptions
from pipelines.output import check_output, drop_shadows
from pipelines.reading import Limits
from pipelines.release import WorkerReleaseError
from pipelines.runners import is_local, threads_a_process
from pipelines.tables import OutputError
from pipelines.transforms import TagImages
from pipelines.waves import run_in_waves


class StoppedError(RuntimeError):
    """A run that could not go on: the storage refused. What was committed before stays."""


def run_job(run: Run, options: PredictOptions, beam_options: PipelineOptions) -> Accounts | None:
    """Run the whole job.

    Returns:
      The accounts of all that was done; None where the job goes on without this process.

    Raises:
      InputError: the input names no images.
      BundleError: the engine refuses the bundle.
      OutputError: the output holds what this run must not add to, two rows of an image or a damaged file, or another
        run has taken it over, and nothing was committed.
      NoAccessError: credentials or a library are missing, and nothing was committed.
      WorkerReleaseError: the workers run another release than this process.
      InterruptedRunError: a signal asked to stop; the wave or the job at work was dropped whole.
      TooManyFailuresError: more images failed than may, and the run was to fail fast; the wave at work was dropped.
      StoppedError: the output could not be written, the runner gave the job up, or something of the above came after a
        commit.
    """
    try:
        check_output(run)
        drop_shadows(run)
        tagging = plan_tagging(run, options, beam_options)
        work = run_in_waves if is_local(beam_options) else run_on_workers
        return work(tagging, options, beam_options)
    except (BundleError, InputError, WorkerReleaseError):
        raise
    except Exception as error:
        if refused := _innermost(error, OutputError, storage.NoAccessError):
            if _mark_quietly(run, "stopped"):
                raise StoppedError(f"stopped: {refused}") from None
            raise refused from None
        for kind, status in (
            (interruption.InterruptedRunError, "interrupted"),
            (progress.TooManyFailuresError, "failed_fast"),
        ):
            if ended := _innermost(error, kind):
                _mark_quietly(run, status)
                raise ended from None
        if failed := _innermost(error, JobFailedError):
            _mark_quietly(run, "stopped")
            raise StoppedError(f"stopped: {failed}") from None
        if stopped := _innermost(error, OSError):
            _mark_quietly(run, "stopped")
            raise StoppedError(f"stopped: {getattr(stopped, 'strerror', None) or stopped}") from error
        raise


def rehearse_job(run: Run, options: PredictOptions, beam_options: PipelineOptions) -> None:
    """Check all of a distributed job that can be checked without running it, and write nothing.

    Raises:
      InputError: the input names no images.
      BundleError: the bundle has nothing that the engine runs.
      OutputError: the output holds what the run must not add to, or a damaged file.
    """
    check_output(run)
    rehearse(plan_tagging(run, options, beam_options), options, beam_options)


def plan_tagging(run: Run, options: PredictOptions, beam_options: PipelineOptions) -> TagImages:
    """Say how a job's images are tagged.

    Raises:
      BundleError: the bundle has nothing that the engine runs.
    """
    check_engine(run.bundle, options.engine)
    threads = threads_a_process(options, beam_options)
    model = Model(run.bundle.path, run.bundle.digest, options.engine, options.batch_size, threads, run.access)
    limits = Limits.given(options.max_bytes, options.max_pixels, options.max_seconds, options.isolate_decoding)
    hints = {"accelerator": options.accelerator} if options.accelerator else {}
    return TagImages(run, model, limits, options.reads_in_flight, hints=hints)


def _mark_quietly(run: Run, status: str) -> bool:
    """Write into the manifest how the run ended, and tell whether there is one: whether something was committed."""
    try:
        with storage.hurried():
            mark(run.manifest, status)
            return storage.exists(run.manifest)
    except OSError:
        # On a full disk even this may fail; the next run then calls it killed.
        return True


def _innermost(error: BaseException | None, *kinds: type[BaseException]) -> BaseException | None:
    """Go down from an error of Beam's to the one of some kind that it wraps; on its way up Beam adds to its message."""
    innermost = None
    while error is not None:
        if isinstance(error, kinds):
            innermost = error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return innermost
