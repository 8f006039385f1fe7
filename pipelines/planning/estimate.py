"""Estimate a job from the costs of a sample: arithmetic only, no measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipelines.inference.intervals import Interval, wilson_interval
from pipelines.planning.machines import MOST_WORKERS, Machine

PIPELINE_SECONDS = 0.0001
"""Core-seconds per image for Beam, queues, rows and commits; 0.00004 if threads do not contend, as
`benchmarks.simulation` measures on one core."""
START_SECONDS = 3.0
"""Start-up of `scenetags predict` on this machine, before the first image."""
WORKER_START_SECONDS = 240.0
"""Start-up of a cloud worker, before the first image: machine, container and packages. Seldom less than 3 minutes."""
SECONDS_PER_WORKER = 3600.0
"""Work per proposed worker. With less than half of it, start-up would take over a tenth of the time."""
MOST_READS = 64
"""Connections that a process keeps open to a bucket."""


@dataclass(frozen=True)
class Costs:
    """Average cost per image, including failed ones.

    Attributes:
      waiting: seconds until it is fetched.
      fetching: core-seconds to fetch it.
      decoding: core-seconds to decode and resize it.
      model: core-seconds to run the model on it.
      pipeline: core-seconds of everything else, not measured on the sample; see `PIPELINE_SECONDS`.
      device: GPU seconds; 0 if the model does not run on a GPU.
    """

    waiting: float
    fetching: float
    decoding: float
    model: float
    pipeline: float = PIPELINE_SECONDS
    device: float = 0.0

    @property
    def core_seconds(self) -> float:
        """Total core-seconds."""
        return self.fetching + self.decoding + self.model + self.pipeline


@dataclass(frozen=True)
class Speed:
    """Throughput of one machine.

    Attributes:
      images_per_second: total rate.
      bottleneck: the limiting step: `model`, `decoding`, `fetching` or `pipeline`.
      share: of the core time spent in it, 0 to 1; None if the cores wait for it.
    """

    images_per_second: float
    bottleneck: str
    share: float | None


@dataclass(frozen=True)
class CloudRun:
    """A run on cloud workers.

    Attributes:
      machine: machine type of a worker.
      workers: number of workers.
      seconds: from the start of the workers to their end.
      start_share: share of these seconds spent starting up, 0 to 1.
      dollars: for vCPUs and memory.
    """

    machine: Machine
    workers: int
    seconds: float
    start_share: float
    dollars: float


def expected_failures(failed: int, sampled: int, images: int) -> Interval:
    """Estimate how many of all images will fail from the failures in a sample.

    The number is exact if the sample contains all images.
    """
    if sampled == images:
        return Interval(failed, failed)
    share = wilson_interval(failed, sampled)
    # The outcomes in the sample are known.
    return Interval(max(failed, share.low * images), min(images - sampled + failed, share.high * images))


def speed(costs: Costs, cores: int, reads_in_flight: int, threads: int, apart: bool) -> Speed:
    """Estimate the throughput of one process, and whether its cores or something they wait for limits it.

    Args:
      costs: per image.
      cores: of the process.
      reads_in_flight: images fetched concurrently.
      threads: images decoded, and predicted, concurrently.
      apart: whether a thread decodes images for the model, instead of running it on them as well.
    """
    work = {name: getattr(costs, name) for name in ("model", "decoding", "fetching", "pipeline")}
    hardest = max(work, key=work.__getitem__)
    all_of_it = costs.core_seconds
    rate = cores / all_of_it
    decoding, model = costs.decoding / threads, max(costs.device, costs.model / threads)
    waits = [("fetching", costs.waiting / reads_in_flight)]
    if apart:
        waits += [("decoding", decoding), ("model", model)]
    else:
        waits += [("model" if model > decoding else "decoding", decoding + model)]
    name, seconds = max(waits, key=lambda wait: wait[1])
    if seconds * rate > 1 + 1e-9:
        return Speed(1 / seconds, name, None)
    return Speed(rate, hardest, work[hardest] / all_of_it)


def dollars_per_million(costs: Costs, machine: Machine) -> float:
    """Estimate what a million images cost on cloud workers that are started already."""
    return 1e6 * costs.core_seconds / machine.vcpus * machine.dollars_per_hour / 3600


def reads_in_flight(costs: Costs, images_per_second: float, cores: int, batch: int) -> int:
    """Propose how many images to fetch concurrently.

    By Little's law, the number in flight is the rate times the seconds per image. It is doubled for bursts. It is at
    least two per core, because the thread that fetches an image also decodes it, and at least half a batch, because
    twice as many are read while the model works on a batch.

    Args:
      costs: per image.
      images_per_second: target rate.
      cores: of the process.
      batch: images per call of the engine.
    """
    in_flight = images_per_second * (costs.waiting + costs.decoding)
    return max(2 * cores, math.ceil(batch / 2), min(MOST_READS, math.ceil(2 * in_flight)))


def seconds_here(images: int, listing: float, images_per_second: float) -> float:
    """Estimate how long the whole command takes on this machine."""
    return START_SECONDS + listing + images / images_per_second


def cloud_run(costs: Costs, images: int, listing: float, machine: Machine, workers: int) -> CloudRun:
    """Estimate a run on cloud workers; workers without work gain nothing, but still cost.

    Args:
      costs: per image; a vCPU is assumed to be as fast as a core.
      images: total number.
      listing: seconds that one worker takes to list them while the others wait.
      machine: machine type of a worker.
      workers: number of workers.
    """
    at_work = min(workers, most_workers(images, machine))
    idle = WORKER_START_SECONDS + listing
    seconds = idle + images * costs.core_seconds / (machine.vcpus * at_work)
    dollars = workers * seconds / 3600 * machine.dollars_per_hour
    return CloudRun(machine, workers, seconds, WORKER_START_SECONDS / seconds, dollars)


def propose_workers(costs: Costs, images: int, machine: Machine) -> int:
    """Propose a number of workers that gives each about an hour of work, so that start-up costs little."""
    alone = images * costs.core_seconds / machine.vcpus
    return max(1, min(most_workers(images, machine), round(alone / SECONDS_PER_WORKER)))


def workers_within(costs: Costs, images: int, listing: float, machine: Machine, seconds: float) -> int | None:
    """Return the fewest workers that finish in time; None if no number does."""
    left = seconds - WORKER_START_SECONDS - listing
    if left <= 0:
        return None
    workers = max(1, math.ceil(images * costs.core_seconds / machine.vcpus / left))
    return workers if workers <= most_workers(images, machine) else None


def most_workers(images: int, machine: Machine) -> int:
    """Return the most workers that one job can have and keep busy, with an image per vCPU."""
    return max(1, min(MOST_WORKERS, images // machine.vcpus))
