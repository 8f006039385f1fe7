"""Files that are whole or not there, locks that end with their holder, and errors that pass."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import storage


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
        assert path.read_text() == "the next"


@pytest.mark.parametrize(("number", "times", "left"), [(errno.EBUSY, 1, []), (errno.EACCES, 9, ["_lock"])])
def test_a_lock_whose_deletion_is_refused_blocks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, times: int, left: list[str]
) -> None:
    monkeypatch.setattr(storage.local, "SECONDS_BETWEEN_ATTEMPTS", (0, 0))
    path = str(tmp_path / "_lock")
    with monkeypatch.context() as patch:
        patch.setattr(os, "remove", Flaky(number, times, os.remove))
        with storage.lock(path, "the first"):
            pass

    assert os.listdir(tmp_path) == left
    with storage.lock(path, "the next"):
        assert storage.read_lock(path) == "the next"


class Flaky:
    """A function, `open` unless another is named, that fails some times before it works."""

    def __init__(self, number: int, times: int, function: Callable[..., Any] = open) -> None:
        self.number = number
        self.times = times
        self.function = function

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        if self.times:
            self.times -= 1
            raise OSError(self.number, os.strerror(self.number))
        return self.function(*arguments, **settings)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(storage.local, "SECONDS_BETWEEN_ATTEMPTS", (0, 0))
    (tmp_path / "x").write_bytes(b"data")
    return str(tmp_path / "x")


def test_an_error_that_passes_is_not_seen(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.local, "open", Flaky(errno.ESTALE, 2), raising=False)

    assert storage.read(file) == b"data"


def test_a_temporary_error_is_distinguished_from_a_permanent_one(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.local, "open", Flaky(errno.EIO, 3), raising=False)
    with pytest.raises(storage.TransientError, match="Input/output error"):
        storage.read(file)

    monkeypatch.setattr(storage.local, "open", permanent := Flaky(errno.EACCES, 2), raising=False)
    with pytest.raises(PermissionError):
        storage.read(file)
    assert permanent.times == 1, "what will not pass was tried again"


def test_a_file_larger_than_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(1000))

    assert len(storage.read(str(path), 1000)) == 1000
    with pytest.raises(storage.FileTooLargeError, match="1,000 bytes exceed the limit of 999"):
        storage.read(str(path), 999)


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(storage.FileTooLargeError, match="1,001 bytes exceed the limit of 1,000"):
        storage.read("/dev/zero", 1000)


@pytest.mark.parametrize("growth", [1, 999, 1000, 5000])
def test_a_file_that_grows_while_it_is_read_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, growth: int
) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(1000 + growth))
    monkeypatch.setattr(os, "fstat", lambda _: SimpleNamespace(st_size=1000))

    assert len(storage.read(str(path), 6000)) == 1000 + growth
    with pytest.raises(storage.FileTooLargeError):
        storage.read(str(path), 1000 + growth - 1)


def test_a_small_file_takes_little_memory_however_much_may_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"data")

    # More than any machine has.
    assert storage.read(str(path), 10**15) == b"data"
