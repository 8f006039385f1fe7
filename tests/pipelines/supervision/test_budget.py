"""Memory is granted in order, never more than there is, and nobody waits forever."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from random import Random

import pytest

from pipelines.supervision import budget as budgets
from pipelines.supervision.budget import LARGE, Allowance, Budget, process_budget


def waiting(budget: Budget, executor: ThreadPoolExecutor, wanted: int) -> Future[int]:
    """Begin to take bytes in another thread, and return when it waits for them."""
    length = len(budget._waiting)
    taken = executor.submit(budget.take, wanted)
    while len(budget._waiting) == length:
        assert not taken.done(), "it did not wait"
    return taken


def test_bytes_are_granted_in_the_order_in_which_they_are_asked_for() -> None:
    budget = Budget(10, 10**9)
    first = budget.take(7)
    with ThreadPoolExecutor(2) as executor:
        large = waiting(budget, executor, 8)
        small = waiting(budget, executor, 2)
        assert not small.done(), "it passed one that had asked before"

        budget.give_back(first)

        assert (large.result(5), small.result(5)) == (8, 2)


def test_what_is_larger_than_the_budget_gets_it_alone() -> None:
    budget = Budget(10, 10**9)
    first = budget.take(1)
    with ThreadPoolExecutor(2) as executor:
        huge = waiting(budget, executor, 10**12)
        after = waiting(budget, executor, 1)

        budget.give_back(first)
        assert huge.result(5) == 10
        assert not after.done()

        budget.give_back(10)
        assert after.result(5) == 1


def test_an_allowance_never_holds_bytes_while_it_waits() -> None:
    budget = Budget(10, 10**9)
    with Allowance(budget) as allowance:
        allowance.take(6)
        allowance.take(8)
        assert budget.take(2) == 2
    assert budget.take(8) == 8


def test_threads_never_hold_more_than_the_budget_and_all_come_to_an_end() -> None:
    budget, lock, held, most = Budget(100, 10**9), threading.Lock(), [0], [0]

    def work(seed: int) -> None:
        random = Random(seed)
        for _ in range(200):
            with Allowance(budget) as allowance:
                allowance.take(random.choice((1, 10, 60, 100, 1000)))
                with lock:
                    held[0] += allowance.taken
                    most[0] = max(most[0], held[0])
                with lock:
                    held[0] -= allowance.taken

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(work, range(8), timeout=30))

    assert most[0] <= 100
    assert budget.take(100) == 100


def test_freed_memory_is_returned_before_it_amounts_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    returned: list[None] = []
    monkeypatch.setattr(budgets, "return_freed_memory", lambda: returned.append(None))
    budget = Budget(10 * LARGE, 10**9)

    seen = []
    for size in (*[LARGE] * 10, *[LARGE - 1] * 100):
        budget.give_back(budget.take(size))
        seen.append(len(returned))

    assert seen[:10] == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert seen[-1] == 1, "small images are not worth the time"


@pytest.mark.parametrize(
    ("threads", "cores", "capacity"),
    [(8, 8, 4_000), (1, 8, 500), (2, 8, 1_000), (16, 8, 4_000), (1, 1, 4_000)],
    ids=["all cores", "one of eight processes", "one of four", "more threads than cores", "one core"],
)
def test_the_budget_of_a_process_is_its_share_of_a_quarter(
    threads: int, cores: int, capacity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "usable_memory", lambda: 16_000)
    monkeypatch.setattr(budgets, "available_cores", lambda: cores)
    process_budget.cache_clear()
    try:
        budget = process_budget(threads)
        assert (budget.capacity, budget.memory) == (capacity, 16_000)
        assert process_budget(threads) is budget
        assert process_budget(threads, 2).capacity == min(threads * 2, cores) * 4_000 // (cores * 2)
    finally:
        process_budget.cache_clear()
