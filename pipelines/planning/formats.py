"""A plan as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from pipelines.errors import quantity
from pipelines.inference import BATCH_SIZE
from pipelines.planning import estimate, machines, precisions
from pipelines.planning.estimate import CloudRun, Costs
from pipelines.planning.proposal import Asked, Count, ListedInputs, LocalRun, Plan
from pipelines.planning.shell import BUCKET, OUTPUT, PROJECT
from pipelines.reading import READS_IN_FLIGHT
from pipelines.supervision.progress import duration

_COMMONEST = 5


def as_json(plan: Plan) -> str:
    """Format a plan as JSON: the fields of `Plan`, in seconds, bytes, dollars, and shares from 0 to 1."""
    return json.dumps(asdict(plan), indent=2)


def describe(plan: Plan, max_failure_rate: float) -> list[str]:
    """Format a plan as lines of text, its commands last.

    Args:
      plan: to format.
      max_failure_rate: share of failures above which a run ends with exit code 3.
    """
    if not plan.found.inputs:
        return list(_describe_found(plan.found))
    lines = [*_describe_found(plan.found), "", *_describe_sample(plan, max_failure_rate)]
    if plan.seconds_per_image and plan.here:
        lines += ["", *_describe_costs(plan, plan.seconds_per_image, plan.here), ""]
        lines += [*_describe_here(plan, plan.seconds_per_image, plan.here), "", *_describe_cloud(plan)]
        if compared := list(precisions.describe(plan.precisions, plan.units, plan.lacks_openvino, plan.held)):
            lines += ["", *compared]
        lines += ["", f"to run it{'' if plan.has_output else f', after filling in {OUTPUT}'}:", plan.command or ""]
    else:
        lines += ["", "NO IMAGE IN THE SAMPLE COULD BE TAGGED: time and cost cannot be estimated"]
    if plan.cloud_command:
        lines += [
            "",
            f"or on Dataflow, after filling in {PROJECT} and {BUCKET}:",
            plan.cloud_command,
        ]
    return lines


def _describe_found(found: ListedInputs) -> Iterator[str]:
    images = found.inputs - found.not_listed
    failed = f"; {quantity(found.not_listed, 'more input')} could not be listed" if found.not_listed else ""
    yield f"{quantity(images, 'image')}, {_size(found.bytes)}, listed in {found.listing_seconds:.1f} s{failed}"
    if found.passed_over:
        yield "passed over: " + _commonest(found.passed_over)


def _describe_sample(plan: Plan, max_failure_rate: float) -> Iterator[str]:
    sampled = plan.sampled
    tagged = sampled.images - sampled.failed - sampled.empty
    whole = plan.found.inputs - plan.found.not_listed
    if sampled.images == whole:
        yield f"sample: all {quantity(whole, 'image')}"
    else:
        yield f"sample: {sampled.images:,} of {quantity(whole, 'image')}, chosen at random"
    for title, counts in (("formats", sampled.sources), ("repairs", sampled.repairs)):
        if tagged:
            yield f"  {title:9} {_commonest(counts, tagged) or 'none'}"
    if sampled.empty:
        yield f"  {'empty':9} {sampled.empty:,} of {sampled.images:,} sampled"
    low, high = sampled.expected_failures.low, sampled.expected_failures.high

    expected = f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
    confidence = "" if low == high else " (95 % confidence)"
    yield (
        f"  {'failures':9} {sampled.failed:,} of {sampled.images:,} sampled; "
        f"expected in total: {expected} of {plan.found.inputs:,}{confidence}"
    )
    for reason in sampled.reasons[:_COMMONEST]:
        yield f"    {reason.error} {reason.count:,}, e.g. {reason.path}: {reason.message}"
    if sampled.shift.verdict != "unknown":
        yield f"  {'training':9} {sampled.shift}"
    for caution in sampled.cautions:
        yield f"  {'caution':9} {caution}"
    if low > max_failure_rate * plan.found.inputs:
        yield f"    exceeds --max_failure_rate {max_failure_rate:g}: a run would end with exit code 3"


def _describe_costs(plan: Plan, costs: Costs, here: LocalRun) -> Iterator[str]:
    fetched = plan.sampled.bytes / plan.sampled.images / costs.waiting if costs.waiting else 0.0
    device = f", plus {costs.device * 1e3:.2f} ms on the GPU" if costs.device else ""
    in_bfloat16 = f", {plan.precision}" * (plan.precision != "float32")
    yield "cost per image (core-ms on this machine)"
    for title, seconds, note in (
        ("fetching", costs.fetching, f"plus {costs.waiting * 1e3:.1f} ms waiting, {_size(fetched)}/s per read"),
        ("decoding", costs.decoding, ""),
        ("model", costs.model, f"{plan.engine}{in_bfloat16}{device}"),
        ("pipeline", costs.pipeline, "from benchmarks, not measured here"),
    ):
        yield f"  {title:9} {seconds * 1e3:6.2f}  {seconds / costs.core_seconds:5.1%}  {note}".rstrip()
    yield f"  {'total':9} {costs.core_seconds * 1e3:6.2f}  {1 / costs.core_seconds:.1f} images/s per core"
    share = here.speed.share
    how = "the cores wait for it" if share is None else f"{share:.0%} of core time"
    yield f"bottleneck: {here.speed.bottleneck}, {how}"
    if here.load > here.cores / 2:
        yield f"other programs kept this machine busy (load {here.load:.1f}); for better figures, plan again when idle"


def _describe_here(plan: Plan, costs: Costs, here: LocalRun) -> Iterator[str]:
    rate = here.speed.images_per_second
    yield f"on this machine, {quantity(here.cores, 'core')}: {duration(here.seconds)}, {rate:.1f} images/s"
    if plan.trials:
        tried = ", ".join(f"{trial.batch_size}: {trial.seconds * 1e3:.1f} ms" for trial in plan.trials)
        yield f"  --batch_size {here.batch_size}: the smallest within 3 % of the fastest tried ({tried} per image)"
    elif here.batch_size != BATCH_SIZE:
        yield f"  --batch_size {here.batch_size}: without effect; the engine takes images one at a time, on every core"
    least = "two per core and half a batch" if plan.trials else "two per core"
    average = rate * (costs.waiting + costs.decoding)
    in_flight = f"{average:.1f} in flight on average"
    if here.reads_in_flight > READS_IN_FLIGHT:
        yield f"  --reads_in_flight {here.reads_in_flight}: {in_flight}, doubled for bursts, at least {least}"
    else:
        yield f"  --reads_in_flight: {in_flight}; the default, {READS_IN_FLIGHT}, is enough"
    measured = plan.reads_in_flight
    if here.speed.bottleneck == "fetching" and here.reads_in_flight > measured:
        yield (
            f"    reading {quantity(measured, 'image')} at a time limits the rate; plan again with "
            f"--reads_in_flight {here.reads_in_flight} to see the gain"
        )
    if plan.sampled.bytes_per_row:
        tagged = 1 - (plan.sampled.failed + plan.sampled.empty) / plan.sampled.images
        size = plan.sampled.bytes_per_row * (plan.found.inputs - plan.found.not_listed) * tagged
        yield f"  predictions: {quantity(round(plan.sampled.bytes_per_row), 'byte')} per row, {_size(size)} in total"


def _describe_cloud(plan: Plan) -> Iterator[str]:
    if plan.cloud is None:
        yield "on Dataflow: not estimated, because the model ran on a GPU here and the known machine types have none"
        return
    run, machine = plan.cloud, plan.cloud.machine
    yield (
        f"on Dataflow, {quantity(run.workers, 'worker')} of type {machine.name} "
        f"({quantity(machine.vcpus, 'vCPU')}, {machine.memory:g} GB): {duration(run.seconds)}, ${run.dollars:,.2f}"
    )
    yield f"  {_reason_for_workers(plan.asked, run)}"
    yield (
        f"  {run.start_share:.0%} of the time is worker start-up, assumed to take "
        f"{quantity(round(estimate.WORKER_START_SECONDS / 60), 'minute')}"
        + ("; this machine would finish sooner" if plan.here and plan.here.seconds < run.seconds else "")
    )
    prices = f"${machines.DOLLARS_PER_VCPU_HOUR} per vCPU-hour, ${machines.DOLLARS_PER_GB_HOUR} per GB-hour"
    yield f"  {prices}, batch, {machines.REGION}"
    yield f"  ({machines.PRICES_FROM})"
    yield "  assumes vCPUs as fast as cores here, images that arrive as fast, and sufficient memory;"
    yield "  excludes discounts, disks, network and requests"
    if plan.cloud_command is None:
        yield "  for a Dataflow command, move images, list and bundle to gs:// or s3://"


def _reason_for_workers(asked: Asked, run: CloudRun) -> str:
    if asked.workers is not None:
        return "as set by --workers"
    rule = "one per hour of work"
    if asked.hours is None:
        return rule
    if run.seconds > asked.hours * 3600:
        return f"no number of workers finishes within --hours {asked.hours:g}; using {rule}"
    return f"the fewest that finish within --hours {asked.hours:g}"


def _commonest(counts: Sequence[Count], of: int | None = None) -> str:
    shown = (
        f"{count.name} " + (f"{count.count / of:.1%}" if of else f"{count.count:,}") for count in counts[:_COMMONEST]
    )
    return ", ".join(shown)


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
