"""Decode images in child processes, so that an image that crashes or hangs its decoder affects no other.

Parent and child communicate through pipes, in frames of a line of JSON and raw bytes. `decoder_process` is the child's
side, and `answers` decides what is taken from it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import secrets
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import ExitCode, ScenetagsError
from pipelines.images.answers import BrokenChildError, check_answer
from pipelines.images.decoder_process import READY
from pipelines.images.decoding import DecodeSettings, Resized
from pipelines.images.layout import DecoderCrashError, DecoderTimeoutError

_SECONDS_TO_START = 60.0
"""Not counted as an image's decoding time; a start takes a tenth of a second on an idle machine."""
_LONGEST_HEADER = 10_000
_LONGEST_WAIT = 2**31 - 1
"""Milliseconds that `poll` can wait."""

_ENVIRONMENT = frozenset(
    (
        *("HOME", "PATH", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
        *("PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "__PYVENV_LAUNCHER__"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONMALLOC", "PYTHONUTF8", "OPENBLAS_CORETYPE"),
    )
)
"""Variables that Python and its libraries need to start; no others are passed on, since they hold credentials."""

_SETTINGS = {
    # numpy's library would reserve memory per core, and a child has little.
    "OPENBLAS_NUM_THREADS": "1",
    # In glibc, freed blocks of this size and more are returned to the system, and the others from this total on. By
    # default each chip returns what the next one fetches again, for a quarter of the time.
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 20),
}
"""Variables that are set for a child."""


class DecoderStartError(ScenetagsError):
    """No process can be started that decodes images; none of them is to blame, and each later one would fail too."""

    exit_code = ExitCode.STOPPED


class DecoderPool:
    """Child processes that each decode one image at a time; safe to share among threads."""

    def __init__(self, settings: DecodeSettings, max_seconds: float, size: int) -> None:
        """Prepare the children, which start when they are needed.

        Args:
          settings: of the decoding.
          max_seconds: decoding time per image, after which the child is killed.
          size: number of children that work concurrently.
        """
        # The kernel kills a child when the thread that started it ends, so none of the callers' threads may do it.
        self._starter = ThreadPoolExecutor(1, "decoders", block_signals)
        self._idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        self._children = [_Child(settings, max_seconds, self._starter) for _ in range(size)]
        for child in self._children:
            self._idle.put(child)

    def decode(self, data: bytes) -> Resized:
        """Decode a file and resize it for a model.

        Raises:
          ImageError: as in `decode_resized`; also if the decoder crashed or took too long.
          DecoderStartError: there is no decoder, and none can be started.
        """
        child = self._idle.get()
        try:
            return child.decode(data)
        finally:
            self._idle.put(child)

    def close(self) -> None:
        """End the children."""
        for child in self._children:
            child.end()
        self._starter.shutdown()


def block_signals() -> None:
    """Have this thread, and the children that it starts, receive none of the signals that ask a process to stop.

    A service manager may send them to all processes of a service; the parent decides what to do. A child that ignores
    them by itself would die of one that comes while it starts.
    """
    signal.pthread_sigmask(
        signal.SIG_BLOCK,
        (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU),
    )


class _Child:
    def __init__(self, settings: DecodeSettings, max_seconds: float, starter: Executor) -> None:
        self._settings = settings
        self._max_seconds = max_seconds
        self._starter = starter
        self._process: subprocess.Popen[bytes] | None = None
        self._pixels = 3 * settings.image_size**2
        # With room for a byte more than a good answer has, so that a longer one is noticed.
        self._received = bytearray(_LONGEST_HEADER + self._pixels + 1)

    def decode(self, data: bytes) -> Resized:
        if self._process and self._has_stirred():
            self.end()
        while True:
            fresh = self._process is None
            if fresh:
                self._start_in_two_tries()
            try:
                return self._ask(data)
            except BrokenChildError as error:
                self.end()
                # An earlier image may have damaged the child. Only a fresh one shows whether this image is to blame.
                if fresh:
                    raise DecoderCrashError(f"the decoder {error}") from None

    def end(self) -> int:
        """Kill the process, if any, and return its exit code; of one that had already ended, its own."""
        process, self._process = self._process, None
        if process is None:
            return 0
        assert process.stdin
        assert process.stdout
        # Closed, not read to their ends: what the child has started may hold the other ends.
        process.stdin.close()
        process.stdout.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        # It may have left its group.
        process.kill()
        return process.wait()

    def _has_stirred(self) -> bool:
        """Return whether an idle child has died or said something unasked."""
        assert self._process
        assert self._process.stdout
        return _is_ready(self._process.stdout.fileno(), select.POLLIN, 0.0)

    def _start_in_two_tries(self) -> None:
        with contextlib.suppress(BrokenChildError):
            self._start()
            return
        self.end()
        try:
            self._start()
        except BrokenChildError as error:
            self.end()
            raise DecoderStartError(
                f"cannot decode images in separate processes: the process {error}",
                "check the limits on memory, processes and open files (ulimit -v, -u, -n, or the container's)",
            ) from None

    def _start(self) -> None:
        try:
            self._process = self._starter.submit(self._spawn).result()
        except OSError as error:
            raise BrokenChildError(f"cannot be started ({error.strerror or error})") from error
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            os.set_blocking(pipe.fileno(), False)
        assert self._process.stdout
        _enlarge(self._process.stdout.fileno(), len(self._received))
        deadline, filled = time.monotonic() + _SECONDS_TO_START, 0
        try:
            while filled < len(READY):
                filled += self._read(filled, deadline)
        except TimeoutError:
            raise BrokenChildError(f"did not start within {_SECONDS_TO_START:g} s") from None
        if self._received[:filled] != READY:
            raise BrokenChildError("sent an invalid answer (not ready)")

    def _spawn(self) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT}
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        arguments = json.dumps([self._settings, self._max_seconds, os.getpid()])
        return subprocess.Popen(
            # -P: the working folder may hold packages of these names that are not ours.
            [sys.executable, "-P", "-m", "pipelines.images.decoder_process", arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Native libraries' messages about damaged files would drown out everything else.
            stderr=subprocess.DEVNULL,
            env={**environment, **_SETTINGS, "PYTHONPATH": os.pathsep.join(paths)},
            # A group of its own is killed together with whatever a hostile image makes it start.
            process_group=0,
        )

    def _ask(self, data: bytes) -> Resized:
        deadline = time.monotonic() + self._max_seconds
        # Unpredictable, so that no answer sent before this question can pass for the answer to it.
        number = secrets.token_hex(8)
        try:
            self._send({"number": number, "bytes": len(data)}, data, deadline)
            return self._receive(number, deadline)
        except TimeoutError:
            self.end()
            raise DecoderTimeoutError(f"decoding took longer than --max_seconds {self._max_seconds:g}") from None
        except BrokenPipeError:
            raise self._death() from None

    def _send(self, header: dict[str, Any], payload: bytes, deadline: float) -> None:
        assert self._process
        assert self._process.stdin
        pipe = self._process.stdin.fileno()
        for part in (json.dumps(header).encode() + b"\n", payload):
            view = memoryview(part)
            while view:
                try:
                    view = view[os.write(pipe, view) :]
                except BlockingIOError:
                    # A writable pipe may still have too little room for all of the data.
                    _wait(pipe, select.POLLOUT, deadline)

    def _receive(self, number: str, deadline: float) -> Resized:
        filled, end = 0, -1
        while end < 0:
            if filled > _LONGEST_HEADER:
                raise BrokenChildError("sent an invalid answer (no header)")
            filled += self._read(filled, deadline)
            end = self._received.find(b"\n", 0, filled)
        answer = check_answer(bytes(self._received[:end]), number, self._settings.max_pixels)
        while (missing := end + 1 + self._pixels - filled) > 0:
            filled += self._read(filled, deadline)
        if missing:
            raise BrokenChildError("sent an invalid answer (more pixel data than expected)")
        size = self._settings.image_size
        pixels = np.frombuffer(self._received, np.uint8, self._pixels, end + 1).reshape(size, size, 3)
        return Resized(*answer, pixels.copy())

    def _read(self, filled: int, deadline: float) -> int:
        """Read what there is of an answer, behind what was received of it before; return the number of bytes."""
        assert self._process
        assert self._process.stdout
        pipe = self._process.stdout.fileno()
        _wait(pipe, select.POLLIN, deadline)
        count = os.readv(pipe, [memoryview(self._received)[filled:]])
        if not count:
            raise self._death()
        return count

    def _death(self) -> BrokenChildError:
        # A process that is ending keeps its cause of death, even if it is killed before it has ended.
        code = self.end()
        return BrokenChildError(f"crashed ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})")


def _enlarge(pipe: int, size: int) -> None:
    """Let a pipe hold a whole answer, so that it is written and read at once; a system that does not still works."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)


def _is_ready(pipe: int, event: int, seconds: float) -> bool:
    # `select` refuses descriptors from 1,024 on, which a process with many open files has.
    poll = select.poll()
    poll.register(pipe, event)
    return bool(poll.poll(min(1000 * seconds, _LONGEST_WAIT)))


def _wait(pipe: int, event: int, deadline: float) -> None:
    if not _is_ready(pipe, event, max(0.0, deadline - time.monotonic())):
        raise TimeoutError
