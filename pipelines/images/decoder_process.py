"""The child's side of `isolation`: decode images that arrive through a pipe, with few rights.

A child exits when its input ends, and is killed with its parent even in the middle of an image.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipelines.images.decoding import DecodeSettings, Resized, decode_resized
from pipelines.images.layout import ImageError
from pipelines.images.rendering import unpack_rendering

READY = b"ready\n"
"""What a child sends once it can decode."""

_MEMORY = 3 * 2**30
"""Bytes a child may allocate beyond those it starts with; the largest image needs less than half of them."""
_CORES = 4
"""More than any decoder keeps busy: time on the processor runs faster than the clock in one with several threads."""
_LONGEST = 10**7
"""Seconds; more than any limit of time needs to be, and little enough for the timers of all systems."""

# Of Linux's prctl.h.
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def main() -> None:
    """Decode incoming files one by one."""
    settings, max_seconds, parent = json.loads(sys.argv[1])
    die_with(parent)
    _give_up_rights()
    size, resize_filter, max_pixels, rendering = settings
    settings = DecodeSettings(size, resize_filter, max_pixels, unpack_rendering(json.dumps(rendering)))
    answers = sys.stdout.buffer
    answers.write(READY)
    answers.flush()
    while line := sys.stdin.buffer.readline():
        question = json.loads(line)
        _limit_time(max_seconds)
        data = sys.stdin.buffer.read(question["bytes"])
        number = {"number": question["number"]}
        try:
            _answer(answers, number, decode_resized(data, settings))
        except ImageError as error:
            _send_line(answers, {**number, "error": type(error).__name__, "message": str(error)})
        del data


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; a busy child would not notice that its input ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # It may have died before.
    if os.getppid() != parent:
        sys.exit()


def _give_up_rights() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    with contextlib.suppress(ImportError):
        import resource

        with contextlib.suppress(FileNotFoundError):
            own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            # The run may have less (`ulimit -v`), and the system refuses a limit above that.
            inherited = [limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit != resource.RLIM_INFINITY]
            resource.setrlimit(resource.RLIMIT_AS, (min([own + _MEMORY, *inherited]),) * 2)
        # It dumps no core and lets no file grow.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _limit_time(seconds: float) -> None:
    """End this process if it is still busy long after the parent should have killed it; not all systems kill it then.

    Args:
      seconds: by the clock, that the next image may take.
    """
    # Not by RLIMIT_CPU: its signal is one that schedulers send to all processes of a run, and blocked like those.
    signal.setitimer(signal.ITIMER_PROF, 1 + min(_CORES * seconds, _LONGEST))


def _answer(answers: IO[bytes], number: dict[str, Any], image: Resized) -> None:
    header = image._asdict()
    pixels = header.pop("pixels")
    _send_line(answers, {**number, **header}, np.ascontiguousarray(pixels).data)


def _send_line(answers: IO[bytes], header: dict[str, Any], payload: memoryview | bytes = b"") -> None:
    answers.write(json.dumps(header).encode() + b"\n")
    answers.write(payload)
    answers.flush()


if __name__ == "__main__":
    main()
