"""Locks in buckets: who holds them, and what a renewal survives."""

from __future__ import annotations

import errno
import socket
import ssl
import threading

import botocore.exceptions
import google.auth.exceptions
import pytest
import urllib3.exceptions

from pipelines import storage
from pipelines.storage.errors import ConflictError, CredentialsOutageError
from pipelines.storage.locks import leases
from pipelines.storage.locks.leases import lease
from pipelines.storage.locks.objects import LockObject, read_owner
from tests.conftest import Bucket
from tests.pipelines.storage.locking import Hours, Shelf, acquired, at
from tests.pipelines.waiting import wait_for
from tools.proxy import RESET, Disturbance

MINUTE = 60.0


def test_a_lock_is_held_by_one_and_renewed(bucket: Bucket) -> None:
    path, said = f"{bucket.path}/_lock", list[str]()
    first = acquired(at(bucket, "the first"))

    # However late somebody comes: it is renewed for as long as it is held.
    renewed = Hours(lambda now: first.renew() if now > 20 else None)
    with pytest.raises(storage.LockedError, match="the first"):
        at(bucket, "the second", said, renewed.clock).acquire()

    assert said == ["is locked by the first; waiting 30 s to see whether it is still alive"]
    assert 20 < renewed.now < 25
    first.release(done=True)
    assert not storage.exists(path)


def test_a_lock_is_renewed_in_the_background(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.01)
    path = f"{bucket.path}/_lock"

    with storage.lock(path, "the first"):
        for _ in range(2):
            before = storage.look_up(path)
            wait_for(lambda: storage.look_up(path) != before)  # noqa: B023 - called in this round
    assert not storage.exists(path)


def test_a_lock_that_nobody_renews_is_taken_over_and_its_late_holder_sees_that() -> None:
    shelf, said = Shelf(), list[str]()
    sleeper = acquired(at(shelf, "the sleeper", said))

    watching = Hours()
    following = acquired(at(shelf, "the next", clock=watching.clock))
    assert 30 <= watching.now <= 33

    sleeper.renew()
    sleeper.renew()
    assert said == ["was taken over by the next: this run commits nothing more"]
    sleeper.release(done=True)
    assert shelf.version, "the sleeper deleted the lock of the next"
    assert read_owner(shelf.data) == "the next", "the sleeper took it back"
    following.release(done=True)
    assert not shelf.version


def test_one_who_was_suspended_or_cut_off_does_not_count_that_time() -> None:
    shelf = Shelf()
    first = acquired(at(shelf, "the first"))

    def wake_up(now: float) -> None:
        if now < MINUTE:
            suspended.now += 60 * MINUTE
        elif now > 60 * MINUTE + 5:
            # The holder was suspended as well, and needs some seconds.
            first.renew()

    suspended = Hours(wake_up)
    with pytest.raises(storage.LockedError):
        at(shelf, "the second", clock=suspended.clock).acquire()


def test_a_lock_survives_a_storage_out_of_order(bucket: Bucket) -> None:
    first = acquired(at(bucket, "the first"))

    bucket.proxy.disturb = lambda method, path: Disturbance(503)
    first.renew()
    bucket.proxy.disturb = lambda method, path: Disturbance()
    before = storage.look_up(f"{bucket.path}/_lock")
    first.renew()

    assert storage.look_up(f"{bucket.path}/_lock") != before


def test_a_lock_whose_answer_was_lost_is_held(bucket: Bucket) -> None:
    answers = iter([RESET])
    bucket.proxy.disturb = lambda method, path: Disturbance(next(answers, None))
    lock = acquired(at(bucket, "the first"))
    assert storage.read_lock(f"{bucket.path}/_lock") == "the first"

    answers = iter([RESET])
    lock.renew()
    before = storage.look_up(f"{bucket.path}/_lock")
    lock.renew()
    assert storage.look_up(f"{bucket.path}/_lock") != before
    lock.release(done=True)
    assert not storage.exists(f"{bucket.path}/_lock")


@pytest.mark.parametrize(
    "error",
    [
        google.auth.exceptions.TransportError("reset"),  # type: ignore[no-untyped-call]
        google.auth.exceptions.RefreshError("503"),  # type: ignore[no-untyped-call]
        botocore.exceptions.CredentialRetrievalError(provider="container-role", error_msg="500"),
        botocore.exceptions.NoCredentialsError(),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://host"),
        urllib3.exceptions.ProtocolError("broken"),
        storage.NoAccessError("no credentials"),
        CredentialsOutageError("no credentials"),
        ssl.SSLError("alert"),
        socket.gaierror(-3, "Temporary failure in name resolution"),
        TimeoutError(),
        RuntimeError("can't start new thread"),
        MemoryError(),
        KeyError("Expiration"),
        RecursionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_renewal_survives_every_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.001)
    shelf = Shelf()
    with lease(LockObject(shelf, "bucket", "_lock", "the first"), [].append):  # type: ignore[arg-type]
        tries = 0

        def fail(expected: str) -> None:
            nonlocal tries
            tries += 1
            if tries < 3:
                raise error

        shelf.before_put = fail
        wait_for(lambda: tries > 4)
    assert not shelf.version


def test_a_renewal_that_hangs_does_not_keep_the_next_one_from_succeeding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.001)
    shelf, hanging, released = Shelf(), 0, threading.Event()

    def hang(expected: str) -> None:
        nonlocal hanging
        if hanging < 2:
            hanging += 1
            released.wait(10)

    with lease(LockObject(shelf, "bucket", "_lock", "the first"), [].append):  # type: ignore[arg-type]
        shelf.before_put = hang
        wait_for(lambda: hanging == 2)
        written = shelf.written
        wait_for(lambda: shelf.written > written + 2)
        # What arrives late has lost its condition.
        released.set()
        wait_for(lambda: shelf.written > written + 5)
    assert not shelf.version


def test_threads_that_cannot_be_started_do_not_end_the_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.001)
    shelf, start, refusals = Shelf(), threading.Thread.start, iter(range(3))

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "lease renewal" and next(refusals, None) is not None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with lease(LockObject(shelf, "bucket", "_lock", "the first"), [].append):  # type: ignore[arg-type]
        written = shelf.written
        wait_for(lambda: shelf.written > written + 2)


def test_a_renewal_goes_on_when_nobody_can_be_told_of_its_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.001)
    monkeypatch.setattr(leases, "_WORRY_SECONDS", 0.0)
    shelf, told = Shelf(), 0

    def tell(what: str) -> None:
        nonlocal told
        told += 1
        raise BrokenPipeError

    with lease(LockObject(shelf, "bucket", "_lock", "the first"), tell):  # type: ignore[arg-type]
        wait_for(lambda: told > 0)
        written = shelf.written
        wait_for(lambda: shelf.written > written + 2)


def test_a_holder_that_cannot_renew_says_so_now_and_then_and_when_it_is_over() -> None:
    shelf, time_passes, said = Shelf(), Hours(), list[str]()
    lock = acquired(at(shelf, "the first", said, time_passes.clock))

    def fail(expected: str) -> None:
        raise CredentialsOutageError("no credentials for s3://: timed\nout", "log in")

    shelf.before_put = fail
    for _ in range(20):
        time_passes.sleep(5)
        lock.renew()
        lock.voice_worries()
    shelf.before_put = lambda expected: None
    lock.renew()

    assert said == [
        "has not been renewed for 15 s (no credentials for s3://: timed out; log in); still trying",
        "has not been renewed for 75 s (no credentials for s3://: timed out; log in); still trying",
        "is renewed again",
    ]


def test_a_renewal_that_is_refused_although_nobody_else_wrote_is_trouble() -> None:
    shelf, time_passes, said = Shelf(), Hours(), list[str]()
    lock = acquired(at(shelf, "the first", said, time_passes.clock))

    def refuse(expected: str) -> None:
        raise ConflictError(errno.EEXIST, "changed (412)")

    shelf.before_put = refuse
    time_passes.sleep(20)
    lock.renew()
    lock.voice_worries()

    assert said == ["has not been renewed for 20 s (refused, although it is unchanged: changed (412)); still trying"]


def test_a_lock_that_reads_as_something_else_is_not_lost() -> None:
    shelf, said = Shelf(), list[str]()
    lock = acquired(at(shelf, "the first", said))

    def garble(expected: str) -> None:
        shelf.data = b"<html>Please log in</html>"
        raise ConflictError(errno.EEXIST, "changed (412)")

    before, shelf.before_put = shelf.data, garble
    lock.renew()
    shelf.data, shelf.before_put = before, lambda expected: None
    lock.renew()

    assert shelf.written == 2
    assert said == []


def test_a_lock_that_is_not_deleted_at_once_is_deleted_later_or_the_run_says_so(bucket: Bucket) -> None:
    said: list[str] = []
    answers = iter([503, 503])

    def refuse(method: str, path: str) -> Disturbance:
        return Disturbance(next(answers, None) if method == "DELETE" else None)

    bucket.proxy.disturb = refuse
    acquired(at(bucket, "the first", said)).release(done=True)
    assert not storage.exists(f"{bucket.path}/_lock")
    assert said == []

    for done in (True, False):
        answers = iter([403])
        left = acquired(at(bucket, "the second", said, Hours().clock))
        left.release(done=done)
        assert storage.exists(f"{bucket.path}/_lock")
        storage.delete([f"{bucket.path}/_lock"])
    [line] = said
    assert line.startswith("cannot be removed (")
    assert line.endswith("(403)): the next run will wait 30 s for it")


def test_a_lock_that_was_left_behind_is_held_until_it_is_deleted() -> None:
    shelf = Shelf()
    left = acquired(at(shelf, "the job"))
    left.leave()
    left.release(done=True)

    with pytest.raises(storage.LockedError, match="the job"):
        at(shelf, "the second").acquire()


def test_a_lock_cannot_be_left_behind_by_one_who_has_lost_it() -> None:
    shelf = Shelf()
    late = acquired(at(shelf, "the late"))
    acquired(at(shelf, "the next"))
    late.leave()

    with pytest.raises(storage.LockedError, match="the lock was taken over by the next"):
        late.release(done=True)
