"""Files that are whole or not there, locks that end with their holder, and errors that pass."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import storage
from pipelines.storage.patience import patiently


def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127):
        storage.write(f"{tmp_path}/{name}", b"new")
        assert (tmp_path / name).read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = str(tmp_path / "x.json")
    storage.write(path, b"old")

    with pytest.raises(TypeError):
        storage.write(path, "not bytes")  # type: ignore[arg-type]

    assert storage.read(path) == b"old"
    assert os.listdir(tmp_path) == ["x.json"]


def test_moving_a_file_that_is_nowhere_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        storage.move(str(tmp_path / "gone"), str(tmp_path / "target"))


def test_a_lock_is_held_by_one_and_says_by_whom(tmp_path: Path) -> None:
    path = str(tmp_path / "a" / "_lock")

    with (
        storage.lock(path, "the first"),
        pytest.raises(storage.LockedError, match="the first"),
        storage.lock(path, "the second"),
    ):
        pytest.fail("two hold one lock")

    assert os.listdir(tmp_path) == [], "the lock or its folder was left behind"


def test_a_lock_file_that_nobody_holds_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "_lock"
    path.write_text("somebody who was killed")

    with storage.lock(str(path), "the next"):
        assert storage.read_lock(str(path)) == "the next"


@pytest.mark.parametrize(("number", "times", "left"), [(errno.EBUSY, 1, []), (errno.EACCES, 9, ["_lock"])])
def test_a_lock_whose_deletion_is_refused_blocks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, times: int, left: list[str]
) -> None:
    monkeypatch.setattr(storage.local, "SECONDS_BETWEEN_ATTEMPTS", (0, 0))
    path = str(tmp_path / "_lock")
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", Flaky(number, times, os.rename))
        with storage.lock(path, "the first"):
            pass

    assert os.listdir(tmp_path) == left
    with storage.lock(path, "the next"):
        assert storage.read_lock(path) == "the next"


class Flaky:
    """A function, the opening of a file unless another is named, that fails some times before it works."""

    def __init__(self, number: int, times: int, function: Callable[..., Any] = storage.local._open) -> None:
        self.number = number
        self.times = times
        self.function = function

    def __call__(self, *paths: str) -> Any:
        if self.times:
            self.times -= 1
            raise OSError(self.number, os.strerror(self.number))
        return self.function(*paths)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(storage.local, "SECONDS_BETWEEN_ATTEMPTS", (0, 0))
    (tmp_path / "x").write_bytes(b"data")
    return str(tmp_path / "x")


def test_an_error_that_passes_is_not_seen(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.local, "_open", Flaky(errno.ESTALE, 2))

    assert storage.read(file) == b"data"


def test_a_temporary_error_is_distinguished_from_a_permanent_one(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.local, "_open", Flaky(errno.EIO, 3))
    with pytest.raises(storage.TransientError, match="Input/output error"):
        storage.read(file)

    monkeypatch.setattr(storage.local, "_open", permanent := Flaky(errno.EACCES, 2))
    with pytest.raises(PermissionError):
        storage.read(file)
    assert permanent.times == 1, "what will not pass was tried again"


def test_a_file_larger_than_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(1000))

    assert len(storage.read(str(path), 1000)) == 1000
    with pytest.raises(storage.FileTooLargeError, match="1,000 bytes exceed the limit of 999"):
        storage.read(str(path), 999)


def sized(size: int) -> Callable[[int], SimpleNamespace]:
    """Return an `fstat` that gives every file this size."""
    return lambda _: SimpleNamespace(st_size=size, st_mode=stat.S_IFREG)


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(5000))
    # As the kernel says of its own files.
    monkeypatch.setattr(os, "fstat", sized(0))

    with pytest.raises(storage.FileTooLargeError, match="1,001 bytes exceed the limit of 1,000"):
        storage.read(str(path), 1000)


READERS = {
    "read": storage.read,
    "read_range": lambda path: storage.read_range(path, 0, 10),
    "open_to_read": storage.open_to_read,
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_no_pipe_socket_or_device_is_waited_for(tmp_path: Path, reader: Callable[[str], object], in_time: None) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.getcwd()
        os.chdir(tmp_path)
        listener.bind("socket")
        os.chdir(before)
        for path in (tmp_path / "pipe", tmp_path / "link", "/dev/zero", "/dev/tty"):
            with pytest.raises(OSError, match=r"not a regular file|No such device"):
                reader(str(path))
        with pytest.raises(OSError, match=r"No such device or address|not supported"):
            reader(str(tmp_path / "socket"))
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        reader(str(tmp_path))


@pytest.mark.parametrize("length", [-1, 10])
def test_a_file_whose_content_is_still_to_come_is_not_waited_for(
    length: int, in_time: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel's log is such a file, which only few may open; an empty pipe reads the same.
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    monkeypatch.setattr(storage.local, "_open_regular", lambda path, flags: reading)
    with (
        os.fdopen(writing, "wb"),
        storage.open_to_read("log") as file,
        pytest.raises(OSError, match="it has no content yet"),
    ):
        file.read(length)


@pytest.mark.parametrize("growth", [1, 999, 1000, 5000])
def test_a_file_that_grows_while_it_is_read_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, growth: int
) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(1000 + growth))
    monkeypatch.setattr(os, "fstat", sized(1000))

    assert len(storage.read(str(path), 6000)) == 1000 + growth
    with pytest.raises(storage.FileTooLargeError):
        storage.read(str(path), 1000 + growth - 1)


def test_a_small_file_takes_little_memory_however_much_may_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"data")

    # More than any machine has.
    assert storage.read(str(path), 10**15) == b"data"


def test_a_relative_path_in_a_deleted_folder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    for path in ("chips", "../chips", "./a/../b"):
        with pytest.raises(storage.UnsupportedStorageError, match=r"is relative to the working folder.*; cd to"):
            storage.normalize(path)
    assert storage.normalize("/chips") == "/chips"


def test_a_retry_is_told_in_words(caplog: pytest.LogCaptureFixture) -> None:
    failures = [storage.TransientError(errno.EAGAIN, "slow down (503)")]

    def work() -> str:
        if failures:
            raise failures.pop()
        return "done"

    with caplog.at_level(logging.INFO, "pipelines.storage.patience"):
        assert patiently(work, (0.01,)) == "done"
    assert caplog.messages == ["tried again in 0.0 s: slow down (503)"]
