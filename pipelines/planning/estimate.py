"""Reckon what a job takes from what a sample of its images took: arithmetic, and nothing measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipelines.planning.machines import MOST_WORKERS, Machine

PIPELINE_SECONDS = 0.0001
"""Core-seconds that go, for each image, into Beam, queues, rows and commits; 0.00004 where threads do not disturb one
another, as `benchmarks.simulation` measures on one core."""
START_SECONDS = 3.0
"""Of `scenetags predict` on this machine, before the first image."""
WORKER_START_SECONDS = 240.0
"""Of a worker in the cloud, before the first image: machine, container and packages. Seldom less than 3 minutes."""
SECONDS_A_WORKER = 3600.0
"""Of work, for which workers are proposed. With fewer than half of them their start would be over a tenth of it all."""
MOST_READS = 64
"""Connections that a process keeps open to a bucket."""
_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Interval:
    """Where a number lies with 95 % confidence."""

    low: float
    high: float


@dataclass(frozen=True)
class Costs:
    """What one image costs on average, those that fail among them.

    Attributes:
      waiting: seconds until it is fetched.
      fetching: core-seconds to fetch it.
      decoding: core-seconds to decode and resize it.
      model: core-seconds to run the model on it.
      pipeline: core-seconds of everything else, not of the sample; see `PIPELINE_SECONDS`.
      device: seconds of a GPU, where the model runs on one; 0 elsewhere.
    """

    waiting: float
    fetching: float
    decoding: float
    model: float
    pipeline: float = PIPELINE_SECONDS
    device: float = 0.0

    @property
    def core_seconds(self) -> float:
        """All work of processors."""
        return self.fetching + self.decoding + self.model + self.pipeline


@dataclass(frozen=True)
class Speed:
    """How fast one machine goes.

    Attributes:
      images_a_second: in all.
      bottleneck: what would have to be faster: `model`, `decoding`, `fetching` or `pipeline`.
      share: of the cores' work that goes into it, 0 to 1; None where the cores wait for it.
    """

    images_a_second: float
    bottleneck: str
    share: float | None


@dataclass(frozen=True)
class CloudRun:
    """A run on workers in the cloud.

    Attributes:
      machine: shape of a worker.
      workers: that many.
      seconds: from the start of the workers to their end.
      start_share: of these seconds, 0 to 1, in which the workers start.
      dollars: for vCPUs and memory.
    """

    machine: Machine
    workers: int
    seconds: float
    start_share: float
    dollars: float


def wilson_interval(hits: int, trials: int) -> Interval:
    """Give the share of hits that trials speak for, with 95 % confidence.

    Unlike the normal approximation it holds where there was no hit at all. E. B. Wilson, "Probable Inference, the Law
    of Succession, and Statistical Inference", Journal of the American Statistical Association 22 (1927).

    Raises:
      ValueError: there were no trials, or more hits than trials.
    """
    if not 0 <= hits <= trials or not trials:
        raise ValueError(f"{hits} hits of {trials} trials")
    share, square = hits / trials, _NORMAL_95**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    reach = _NORMAL_95 / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    # At the ends the formula gives the share itself, but for rounding.
    low = 0.0 if hits == 0 else min(share, middle - reach)
    return Interval(low, 1.0 if hits == trials else max(share, middle + reach))


def expected_failures(failed: int, sampled: int, images: int) -> Interval:
    """Say how many of all images will fail, where so many of a sample did.

    Of a sample that holds all of them that is known.
    """
    if sampled == images:
        return Interval(failed, failed)
    share = wilson_interval(failed, sampled)
    # Those of the sample are known, whatever the others do.
    return Interval(max(failed, share.low * images), min(images - sampled + failed, share.high * images))


def speed(costs: Costs, cores: int, reads_in_flight: int, threads: int) -> Speed:
    """Estimate how fast one process goes, and what keeps it from going faster: its cores, or what these wait for.

    Args:
      costs: of an image.
      cores: of the process.
      reads_in_flight: images that are fetched at the same time.
      threads: images that are decoded, and predicted, at the same time.
    """
    work = {name: getattr(costs, name) for name in ("model", "decoding", "fetching", "pipeline")}
    hardest = max(work, key=work.__getitem__)
    all_of_it = costs.core_seconds
    rate = cores / all_of_it
    waits = (
        ("fetching", costs.waiting / reads_in_flight),
        ("decoding", costs.decoding / threads),
        ("model", max(costs.device, costs.model / threads)),
    )
    name, seconds = max(waits, key=lambda wait: wait[1])
    if seconds * rate > 1 + 1e-9:
        return Speed(1 / seconds, name, None)
    return Speed(rate, hardest, work[hardest] / all_of_it)


def reads_in_flight(costs: Costs, images_a_second: float, cores: int, batch: int) -> int:
    """Propose how many images are fetched at the same time.

    By Little's law as many are on their way as come each second, times the seconds that each takes. Twice of that, for
    they do not come evenly; two a core, for who fetches an image also decodes it; and half a batch, for twice of that
    is read while the model works on one.

    Args:
      costs: of an image.
      images_a_second: that are to come.
      cores: of the process.
      batch: images that the engine takes together.
    """
    on_their_way = images_a_second * (costs.waiting + costs.decoding)
    return max(2 * cores, math.ceil(batch / 2), min(MOST_READS, math.ceil(2 * on_their_way)))


def seconds_here(images: int, listing: float, images_a_second: float) -> float:
    """Say how long the whole command takes on this machine."""
    return START_SECONDS + listing + images / images_a_second


def cloud_run(costs: Costs, images: int, listing: float, machine: Machine, workers: int) -> CloudRun:
    """Reckon a run on so many workers, of which more than there is work for gain nothing and cost all the same.

    Args:
      costs: of an image; a vCPU is taken for a core.
      images: in all.
      listing: seconds that one worker takes to list them, while the others wait.
      machine: shape of a worker.
      workers: that many.
    """
    at_work = min(workers, most_workers(images, machine))
    idle = WORKER_START_SECONDS + listing
    seconds = idle + images * costs.core_seconds / (machine.vcpus * at_work)
    dollars = workers * seconds / 3600 * machine.dollars_an_hour
    return CloudRun(machine, workers, seconds, WORKER_START_SECONDS / seconds, dollars)


def propose_workers(costs: Costs, images: int, machine: Machine) -> int:
    """Propose workers so that each has about an hour of work, beside which its start costs little."""
    alone = images * costs.core_seconds / machine.vcpus
    return max(1, min(most_workers(images, machine), round(alone / SECONDS_A_WORKER)))


def workers_within(costs: Costs, images: int, listing: float, machine: Machine, seconds: float) -> int | None:
    """Give the fewest workers that are done in time; None where no number of them is."""
    left = seconds - WORKER_START_SECONDS - listing
    if left <= 0:
        return None
    workers = max(1, math.ceil(images * costs.core_seconds / machine.vcpus / left))
    return workers if workers <= most_workers(images, machine) else None


def most_workers(images: int, machine: Machine) -> int:
    """Give the most workers that one job can have, and that have work: an image for each vCPU."""
    return max(1, min(MOST_WORKERS, images // machine.vcpus))
