"""Try again what fails for a reason that may pass, but not for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import tenacity

from pipelines.storage.errors import TransientError

Result = TypeVar("Result")

SECONDS = 60.0
"""For which one piece of work is tried, its pauses included: servers that restart or shed load are back by then."""
LONGEST_PAUSE = 5.0

_hurried = 0


def patiently(work: Callable[[], Result]) -> Result:
    """Do some work, and while it raises a `TransientError` do it again after a pause, which grows and is random.

    Raises:
      TransientError: it failed for longer than `SECONDS`, or once where there is a hurry.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        stop=tenacity.stop_before_delay(SECONDS) | _InAHurry(),
        # Random over the whole span: workers that were refused together do not come back together.
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=LONGEST_PAUSE),
        reraise=True,
    )
    return retrying(work)


@contextmanager
def hurried() -> Iterator[None]:
    """Try everything once only, for somebody whose patience is at its end already."""
    global _hurried
    _hurried += 1
    try:
        yield
    finally:
        _hurried -= 1


class _InAHurry(tenacity.stop.stop_base):
    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        return _hurried > 0
