"""Locks on file systems with and without flock, and of folders that are mounted twice."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines import storage
from pipelines.storage.errors import ConflictError
from pipelines.storage.locks import files
from pipelines.storage.locks.files import LockFile
from pipelines.storage.locks.leases import Lease
from tests.pipelines.storage.locking import Hours, acquired

WAITING = "is locked by the first; waiting 30 s to see whether it is still alive"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "_lock")


def at(path: str, owner: str, said: list[str] | None = None, hours: Hours | None = None) -> Lease:
    return Lease(LockFile(path, owner), list[str]().append if said is None else said.append, (hours or Hours()).clock)


def killed(path: str, owner: str) -> Lease:
    """Leave a lock as a process does that is killed: the kernel closes its files."""
    lock = acquired(at(path, owner))
    lock._lock.close()  # type: ignore[attr-defined]
    return lock


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@contextmanager
def without_flock(number: int = errno.ENOLCK) -> Iterator[None]:
    """Reach the lock through a mount that knows no flock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", failing(number))
        yield


@contextmanager
def elsewhere() -> Iterator[None]:
    """Reach the lock from another machine: its flocks are others, which are all free."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_place", lambda file: "another machine")
        patch.setattr(fcntl, "flock", lambda *_: None)
        yield


@contextmanager
def here() -> Iterator[None]:
    yield


MOUNTS = [
    (without_flock, without_flock),
    (here, without_flock),
    (without_flock, here),
    (here, elsewhere),
    (elsewhere, here),
]


@pytest.mark.parametrize(("mount", "other"), MOUNTS)
def test_a_renewed_lock_is_held_whatever_the_mounts_know_of_flocks(mount: Any, other: Any, path: str) -> None:
    with mount():
        first = acquired(at(path, "the first"))
    said: list[str] = []
    renewed = Hours(lambda now: first.renew() if now > 20 else None)

    with other(), pytest.raises(storage.LockedError, match="the first"):
        at(path, "the second", said, renewed).acquire()

    # With an flock that is seen, nothing has to be waited for.
    assert said in ([WAITING], [])
    assert said == [WAITING] or renewed.now < 1
    first.release(done=True)
    assert not os.path.exists(path)


@pytest.mark.parametrize(("mount", "other"), MOUNTS)
def test_a_lock_that_nobody_renews_expires_whatever_the_mounts_know_of_flocks(
    mount: Any, other: Any, path: str
) -> None:
    said: list[str] = []
    with mount():
        late = killed(path, "the first")
    watching = Hours()
    with other():
        following = acquired(at(path, "the next", hours=watching))

    assert 30 <= watching.now <= 33
    late._tell = said.append
    late.renew()
    assert storage.read_lock(path) == "the next", "the late one took it back"
    late.release(done=True)
    assert storage.read_lock(path) == "the next", "the late one deleted it"
    following.release(done=True)
    assert os.listdir(os.path.dirname(path)) == []


def test_a_late_holder_whose_lock_was_taken_over_says_so(path: str) -> None:
    said: list[str] = []
    with without_flock():
        late = acquired(at(path, "the late", said))
        acquired(at(path, "the next"))
        late.renew()

    assert said == ["was taken over by the next: this run commits nothing more"]
    assert storage.read_lock(path) == "the next"


def test_the_end_of_a_holder_with_an_flock_is_seen_at_once(path: str) -> None:
    killed(path, "the first")
    said, hours = list[str](), Hours()
    alive = acquired(at(path, "the next", said, hours))
    assert (said, hours.now < 1) == ([], True)

    with pytest.raises(storage.LockedError, match="the next"):
        at(path, "the third", said, hours).acquire()
    assert (said, hours.now < 1) == ([], True)
    alive.release(done=True)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EIO, errno.EACCES])
def test_no_error_of_an_flock_refuses_an_output(path: str, number: int) -> None:
    with without_flock(number), storage.lock(path, "the first"):
        assert storage.read_lock(path) == "the first"
    assert not os.path.exists(path)


@pytest.mark.parametrize("linking", [os.link, failing(errno.EPERM)])
def test_of_two_that_take_an_expired_lock_over_at_once_one_gets_it(
    path: str, monkeypatch: pytest.MonkeyPatch, linking: Any
) -> None:
    monkeypatch.setattr(os, "link", linking)
    with without_flock():
        acquired(at(path, "the dead"))
        slow, quick = LockFile(path, "the slow"), LockFile(path, "the quick")
        expired = slow.read().version
        renaming = os.rename

        def come_first(source: str, target: str) -> None:
            monkeypatch.setattr(os, "rename", renaming)
            quick.write(expired)
            renaming(source, target)

        monkeypatch.setattr(os, "rename", come_first)
        with pytest.raises(ConflictError):
            slow.write(expired)

        assert quick.read().ours
        quick.write(quick.read().version)
        assert storage.read_lock(path) == "the quick"
    assert os.listdir(os.path.dirname(path)) == ["_lock"]


def test_a_file_system_that_creates_twice_is_refused_by_name(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opening = files._open
    monkeypatch.setattr(files, "_open", lambda path, flags: opening(path, flags & ~os.O_EXCL))

    with (
        pytest.raises(
            storage.UnsupportedStorageError, match=rf"^the file system of {path} does not honour .*; write to"
        ),
        storage.lock(path, "the first"),
    ):
        pytest.fail("two may hold this lock")


def test_a_lock_of_an_earlier_version_is_judged_by_its_flock(path: str) -> None:
    Path(path).write_text("run A, process 7")
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(storage.LockedError, match="run A, process 7"), storage.lock(path, "the next"):
            pytest.fail("two hold one lock")


def test_a_lock_for_which_the_disk_has_no_room_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", failing(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"), storage.lock(str(tmp_path / "out/_lock"), "the first"):
        pytest.fail("it is held")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_folder_that_cannot_be_synced_can_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "fsync", failing(number))
    storage.write(str(tmp_path / "x"), b"data")

    assert os.listdir(tmp_path) == ["x"]


def test_a_sync_that_fails_is_an_error_that_names_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))

    with pytest.raises(OSError, match=rf"Input/output error: '{tmp_path}/x\.\w+\.partial'"):
        storage.write(str(tmp_path / "x"), b"data")
