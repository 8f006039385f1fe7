"""Things that cost seconds, made once for all processes in which pytest-xdist runs the tests."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Make a folder, or find it made by another process of the same session; nobody changes it afterwards.

    Args:
      factory: of the session.
      name: of the folder, one for each thing.
      make: fills the folder, which is empty then; where it fails, the next process tries.
    """
    own = factory.getbasetemp()
    # The folder of a process of pytest-xdist is in that of the session.
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder, made = shared / "made_once" / name, shared / "made_once" / f"{name}.made"
    folder.parent.mkdir(exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder
