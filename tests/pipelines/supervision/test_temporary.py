"""Temporary folders of killed processes are removed by the next one, and no others."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipelines.supervision.temporary import (
    MARK,
    TemporaryFolderError,
    remove_abandoned,
    temporary_files,
    temporary_folder,
    working_folder,
)
from tests import ROOT

KILLED = (
    "import os, signal, tempfile\n"
    "from pipelines.supervision.temporary import temporary_files\n"
    "with temporary_files():\n"
    "    open(tempfile.mkdtemp() + '/model', 'wb').close()\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n"
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which temporary files are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_what_a_killed_run_left_in_the_temporary_folder_is_removed_by_the_next(place: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], env={**os.environ, "TMPDIR": str(place), "PYTHONPATH": str(ROOT)}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    [left] = os.listdir(place)
    assert len(os.listdir(place / left)) == 2, "it left nothing behind, which proves nothing"

    with temporary_folder() as folder:
        assert os.listdir(place) == [os.path.basename(folder)]
    assert os.listdir(place) == []


def test_folders_in_use_or_not_ours_stay(place: Path) -> None:
    (place / "scenetags-notes").mkdir()
    (place / "scenetags-notes" / "keep").touch()
    (place / "scenetags-file").touch()
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / MARK).touch()
    (place / "scenetags-link").symlink_to(elsewhere)
    before = set(os.listdir(place))
    if os.geteuid() == 0:
        (place / "scenetags-other").mkdir()
        (place / "scenetags-other" / MARK).touch()
        os.chown(place / "scenetags-other", 1234, -1)
        before.add("scenetags-other")

    with temporary_folder() as first, temporary_folder() as second:
        remove_abandoned()
        assert set(os.listdir(place)) == before | {os.path.basename(first), os.path.basename(second)}
    assert set(os.listdir(place)) == before
    assert (place / "scenetags-notes" / "keep").exists()
    assert (elsewhere / MARK).exists()


def test_libraries_make_their_temporary_files_in_it_too(place: Path) -> None:
    with temporary_files():
        [folder] = os.listdir(place)
        assert os.path.dirname(tempfile.mkdtemp()) == str(place / folder)
    assert os.listdir(place) == []
    assert tempfile.gettempdir() == str(place)


def test_a_temporary_folder_that_cannot_be_looked_through_stops_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(os, "scandir", refuse)
    remove_abandoned()


def test_a_machine_without_room_for_temporary_files_is_one_clear_line(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "gone"))
    with pytest.raises(TemporaryFolderError, match="No such file or directory; set TMPDIR"), temporary_files():
        pytest.fail("there is none")
    assert tempfile.tempdir == str(place / "gone")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_work_that_fills_its_folder_is_one_clear_line(place: Path, code: int) -> None:
    with pytest.raises(TemporaryFolderError) as refused, working_folder():
        raise OSError(code, os.strerror(code))
    assert str(refused.value) == f"no space left for temporary files in {place}; set TMPDIR to a folder with free space"
    with pytest.raises(FileNotFoundError), working_folder():
        raise FileNotFoundError


def test_room_is_looked_for_before_it_is_needed(place: Path) -> None:
    too_small = pytest.raises(TemporaryFolderError, match="MB free, and temporary files need 1,000,000,000,000 MB; set")
    with too_small, working_folder(10**18):
        pytest.fail("no disk has an exabyte")
    assert os.listdir(place) == []


def test_a_folder_that_cannot_be_marked_is_not_left_behind(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int, mode: int = 0) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(path, flags)

    opened = os.open
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(TemporaryFolderError, match="No space left on device"), temporary_folder():
        pytest.fail("it is full")
    assert os.listdir(place) == []
