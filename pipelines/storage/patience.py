"""Retry transient errors, but not forever."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import tenacity

from pipelines.storage.errors import CredentialsOutageError, TransientError

Result = TypeVar("Result")

SECONDS = 60.0
"""Time limit for one piece of work, pauses included: servers that restart or shed load are back by then."""
LONGEST_PAUSE = 5.0
"""In seconds."""

_PASSING = (TransientError, CredentialsOutageError)

_log = logging.getLogger(__name__)

_hurried = 0


def patiently(work: Callable[[], Result], pauses: Sequence[float] = ()) -> Result:
    """Call a function, and again after a pause while it raises an error that may pass.

    Args:
      work: the function.
      pauses: seconds before each retry; by default random and growing, for `SECONDS` in total.

    Raises:
      TransientError, CredentialsOutageError: the last attempt failed; inside `hurried`, the only one.
    """
    began = time.monotonic()
    failed: list[Exception] = []
    try:
        # Most work succeeds at once, and tenacity costs 12 µs per call, more than reading a small file.
        return work()
    except _PASSING as error:
        failed.append(error)

    def attempt() -> Result:
        if failed:
            raise failed.pop()
        return work()

    stop: tenacity.stop.stop_base
    wait: tenacity.wait.wait_base
    if pauses:
        stop = tenacity.stop_after_attempt(len(pauses) + 1)
        wait = tenacity.wait_chain(*map(tenacity.wait_fixed, pauses))
    else:
        stop = tenacity.stop_before_delay(began + SECONDS - time.monotonic())
        # Random over the whole span, so that workers refused together do not retry together.
        wait = tenacity.wait_random_exponential(multiplier=0.2, max=LONGEST_PAUSE)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_PASSING),
        stop=stop | _InAHurry(),
        wait=wait,
        before_sleep=_tell,
        reraise=True,
    )
    return retrying(attempt)


def _tell(state: tenacity.RetryCallState) -> None:
    if state.outcome and state.next_action:
        error = state.outcome.exception()
        _log.info("tried again in %.1f s: %s", state.next_action.sleep, getattr(error, "strerror", None) or error)


@contextmanager
def hurried(really: bool = True) -> Iterator[None]:
    """Try everything only once, because the caller has waited long enough already.

    This concerns all threads of the process, so a worker, which may be at work on something else, must not ask for it.
    """
    global _hurried
    _hurried += really
    try:
        yield
    finally:
        _hurried -= really


class _InAHurry(tenacity.stop.stop_base):
    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        return _hurried > 0
