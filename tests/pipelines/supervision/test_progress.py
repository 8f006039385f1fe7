"""What is shown while a run works, and where it ends for its failures."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from pipelines.records import Failure
from pipelines.supervision import progress
from pipelines.supervision.progress import Meter, Tally, show_listing_bar, show_listing_lines
from tests.pipelines.waiting import wait_for

FAILURE = Failure("a.jpg", "decode", "DamagedImageError", "cut off", "print")


def test_progress_on_a_terminal_is_a_bar_with_rate_time_left_and_failures() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    with progress.metered("run", 200, partial(progress.show_bar, stream=terminal)):
        progress.report("run", done=148)
        progress.report_failure("run", FAILURE)
        progress.report_failure("run", FAILURE)
        progress.report("another run", done=50)
        wait_for(lambda: "2 failures" in terminal.getvalue())

    last = terminal.getvalue().split("\r")[-1]
    assert "150/200" in last
    assert "image/s, 2 failures" in last
    assert "<" in last, "the time left"


def test_progress_elsewhere_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.05)
    lines: list[str] = []

    def report(meter: Meter, seconds: float) -> None:
        lines.append(progress.line(meter, seconds))

    with progress.metered("run", 2000, partial(progress.show_lines, report=report)):
        progress.report("run", done=999)
        progress.report_failure("run", FAILURE)
        wait_for(lambda: "1 failure" in "".join(lines))

    assert re.fullmatch(r"1,000 of 2,000 images, [\d.]+ per second, \d+ s left, 1 failure", lines[-1])


def names_until(shown: Callable[[], object]) -> Iterator[str]:
    """List 1,000 names, and end once something is shown, or is not for long."""
    yield from map(str, range(1000))
    end = time.monotonic() + 5
    while not shown() and time.monotonic() < end:
        time.sleep(0.001)


def test_a_listing_that_takes_long_shows_its_names_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    told: list[dict[str, float]] = []
    terminal = io.StringIO()

    def report(tally: Tally, seconds: float) -> None:
        lines.append(progress.listing_line(tally, seconds))
        told.append(tally.described(10))

    for show in (partial(show_listing_lines, report=report), partial(show_listing_bar, stream=terminal)):
        assert len(list(progress.counted(range(1000), show))) == 1000
    assert (lines, terminal.getvalue()) == ([], ""), "it was over within a second"
    monkeypatch.setattr(progress, "SECONDS_UNTIL_LISTING_IS_SHOWN", 0.01)
    list(progress.counted(names_until(lambda: lines), partial(show_listing_lines, report=report)))
    shown = partial(show_listing_bar, stream=terminal)
    list(progress.counted(names_until(lambda: "1000name" in terminal.getvalue()), shown))

    assert re.fullmatch(r"listing: 1,000 names so far, [\d,]+ per second", lines[0])
    assert told[0] == {"listed": 1000, "names_per_second": 100}
    assert "listing: 1000name" in terminal.getvalue()


def test_progress_is_described_in_numbers_as_well() -> None:
    assert Meter(2000, done=1000, failures=3).described(50) == {
        **{"done": 1000, "total": 2000, "failures": 3},
        **{"images_per_second": 20.0, "seconds_left": 50},
    }
    assert "seconds_left" not in Meter(2000).described(50)


def test_images_that_are_skipped_say_nothing_of_the_time_of_the_others() -> None:
    meter = Meter(2000, done=1100, skipped=1000)
    assert meter.described(10)["images_per_second"] == 10
    assert meter.described(10)["seconds_left"] == 90
    assert progress.line(meter, 10) == "1,100 of 2,000 images, 10.0 per second, 1 min 30 s left, 0 failures"


@pytest.mark.parametrize(("total", "rate", "most"), [(100, 0.29, 29), (100, 0, 0), (3, 0.34, 1), (10, 1, 10)])
def test_a_run_ends_with_the_first_failure_too_many(total: int, rate: float, most: int) -> None:
    with progress.metered("run", total, max_failure_rate=rate):
        for _ in range(most):
            progress.report_failure("run", FAILURE)
        if most < total:
            with pytest.raises(progress.TooManyFailuresError, match=f"^{most + 1} images? failed") as ended:
                progress.report_failure("run", FAILURE)
            assert list(ended.value.first) == [FAILURE] * min(most + 1, progress.FAILURES_REPORTED)


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_time_spans_are_written_for_people(seconds: float, written: str) -> None:
    assert progress.duration(seconds) == written
