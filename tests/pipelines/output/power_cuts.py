"""Cut the power off at every change to the disk."""

from __future__ import annotations

import builtins
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipelines import storage


class PowerCut(BaseException):
    """The end of everything, which nobody handles."""


@contextmanager
def cut_off(monkeypatch: pytest.MonkeyPatch, before: int) -> Iterator[Callable[[], bool]]:
    """Let some changes to the disk pass, and none after them; tell whether it came to that."""
    changes = 0

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **settings: Any) -> Any:
            nonlocal changes
            changes += 1
            if changes > before:
                raise PowerCut
            return change(*arguments, **settings)

        return counted

    def opened(path: Any, mode: str = "r", *arguments: Any, **settings: Any) -> Any:
        change = counted(builtins.open) if "w" in mode else builtins.open
        return change(path, mode, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(storage.local, "open", opened, raising=False)
        for name in ("replace", "remove", "unlink", "rmdir", "mkdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        yield lambda: changes > before


def each_cut(
    monkeypatch: pytest.MonkeyPatch,
    output: str,
    work: Callable[[], object],
    check: Callable[[str], None],
    step: int = 1,
) -> int:
    """Do some work again and again from the same state of the output, cut off one change later each time.

    The check runs right after each cut, and gets the number of the change at which it came. With a `step`, not every
    change is one to cut off before.
    """
    before = f"{output}.before"
    shutil.copytree(output, before)
    for cut in range(0, 1000, step):
        shutil.rmtree(output)
        shutil.copytree(before, output)
        try:
            with cut_off(monkeypatch, cut) as was_cut:
                work()
        except PowerCut:
            pass
        check(f"cut off after {cut} changes")
        if not was_cut():
            return cut
    raise AssertionError("the work has no end")
