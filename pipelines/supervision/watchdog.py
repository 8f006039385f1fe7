"""Say what happened to a run that ends without a word, because a native library crashed or the system killed it.

A small child process holds the other end of a pipe. Python's fault handler writes into it which thread has crashed, and
its end without a goodbye is the end of the run. What threads decode they note in memory that the child shares and reads
only then: notes through the pipe would wake it twice an image, which cost 40 microseconds.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import IO

_GOODBYE = b"goodbye\n"
_NOTES = 256
"""Images that are noted at the same time, one a core at most."""
_NOTE = 512
"""Bytes of a note, of which a longer path fills the first."""
_HEADER = struct.Struct("<QH")
"""Of a note: the thread, 0 where it has ended, and the bytes of the path that follows."""


class Notes:
    """What threads decode at the moment, in memory that outlives this process."""

    def __init__(self, file: IO[bytes]) -> None:
        """Take a file of no size for the memory."""
        # In full, for where there is no room to write to later, a mapped file kills.
        file.write(bytes(_NOTES * _NOTE))
        file.flush()
        self._memory = mmap.mmap(file.fileno(), _NOTES * _NOTE)
        self._free = list(range(0, _NOTES * _NOTE, _NOTE))

    @contextmanager
    def note(self, path: str) -> Iterator[None]:
        """Note that this thread works on an image."""
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


_pipe: int | None = None
_notes: Notes | None = None


@contextmanager
def watching(output: str) -> Iterator[None]:
    """Have somebody say what happened, should this process end in the middle.

    Args:
      output: where the rows of the run are.
    """
    global _pipe, _notes
    with _shared_file() as shared:
        _notes = Notes(shared)
        # Without the site's modules it starts in 10 ms.
        watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, output, str(shared.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[shared.fileno()],
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


def noted(path: str) -> AbstractContextManager[None]:
    """Note that this thread works on an image, where anybody is watching."""
    return _notes.note(path) if _notes else nullcontext()


def dismiss() -> None:
    """Say goodbye: what comes now is no accident."""
    global _pipe, _notes
    if _pipe is not None:
        # A watchdog that is gone must not take the run with it.
        with contextlib.suppress(BrokenPipeError):
            os.write(_pipe, _GOODBYE)
    _pipe = _notes = None


def explain(lines: Iterable[bytes], notes: bytes, output: str) -> str:
    """Say what happened.

    Args:
      lines: all that came through the pipe.
      notes: the memory in which threads noted what they decoded.
      output: where the rows of the run are.

    Returns:
      A line for people; nothing after a goodbye.
    """
    fault = crashed = ""
    for line in lines:
        if line == _GOODBYE:
            return ""
        words = line.decode(errors="replace").split(maxsplit=2)
        match words:
            case ["Fatal", "Python", _]:
                fault = words[2].partition(":")[2].strip() or "fault"
            case ["Current", "thread", where]:
                crashed = where.split()[0].removeprefix("0x").lstrip("0")
    decoding = list(_read_notes(notes))
    images = sorted(path for thread, path in decoding if crashed in ("", thread))
    happened = f"crashed ({fault})" if fault else "was killed, for want of memory perhaps,"
    during = f"while it decoded {', '.join(images)}" if images else "while it decoded no image"
    remedy = "; with --isolate_decoding such an image is a failure like any other" if fault and images else ""
    return (
        f"scenetags: the run {happened} {during}; finished waves are safe in {output}, and the same command again "
        f"goes on from there{remedy}"
    )


def _read_notes(notes: bytes) -> Iterator[tuple[str, str]]:
    for at in range(0, len(notes), _NOTE):
        thread, length = _HEADER.unpack_from(notes, at)
        if thread:
            path = notes[at + _HEADER.size : at + _HEADER.size + length].decode(errors="replace")
            yield f"{thread:x}", json.dumps(path)


def _shared_file() -> IO[bytes]:
    # In memory where the system can do that: a disk may be full.
    return os.fdopen(os.memfd_create("scenetags"), "r+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()


def main() -> None:
    """Watch: be the other end of the pipe."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    output, shared = sys.argv[1:]
    said = sys.stdin.buffer.readlines()
    explanation = explain(said, os.pread(int(shared), _NOTES * _NOTE, 0), output)
    if explanation:
        print(explanation, file=sys.stderr)


if __name__ == "__main__":
    main()
