"""A store that cannot keep a lock is refused by name, and one that can is asked for little."""

from __future__ import annotations

import errno

import pytest

from pipelines import storage
from pipelines.storage.errors import ConflictError
from tests.conftest import Bucket
from tests.pipelines.storage.locking import Hours, Shelf, acquired, at
from tools.proxy import Disturbance


@pytest.mark.parametrize(("bucket", "status"), [("gs", 412), ("s3", 409), ("s3", 501)], indirect=["bucket"])
def test_a_store_that_refuses_every_lock_is_refused_by_name_after_a_few_tries(bucket: Bucket, status: int) -> None:
    writes = 0

    def refuse(method: str, path: str) -> Disturbance:
        nonlocal writes
        writes += method in ("PUT", "POST")
        return Disturbance(status if method in ("PUT", "POST") else None)

    bucket.proxy.disturb = refuse
    backing_off = Hours()
    with pytest.raises(storage.UnsupportedStorageError, match=rf"{bucket.proxy.host} rejects .*\({status}\).*; use a"):
        at(bucket, "the first", clock=backing_off.clock).acquire()

    assert writes < 10
    assert backing_off.now < 15


def test_an_expired_lock_that_cannot_be_replaced_is_given_up() -> None:
    shelf = Shelf()
    acquired(at(shelf, "the dead"))

    def refuse(expected: str) -> None:
        raise ConflictError(errno.EEXIST, "changed (412)")

    shelf.before_put = refuse
    with pytest.raises(storage.UnsupportedStorageError, match="rejects every write of the lock as a conflict"):
        at(shelf, "the next").acquire()


def test_a_lock_that_others_hold_for_moments_is_waited_for() -> None:
    shelf, others = Shelf(), 4

    def come_first(expected: str) -> None:
        nonlocal others
        if others:
            others -= 1
            raise ConflictError(errno.EEXIST, "changed (412)")

    shelf.before_put = come_first
    at(shelf, "the last").acquire()


def test_a_lock_that_may_not_be_renewed_is_refused_at_once(bucket: Bucket) -> None:
    lock = acquired(at(bucket, "the first"))
    answers = iter([None, None, 403])
    bucket.proxy.disturb = lambda method, path: Disturbance(next(answers, None))

    with pytest.raises(storage.UnsupportedStorageError, match=r"does not let the lock be renewed \(.*\(403\)\), so"):
        lock.check_conditions()


FORGOTTEN = [
    ("gs", ["ifgenerationmatch"]),
    ("s3", ["if-match"]),
    ("s3", ["if-none-match"]),
    ("s3", ["if-match", "if-none-match"]),
]


@pytest.mark.parametrize(
    ("bucket", "forgotten"),
    FORGOTTEN,
    indirect=["bucket"],
)
def test_a_store_that_forgets_conditions_is_refused_by_name(bucket: Bucket, forgotten: list[str]) -> None:
    bucket.proxy.disturb = lambda method, path: Disturbance(ignored=forgotten)

    with (
        pytest.raises(
            storage.UnsupportedStorageError,
            match=rf"^http://{bucket.proxy.host} does not honour conditional writes.*; use a store",
        ),
        storage.lock(f"{bucket.path}/_lock", "the first"),
    ):
        pytest.fail("two may hold this lock")
    assert list(storage.walk(bucket.path)) == []


@pytest.mark.parametrize("first_to_ask", [0, 1])
def test_two_at_once_in_a_store_that_forgets_conditions_are_both_refused(first_to_ask: int) -> None:
    shelf = Shelf()
    shelf.honours = lambda expected: False
    both = [acquired(at(shelf, owner)) for owner in ("the first", "the second")]

    for lock in (both[first_to_ask], both[1 - first_to_ask]):
        with pytest.raises(
            storage.UnsupportedStorageError, match=r"^https://store.example does not honour conditional writes"
        ):
            lock.check_conditions()
        lock.release(done=False)
    assert not shelf.version


def test_a_store_that_honours_conditions_is_asked_thrice(bucket: Bucket) -> None:
    lock = acquired(at(bucket, "the first"))
    requests: list[str] = []

    def note(method: str, path: str) -> Disturbance:
        requests.append(method)
        return Disturbance()

    bucket.proxy.disturb = note
    lock.check_conditions()

    assert len(requests) == 3, requests
    assert lock._lock.read().ours
