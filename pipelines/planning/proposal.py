"""What `scenetags plan` says, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from pipelines.planning import estimate, machines
from pipelines.planning.estimate import CloudRun, Costs, Interval, Speed
from pipelines.planning.sampling import BatchTrial
from pipelines.planning.shell import BUCKET, PROJECT
from pipelines.supervision.progress import duration

_COMMONEST = 5


@dataclass(frozen=True)
class Count:
    """How often a name was seen."""

    name: str
    count: int


@dataclass(frozen=True)
class Reason:
    """Why images failed.

    Attributes:
      error: stage and kind.
      count: of images.
      message: of one of them.
      path: of the same.
    """

    error: str
    count: int
    message: str
    path: str


@dataclass(frozen=True)
class Found:
    """What the inputs hold.

    Attributes:
      inputs: images, and names that cannot be images.
      bytes: of the images.
      not_listed: names that cannot be images, each of which becomes a failure.
      passed_over: files that are no images by their names, by the endings of these.
      listing_seconds: that it took to list them.
    """

    inputs: int
    bytes: int
    not_listed: int
    passed_over: tuple[Count, ...]
    listing_seconds: float


@dataclass(frozen=True)
class Sampled:
    """What a sample shows.

    Attributes:
      images: in it.
      bytes: that were fetched of them.
      failed: of them.
      expected_failures: of all inputs, those that could not be listed among them.
      reasons: of failures, also of those that could not be listed.
      sources: formats of the images that were tagged; so are the following.
      repairs: what was done for true colours.
      bytes_a_row: of output; None where nothing was tagged.
    """

    images: int
    bytes: int
    failed: int
    expected_failures: Interval
    reasons: tuple[Reason, ...]
    sources: tuple[Count, ...]
    repairs: tuple[Count, ...]
    bytes_a_row: float | None


@dataclass(frozen=True)
class LocalRun:
    """A run on this machine.

    Attributes:
      cores: that it has.
      load: average of the minute before, in programs that wanted a core.
      speed: of the run.
      seconds: that it takes.
      batch_size: proposed.
      reads_in_flight: proposed.
    """

    cores: int
    load: float
    speed: Speed
    seconds: float
    batch_size: int
    reads_in_flight: int


@dataclass(frozen=True)
class Asked:
    """What a run in the cloud is to be like; at most one of both.

    Attributes:
      workers: that many.
      hours: that it may take.
    """

    workers: int | None = None
    hours: float | None = None


@dataclass(frozen=True)
class Plan:
    """All there is to say before a run; what may be None is so where nothing of the sample could be tagged.

    Attributes:
      found: what the inputs hold.
      sampled: what a sample shows.
      asked: of the cloud.
      engine: that ran the model.
      reads_in_flight: with which the sample was read.
      trials: of sizes of a batch.
      seconds_an_image: what one costs.
      here: a run on this machine.
      cloud: a run on named machines; None also where the model ran on a GPU, which these do not have.
      command: to run here.
      cloud_command: to run there; None also where something is on this machine only.
    """

    found: Found
    sampled: Sampled
    asked: Asked
    engine: str
    reads_in_flight: int
    trials: tuple[BatchTrial, ...]
    seconds_an_image: Costs | None = None
    here: LocalRun | None = None
    cloud: CloudRun | None = None
    command: str | None = None
    cloud_command: str | None = None


def as_json(plan: Plan) -> str:
    """Write a plan for machines: seconds, bytes, dollars and shares from 0 to 1, by the names of the classes here."""
    return json.dumps(asdict(plan), indent=2)


def describe(plan: Plan, max_failure_rate: float) -> str:
    """Write a plan for people, its commands last.

    Args:
      plan: to write.
      max_failure_rate: share of failures above which a run ends with code 3.
    """
    lines = [*_describe_found(plan.found), "", *_describe_sample(plan, max_failure_rate)]
    if plan.seconds_an_image and plan.here:
        lines += ["", *_describe_costs(plan, plan.seconds_an_image, plan.here), ""]
        lines += [*_describe_here(plan, plan.seconds_an_image, plan.here), "", *_describe_cloud(plan)]
        lines += ["", "run it:", plan.command or ""]
    else:
        lines += ["", "NOTHING OF THE SAMPLE COULD BE TAGGED: how long the rest would take cannot be told"]
    if plan.cloud_command:
        lines += [
            "",
            f"or on Dataflow, with your names for {PROJECT} and {BUCKET}:",
            plan.cloud_command,
        ]
    return "\n".join(lines)


def _describe_found(found: Found) -> Iterator[str]:
    images = found.inputs - found.not_listed
    cannot = f"; {found.not_listed:,} more names cannot be images" if found.not_listed else ""
    yield f"{images:,} images, {_size(found.bytes)}, listed in {found.listing_seconds:.1f} s{cannot}"
    if found.passed_over:
        yield "not images by their names, passed over: " + _commonest(found.passed_over)


def _describe_sample(plan: Plan, max_failure_rate: float) -> Iterator[str]:
    sampled, tagged = plan.sampled, plan.sampled.images - plan.sampled.failed
    whole = plan.found.inputs - plan.found.not_listed
    yield f"sample: {'all' if sampled.images == whole else 'by chance'} {sampled.images:,}"
    for title, counts in (("formats", sampled.sources), ("repairs", sampled.repairs)):
        if tagged:
            yield f"  {title:9} {_commonest(counts, tagged) or 'none'}"
    low, high = sampled.expected_failures.low, sampled.expected_failures.high
    certain = low == high
    many = f"{low:,.0f}" if certain else f"{low:,.0f} to {high:,.0f}, with 95 % confidence,"
    yield f"  {'failures':9} {sampled.failed:,} of {sampled.images:,}: {many} of all {plan.found.inputs:,}"
    for reason in sampled.reasons[:_COMMONEST]:
        yield f"    {reason.error} {reason.count:,}, e.g. {reason.path}: {reason.message}"
    if low > max_failure_rate * plan.found.inputs:
        yield f"    more than --max_failure_rate {max_failure_rate:.1%} allows: a run would end with code 3"


def _describe_costs(plan: Plan, costs: Costs, here: LocalRun) -> Iterator[str]:
    fetched = plan.sampled.bytes / plan.sampled.images / costs.waiting if costs.waiting else 0.0
    device = f", and {costs.device * 1e3:.2f} of the GPU" if costs.device else ""
    yield "an image, in milliseconds of a core of this machine"
    for title, seconds, note in (
        ("fetching", costs.fetching, f"and {costs.waiting * 1e3:.1f} of waiting, {_size(fetched)}/s a read"),
        ("decoding", costs.decoding, ""),
        ("model", costs.model, f"{plan.engine}{device}"),
        ("pipeline", costs.pipeline, "not of this sample, but of the benchmarks"),
    ):
        yield f"  {title:9} {seconds * 1e3:6.2f}  {seconds / costs.core_seconds:5.1%}  {note}".rstrip()
    yield f"  {'all':9} {costs.core_seconds * 1e3:6.2f}  {1 / costs.core_seconds:.1f} images in each second of a core"
    share = here.speed.share
    how = "for which the cores wait" if share is None else f"{share:.0%} of the cores' work"
    yield f"bottleneck: {here.speed.bottleneck}, {how}"
    if here.load > here.cores / 2:
        yield f"other programs kept this machine busy (load {here.load:.1f}): a quiet one gives surer figures"


def _describe_here(plan: Plan, costs: Costs, here: LocalRun) -> Iterator[str]:
    rate = here.speed.images_a_second
    yield f"here, on {_many(here.cores, 'core')}: {duration(here.seconds)}, {rate:.1f} images a second"
    if plan.trials:
        tried = ", ".join(f"{trial.batch_size}: {trial.seconds * 1e3:.1f} ms" for trial in plan.trials)
        yield f"  --batch_size {here.batch_size}: the smallest within 3 % of the best of those tried ({tried} an image)"
    else:
        yield f"  --batch_size {here.batch_size}: as given, for LiteRT takes images one by one, on every core"
    least = "two a core, or half a batch" if plan.trials else "two a core"
    yield (
        f"  --reads_in_flight {here.reads_in_flight}: {rate * (costs.waiting + costs.decoding):.1f} are on their way "
        f"at a time, times two, for they come unevenly; and no less than {least}"
    )
    measured = plan.reads_in_flight
    if here.speed.bottleneck == "fetching" and here.reads_in_flight > measured:
        yield f"    {measured} at a time hold it up: plan with {here.reads_in_flight}, and see what that gains"
    if plan.sampled.bytes_a_row:
        tagged = 1 - plan.sampled.failed / plan.sampled.images
        size = plan.sampled.bytes_a_row * (plan.found.inputs - plan.found.not_listed) * tagged
        yield f"  predictions: {plan.sampled.bytes_a_row:.0f} bytes a row, {_size(size)}"


def _describe_cloud(plan: Plan) -> Iterator[str]:
    if plan.cloud is None:
        yield "in the cloud: not estimated, for here the model ran on a GPU, and the machines known have none"
        return
    run, machine = plan.cloud, plan.cloud.machine
    yield (
        f"on Dataflow, {_many(run.workers, 'worker')} {machine.name} ({machine.vcpus} vCPUs, {machine.memory:g} GB): "
        f"{duration(run.seconds)}, ${run.dollars:,.2f}"
    )
    yield f"  {_reason_for_workers(plan.asked, run)}"
    yield (
        f"  {run.start_share:.0%} of the time is their start, taken to be "
        f"{estimate.WORKER_START_SECONDS / 60:.0f} minutes"
        + ("; here it is done sooner" if plan.here and plan.here.seconds < run.seconds else "")
    )
    prices = f"${machines.DOLLARS_A_VCPU_HOUR} a vCPU-hour, ${machines.DOLLARS_A_GB_HOUR} a GB-hour"
    yield f"  {prices}, batch, {machines.REGION}"
    yield f"  ({machines.PRICES_FROM})"
    yield "  assumed: a vCPU works as fast as a core here, images come as fast, memory suffices;"
    yield "  discounts, disks, network and requests are not in it"
    if plan.cloud_command is None:
        yield "  for a command, have images, list and bundle in gs:// or s3://"


def _reason_for_workers(asked: Asked, run: CloudRun) -> str:
    if asked.workers is not None:
        return "as many as --workers says"
    rule = "one for each hour of work"
    if asked.hours is None:
        return rule
    if run.seconds > asked.hours * 3600:
        return f"no number of them is done within --hours {asked.hours:g}; without it, {rule}"
    return f"the fewest that are done within --hours {asked.hours:g}"


def _many(count: int, name: str) -> str:
    return f"{count:,} {name}" + ("" if count == 1 else "s")


def _commonest(counts: Sequence[Count], of: int | None = None) -> str:
    told = (
        f"{count.name} " + (f"{count.count / of:.1%}" if of else f"{count.count:,}") for count in counts[:_COMMONEST]
    )
    return ", ".join(told)


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
