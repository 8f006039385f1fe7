"""Say what happened to a run that ends without a word, because a native library crashed or the system killed it.

A small child process holds the other end of a pipe. Threads note in it what they decode, Python's fault handler writes
into it which thread has crashed, and its end without a goodbye is the end of the run.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_LONGEST_PATH = 500
"""Characters of a path that are noted: what is longer than a pipe's buffer could be torn apart by another thread."""
_GOODBYE = b"goodbye\n"

_pipe: int | None = None


@contextmanager
def watching(output: str) -> Iterator[None]:
    """Have somebody say what happened, should this process end in the middle.

    Args:
      output: where the rows of the run are.
    """
    global _pipe
    # Without the site's modules it starts in 10 ms.
    watchdog = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, output], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert watchdog.stdin
    # Somebody else's fault handler is not taken from him; then the crashed thread is not known.
    takes_faults = not faulthandler.is_enabled()
    if takes_faults:
        faulthandler.enable(watchdog.stdin.fileno())
    _pipe = watchdog.stdin.fileno()
    try:
        yield
    finally:
        dismiss()
        if takes_faults:
            faulthandler.disable()
        watchdog.stdin.close()
        watchdog.wait()


@contextmanager
def noted(path: str) -> Iterator[None]:
    """Note that this thread works on an image, where anybody is watching."""
    thread = f"{threading.get_ident():x}"
    _note(f"+ {thread} {json.dumps(path[:_LONGEST_PATH])}\n".encode())
    yield
    _note(f"- {thread}\n".encode())


def dismiss() -> None:
    """Say goodbye: what comes now is no accident."""
    global _pipe
    _note(_GOODBYE)
    _pipe = None


def _note(line: bytes) -> None:
    if _pipe is not None:
        # A watchdog that is gone must not take the run with it.
        with contextlib.suppress(BrokenPipeError):
            os.write(_pipe, line)


def explain(lines: Iterable[bytes], output: str) -> str:
    """Say what happened, from all that came through the pipe; nothing after a goodbye."""
    decoding: dict[str, str] = {}
    fault = crashed = ""
    for line in lines:
        if line == _GOODBYE:
            return ""
        words = line.decode(errors="replace").split(maxsplit=2)
        match words:
            case ["+", thread, path]:
                decoding[thread] = path.strip()
            case ["-", thread]:
                decoding.pop(thread, None)
            case ["Fatal", "Python", _]:
                fault = words[2].partition(":")[2].strip() or "fault"
            case ["Current", "thread", where]:
                crashed = where.split()[0].removeprefix("0x").lstrip("0")
    images = [decoding[crashed]] if crashed in decoding else [] if crashed else sorted(decoding.values())
    happened = f"crashed ({fault})" if fault else "was killed, for want of memory perhaps,"
    during = f"while it decoded {', '.join(images)}" if images else "while it decoded no image"
    remedy = "; with --isolate_decoding such an image is a failure like any other" if fault and images else ""
    return (
        f"scenetags: the run {happened} {during}; finished waves are safe in {output}, and the same command again "
        f"goes on from there{remedy}"
    )


def main() -> None:
    """Watch: be the other end of the pipe."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    explanation = explain(sys.stdin.buffer, sys.argv[1])
    if explanation:
        print(explanation, file=sys.stderr)


if __name__ == "__main__":
    main()
