"""What a job takes, estimated from what an image takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.inference.intervals import Interval
from pipelines.planning import estimate
from pipelines.planning.estimate import Costs
from pipelines.planning.machines import MOST_WORKERS, Machine, UnknownMachineError, find_machine

SECONDS = st.floats(1e-6, 10)
COSTS = st.builds(Costs, SECONDS, SECONDS, SECONDS, SECONDS)
IMAGES = st.integers(1, 10**8)
MACHINES = st.sampled_from(["e2-standard-2", "n2-highcpu-16", "c3-highcpu-176"]).map(find_machine)


@given(st.integers(1, 1000), st.data())
def test_failures_to_expect_are_those_seen_at_least_and_known_where_all_was_read(
    images: int, data: st.DataObject
) -> None:
    sampled = data.draw(st.integers(1, images))
    failed = data.draw(st.integers(0, sampled))

    expected = estimate.expected_failures(failed, sampled, images)

    assert failed <= expected.low <= expected.high <= images - (sampled - failed)
    assert estimate.expected_failures(failed, images, images) == Interval(failed, failed) or failed > images


@given(COSTS, IMAGES, st.floats(0, 1e4), MACHINES, st.integers(1, MOST_WORKERS - 1), st.integers(1, 100))
def test_more_workers_never_take_longer_and_never_cost_less(
    costs: Costs, images: int, listing: float, machine: Machine, workers: int, more: int
) -> None:
    few = estimate.cloud_run(costs, images, listing, machine, workers)
    many = estimate.cloud_run(costs, images, listing, machine, workers + more)

    assert many.seconds <= few.seconds
    assert many.dollars >= few.dollars * (1 - 1e-9) > 0
    assert 0 < few.start_share <= 1


@given(COSTS, IMAGES, MACHINES)
def test_workers_are_proposed_for_an_hour_each_and_never_more_than_there_is_work_for(
    costs: Costs, images: int, machine: Machine
) -> None:
    workers = estimate.propose_workers(costs, images, machine)
    run = estimate.cloud_run(costs, images, 0.0, machine, workers)

    assert 1 <= workers <= estimate.most_workers(images, machine) <= max(1, images)
    if workers > 1:
        assert run.start_share < 0.1
    if 1 < workers < estimate.most_workers(images, machine):
        assert 0.75 * 3600 <= run.seconds - estimate.WORKER_START_SECONDS <= 1.5 * 3600


@given(COSTS, IMAGES, st.floats(0, 1e4), MACHINES, st.floats(1, 1e6))
def test_the_fewest_workers_that_are_done_in_time_are_found(
    costs: Costs, images: int, listing: float, machine: Machine, seconds: float
) -> None:
    workers = estimate.workers_within(costs, images, listing, machine, seconds)

    def takes(workers: int) -> float:
        return estimate.cloud_run(costs, images, listing, machine, workers).seconds

    if workers is None:
        assert takes(estimate.most_workers(images, machine)) > seconds * (1 - 1e-9)
    else:
        assert takes(workers) <= seconds * (1 + 1e-9)
        assert workers == 1 or takes(workers - 1) > seconds * (1 - 1e-9)


@given(COSTS, st.integers(1, 256), st.integers(1, 256), st.integers(1, 256), st.booleans())
def test_a_machine_is_as_fast_as_its_cores_or_as_what_they_wait_for(
    costs: Costs, cores: int, reads: int, threads: int, apart: bool
) -> None:
    speed = estimate.speed(costs, cores, reads, threads, apart)

    assert 0 < speed.images_per_second <= cores / costs.core_seconds * (1 + 1e-9)
    assert speed.images_per_second <= reads / costs.waiting * (1 + 1e-9)
    in_a_row = max(costs.decoding, costs.model) if apart else costs.decoding + costs.model
    assert speed.images_per_second <= threads / in_a_row * (1 + 1e-9)
    assert estimate.speed(costs, cores, reads + 1, threads, apart).images_per_second >= speed.images_per_second
    assert estimate.speed(costs, cores, reads, threads + 1, apart).images_per_second >= speed.images_per_second


def test_the_bottleneck_is_what_takes_most_or_what_is_waited_for() -> None:
    costs = Costs(waiting=0.05, fetching=0.001, decoding=0.002, model=0.012, pipeline=0.001)

    on_gpu = Costs(waiting=0.001, fetching=0.001, decoding=0.002, model=0.0005, pipeline=0.001, device=0.01)
    for case, cores, threads, reads, apart, rate, bottleneck, share in (
        (costs, 2, 2, 32, False, 125, "model", 0.75),
        (costs, 2, 1, 32, False, 1 / 0.014, "model", None),
        (costs, 2, 1, 32, True, 1 / 0.012, "model", None),
        (costs, 2, 2, 1, False, 20, "fetching", None),
        (on_gpu, 16, 16, 32, True, 100, "model", None),
    ):
        speed = estimate.speed(case, cores, reads, threads, apart)
        assert speed.images_per_second == pytest.approx(rate)
        assert speed.bottleneck == bottleneck
        assert speed.share == (share and pytest.approx(share))


def test_reads_in_flight_follow_from_rate_and_delay() -> None:
    near, far = (Costs(waiting, 0.0005, 0.0015, 0.012) for waiting in (0.0001, 0.2))

    assert estimate.reads_in_flight(near, 125, cores=2, batch=32) == 16, "half a batch"
    assert estimate.reads_in_flight(far, 125, cores=2, batch=32) == 51, "twice of what is on its way"
    assert estimate.reads_in_flight(far, 1000, cores=2, batch=32) == estimate.MOST_READS
    assert estimate.reads_in_flight(near, 125, cores=8, batch=1) == 16, "two a core"


def test_a_machine_costs_what_its_vcpus_and_memory_do() -> None:
    machine = find_machine("n2-highcpu-16")

    assert (machine.vcpus, machine.memory) == (16, 16)
    assert machine.dollars_per_hour == pytest.approx(16 * 0.056 + 16 * 0.003557)
    run = estimate.cloud_run(Costs(0, 0, 0, 0.016, 0), 3_600_000, 0, machine, 1)
    assert (run.seconds, run.dollars) == pytest.approx((3600 + 240, machine.dollars_per_hour * 3840 / 3600))


def test_an_unknown_machine_is_refused_with_the_nearest_and_all_known() -> None:
    with pytest.raises(UnknownMachineError, match=r"'n2-highcp-16'.*did you mean n2-highcpu-16.*n1-standard-\{2,4"):
        find_machine("n2-highcp-16")
