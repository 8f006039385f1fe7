"""What tests of `scenetags predict` share: chips, and hands on Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from pipelines.reading.fetched import Fetched, Refusal
from pipelines.reading.source import ImageSource
from pipelines.records import ImageRef
from pipelines.supervision import interruption
from tests.image_files import picture, unmarked_rgba_jpeg

CHIP = unmarked_rgba_jpeg(picture())
Predict = Callable[..., int]


def chip(seed: int) -> bytes:
    return unmarked_rgba_jpeg(picture(seed=seed))


def without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def interrupt_at(name: str) -> Callable[[ImageSource, ImageRef], Fetched | Refusal | None]:
    """Make a reader that presses Ctrl-C when it comes to an image, and does not read it any more."""
    fetch = ImageSource.fetch

    def interrupted(source: ImageSource, ref: ImageRef, waits: bool = True) -> Fetched | Refusal | None:
        if ref.path.endswith(name) and not interruption.asked():
            main = threading.main_thread().ident
            assert main
            signal.pthread_kill(main, signal.SIGINT)
            while not interruption.asked():
                time.sleep(0.001)
        return fetch(source, ref, waits)

    return interrupted
