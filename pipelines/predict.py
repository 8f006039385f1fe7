"""`scenetags predict`: tag an archive of images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines import storage
from pipelines.commandline.flags import parse_predict
from pipelines.commandline.options import PredictOptions
from pipelines.commandline.parser import print_error
from pipelines.commandline.printing import UnprintableError, announce, discard_output, log, log_libraries, show_result
from pipelines.errors import ExitCode, ScenetagsError, StillRunningError, quantity
from pipelines.supervision import interruption

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipelines.inference.bundle import Bundle
    from pipelines.output.manifest import Ending
    from pipelines.output.run import Accounts, Run

_NAME = "scenetags predict"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
      argv: arguments of the command line, without the command's name.

    Returns:
      The exit code; after a signal, 128 and its number.
    """
    try:
        with interruption.deferred(announce):
            code = _predict(parse_predict(sys.argv[1:] if argv is None else argv))
            interruption.leave_if_overdue(code)
            return code
    except ScenetagsError as error:
        return print_error(_NAME, error)


def _predict(options: PredictOptions) -> int:
    log_libraries(options.verbose)
    # Imported here: Beam takes seconds, which `--help` and a mistyped flag should not cost.
    from pipelines.images import ignore_metadata_warnings
    from pipelines.output.lock import hold_output
    from pipelines.runners.beam_flags import check_beam_flags, check_runner, is_local, makes_template
    from pipelines.runners.jobs import rehearse_job, run_job
    from pipelines.scenes.ground import check_installed
    from pipelines.supervision.temporary import temporary_files
    from pipelines.supervision.watchdog import watching

    ignore_metadata_warnings()
    if options.grid:
        check_installed()
    beam_options = check_beam_flags(options.beam_flags)
    check_runner(options, beam_options)
    run = _make_run(options, beam_options)
    if options.dry_run:
        rehearse_job(run, options, beam_options)
        return _exit_code(_print("dry run: the job is built and checked; nothing was submitted or written"))
    local = is_local(beam_options)
    try:
        with (
            temporary_files(),
            hold_output(run) as finished,
            interruption.more_deferred() if local else nullcontext(),
            watching(options.output, options.log_format, partial(log, severity="WARNING")) if local else nullcontext(),
        ):
            if finished:
                again = "; this one tags all images again" * (options.overwrite and finished.replaces)
                log(f"{_NAME}: {finished.told_finished()}{again}", severity="WARNING")
            accounts = run_job(run, options, beam_options)
    except ScenetagsError as error:
        if error.exit_code == ExitCode.WRONG_USAGE:
            raise
        return _report_stop(run, options, error)
    if accounts is None:
        so_far = "the job template is written" if makes_template(beam_options) else "the job continues on its own"
        return _exit_code(_print(f"{so_far}; when it ends, it writes {run.manifest}", *_announce_verdict(run)))
    return _conclude(run, options, accounts)


def _make_run(options: PredictOptions, beam_options: PipelineOptions) -> Run:
    """Take all that a job has to know of its options and its bundle, and configure how this process reaches buckets.

    Raises:
      BundleError: there is no bundle, or it is damaged.
      ScenetagsError: the options do not fit the bundle or the list.
    """
    from pipelines.inference.bundle import load_bundle
    from pipelines.job.preparation import configure_run, model_of
    from pipelines.output.run import new_run_name
    from pipelines.runners.beam_flags import is_detached, reach_buckets

    # First of all: the bundle and the list may lie in buckets.
    access = reach_buckets(options, beam_options)
    bundle = load_bundle(options.model)
    _warn_of_rendering(options, bundle)
    return configure_run(
        new_run_name(),
        options,
        bundle,
        lambda precision: model_of(bundle, options, precision).load(),
        access,
        is_detached(beam_options),
    )


def _warn_of_rendering(options: PredictOptions, bundle: Bundle) -> None:
    """Warn of rasters that look different from those that the model was trained on."""
    if bundle.rendering and options.rendering.over(bundle.rendering) != bundle.rendering:
        log(
            f"{_NAME}: the model was trained on rasters shown with {bundle.rendering}, and this run shows them "
            f"differently: its probabilities may be wrong; omit the flags to show them as in training",
            severity="WARNING",
        )


def _announce_verdict(run: Run) -> list[str]:
    """Say where to find the verdict on the images of a detached job, which has no exit code of its own."""
    if not run.bundle.reference:
        return []
    lines = ["its field `shift` says whether the images look like those that the model was trained on"]
    if run.fail_on_shift:
        effect = "keeps the old rows if they do not" if run.overwrite else "cannot set the exit code of a detached job"
        lines.append(f"--fail_on_shift {effect}")
    return lines


def _report_stop(run: Run, options: PredictOptions, error: ScenetagsError) -> int:
    """Report in a few lines why a run ended early, and what of it is committed."""
    from pipelines.supervision.progress import TooManyFailuresError

    if isinstance(error, TooManyFailuresError):
        log(
            f"{_NAME}: {error}, more than --max_failure_rate {options.max_failure_rate:g} allows; --fail_fast ended "
            f"the run; {standing(run)}",
            *(f"  {failure.path}: {failure.stage}: {failure.message}" for failure in error.first),
            exit_code=int(error.exit_code),
        )
    else:
        # While the job runs, what it has committed may still change.
        rest = "" if isinstance(error, StillRunningError) else f"; {standing(run)}"
        log(f"{_NAME}: {error}{rest}", exit_code=int(error.exit_code))
    return error.exit_code


def _conclude(run: Run, options: PredictOptions, accounts: Accounts) -> int:
    """Print what a run did, and return the exit code that follows from it."""
    from pipelines.output.shifts import compare_run
    from pipelines.results.summary import example, summarize

    ending = _read_ending(run)
    shift = compare_run(run, accounts, ending)
    where = run.folder if ending.kept_old else run.output
    lines = summarize(run, accounts, where)
    if shift.verdict != "unknown":
        lines.insert(-1, str(shift))
    told = {"shift": {"verdict": shift.verdict, "respects": shift.respects}}
    printed = _print(*lines, **accounts.counts, **told, output=run.output, manifest=run.manifest)
    if not accounts.balanced:
        return ExitCode.UNBALANCED
    if accounts.failure_rate > options.max_failure_rate:
        log(
            f"{_NAME}: {accounts.failure_rate:.1%} of the images failed, more than --max_failure_rate "
            f"{options.max_failure_rate:g} allows; the reasons are in {where}/failures"
            + ("" if accounts.listing_is_complete else "; the listing is incomplete as well")
            + ("; the old rows stay, and the same command retries what failed" if run.overwrite else ""),
            *example(run, where),
            exit_code=int(ExitCode.TOO_MANY_FAILURES),
        )
        return ExitCode.TOO_MANY_FAILURES
    if not accounts.listing_is_complete:
        log(
            f"{_NAME}: the listing is incomplete: an archive or a folder may hold images that were not listed; see "
            f"{where}/failures" + ("; the old rows stay" if run.overwrite else ""),
            exit_code=int(ExitCode.TOO_MANY_FAILURES),
        )
        return ExitCode.TOO_MANY_FAILURES
    if options.fail_on_shift and shift.verdict == "unlike":
        kept = (
            f"  the old rows stay, and the new ones are in {where}",
            "  to use the new rows, repeat the command without --fail_on_shift (it tags no image again); to discard "
            "them, omit --overwrite as well",
        )
        log(
            f"{_NAME}: --fail_on_shift: {shift}",
            *(kept if ending.kept_old else ()),
            exit_code=int(ExitCode.UNLIKE_TRAINING),
        )
        return ExitCode.UNLIKE_TRAINING
    if options.fail_on_shift and shift.verdict == "unknown":
        log(f"{_NAME}: --fail_on_shift: {shift}", severity="WARNING")
    return _exit_code(printed)


def _read_ending(run: Run) -> Ending:
    """Read how a run ended.

    Raises:
      StoppedError: the storage refuses it.
    """
    from pipelines.output.manifest import Ending, read_ending
    from pipelines.runners.jobs import StoppedError

    if not run.overwrite:
        return Ending("done")
    try:
        return read_ending(run.manifest)
    except OSError as error:
        raise StoppedError(
            f"all rows are written, but {run.manifest}, which says whether they replaced the old ones, cannot be read: "
            f"{error.strerror or error}"
        ) from error


def _exit_code(printed: bool) -> int:
    return ExitCode.DONE if printed else ExitCode.STOPPED


def _print(*lines: str, **fields: Any) -> bool:
    """Print lines, or JSON with these fields as well, and return whether it was possible; otherwise report why."""
    try:
        show_result(*lines, **fields)
    except (UnprintableError, BrokenPipeError) as error:
        reason = error.strerror if isinstance(error, BrokenPipeError) else error
        log(
            f"{_NAME}: everything is written, but the summary cannot be printed: {reason}",
            exit_code=int(ExitCode.STOPPED),
        )
        discard_output()
        return False
    return True


def standing(run: Run) -> str:
    """Describe in words what is committed of a run that ended early, and how to resume."""
    from pipelines.output.journal import JOURNAL
    from pipelines.output.manifest import read_accounts
    from pipelines.output.staged import holds_rows

    nothing = "this run committed nothing; run the same command again to start over"
    try:
        with storage.hurried():
            if storage.exists(storage.join(run.staging, JOURNAL)):
                return (
                    f"its last wave is committed, but some of its rows still wait in {run.staging} to be moved into "
                    f"place; run the same command again to move them, and to resume"
                )
            count = read_accounts(run.manifest).inputs
        images = quantity(count, "image is", "images are")
        if not count:
            return nothing
    except FileNotFoundError:
        with suppress(OSError, storage.NoAccessError), storage.hurried():
            if holds_rows(run.output, run.staging):
                return "this run committed nothing, but has staged rows; run the same command again to recover them"
        return nothing
    except (OSError, storage.NoAccessError):
        images = "all finished waves are"
    where = "committed, and the old rows are untouched" if run.overwrite else f"committed to {run.output}"
    return f"{images} {where}; run the same command again to resume"


if __name__ == "__main__":
    sys.exit(main())
