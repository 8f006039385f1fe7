"""Show how far a local run has come while it runs.

Steps report through a meter that they find by the run's name, as loggers are found: they are copied into the workers,
and no reference to a meter would survive that. In any other process than the launching one there is no meter, and
nothing is reported.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_FRAMES = 0.2


@dataclass
class Meter:
    """What a run has done so far, in images."""

    done: int = 0
    failures: int = 0


_meters: dict[str, Meter] = {}


def report(run: str, done: int = 0, failures: int = 0) -> None:
    """Add to what a run has done; a failure counts as done too."""
    meter = _meters.get(run)
    if meter:
        meter.done += done + failures
        meter.failures += failures


@contextmanager
def shown(run: str, total: int, mode: str = "auto", stream: TextIO | None = None) -> Iterator[None]:
    """Show a run's progress: a bar on a terminal, a line every 10 s elsewhere.

    Args:
      run: the run's name.
      total: images that the run has to do.
      mode: `auto` or `off`.
      stream: where to show it; standard error by default.
    """
    if mode == "off":
        yield
        return
    stream = stream or sys.stderr
    meter = _meters[run] = Meter()
    stopped = threading.Event()
    show = _show_bar if stream.isatty() else _show_lines
    thread = threading.Thread(target=show, args=(meter, total, stopped, stream), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        del _meters[run]


def _show_bar(meter: Meter, total: int, stopped: threading.Event, stream: TextIO) -> None:
    from tqdm import tqdm

    with tqdm(total=total, unit="image", file=stream, dynamic_ncols=True, smoothing=0.05) as bar:
        while True:
            last = stopped.wait(SECONDS_BETWEEN_FRAMES)
            bar.set_postfix_str(f"{meter.failures:,} failures", refresh=False)
            bar.update(meter.done - bar.n)
            if last:
                return


def _show_lines(meter: Meter, total: int, stopped: threading.Event, stream: TextIO) -> None:
    started = time.monotonic()
    while not stopped.wait(SECONDS_BETWEEN_LINES):
        rate = meter.done / (time.monotonic() - started)
        left = f", {duration((total - meter.done) / rate)} left" if rate else ""
        line = f"{meter.done:,} of {total:,} images, {rate:.1f} a second{left}, {meter.failures:,} failures"
        print(line, file=stream, flush=True)


def duration(seconds: float) -> str:
    """Write a time span for people, e.g. `2 h 5 min`, `3 min 20 s`, `12 s`."""
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole} s" if minutes else f"{whole} s"
