"""Run a job on this machine, in waves of images that are committed one by one."""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.archives.packed import PackedNames
from pipelines.commandline.options import PredictOptions
from pipelines.commandline.printing import log
from pipelines.job.pipeline import TagImages
from pipelines.job.preparation import inputs_of
from pipelines.job.steps.names import TakeNames
from pipelines.job.steps.step import POSTPONED
from pipelines.job.transforms import SkipTaggedInMemory
from pipelines.listing import list_images
from pipelines.output.manifest import read_accounts
from pipelines.output.moved import SAMPLE, find_moved
from pipelines.output.run import Accounts, Run, Wave
from pipelines.output.staged import announce
from pipelines.runners.sharing import most_processes, share_threads, sharing
from pipelines.runners.waves import Waves
from pipelines.supervision import interruption, progress

_log = logging.getLogger(__name__)


def run_in_waves(tagging: TagImages, options: PredictOptions, beam_options: PipelineOptions) -> Accounts:
    """Run pipelines one after another, each over a slice of the images and with a commit at its end.

    Beam's local runner keeps everything that crosses between two stages in memory, and commits only at the end. A wave
    that takes too long, or is asked to stop, commits what it has finished; the next one continues with the rest.

    Returns:
      The accounts of all waves.

    Raises:
      InputError: the input names no images.
      BundleError: the engine refuses the bundle.
      InterruptedRunError: a signal asked to stop.
      TooManyFailuresError: too many images failed with `fail_fast`.
    """
    run = tagging.run
    passed_over: Counter[str] = Counter()
    begun = time.monotonic()
    # First: listing may take an hour, and the engine may refuse the bundle.
    processes = most_processes(tagging, options)
    # Where others predict, this one only sees whether the model works.
    engine = (replace(tagging.model, threads=1) if processes > 1 else tagging.model).load().engine
    loaded = time.monotonic()
    listed = list_images(**inputs_of(run, options)._asdict(), passed_over=passed_over, tell=_warn)
    if display := _listing_display(options):
        listed = progress.counted(listed, display)
    with closing(Waves(listed, options.checkpoint_every, tagging.cutting, _warn)) as waves:
        _warn_of_moved(run, waves)
        shares = share_threads(processes, options, waves)
        if engine.on_gpu and len(shares) == 1:
            tagging = replace(tagging, limits=tagging.limits.in_processes())
        loading = loaded - begun + run.timings.get("loading", 0.0)
        run = replace(run, engine=engine.name, timings={"listing": time.monotonic() - loaded, "loading": loading})
        accounts = Accounts(passed_over=passed_over)
        most = options.max_failure_rate if options.fail_fast else 1.0
        _log.info("listed %d files in %.1f s, loaded the model in %.1f s", waves.listed, *run.timings.values())
        with (
            progress.metered(run.name, waves.expected, _display(options), most),
            _kept_from_collector(),
            sharing(tagging, options, shares),
        ):
            announce(run)
            while waves:
                interruption.check()
                accounts = _run_next(waves, replace(tagging, run=run), accounts, options, beam_options)
    return accounts


def _run_next(
    waves: Waves, tagging: TagImages, accounts: Accounts, options: PredictOptions, beam_options: PipelineOptions
) -> Accounts:
    """Run the next wave, and return the accounts that include it."""
    run = tagging.run
    names, is_last = waves.take()
    progress.expect(run.name, waves.expected)
    place = Wave(accounts, inputs=len(names), last=is_last)
    # An explicit runner: "DirectRunner" would first try to download a different one.
    with beam.Pipeline(FnApiRunner(), options=beam_options) as pipeline:
        # Packed, since Beam holds several copies of a step. `Create` would double their number.
        take = beam.ParDo(TakeNames(names, options.checkpoint_seconds))
        taken = pipeline | beam.Impulse() | take.with_outputs(POSTPONED, main="names")
        remaining = taken.names | SkipTaggedInMemory(run)
        _ = {**remaining, POSTPONED: taken[POSTPONED]} | replace(tagging, wave=place)
    try:
        accounts = read_accounts(run.manifest)
    except FileNotFoundError:
        # A wave that has finished nothing commits nothing.
        interruption.check()
        raise
    _log.info("committed %d of %d images", accounts.inputs, waves.expected)
    if remaining := place.earlier.inputs + len(names) - accounts.inputs:
        # Which images were postponed is known only of a wave whose time was up: those at its end.
        interruption.check()
        waves.put_back(PackedNames(islice(names, len(names) - remaining, None)))
    return accounts


def _warn(line: str) -> None:
    log(f"scenetags predict: {line}", severity="WARNING")


def _warn_of_moved(run: Run, waves: Waves) -> None:
    """Warn before the images of a folder that was renamed are tagged a second time."""
    if run.overwrite:
        return
    moved = find_moved(run, waves.sample(SAMPLE), waves.expected)
    if moved:
        log(
            f"scenetags predict: the output has no row for any of these paths, but {moved.path} matches "
            f"{moved.earlier}, which has one, in name and fingerprint; if the folder was moved, press Ctrl-C and use "
            "its old path, or every image gets a second row",
            severity="WARNING",
        )


def _display(options: PredictOptions) -> progress.Display | None:
    if options.progress == "off":
        return None
    if sys.stderr.isatty() and options.log_format == "text":
        return partial(progress.show_bar, stream=sys.stderr)
    return partial(progress.show_lines, report=_log_progress)


def _listing_display(options: PredictOptions) -> progress.ListingDisplay | None:
    if options.progress == "off":
        return None
    if sys.stderr.isatty() and options.log_format == "text":
        return partial(progress.show_listing_bar, stream=sys.stderr)
    return partial(progress.show_listing_lines, report=_log_listing)


def _log_listing(tally: progress.Tally, seconds: float) -> None:
    log(progress.listing_line(tally, seconds), severity="INFO", **tally.described(seconds))


def _log_progress(meter: progress.Meter, seconds: float) -> None:
    log(progress.line(meter, seconds), severity="INFO", **meter.described(seconds))


@contextmanager
def _kept_from_collector() -> Iterator[None]:
    """Exempt all existing objects from garbage collection: Beam's modules alone would cost 0.1 s in every wave."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
