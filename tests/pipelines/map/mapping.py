"""Run `scenetags map`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines import map as command

Look = Callable[..., Any]

SCENE = "/archive/north.tif"
ACROSS = [
    [(179.99, 0.0), (180.0, 0.0), (180.0, 0.01), (179.99, 0.01)],
    [(-180, 0), (-179.99, 0), (-179.99, 0.01), (-180, 0.01)],
]


def make(output: Path, *flags: str) -> int:
    return command.main([str(output), *flags])


def features(path: Path) -> list[dict[str, Any]]:
    collection = json.loads(path.read_text())
    assert collection["type"] == "FeatureCollection"
    return list(collection["features"])
