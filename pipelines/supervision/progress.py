"""Show the progress of a local run, and end the run if too many images fail.

Steps look up the meter by the run's name, as loggers are looked up: they are copied to the workers, and a reference to
a meter would not survive that. Processes other than the launching one have no meter, and report nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TextIO, TypeVar

from pipelines.errors import ExitCode, ScenetagsError, quantity
from pipelines.records import Failure

FAILURES_REPORTED = 5
SECONDS_UNTIL_LISTING_IS_SHOWN = 1.0
SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_FRAMES = 0.2


class TooManyFailuresError(ScenetagsError):
    """More images failed than the run allows, and it was to stop then."""

    exit_code = ExitCode.TOO_MANY_FAILURES

    def __init__(self, failures: int, first: Sequence[Failure]) -> None:
        super().__init__(f"{quantity(failures, 'image')} failed")
        self.failures = failures
        self.first = first


@dataclass
class Meter:
    """The progress of a run, in images.

    Attributes:
      total: images of the run.
      max_failure_rate: largest share of failures, 0 to 1, at which the run continues.
      done: images processed so far, including failures and skipped ones.
      skipped: images that were already tagged: they take no time, and say nothing about that of the others.
      failures: images that failed so far.
      first: the first failures.
    """

    total: int
    max_failure_rate: float = 1.0
    done: int = 0
    skipped: int = 0
    failures: int = 0
    first: list[Failure] = field(default_factory=list)

    def rate(self, seconds: float) -> float:
        """Return the images that were not skipped, per second of these."""
        return (self.done - self.skipped) / seconds

    def described(self, seconds: float) -> dict[str, float]:
        """Return the progress after this many seconds as numbers, by name."""
        rate = self.rate(seconds)
        left = {"seconds_left": round((self.total - self.done) / rate)} if rate else {}
        counts = {"done": self.done, "total": self.total, "failures": self.failures}
        return {**counts, "images_per_second": round(rate, 1), **left}


Display = Callable[[Meter, threading.Event], None]
"""Shows a meter until an event is set."""


@dataclass
class Tally:
    """The progress of a listing, whose length is unknown.

    Attributes:
      names: listed so far.
    """

    names: int = 0

    def described(self, seconds: float) -> dict[str, float]:
        """Return the progress after this many seconds as numbers, by name."""
        return {"listed": self.names, "names_per_second": round(self.names / seconds)}


ListingDisplay = Callable[[Tally, threading.Event], None]
"""Shows a tally until an event is set."""

Name = TypeVar("Name")
Shown = TypeVar("Shown", Meter, Tally)

_meters: dict[str, Meter] = {}
_log = logging.getLogger(__name__)


def report(run: str, done: int, skipped: int = 0) -> None:
    """Add images to a run's progress.

    Args:
      run: the run's name.
      done: number of them.
      skipped: number of those among them that were already tagged.
    """
    meter = _meters.get(run)
    if meter:
        meter.done += done
        meter.skipped += skipped


def expect(run: str, total: int) -> None:
    """Set how many images a run has: of scenes, it turns out as they are cut."""
    meter = _meters.get(run)
    if meter:
        meter.total = total


def report_failure(run: str, failure: Failure) -> None:
    """Add a failure to a run's progress.

    Raises:
      TooManyFailuresError: it exceeds the failures that the run allows.
    """
    meter = _meters.get(run)
    if not meter:
        return
    meter.done += 1
    meter.failures += 1
    _log.info("%s: %s: %s", failure.path, failure.stage, failure.message)
    if len(meter.first) < FAILURES_REPORTED:
        meter.first.append(failure)
    if meter.failures / meter.total > meter.max_failure_rate:
        raise TooManyFailuresError(meter.failures, meter.first)


@contextmanager
def metered(
    run: str,
    total: int,
    display: Display | None = None,
    max_failure_rate: float = 1.0,
) -> Iterator[None]:
    """Count and show the progress of a run.

    Args:
      run: the run's name.
      total: images of the run.
      display: `show_bar` or `show_lines` with their last argument; None shows nothing.
      max_failure_rate: largest share of failures, 0 to 1, at which the run continues.
    """
    meter = _meters[run] = Meter(total, max_failure_rate)
    try:
        with _shown(meter, display) if display else nullcontext():
            yield
    finally:
        del _meters[run]


def show_bar(meter: Meter, stopped: threading.Event, stream: TextIO) -> None:
    """Show a bar on a terminal."""
    from tqdm import tqdm

    with tqdm(total=meter.total, unit="image", file=stream, dynamic_ncols=True, smoothing=0.05) as bar:
        while True:
            last = stopped.wait(SECONDS_BETWEEN_FRAMES)
            bar.set_postfix_str(quantity(meter.failures, "failure"), refresh=False)
            bar.total = meter.total - meter.skipped
            bar.update(meter.done - meter.skipped - bar.n)
            if last:
                return


def show_lines(meter: Meter, stopped: threading.Event, report: Callable[[Meter, float], None]) -> None:
    """Report the meter and the seconds since the start, every 10 s."""
    started = time.monotonic()
    while not stopped.wait(SECONDS_BETWEEN_LINES):
        report(meter, time.monotonic() - started)


def counted(names: Iterable[Name], display: ListingDisplay) -> Iterator[Name]:
    """Pass on names, and show how many there are so far.

    Args:
      names: as they are listed.
      display: `show_listing_bar` or `show_listing_lines` with their last argument.
    """
    tally = Tally()
    with _shown(tally, display):
        for name in names:
            tally.names += 1
            yield name


def show_listing_bar(tally: Tally, stopped: threading.Event, stream: TextIO) -> None:
    """Show a listing that takes longer than a second on a terminal."""
    from tqdm import tqdm

    began = time.time()
    if stopped.wait(SECONDS_UNTIL_LISTING_IS_SHOWN):
        return
    with tqdm(desc="listing", unit="name", file=stream, dynamic_ncols=True, leave=False) as bar:
        bar.start_t = began
        while not stopped.wait(SECONDS_BETWEEN_FRAMES):
            bar.update(tally.names - bar.n)


def show_listing_lines(tally: Tally, stopped: threading.Event, report: Callable[[Tally, float], None]) -> None:
    """Report a tally and the seconds since the start, after a second and then every 10 s."""
    started, pause = time.monotonic(), SECONDS_UNTIL_LISTING_IS_SHOWN
    while not stopped.wait(pause):
        report(tally, time.monotonic() - started)
        pause = SECONDS_BETWEEN_LINES


def listing_line(tally: Tally, seconds: float) -> str:
    """Describe the progress of a listing after this many seconds."""
    return f"listing: {quantity(tally.names, 'name')} so far, {tally.names / seconds:,.0f} per second"


def duration(seconds: float) -> str:
    """Format a time span, e.g. as `2 h 5 min`, `3 min 20 s` or `12 s`."""
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole} s" if minutes else f"{whole} s"


def line(meter: Meter, seconds: float) -> str:
    """Describe a run's progress after this many seconds."""
    rate = meter.rate(seconds)
    left = f", {duration((meter.total - meter.done) / rate)} left" if rate else ""
    images, failures = quantity(meter.total, "image"), quantity(meter.failures, "failure")
    return f"{meter.done:,} of {images}, {rate:.1f} per second{left}, {failures}"


@contextmanager
def _shown(shown: Shown, display: Callable[[Shown, threading.Event], None]) -> Iterator[None]:
    stopped = threading.Event()
    thread = threading.Thread(target=display, args=(shown, stopped), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
