"""Run the pipeline: in waves on this machine, or as one job on a distributed runner."""

from __future__ import annotations

import argparse
import difflib
import gc
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options import pipeline_options
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import create_runner

from pipelines import interruption, progress, storage
from pipelines.bundle import BundleError
from pipelines.commit import replace_rows
from pipelines.engines import check_engine
from pipelines.inference import Model
from pipelines.ledger import Accounts, Run, read_accounts
from pipelines.listing import InputError, list_images
from pipelines.listing.packed import PackedNames
from pipelines.options import PredictOptions, UsageError
from pipelines.output import check_output, check_still_held, drop_shadows, mark
from pipelines.reading import Limits
from pipelines.records import Listed
from pipelines.tables import OutputError
from pipelines.transforms import ListImages, TagImages

LOCAL_RUNNERS = ("directrunner", "fnapirunner", "bundlebaseddirectrunner")
"""Names, in lower case, of runners that work in this process; all of them mean the one that we use."""


class StoppedError(RuntimeError):
    """A run that could not go on: the storage refused. What was committed before stays."""


def check_beam_flags(
    flags: Sequence[str], own: Iterable[str] = PredictOptions.__annotations__
) -> pipeline_options.PipelineOptions:
    """Read Beam's own flags, and refuse those that Beam does not know: it would pass over them in silence.

    Args:
      flags: all that the command itself does not know.
      own: names of those that it does know, one of which may be meant.

    Raises:
      UsageError: a flag is unknown or malformed.
    """
    parser = argparse.ArgumentParser(prog="scenetags predict", allow_abbrev=False, exit_on_error=False, add_help=False)
    for options in pipeline_options.PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    try:
        _, unknown = parser.parse_known_args(list(flags))
    except argparse.ArgumentError as error:
        raise UsageError(str(error)) from error
    runner = pipeline_options.PipelineOptions(list(flags)).view_as(pipeline_options.StandardOptions).runner
    if not _is_local(runner):
        try:
            create_runner(runner)
        except (ValueError, ImportError) as error:
            raise UsageError(f"--runner {runner}: {error}") from error
    if unknown:
        flag = unknown[0].split("=")[0]
        known = [name for action in parser._actions for name in action.option_strings]
        near = difflib.get_close_matches(flag, [*known, *(f"--{name}" for name in own)], 1)
        raise UsageError(f"unknown argument {flag}" + (f"; did you mean {near[0]}?" if near else ""))
    return pipeline_options.PipelineOptions(list(flags))


def is_local(beam_options: pipeline_options.PipelineOptions) -> bool:
    """Tell whether a run works in this process alone."""
    return _is_local(beam_options.view_as(pipeline_options.StandardOptions).runner)


def reach_buckets(options: PredictOptions, beam_options: pipeline_options.PipelineOptions) -> storage.Access:
    """Find out how buckets are to be reached, and reach them so in this process."""
    project = beam_options.view_as(pipeline_options.GoogleCloudOptions).project
    given = beam_options.view_as(pipeline_options.S3Options)
    settings = {
        "api_version": given.s3_api_version,
        "aws_access_key_id": given.s3_access_key_id,
        "aws_secret_access_key": given.s3_secret_access_key,
        "aws_session_token": given.s3_session_token,
        "endpoint_url": given.s3_endpoint_url,
        "region_name": given.s3_region_name,
        "use_ssl": False if given.s3_disable_ssl else None,
        # A flag is text: "False" would be taken for the name of a file of certificates.
        "verify": {"true": None, "false": False}.get(str(given.s3_verify).lower(), given.s3_verify),
    }
    s3 = tuple((name, value) for name, value in settings.items() if value is not None)
    # Read by Beam's own file systems; later ones read it in the pipeline.
    FileSystems.set_options(beam_options)
    access = storage.Access(options.requester_pays, project, s3)
    storage.use(access)
    return access


def run_job(run: Run, options: PredictOptions, beam_options: pipeline_options.PipelineOptions) -> Accounts:
    """Run the whole job.

    Returns:
      The accounts of all that was done.

    Raises:
      InputError: the input names no images.
      BundleError: the engine refuses the bundle.
      OutputError: the output holds what this run must not add to, two rows of an image or a damaged file, or another
        run has taken it over, and nothing was committed.
      NoAccessError: credentials or a library are missing, and nothing was committed.
      InterruptedRunError: a signal asked to stop; the wave at work was dropped whole.
      TooManyFailuresError: more images failed than may, and the run was to fail fast; the wave at work was dropped.
      StoppedError: the output could not be written, or something of the above came after a commit.
    """
    try:
        check_output(run)
        drop_shadows(run)
        accounts = _run(run, options, beam_options)
        if run.overwrite:
            _replace_rows(run, accounts, options.max_failure_rate)
        return accounts
    except (BundleError, InputError):
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
        if stopped := _innermost(error, OSError):
            _mark_quietly(run, "stopped")
            raise StoppedError(f"stopped: {getattr(stopped, 'strerror', None) or stopped}") from error
        raise


def _run(run: Run, options: PredictOptions, beam_options: pipeline_options.PipelineOptions) -> Accounts:
    check_engine(run.bundle, options.engine)
    model = Model(run.bundle.path, run.bundle.digest, options.engine, options.batch_size, run.access)
    limits = Limits.given(options.max_bytes, options.max_pixels, options.max_seconds, options.isolate_decoding)
    tagging = TagImages(run, model, limits, options.reads_in_flight)
    if is_local(beam_options):
        return _run_in_waves(tagging, options, beam_options)
    with beam.Pipeline(options=beam_options) as pipeline:
        _ = pipeline | ListImages(options.input, options.input_list, run.access) | tagging
    return read_accounts(run.manifest)


def _run_in_waves(
    tagging: TagImages, options: PredictOptions, beam_options: pipeline_options.PipelineOptions
) -> Accounts:
    """Run one pipeline after another, each over a slice of the images and with a commit at its end.

    Beam's local runner keeps all that crosses between two stages in memory, and knows no commit but the end.
    """
    run = tagging.run
    passed_over: Counter[str] = Counter()
    begun = time.monotonic()
    listed = _interruptible(list_images(options.input, options.input_list, passed_over))
    waves = list(_pack_waves(listed, options.checkpoint_every))
    loading = time.monotonic()
    tagging.model.load()
    run = replace(run, timings={"listing": loading - begun, "loading": time.monotonic() - loading})
    accounts = Accounts(passed_over=passed_over)
    most = options.max_failure_rate if options.fail_fast else 1.0
    with progress.metered(run.name, sum(map(len, waves)), options.progress, most), _kept_from_collector():
        for number, wave in enumerate(waves, 1):
            interruption.check()
            # The runner is named outright: "DirectRunner" would try to download another one first.
            with beam.Pipeline(FnApiRunner(), options=beam_options) as pipeline:
                # Packed, for Beam holds several copies of what a step is given. `Create` would make it twice as many.
                unpacked = pipeline | beam.Impulse() | "Unpack" >> beam.FlatMap(lambda _, names: names, wave)
                _ = unpacked | replace(
                    tagging, run=run, inputs=len(wave), earlier=accounts, last=number == len(waves), spread=False
                )
            accounts = read_accounts(run.manifest)
    return accounts


def _pack_waves(listed: Iterator[Listed], count: int) -> Iterator[PackedNames]:
    """Take in all that was listed, so many items a wave."""
    while wave := PackedNames(islice(listed, count)):
        yield wave


@contextmanager
def _kept_from_collector() -> Iterator[None]:
    """Spare the garbage collector what there is by now: Beam's modules alone would cost it 0.1 s in every wave."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _interruptible(listed: Iterable[Listed]) -> Iterator[Listed]:
    for item in listed:
        interruption.check()
        yield item


def _replace_rows(run: Run, accounts: Accounts, max_failure_rate: float) -> None:
    """End an overwrite; the old rows stay where the new ones are no good."""
    if not accounts.balanced:
        mark(run.manifest, "unbalanced")
    elif accounts.failure_rate > max_failure_rate:
        mark(run.manifest, "kept_old")
    else:
        check_still_held(run)
        replace_rows(run, accounts)


def _mark_quietly(run: Run, status: str) -> bool:
    """Write into the manifest how the run ended, and tell whether there is one: whether something was committed."""
    try:
        with storage.hurried():
            mark(run.manifest, status)
            return storage.exists(run.manifest)
    except OSError:
        # On a full disk even this may fail; the next run then calls it killed.
        return True


def _is_local(runner: str | None) -> bool:
    return runner is None or runner.lower() in LOCAL_RUNNERS


def _innermost(error: BaseException | None, *kinds: type[BaseException]) -> BaseException | None:
    """Go down from an error of Beam's to the one of some kind that it wraps; on its way up Beam adds to its message."""
    innermost = None
    while error is not None:
        if isinstance(error, kinds):
            innermost = error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return innermost
