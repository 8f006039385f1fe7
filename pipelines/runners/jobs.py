"""Run a job, on this machine or on a distributed runner, and report how it ended."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.error import URLError

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import storage
from pipelines.commandline.options import PredictOptions
from pipelines.commandline.printing import log
from pipelines.errors import ExitCode, ScenetagsError, StillRunningError
from pipelines.images import ImageError
from pipelines.inference.engines import check_engine
from pipelines.inference.predictor import Predictor
from pipelines.job.pipeline import TagImages
from pipelines.job.preparation import join_output, model_of
from pipelines.output.compatible import kind_of_run
from pipelines.output.lock import drop_shadows
from pipelines.output.manifest import mark
from pipelines.output.recovery import recover_rows
from pipelines.output.run import Accounts, Run
from pipelines.runners.beam_flags import is_local, threads_per_process
from pipelines.runners.distributed import rehearse, run_on_workers
from pipelines.runners.local import run_in_waves
from pipelines.supervision.interruption import InterruptedRunError
from pipelines.supervision.progress import TooManyFailuresError

_STEP = "[while running"
"""What Beam adds to the message of an exception that a step raises."""

_NO_THREADS = "can't start new thread"
"""Python's message; it has no error of its own for this."""

Kind = TypeVar("Kind", bound=BaseException)


@dataclass
class _Opening:
    """Opens the model of a run on this machine, and measures how long that takes."""

    run: Run
    options: PredictOptions
    seconds: float = 0.0

    def __call__(self, precision: str) -> Predictor:
        began = time.monotonic()
        try:
            return model_of(self.run.bundle, self.options, precision).load()
        finally:
            self.seconds += time.monotonic() - began


class StoppedError(ScenetagsError):
    """A run that stopped early; what it had committed stays."""

    exit_code = ExitCode.STOPPED


def run_job(run: Run, options: PredictOptions, beam_options: PipelineOptions) -> Accounts | None:
    """Run the whole job.

    Returns:
      The accounts of the run; None if the job continues without this process.

    Raises:
      InputError: the input names no images.
      BundleError: the engine refuses the bundle.
      OutputError: nothing was committed, since the output holds rows this run must not add to, two rows for an image
        or a damaged file, or another run has taken it over.
      NoAccessError: nothing was committed, since credentials or a library are missing.
      WorkerReleaseError: the workers run a different release from this process.
      UsageError: the runner refuses the job.
      InterruptedRunError: a signal asked to stop; a local run has committed what it had finished, and the job of a
        distributed one was dropped.
      TooManyFailuresError: too many images failed with `fail_fast`; the current wave was dropped.
      StillRunningError: the job of a distributed runner may still be running.
      StoppedError: the output could not be written, the job failed, or one of the above happened after a commit.
    """
    begun = False
    try:
        opening = _Opening(run, options)
        run = join_output(run, options, opening if is_local(beam_options) else None).run
        run = replace(run, timings={"loading": opening.seconds} if opening.seconds else {})
        for recovered in recover_rows(run, kind_of_run(run)):
            log(*map("scenetags predict: {}".format, recovered.lines()), severity="INFO")
        drop_shadows(run)
        tagging = plan_tagging(run, options, beam_options)
        begun = True
        work = run_in_waves if is_local(beam_options) else run_on_workers
        return work(tagging, options, beam_options)
    except Exception as error:
        ended = _how_it_ended(run, error, begun)
        if ended is None:
            raise
        raise ended from None


def rehearse_job(run: Run, options: PredictOptions, beam_options: PipelineOptions) -> None:
    """Check a distributed job as far as possible without running it, and write nothing.

    Raises:
      InputError: the input names no images.
      BundleError: the bundle has no model for the engine.
      OutputError: the output holds rows the run must not add to, or a damaged file.
    """
    run = join_output(run, options, None).run
    rehearse(plan_tagging(run, options, beam_options), options, beam_options)


def plan_tagging(run: Run, options: PredictOptions, beam_options: PipelineOptions) -> TagImages:
    """Configure the transform that tags a job's images.

    Raises:
      BundleError: the bundle has no model for the engine.
    """
    check_engine(run.bundle, options.engine, options.embeddings, run.precision)
    model = replace(model_of(run.bundle, options, run.precision), threads=threads_per_process(options, beam_options))
    hints = {"accelerator": options.accelerator} if options.accelerator else {}
    # Of a local run, only the engine knows whether there is a GPU.
    limits = options.limits.in_processes() if options.accelerator else options.limits
    return TagImages(run, model, limits, options.reads_in_flight, hints=hints, documents=options.documents)


def _how_it_ended(run: Run, error: Exception, begun: bool) -> ScenetagsError | None:
    """Return the error to report for a run that ended early, and write its status to the manifest.

    Args:
      run: of the job.
      error: that ended it.
      begun: whether it had begun to tag, so that something may be committed.

    Returns:
      None for a bug in scenetags, whose traceback is needed.
    """
    ended = _innermost(error, ScenetagsError) or _innermost(error, OSError)
    if _NO_THREADS in str(error):
        _mark_quietly(run, "stopped")
        return StoppedError(
            "stopped: the system refuses to start another thread",
            "raise the limits on processes and memory (ulimit -u, -v, or the container's), or lower --processes, "
            "--reads_in_flight and --threads",
        )
    if isinstance(ended, ImageError):
        # It should have become a failure row.
        return None
    if isinstance(ended, StillRunningError):
        # Only the next run can know that it has ended, and marks it.
        return ended
    if isinstance(ended, InterruptedRunError):
        _mark_quietly(run, "interrupted")
    elif isinstance(ended, TooManyFailuresError):
        _mark_quietly(run, "failed_fast")
    elif isinstance(ended, ScenetagsError):
        if _mark_quietly(run, "stopped", begun) or ended.exit_code != ExitCode.WRONG_USAGE:
            return StoppedError(f"stopped: {ended}")
    elif isinstance(ended, OSError):
        _mark_quietly(run, "stopped")
        # Of a job server that cannot be downloaded, only Beam's own message says what it is.
        reason = error if _innermost(error, URLError) else ended.strerror or ended
        if isinstance(ended.filename, str) and ended.strerror:
            reason = f"{ended.filename}: {reason}"
        return StoppedError(f"stopped: {reason}")
    return ended


def _mark_quietly(run: Run, status: str, begun: bool = True) -> bool:
    """Write a status to the manifest, and return whether it exists, i.e. whether something was committed."""
    try:
        with storage.hurried():
            mark(run.manifest, status)
            return storage.exists(run.manifest)
    except storage.NoAccessError:
        return begun
    except OSError:
        # On a full disk even this may fail; the next run then marks this one as killed.
        return True


def _innermost(error: BaseException | None, kind: type[Kind]) -> Kind | None:
    """Return the innermost cause of this type, through what Beam wraps around it on the way up."""
    innermost = None
    while error is not None:
        if isinstance(error, kind):
            innermost = error
        error = error.__cause__ or _wrapped(error)
    return innermost


def _wrapped(error: BaseException) -> BaseException | None:
    """Return the exception around which Beam raised this one; None for any other that was just handled."""
    wrapped = None if error.__suppress_context__ else error.__context__
    return wrapped if _STEP in str(error) or _is_from_beam(error) else None


def _is_from_beam(error: BaseException) -> bool:
    """Return whether Beam raised an error, rather than code of ours that Beam called: in that, it would be a bug."""
    modules = (str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__))
    packages = [package for package, _, _ in (module.partition(".") for module in modules)]
    return [package for package in packages if package in ("apache_beam", "pipelines")][-1:] == ["apache_beam"]
