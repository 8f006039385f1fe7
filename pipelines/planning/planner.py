"""Make a plan: list the inputs, measure a sample of the images, and estimate the whole job."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.commandline.options import PredictOptions
from pipelines.commandline.printing import log
from pipelines.images import DecodeSettings
from pipelines.images.rendering import Rendering
from pipelines.inference import shift
from pipelines.inference.bundle import Bundle, BundleError, load_bundle
from pipelines.inference.engines import Engine, can_bfloat16, choose_precision, lacks_openvino, open_engine
from pipelines.inference.processor import bfloat16_units
from pipelines.listing import list_images
from pipelines.listing.scenes import CutSettings, cut_scenes
from pipelines.output.run import Run
from pipelines.output.tables import FORMAT
from pipelines.output.writing import PredictionTable
from pipelines.planning import estimate
from pipelines.planning.census import Census, take_census
from pipelines.planning.estimate import CloudRun, Costs, Interval
from pipelines.planning.machines import Machine
from pipelines.planning.precisions import Precisions, Rate, compare, weigh
from pipelines.planning.proposal import Asked, Count, Found, LocalRun, Plan, Reason, Sampled
from pipelines.planning.sampling import BatchTrial, Sample, measure
from pipelines.planning.shell import BUCKET, can_run_in_cloud, cloud_flags, shell_command
from pipelines.records import Failure, Listed
from pipelines.scenes.ground import check_installed
from pipelines.supervision.machine import available_cores

_RUN = "20260101T000000.000000Z-0000"
"""Name of the run in the rows that are measured; fixed, so that the same images give the same plan."""
_GOOD_ENOUGH = 1.03
"""A smaller batch may take this many times as long as the fastest one."""


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
    precision = choose_precision(job.precision, job.engine, bundle)
    engine = open_engine(bundle, job.engine, job.threads, precision=precision)
    other = _open_other(bundle, job, precision)
    worker = machine.for_bfloat16 if precision == "bfloat16" else machine
    if worker != machine:
        _warn(f"{machine.name} has no units for bfloat16; the estimate for Dataflow is for {worker.name}")
    decoding = DecodeSettings(bundle.image_size, bundle.resize_filter, job.limits.max_pixels, rendering)
    measured = measure(
        census.sample,
        engine,
        decoding,
        job.limits,
        threads=job.threads,
        reads_in_flight=job.reads_in_flight,
        batch_size=job.batch_size,
        trials=engine.takes_batches,
        grid=job.grid,
        other=other,
        measures=bundle.reference is not None,
    )
    run = Run(_RUN, job.output, bundle, bundle.thresholds_at(job.threshold), grid=job.grid)
    inputs = census.images + census.failure_count
    found = Found(inputs, census.bytes, census.failure_count, _count(passed_over), census.seconds)
    sampled = _sampled(census, measured, run)
    plan = Plan(
        found,
        sampled,
        asked,
        engine.name,
        precision,
        bfloat16_units(),
        lacks_openvino(job.engine, bundle),
        job.reads_in_flight,
        measured.trials,
    )
    if not measured.predictions:
        return plan
    gpu = _on_gpu(engine)
    costs = _costs(measured, gpu)
    here = _local_run(costs, census, job, measured.trials, busy)
    proposed = replace(job, batch_size=here.batch_size, reads_in_flight=here.reads_in_flight)
    cloud = None if gpu else _cloud_run(costs, census, worker, asked)
    return replace(
        plan,
        precisions=_precisions(costs, measured, run, job, precision, machine, census.images) if other else None,
        seconds_per_image=costs,
        here=here,
        cloud=cloud,
        command=shell_command(proposed),
        cloud_command=_cloud_command(replace(job, precision=precision), costs, cloud)
        if cloud and can_run_in_cloud(job)
        else None,
    )


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


def _open_other(bundle: Bundle, job: PredictOptions, precision: str) -> Engine | None:
    """Open the engine for the other precision; None if this machine has only one."""
    if not can_bfloat16(job.engine, bundle):
        return None
    other = "float32" if precision == "bfloat16" else "bfloat16"
    try:
        return open_engine(bundle, job.engine, job.threads, precision=other)
    except BundleError as error:
        _warn(f"{other} is not compared: {error}")
        return None


def _precisions(
    costs: Costs, measured: Sample, run: Run, job: PredictOptions, precision: str, machine: Machine, images: int
) -> Precisions | None:
    def rate(costs: Costs, machine: Machine) -> Rate:
        cores = available_cores()
        speed = estimate.speed(costs, cores, job.reads_in_flight, job.threads or cores, apart=False)
        return Rate(speed.images_per_second, estimate.dollars_per_million(costs, machine), machine.name)

    ours = costs, measured.predictions
    other = replace(costs, model=measured.model_of_other / measured.count), measured.other
    exact, rounded = (ours, other) if precision == "float32" else (other, ours)
    changes = compare(exact[1], rounded[1], run.bundle.labels, run.thresholds)
    if changes is None:
        return None
    rates = rate(exact[0], machine), rate(rounded[0], machine.for_bfloat16)
    return weigh(bfloat16_units(), *rates, changes, is_whole=measured.count == images)


def _warn(line: str) -> None:
    log(f"scenetags plan: {line}", severity="WARNING")


def _sampled(census: Census, measured: Sample, run: Run) -> Sampled:
    failed = len(measured.failures)
    expected = estimate.expected_failures(failed, measured.count, census.images) if measured.count else Interval(0, 0)
    cannot = census.failure_count
    table, seen = None, shift.Seen()
    if measured.predictions:
        table, accounts = PredictionTable().lay_out(measured.predictions, run)
        seen = accounts.seen
    return Sampled(
        measured.count,
        measured.bytes,
        measured.empty,
        failed,
        Interval(expected.low + cannot, expected.high + cannot),
        _reasons([*measured.failures, *census.failures]),
        _count(Counter(prediction.source for prediction in measured.predictions)),
        _count(Counter(repair for prediction in measured.predictions for repair in prediction.repairs)),
        _bytes_per_row(table) if table else None,
        shift.compare(run.bundle.reference, seen),
    )


def _reasons(failures: Iterable[Failure]) -> tuple[Reason, ...]:
    first: dict[str, Failure] = {}
    counts: Counter[str] = Counter()
    for failure in failures:
        error = f"{failure.stage}: {failure.error}"
        first.setdefault(error, failure)
        counts[error] += 1
    return tuple(
        Reason(error, count, first[error].message, first[error].path)
        for error, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def _bytes_per_row(table: pa.Table) -> float:
    """Measure the size of rows as the job writes them, less that of a file without rows."""
    sizes = []
    for part in (table, table.slice(0, 0)):
        file = io.BytesIO()
        pq.write_table(part, file, **FORMAT)
        sizes.append(len(file.getvalue()))
    rows: int = table.num_rows
    return (sizes[0] - sizes[1]) / rows


def _costs(measured: Sample, gpu: bool) -> Costs:
    waiting, fetching, decoding, model = (
        seconds / measured.count for seconds in (measured.waiting, measured.fetching, measured.decoding, measured.model)
    )
    return Costs(waiting, fetching, decoding, model, device=measured.model_waiting / measured.count if gpu else 0.0)


def _local_run(
    costs: Costs, census: Census, job: PredictOptions, trials: Sequence[BatchTrial], busy: float
) -> LocalRun:
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


def _count(counts: Counter[str]) -> tuple[Count, ...]:
    return tuple(Count(*item) for item in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _on_gpu(engine: Engine) -> bool:
    if engine.name != "tensorflow":
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
