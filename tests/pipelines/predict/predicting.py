"""What tests of `scenetags predict` share: chips, and hands on Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Any

from pipelines.images import Resized
from pipelines.reading.source import ImageSource, Refusal
from pipelines.records import ImageRef
from tests.image_files import picture, unmarked_rgba_jpeg

CHIP = unmarked_rgba_jpeg(picture())
Predict = Callable[..., int]


def chip(seed: int) -> bytes:
    return unmarked_rgba_jpeg(picture(seed=seed))


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
