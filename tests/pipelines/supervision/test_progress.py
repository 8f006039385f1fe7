"""What is shown while a run works, and where it ends for its failures."""

from __future__ import annotations

import io
import re
import time
from functools import partial

import pytest

from pipelines.records import Failure
from pipelines.supervision import progress
from pipelines.supervision.progress import Meter

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
        time.sleep(2 * progress.SECONDS_BETWEEN_FRAMES)

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
        time.sleep(0.2)

    assert re.fullmatch(r"1,000 of 2,000 images, [\d.]+ per second, \d+ s left, 1 failures", lines[-1])


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
