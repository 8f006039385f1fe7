"""Make a plan: list the inputs, measure a sample of the images, and estimate the whole job."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from pipelines import storage
from pipelines.commandline.options import PredictOptions
from pipelines.commandline.printing import log
from pipelines.images import DecodeSettings
from pipelines.images.rendering import Rendering
from pipelines.inference.bundle import Bundle, BundleError, load_bundle
from pipelines.inference.engines import Engine, can_bfloat16, choose_precision, lacks_openvino, open_engine
from pipelines.inference.processor import bfloat16_units
from pipelines.listing import list_images
from pipelines.listing.scenes import CutSettings, cut_scenes
from pipelines.output.run import Run
from pipelines.planning import estimate
from pipelines.planning.census import Census, take_census
from pipelines.planning.estimate import CloudRun, Costs
from pipelines.planning.machines import Machine
from pipelines.planning.precisions import Precisions, Rate, compare, weigh
from pipelines.planning.proposal import Asked, Found, LocalRun, Plan
from pipelines.planning.sampling import BatchTrial, Sample, measure
from pipelines.planning.shell import BUCKET, can_run_in_cloud, cloud_flags, shell_command
from pipelines.planning.summary import counted, summarize
from pipelines.records import ImageRef, Listed
from pipelines.scenes.ground import check_installed
from pipelines.supervision.machine import available_cores

_RUN = "20260101T000000.000000Z-0000"
"""Name of the run in the rows that are measured; fixed, so that the same images give the same plan."""
_GOOD_ENOUGH = 1.03
"""A smaller batch may take this many times as long as the fastest one."""


class _Engines(NamedTuple):
    """The engine of the run, and one for the other precision; None if this machine has only one."""

    precision: str
    own: Engine
    other: Engine | None


class _Known(NamedTuple):
    """What is known once the sample is tagged."""

    job: PredictOptions
    run: Run
    engines: _Engines
    census: Census
    sample: Sample


def make_plan(job: PredictOptions, sample: int, machine: Machine, asked: Asked) -> Plan:
    """Make a plan for a run.

    Args:
      job: the run.
      sample: number of images to read and tag for it.
      machine: machine type of a cloud worker.
      asked: how many workers, or how fast.

    Raises:
      BundleError: the bundle cannot be read, or the engine rejects it.
      InputError: the input contains no images.
      NoAccessError: credentials or a library are missing.
    """
    busy = _load()
    bundle = load_bundle(job.model)
    passed_over: Counter[str] = Counter()
    rendering = job.rendering.over(bundle.rendering)
    census = take_census(_list(job, rendering, passed_over), sample)
    engines = _open_engines(bundle, job)
    measured = _measure(census.sample, engines, bundle, rendering, job)
    run = Run(_RUN, job.output, bundle, bundle.thresholds_at(job.threshold), grid=job.grid)
    inputs = census.images + census.failure_count
    plan = Plan(
        found=Found(inputs, census.bytes, census.failure_count, counted(passed_over), census.seconds),
        sampled=summarize(census, measured, run),
        asked=asked,
        engine=engines.own.name,
        precision=engines.precision,
        units=bfloat16_units(),
        lacks_openvino=lacks_openvino(job.engine, bundle),
        reads_in_flight=job.reads_in_flight,
        trials=measured.trials,
    )
    return _estimate(plan, _Known(job, run, engines, census, measured), machine, busy) if measured.predictions else plan


def _list(job: PredictOptions, rendering: Rendering, passed_over: Counter[str]) -> Iterator[Listed]:
    """List what a run would tag, its scenes cut into windows."""
    listed = list_images(
        job.input,
        job.input_list,
        passed_over,
        path_column=job.path_column,
        allow_empty=job.allow_empty,
        documents=job.documents,
        tell=_warn,
    )
    if not job.grid:
        return listed
    check_installed()
    cutting = CutSettings(job.grid, rendering, job.limits.max_pixels, job.documents.trusted)
    return cut_scenes(listed, cutting, _warn)


def _open_engines(bundle: Bundle, job: PredictOptions) -> _Engines:
    precision = choose_precision(job.precision, job.engine, bundle)
    own = open_engine(bundle, job.engine, job.threads, precision=precision)
    if not can_bfloat16(job.engine, bundle):
        return _Engines(precision, own, None)
    other = "float32" if precision == "bfloat16" else "bfloat16"
    try:
        return _Engines(precision, own, open_engine(bundle, job.engine, job.threads, precision=other))
    except BundleError as error:
        _warn(f"{other} is not compared: {error}")
        return _Engines(precision, own, None)


def _measure(
    images: Sequence[ImageRef], engines: _Engines, bundle: Bundle, rendering: Rendering, job: PredictOptions
) -> Sample:
    return measure(
        images,
        engines.own,
        DecodeSettings(bundle.image_size, bundle.resize_filter, job.limits.max_pixels, rendering),
        job.limits,
        threads=job.threads,
        reads_in_flight=job.reads_in_flight,
        batch_size=job.batch_size,
        trials=engines.own.takes_batches,
        grid=job.grid,
        other=engines.other,
        measures=bundle.reference is not None,
    )


def _estimate(plan: Plan, known: _Known, machine: Machine, busy: float) -> Plan:
    """Add to a plan what the whole job takes here and in the cloud, and the commands for both."""
    job, gpu, precision = known.job, known.engines.own.on_gpu, known.engines.precision
    worker = machine.for_bfloat16 if precision == "bfloat16" else machine
    if worker != machine:
        _warn(f"{machine.name} has no units for bfloat16; the estimate for Dataflow is for {worker.name}")
    costs = _costs(known.sample, gpu)
    here = _local_run(costs, known, busy)
    cloud = None if gpu else _cloud_run(costs, known.census, worker, plan.asked)
    in_cloud = cloud if can_run_in_cloud(job) else None
    return replace(
        plan,
        precisions=_precisions(costs, known, machine) if known.engines.other else None,
        seconds_per_image=costs,
        here=here,
        cloud=cloud,
        command=shell_command(replace(job, batch_size=here.batch_size, reads_in_flight=here.reads_in_flight)),
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
    exact, rounded = (ours, other) if known.engines.precision == "float32" else (other, ours)
    changes = compare(exact[1], rounded[1], run.bundle.labels, run.thresholds)
    if changes is None:
        return None
    rates = rate(exact[0], machine), rate(rounded[0], machine.for_bfloat16)
    return weigh(bfloat16_units(), *rates, changes, is_whole=sample.count == known.census.images)


def _warn(line: str) -> None:
    log(f"scenetags plan: {line}", severity="WARNING")


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


def _cloud_command(job: PredictOptions, costs: Costs, cloud: CloudRun) -> str:
    # Per process: a worker runs one per vCPU.
    reads = estimate.reads_in_flight(costs, 1 / costs.core_seconds, cores=1, batch=1)
    output = job.output if storage.is_remote(job.output) else f"{BUCKET}/tagged"
    flags = cloud_flags(cloud, job.beam_flags)
    # Workers share no failure count, so none of them could end the job because of failures.
    return shell_command(replace(job, output=output, reads_in_flight=reads, fail_fast=False, beam_flags=flags))


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
