"""Make a plan: list the inputs, measure a sample of the images, and estimate the whole job."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

from pipelines import storage
from pipelines.commandline.options import PredictOptions
from pipelines.commandline.printing import log
from pipelines.inference import BATCH_SIZE
from pipelines.inference.bundle import Bundle, BundleError, load_bundle
from pipelines.inference.engines import open_engine
from pipelines.inference.precision import can_bfloat16, lacks_openvino
from pipelines.inference.predictor import Predictor
from pipelines.inference.processor import bfloat16_units
from pipelines.job.predicting import PredictSettings
from pipelines.job.preparation import (
    Attempt,
    Joining,
    configure_run,
    inputs_of,
    join_output,
    model_of,
    report_choice,
    settle_precision,
)
from pipelines.listing import list_images
from pipelines.listing.scenes import CutSettings, cut_scenes
from pipelines.output.earlier import EarlierRows
from pipelines.output.lock import refuse_links
from pipelines.output.run import Run
from pipelines.planning import estimate
from pipelines.planning.census import Census, take_census
from pipelines.planning.estimate import CloudRun, Costs
from pipelines.planning.machines import Machine
from pipelines.planning.precisions import Precisions, Rate, compare, weigh
from pipelines.planning.proposal import Asked, ListedInputs, LocalRun, Plan
from pipelines.planning.sampling import BatchTrial, Sample, measure
from pipelines.planning.shell import BUCKET, OUTPUT, can_run_in_cloud, cloud_flags, shell_command
from pipelines.planning.summary import counted, summarize
from pipelines.reading import READS_IN_FLIGHT
from pipelines.records import ImageRef, Listed
from pipelines.scenes.ground import check_installed
from pipelines.supervision.machine import available_cores

_NAME = "scenetags plan"
_RUN = "20260101T000000.000000Z-0000"
"""Name of the run in the rows that are measured; fixed, so that the same images give the same plan."""
_GOOD_ENOUGH = 1.03
"""A smaller batch may take this many times as long as the fastest one."""


class _Predictors(NamedTuple):
    """The predictor of the run, and one in the other precision; None if this machine has only one."""

    own: Predictor
    other: Predictor | None


class _Known(NamedTuple):
    """What is known once the sample is tagged."""

    job: PredictOptions
    run: Run
    predictors: _Predictors
    census: Census
    sample: Sample


def make_plan(job: PredictOptions, sample: int, machine: Machine, asked: Asked, *, has_output: bool) -> Plan:
    """Make a plan for a run.

    Args:
      job: the run.
      sample: number of images to read and tag for it.
      machine: machine type of a cloud worker.
      asked: how many workers, or how fast.
      has_output: whether that of the run was named; otherwise the plan is for an empty one.

    Raises:
      BundleError: the bundle cannot be read, or the engine rejects it.
      InputError: the input contains no images.
      NoAccessError: credentials or a library are missing.
      OutputError: the run may not add to its output.
    """
    busy = _load()
    bundle = load_bundle(job.model)
    passed_over: Counter[str] = Counter()
    opened = cache(partial(_open_predictor, bundle, job))
    configured = configure_run(_RUN, job, bundle, opened)
    joining = _join_output(configured, job, opened) if has_output else _join_none(configured, job, opened)
    run = joining.run
    census = take_census(_list(job, run, passed_over), sample)
    predictors = _open_predictors(joining, job, opened)
    measured = _measure(census.sample, predictors, run, job)
    inputs = census.images + census.failure_count
    plan = Plan(
        found=ListedInputs(inputs, census.bytes, census.failure_count, counted(passed_over), census.seconds),
        sampled=summarize(census, measured, run),
        asked=asked,
        engine=predictors.own.engine.name,
        precision=run.precision,
        held=joining.held,
        units=bfloat16_units(),
        lacks_openvino=lacks_openvino(job.engine, bundle),
        reads_in_flight=job.reads_in_flight,
        trials=measured.trials,
        has_output=has_output,
    )
    return (
        _estimate(plan, _Known(job, run, predictors, census, measured), machine, busy) if measured.predictions else plan
    )


def _join_output(run: Run, job: PredictOptions, opened: Attempt) -> Joining:
    """Return a run as it may add to its output; if that cannot be read, as if it did not exist.

    Raises:
      BundleError: the precision was left open, and the engine refuses the bundle in each.
      OutputError: it may not add to it, or this machine cannot; or an image has two rows there.
    """
    try:
        with storage.hurried():
            refuse_links(run)
            joining = join_output(run, job, opened, _NAME)
            # The workers of a run elsewhere read them, a part each: together they may be too many for this machine.
            if not job.beam_flags:
                EarlierRows.read(joining.run.folder, joining.run.name)
            return joining
    except (OSError, storage.NoAccessError) as error:
        _warn(f"{run.output} cannot be read, so the plan assumes that it is empty: {error}")
        return _join_none(run, job, opened)


def _join_none(run: Run, job: PredictOptions, opened: Attempt) -> Joining:
    """Return a run as it begins in an output without rows.

    Raises:
      BundleError: the precision was left open, and the engine refuses the bundle in each.
    """
    joining = settle_precision(run, job, opened)
    if joining.choice:
        report_choice(joining.choice, _NAME)
    return joining


def _list(job: PredictOptions, run: Run, passed_over: Counter[str]) -> Iterator[Listed]:
    """List what a run would tag, its scenes cut into windows."""
    listed = list_images(**inputs_of(run, job)._asdict(), passed_over=passed_over, tell=_warn)
    if not job.grid:
        return listed
    check_installed()
    cutting = CutSettings(job.grid, run.rendering, job.limits.max_pixels, job.documents.trusted)
    return cut_scenes(listed, cutting, _warn)


def _open_predictor(bundle: Bundle, job: PredictOptions, precision: str) -> Predictor:
    engine = open_engine(bundle, job.engine, job.threads, job.embeddings, precision)
    return Predictor(engine, job.embeddings, measures=bundle.reference is not None)


def _open_predictors(joining: Joining, job: PredictOptions, opened: Callable[[str], Predictor]) -> _Predictors:
    run, choice = joining.run, joining.choice
    own = opened(run.precision)
    if not can_bfloat16(job.engine, run.bundle) or (choice and choice.is_fault):
        return _Predictors(own, None)
    other = "float32" if run.precision == "bfloat16" else "bfloat16"
    try:
        return _Predictors(own, opened(other))
    except BundleError as error:
        _warn(f"{other} is not compared: {error}")
        return _Predictors(own, None)


def _measure(images: Sequence[ImageRef], predictors: _Predictors, run: Run, job: PredictOptions) -> Sample:
    model = model_of(run.bundle, job, run.precision)
    settings = PredictSettings.of_run(run, model, job.limits, job.reads_in_flight)
    return measure(images, predictors.own, settings, predictors.other)


def _estimate(plan: Plan, known: _Known, machine: Machine, busy: float) -> Plan:
    """Add to a plan what the whole job takes here and in the cloud, and the commands for both."""
    job, gpu, precision = known.job, known.predictors.own.engine.on_gpu, known.run.precision
    worker = machine.for_bfloat16 if precision == "bfloat16" else machine
    if worker != machine:
        _warn(f"{machine.name} has no units for bfloat16; the estimate for Dataflow is for {worker.name}")
    costs = _costs(known.sample, gpu)
    here = _local_run(costs, known, busy)
    cloud = None if gpu else _cloud_run(costs, known.census, worker, plan.asked)
    in_cloud = cloud if can_run_in_cloud(job) else None
    return replace(
        plan,
        precisions=_precisions(costs, known, machine) if known.predictors.other else None,
        seconds_per_image=costs,
        here=here,
        cloud=cloud,
        command=_command(job, here, plan),
        cloud_command=_cloud_command(replace(job, precision=precision), costs, in_cloud) if in_cloud else None,
    )


def _precisions(costs: Costs, known: _Known, machine: Machine) -> Precisions | None:
    job, run, sample = known.job, known.run, known.sample

    def rate(costs: Costs, machine: Machine) -> Rate:
        cores = available_cores()
        speed = estimate.speed(costs, cores, job.reads_in_flight, job.threads or cores, apart=False)
        return Rate(speed.images_per_second, estimate.dollars_per_million(costs, machine), machine.name)

    ours = costs, sample.predictions
    other = replace(costs, model=sample.model_of_other / sample.count), sample.other
    exact, rounded = (ours, other) if run.precision == "float32" else (other, ours)
    changes = compare(exact[1], rounded[1], run.bundle.labels, run.thresholds, run.rules)
    if changes is None:
        return None
    rates = rate(exact[0], machine), rate(rounded[0], machine.for_bfloat16)
    return weigh(bfloat16_units(), *rates, changes, is_whole=sample.count == known.census.images)


def _warn(line: str) -> None:
    log(f"{_NAME}: {line}", severity="WARNING")


def _costs(measured: Sample, gpu: bool) -> Costs:
    waiting, fetching, decoding, model = (
        seconds / measured.count for seconds in (measured.waiting, measured.fetching, measured.decoding, measured.model)
    )
    return Costs(waiting, fetching, decoding, model, device=measured.model_waiting / measured.count if gpu else 0.0)


def _local_run(costs: Costs, known: _Known, busy: float) -> LocalRun:
    job, census, trials = known.job, known.census, known.sample.trials
    cores = available_cores()
    # An engine without trials takes images one at a time, whatever the batch size.
    batch = _best(trials) if trials else job.batch_size
    speed = estimate.speed(costs, cores, job.reads_in_flight, job.threads or cores, apart=bool(trials))
    reads = estimate.reads_in_flight(costs, speed.images_per_second, cores, batch if trials else 1)
    seconds = estimate.seconds_here(census.images, census.seconds, speed.images_per_second)
    return LocalRun(cores, busy, speed, seconds, batch, reads)


def _best(trials: Sequence[BatchTrial]) -> int:
    fastest = min(trial.seconds for trial in trials)
    return min(trial.batch_size for trial in trials if trial.seconds <= _GOOD_ENOUGH * fastest)


def _cloud_run(costs: Costs, census: Census, machine: Machine, asked: Asked) -> CloudRun:
    workers = asked.workers
    if asked.hours is not None:
        workers = estimate.workers_within(costs, census.images, census.seconds, machine, asked.hours * 3600)
    workers = workers or estimate.propose_workers(costs, census.images, machine)
    return estimate.cloud_run(costs, census.images, census.seconds, machine, workers)


def _command(job: PredictOptions, here: LocalRun, plan: Plan) -> str:
    """Write the command for a run on this machine, with what is proposed where that is better than the defaults."""
    return shell_command(
        replace(
            job,
            output=job.output if plan.has_output else OUTPUT,
            batch_size=here.batch_size if plan.trials else BATCH_SIZE,
            reads_in_flight=max(here.reads_in_flight, READS_IN_FLIGHT),
        )
    )


def _cloud_command(job: PredictOptions, costs: Costs, cloud: CloudRun) -> str:
    # Per process: a worker runs one per vCPU.
    reads = estimate.reads_in_flight(costs, 1 / costs.core_seconds, cores=1, batch=1)
    output = job.output if storage.is_remote(job.output) else f"{BUCKET}/tagged"
    flags = cloud_flags(cloud, job.beam_flags)
    # Workers share no failure count, so none of them could end the job because of failures.
    return shell_command(replace(job, output=output, reads_in_flight=reads, fail_fast=False, beam_flags=flags))


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
