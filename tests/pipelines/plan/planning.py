"""Run `scenetags plan`, and read what it says."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest

CHIPS = [f"{number}.jpg" for number in range(12)]

Run = Callable[..., int]


def planned(run: Run, capsys: pytest.CaptureFixture[str], *arguments: str, **flags: Any) -> dict[str, Any]:
    """Plan, and read what is written for machines."""
    assert run(*arguments, json="-", **flags) == 0
    described: dict[str, Any] = json.loads(capsys.readouterr().out)
    return described


def commands(printed: str) -> list[list[str]]:
    return [shlex.split(line) for line in printed.splitlines() if line.startswith("scenetags predict ")]
