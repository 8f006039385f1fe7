"""What tests of `scenetags predict` share: chips, and readers of what the command has written."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.images import Resized
from pipelines.reading.source import ImageSource, Refusal
from pipelines.records import ImageRef
from tests.image_files import picture, unmarked_rgba_jpeg

CHIP = unmarked_rgba_jpeg(picture())
Predict = Callable[..., int]


def chip(seed: int) -> bytes:
    return unmarked_rgba_jpeg(picture(seed=seed))


def rows(output: Path, table: str = "predictions") -> list[dict[str, Any]]:
    files = sorted((output / table).glob("*.parquet"))
    found = [row for file in files for row in pq.read_table(file).to_pylist()]
    return sorted(found, key=lambda row: row["path"])


def tagged(output: Path) -> list[str]:
    return [os.path.basename(row["path"]) for row in rows(output)]


def failed(output: Path) -> dict[str, str]:
    return {os.path.basename(row["path"]): row["message"] for row in rows(output, "failures")}


def manifest(output: Path) -> dict[str, Any]:
    newest = max((output / "runs").glob("*.json"))
    described: dict[str, Any] = json.loads(newest.read_text())
    return described


def without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def interrupt_at(name: str) -> Callable[[ImageSource, ImageRef], Resized | Refusal]:
    """Make a reader that presses Ctrl-C when it comes to an image."""
    read = ImageSource.read

    def interrupted(source: ImageSource, ref: ImageRef) -> Resized | Refusal:
        if ref.path.endswith(name):
            signal.raise_signal(signal.SIGINT)
        return read(source, ref)

    return interrupted
