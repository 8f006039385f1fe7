"""Explain a run that dies without a message, because a native library crashed or the system killed it.

A small child process holds the other end of a pipe. Python's fault handler writes the crashed thread to it, and if it
closes without a goodbye, the run has died. Threads note what they decode in shared memory, which the child reads only
then: notes through the pipe would wake it twice per image, which cost 40 microseconds.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import mmap
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import IO

_GOODBYE = b"goodbye\n"
_APART = b"apart\n"
"""Said once images are decoded in other processes, of which this one's notes know nothing."""
_NOTES = 256
"""Images that can be noted concurrently; there is at most one per core."""
_NOTE = 512
"""Bytes per note; longer paths are cut off."""
_HEADER = struct.Struct("<QH")
"""Header of a note: the thread, or 0 once it is done, and the length in bytes of the path that follows."""


class Notes:
    """The images that threads are decoding, in memory that outlives this process."""

    def __init__(self, file: IO[bytes]) -> None:
        """Use the memory of a file; in an empty one, allocate it."""
        if not os.fstat(file.fileno()).st_size:
            # Written in full, since a mapped file without room on its disk would kill the process later.
            file.write(bytes(_NOTES * _NOTE))
            file.flush()
        self._memory = mmap.mmap(file.fileno(), _NOTES * _NOTE)
        self._free = list(range(0, _NOTES * _NOTE, _NOTE))

    @contextmanager
    def note(self, path: str) -> Iterator[None]:
        """Note that this thread is decoding an image."""
        noted = path.encode("utf-8", "backslashreplace")[: _NOTE - _HEADER.size]
        try:
            at = self._free.pop()
        except IndexError:
            yield
            return
        self._memory[at + _HEADER.size : at + _HEADER.size + len(noted)] = noted
        _HEADER.pack_into(self._memory, at, threading.get_ident(), len(noted))
        try:
            yield
        finally:
            _HEADER.pack_into(self._memory, at, 0, 0)
            self._free.append(at)


class Trace:
    """What a child process leaves behind if it dies: the images that it was decoding, and the report of a crash.

    Attributes:
      descriptor: of the file that holds both; the child inherits it, and calls `leave_trace`.
    """

    def __init__(self) -> None:
        """Allocate the memory."""
        self._file = _shared_file()
        Notes(self._file)
        self.descriptor = self._file.fileno()

    def explain(self, number: int) -> tuple[str, str]:
        """Return what has happened to the child, in words, and what to do about it; empty if that is unknown.

        Args:
          number: of the signal that has ended it.
        """
        left = os.pread(self.descriptor, os.fstat(self.descriptor).st_size, 0)
        return _what_happened(left[_NOTES * _NOTE :].splitlines(), left[: _NOTES * _NOTE], number)

    def close(self) -> None:
        """Free the memory, unless the child still uses it."""
        self._file.close()


def leave_trace(descriptor: int) -> None:
    """Have this process leave a trace in a file that its parent has made for it."""
    global _notes
    _notes = Notes(os.fdopen(descriptor, "r+b", closefd=False))
    # Python's fault handler writes behind the notes.
    os.lseek(descriptor, 0, os.SEEK_END)
    faulthandler.enable(descriptor)


_SECONDS_TO_LEAVE = 10.0
"""Given to the watchdog at the end of a run; it needs a few milliseconds."""

_TO_OUTLIVE = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU),
)
"""Signals that ask a run to stop; terminals, service managers and schedulers may send them to all of its processes."""

_pipe: int | None = None
_notes: Notes | None = None


@contextmanager
def watching(output: str, log_format: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Have a child process explain what happened if this process dies.

    Args:
      output: where the rows of the run are.
      log_format: `text` or `json`.
      warn: called if the system refuses another process; the run then continues without one.
    """
    global _pipe
    try:
        watchdog = _start(output, log_format)
    except OSError as error:
        warn(f"scenetags: cannot start the process that explains a crash of this run ({error.strerror})")
        yield
        return
    assert watchdog.stdin
    # Leave a fault handler that is already enabled alone; the crashed thread is then unknown.
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
        try:
            watchdog.wait(_SECONDS_TO_LEAVE)
        except subprocess.TimeoutExpired:
            # Somebody has stopped it, and it has nothing to say.
            watchdog.kill()
            watchdog.wait()


def _start(output: str, log_format: str) -> subprocess.Popen[bytes]:
    global _notes
    with _shared_file() as shared:
        notes = Notes(shared)
        # It inherits what this thread blocks.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_OUTLIVE)
        try:
            # Without site packages, it starts in 10 ms.
            watchdog = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, output, log_format, str(shared.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[shared.fileno()],
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    _notes = notes
    return watchdog


def noted(path: str) -> AbstractContextManager[None]:
    """Note that this thread is decoding an image, if a watchdog is running."""
    return _notes.note(path) if _notes else nullcontext()


def decode_apart() -> None:
    """Tell the watchdog that images are decoded in other processes from here on."""
    _say(_APART)


def dismiss() -> None:
    """Say goodbye to the watchdog: whatever follows is intended."""
    global _pipe, _notes
    _say(_GOODBYE)
    _pipe = _notes = None


def _say(word: bytes) -> None:
    if _pipe is not None:
        # A dead watchdog must not end the run.
        with contextlib.suppress(BrokenPipeError):
            os.write(_pipe, word)


def explain(lines: Iterable[bytes], notes: bytes, output: str) -> str:
    """Explain how a run died.

    Args:
      lines: everything that came through the pipe.
      notes: the memory in which threads noted what they decode.
      output: where the rows of the run are.

    Returns:
      A human-readable line; empty after a goodbye.
    """
    said = list(lines)
    if _GOODBYE in said:
        return ""
    happened, remedy = _what_happened(said, notes)
    remedy = remedy and f"; {remedy}"
    return (
        f"scenetags: the run {happened}; committed rows are safe in {output}; run the same command again to "
        f"resume{remedy}"
    )


def _what_happened(lines: Iterable[bytes], notes: bytes, number: int = signal.SIGKILL) -> tuple[str, str]:
    """Return how a process died, and what to do about it; empty if that is unknown.

    Args:
      lines: that it has left.
      notes: the memory in which its threads noted what they decode.
      number: of the signal that has ended it.
    """
    fault = crashed = ""
    apart = False
    for line in lines:
        apart |= line == _APART
        words = line.decode(errors="replace").split(maxsplit=2)
        match words:
            case ["Fatal", "Python", _]:
                fault = words[2].partition(":")[2].strip() or "fault"
            case ["Current", "thread", where]:
                crashed = where.split()[0].removeprefix("0x").lstrip("0")
    decoding = list(_read_notes(notes))
    images = sorted(path for thread, path in decoding if crashed in ("", thread))
    happened = f"crashed ({fault})" if fault else _ended_by(number)
    during = " while no image was being decoded" if not apart else ""
    during = f" while decoding {', '.join(images)}" if images else during
    remedy = "with --isolate_decoding, a crash fails only the image that causes it" if fault and images else ""
    return happened + during, remedy


def _ended_by(number: int) -> str:
    if number == signal.SIGKILL:
        # The system kills at the hard limit, which this process shares (`ulimit -t`).
        limited = resource.getrlimit(resource.RLIMIT_CPU)[1] != resource.RLIM_INFINITY
        return f"was killed (out of memory{', or of time on the processor' if limited else ''}?)"
    try:
        return f"was ended by {signal.Signals(number).name}"
    except ValueError:
        # Most real-time signals have no name.
        return f"was ended by signal {number}"


def _read_notes(notes: bytes) -> Iterator[tuple[str, str]]:
    for at in range(0, len(notes), _NOTE):
        thread, length = _HEADER.unpack_from(notes, at)
        if thread:
            path = notes[at + _HEADER.size : at + _HEADER.size + length].decode(errors="replace")
            yield f"{thread:x}", json.dumps(path)


def _shared_file() -> IO[bytes]:
    # In memory if the system supports that: a disk may be full.
    return os.fdopen(os.memfd_create("scenetags"), "r+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()


def main() -> None:
    """Run as the watchdog, at the other end of the pipe."""
    output, log_format, shared = sys.argv[1:]
    said = sys.stdin.buffer.readlines()
    explanation = explain(said, os.pread(int(shared), _NOTES * _NOTE, 0), output)
    if explanation and log_format == "json":
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        explanation = json.dumps({"time": now, "severity": "ERROR", "message": explanation})
    if explanation:
        print(explanation, file=sys.stderr)


if __name__ == "__main__":
    main()
