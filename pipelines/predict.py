"""`scenetags predict`: tag an archive of images."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pipelines import interruption, storage
from pipelines.flags import parse_predict
from pipelines.options import PredictOptions, UsageError

if TYPE_CHECKING:
    from pipelines.ledger import Accounts, Run

DONE, STOPPED, WRONG_USAGE, TOO_MANY_FAILURES, UNBALANCED = 0, 1, 2, 3, 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
      argv: arguments of the command line, without the command's name.

    Returns:
      The exit code; after a signal, 128 and its number.
    """
    try:
        with interruption.deferred():
            return _predict(parse_predict(sys.argv[1:] if argv is None else argv))
    except UsageError as error:
        print(f"scenetags predict: {error}", file=sys.stderr)
        return WRONG_USAGE


def _predict(options: PredictOptions) -> int:
    # Beam warns, through the root logger, of every optional library that is not installed, and logs the traceback of
    # an error that it raises as well.
    logging.getLogger().setLevel(logging.CRITICAL)
    # Imported here: Beam takes seconds, which `--help` and a mistyped flag should not cost.
    from pipelines.bundle import BundleError, load_bundle
    from pipelines.images import ignore_metadata_warnings
    from pipelines.jobs import StoppedError, rehearse_job, run_job
    from pipelines.ledger import Run, new_run_name
    from pipelines.listing import InputError
    from pipelines.output import hold_output
    from pipelines.progress import TooManyFailuresError
    from pipelines.release import WorkerReleaseError
    from pipelines.runners import check_beam_flags, check_runner, is_detached, is_local, makes_template, reach_buckets
    from pipelines.storage import NoAccessError
    from pipelines.tables import OutputError
    from pipelines.watchdog import watching

    ignore_metadata_warnings()
    beam_options = check_beam_flags(options.beam_flags)
    check_runner(options, beam_options)
    try:
        access = reach_buckets(options, beam_options)
        bundle = load_bundle(options.model)
        thresholds = bundle.thresholds if options.threshold is None else (options.threshold,) * len(bundle.labels)
        described = options.described()
        run = Run(
            *(new_run_name(), options.output, bundle, thresholds, options.overwrite, options.max_failure_rate),
            detached=is_detached(beam_options),
            options=described,
            access=access,
        )
        if options.dry_run:
            rehearse_job(run, options, beam_options)
            return DONE if _tell("dry run: the job is built and checked; nothing was submitted or written") else STOPPED
        watched = watching(options.output) if is_local(beam_options) else nullcontext()
        with hold_output(run), watched:
            accounts = run_job(run, options, beam_options)
    except (BundleError, OutputError, InputError, NoAccessError, WorkerReleaseError) as error:
        raise UsageError(str(error)) from error
    except (StoppedError, interruption.InterruptedRunError) as error:
        print(f"scenetags predict: {error}; {standing(run)}", file=sys.stderr)
        return 128 + error.signal_number if isinstance(error, interruption.InterruptedRunError) else STOPPED
    except TooManyFailuresError as error:
        print(
            f"scenetags predict: {error}, more than --max_failure_rate {options.max_failure_rate:.1%} allows, and "
            f"--fail_fast ends the run; {standing(run)}",
            *(f"  {failure.path}: {failure.stage}: {failure.message}" for failure in error.told),
            sep="\n",
            file=sys.stderr,
        )
        return TOO_MANY_FAILURES
    if accounts is None:
        so_far = "the job's template is written" if makes_template(beam_options) else "the job goes on by itself"
        return DONE if _tell(f"{so_far}; at its end the job writes {run.manifest}") else STOPPED
    told = _tell(summary(run, accounts))
    if not accounts.balanced:
        return UNBALANCED
    if accounts.failure_rate > options.max_failure_rate:
        where = run.folder if run.overwrite else run.output
        print(
            f"scenetags predict: {accounts.failure_rate:.1%} of the images failed, more than --max_failure_rate "
            f"{options.max_failure_rate:.1%}; the reasons are in {where}/failures"
            + ("; the old rows stay, and the same command again tries what failed" if run.overwrite else ""),
            file=sys.stderr,
        )
        return TOO_MANY_FAILURES
    return DONE if told else STOPPED


def _tell(text: str) -> bool:
    """Print a text and return whether that could be done; where not, say so in a line."""
    try:
        print(text, flush=True)
    except OSError as error:
        print(
            f"scenetags predict: all is written, but the summary cannot be printed: {error.strerror or error}",
            file=sys.stderr,
        )
        # When Python ends it tries once more to print what is left, and would add a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def standing(run: Run) -> str:
    """Say where a run stands that did not come to its end, for people."""
    from pipelines.ledger import read_accounts

    try:
        with storage.hurried():
            done = f"{read_accounts(run.manifest).inputs:,} images"
    except FileNotFoundError:
        done = "0 images"
    except OSError:
        done = "all finished waves"
    rows = "the old rows are untouched" if run.overwrite else f"their rows are in {run.output}"
    return f"{done} are done and committed, {rows}, and the same command again goes on from there"


def summary(run: Run, accounts: Accounts) -> str:
    """Say what a run did and where its results are, for people."""
    from pipelines.progress import duration

    seconds = time.time() - run.started
    worked_on = accounts.predictions + accounts.failures
    lines = [
        f"{accounts.inputs:,} images: {accounts.predictions:,} tagged, {accounts.failures:,} failed, "
        f"{accounts.skipped:,} skipped as already tagged",
        f"{duration(seconds)}" + (f", {worked_on / seconds:.1f} images a second" if worked_on else ""),
    ]
    for title, counts in (
        ("commonest tags", accounts.tags),
        ("repairs", accounts.repairs),
        ("reasons of failures", accounts.errors),
        ("not images by their names, passed over", accounts.passed_over),
    ):
        if counts:
            commonest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5]
            lines.append(f"{title}: " + ", ".join(f"{name} {count:,}" for name, count in commonest))
    if not accounts.balanced:
        lines.append(
            f"THE ACCOUNTS DO NOT BALANCE: {accounts.inputs:,} inputs, but "
            f"{accounts.predictions + accounts.failures + accounts.skipped:,} rows and skips"
        )
    tagged = accounts.predictions + accounts.skipped
    for table, count in (("predictions", tagged), ("failures", accounts.failures)):
        if count:
            lines.append(f"{table}: {run.output}/{table}/*.parquet")
    lines.append(f"manifest: {run.manifest}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
