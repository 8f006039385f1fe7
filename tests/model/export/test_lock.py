"""One process makes what is in a folder; another one says that it waits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from model.export.bundle import written_whole
from model.training.opening import open_workspace
from pipelines.storage.locks import watching
from pipelines.storage.locks.lock import content


def make_bundle(folder: Path) -> tuple[Path, AbstractContextManager[object]]:
    return folder / ".bundle.lock", written_whole(folder / "bundle")


def begin_training(folder: Path) -> tuple[Path, AbstractContextManager[object]]:
    (folder / "training").mkdir()
    return folder / "training" / "lock", open_workspace(folder / "training", {"seed": "0"})


@pytest.mark.parametrize("make", [make_bundle, begin_training])
def test_who_waits_for_a_lock_of_another_machine_is_told(
    make: Callable[[Path], tuple[Path, AbstractContextManager[object]]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "STALE_SECONDS", 0.1)
    lock, work = make(tmp_path)
    lock.write_bytes(content("process 7 on another", "token", 0, left=False, flock="another machine"))

    with work:
        told = capsys.readouterr().err

    assert (
        told == f"scenetags: {lock} is locked by process 7 on another; waiting 0 s to see whether it is still alive\n"
    )
