"""Run a job, on this machine or on a distributed runner, and find out how it ended."""

from __future__ import annotations

from typing import TypeVar

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import storage
from pipelines.commandline.options import PredictOptions
from pipelines.errors import ExitCode, ScenetagsError
from pipelines.images.limits import Limits
from pipelines.inference.ahead import Model
from pipelines.inference.engines import check_engine
from pipelines.job.transforms import TagImages
from pipelines.output.compatible import check_output
from pipelines.output.lock import drop_shadows
from pipelines.output.manifest import mark
from pipelines.output.run import Accounts, Run
from pipelines.runners.beam_flags import is_local, threads_a_process
from pipelines.runners.distributed import rehearse, run_on_workers
from pipelines.runners.local import run_in_waves
from pipelines.supervision.interruption import InterruptedRunError
from pipelines.supervision.progress import TooManyFailuresError

Kind = TypeVar("Kind", bound=BaseException)


class StoppedError(ScenetagsError):
    """A run that stopped before its end; what was committed before stays."""

    exit_code = ExitCode.STOPPED


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
      WorkerReleaseError: the workers run a different release from this process.
      UsageError: the runner refuses the job.
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
    except Exception as error:
        ended = _how_it_ended(run, error)
        if ended is None:
            raise
        raise ended from None


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


def _how_it_ended(run: Run, error: Exception) -> ScenetagsError | None:
    """Find the error to report of a run that ended early, and write into the manifest how it ended.

    Returns:
      None for a bug of ours, of which the traceback is wanted.
    """
    ended = _innermost(error, ScenetagsError) or _innermost(error, OSError)
    if isinstance(ended, InterruptedRunError):
        _mark_quietly(run, "interrupted")
    elif isinstance(ended, TooManyFailuresError):
        _mark_quietly(run, "failed_fast")
    elif isinstance(ended, ScenetagsError):
        if _mark_quietly(run, "stopped") or ended.exit_code != ExitCode.WRONG_USAGE:
            return StoppedError(f"stopped: {ended}")
    elif isinstance(ended, OSError):
        _mark_quietly(run, "stopped")
        return StoppedError(f"stopped: {ended.strerror or ended}")
    return ended


def _mark_quietly(run: Run, status: str) -> bool:
    """Write into the manifest how the run ended, and return whether there is one: whether something was committed."""
    try:
        with storage.hurried():
            mark(run.manifest, status)
            return storage.exists(run.manifest)
    except storage.NoAccessError:
        return False
    except OSError:
        # On a full disk even this may fail; the next run then calls it killed.
        return True


def _innermost(error: BaseException | None, kind: type[Kind]) -> Kind | None:
    """Return the innermost cause of this type: on its way up Beam wraps what was raised, and adds to its message."""
    innermost = None
    while error is not None:
        if isinstance(error, kind):
            innermost = error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return innermost
