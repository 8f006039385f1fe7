"""Decode images in child processes, so that an image that crashes or hangs its decoder affects no other.

Parent and child communicate through pipes, in frames of a line of JSON and raw bytes. Nothing is unpickled: a child
taken over by a hostile image can send invalid answers, but nothing worse. A child exits with its parent, when its input
ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipelines.images.decoding import DecodeSettings, Resized, decode_resized
from pipelines.images.layout import DecoderCrashError, DecoderTimeoutError, ImageError

_CHILD_MEMORY = 3 * 2**30
"""Bytes a child may allocate beyond those it starts with; the largest image needs less than half of them."""
_LONGEST_HEADER = 10_000


class DecoderPool:
    """Child processes that each decode one image at a time; safe to share among threads."""

    def __init__(self, settings: DecodeSettings, max_seconds: float, size: int) -> None:
        """Prepare the children, which start when they are needed.

        Args:
          settings: of the decoding.
          max_seconds: decoding time per image, after which the child is killed.
          size: number of children that work concurrently.
        """
        self._idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        self._children = [_Child(settings, max_seconds) for _ in range(size)]
        for child in self._children:
            self._idle.put(child)

    def decode(self, data: bytes) -> Resized:
        """Decode a file and resize it for a model.

        Raises:
          ImageError: as in `decode_resized`; also if the decoder crashed or took too long.
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


class _InvalidAnswerError(Exception):
    """An answer that no intact child sends."""


class _Child:
    def __init__(self, settings: DecodeSettings, max_seconds: float) -> None:
        self._settings = settings
        self._max_seconds = max_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._received = b""

    def decode(self, data: bytes) -> Resized:
        deadline = time.monotonic() + self._max_seconds
        if self._process and self._process.poll() is not None:
            # It was killed while idle, so this image is not to blame.
            self.end()
        if self._process is None:
            self._start()
        try:
            self._send({"bytes": len(data)}, data, deadline)
            return self._receive(deadline)
        except TimeoutError:
            self.end()
            raise DecoderTimeoutError(f"decoding took longer than --max_seconds {self._max_seconds:g}") from None
        except (BrokenPipeError, EOFError):
            raise DecoderCrashError(f"the decoder crashed ({self._cause_of_death()})") from None
        except _InvalidAnswerError as error:
            self.end()
            raise DecoderCrashError(f"the decoder sent an invalid answer ({error})") from None

    def end(self) -> None:
        """Kill the process, if any; it has no work left."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.communicate()

    def _start(self) -> None:
        self._received = b""
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        # Native libraries' messages about damaged files would drown out everything else.
        self._process = subprocess.Popen(
            # -P: the working folder may hold packages of these names that are not ours.
            [sys.executable, "-P", "-m", "pipelines.images.isolation", json.dumps(self._settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # One thread: numpy's library would reserve memory per core, and a child has little.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"},
        )
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            os.set_blocking(pipe.fileno(), False)

    def _send(self, header: dict[str, Any], payload: bytes, deadline: float) -> None:
        assert self._process
        assert self._process.stdin
        pipe = self._process.stdin.fileno()
        for part in (json.dumps(header).encode() + b"\n", payload):
            view = memoryview(part)
            while view:
                _wait(deadline, writing=pipe)
                # A writable pipe may still have too little room for all of the data.
                with contextlib.suppress(BlockingIOError):
                    view = view[os.write(pipe, view) :]

    def _receive(self, deadline: float) -> Resized:
        while b"\n" not in self._received:
            if len(self._received) > _LONGEST_HEADER:
                raise _InvalidAnswerError("no header")
            self._received += self._read(deadline)
        header, self._received = self._received.split(b"\n", 1)
        answer = _check_answer(header, self._settings.image_size)
        size = self._settings.image_size
        parts, missing = [self._received], 3 * size * size - len(self._received)
        while missing > 0:
            parts.append(self._read(deadline))
            missing -= len(parts[-1])
        if missing:
            raise _InvalidAnswerError("more pixel data than expected")
        self._received = b""
        pixels = np.frombuffer(b"".join(parts), np.uint8).reshape(size, size, 3)
        return answer._replace(pixels=pixels)

    def _read(self, deadline: float) -> bytes:
        assert self._process
        assert self._process.stdout
        pipe = self._process.stdout.fileno()
        _wait(deadline, reading=pipe)
        received = os.read(pipe, 1 << 20)
        if not received:
            raise EOFError
        return received

    def _cause_of_death(self) -> str:
        assert self._process
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = 0
        self.end()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _wait(deadline: float, reading: int | None = None, writing: int | None = None) -> None:
    waiting = [pipe for pipe in (reading,) if pipe is not None], [pipe for pipe in (writing,) if pipe is not None]
    if not any(select.select(*waiting, [], max(0.0, deadline - time.monotonic()))):
        raise TimeoutError


def _check_answer(header: bytes, image_size: int) -> Resized:
    """Validate a child's answer before using any of it; the pixels follow.

    Raises:
      ImageError: the child refused the image.
    """
    try:
        match json.loads(header):
            case {"error": str(error), "message": str(message)} if error in _refusals():
                raise _refusals()[error](message)
            case {"width": int(width), "height": int(height), "source": str(source), "repairs": [*repairs]} if (
                width > 0 and height > 0 and all(isinstance(repair, str) for repair in repairs)
            ):
                return Resized(width, height, source, tuple(repairs), np.empty((image_size, image_size, 3), np.uint8))
    except ValueError:
        pass
    raise _InvalidAnswerError("malformed header")


@cache
def _refusals() -> dict[str, type[ImageError]]:
    return {kind.__name__: kind for kind in ImageError.__subclasses__()}


def main() -> None:
    """Run as a child: decode incoming files one by one."""
    _give_up_rights()
    settings = DecodeSettings(*json.loads(sys.argv[1]))
    answers = sys.stdout.buffer
    while header := sys.stdin.buffer.readline():
        data = sys.stdin.buffer.read(json.loads(header)["bytes"])
        try:
            _answer(answers, decode_resized(data, settings))
        except ImageError as error:
            _send_line(answers, {"error": type(error).__name__, "message": str(error)})
        del data


def _give_up_rights() -> None:
    # Ctrl-C goes to the whole process group; the parent decides what to do.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(ImportError):
        import resource

        own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (own + _CHILD_MEMORY,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(answers: IO[bytes], image: Resized) -> None:
    header = image._asdict()
    pixels = header.pop("pixels")
    _send_line(answers, header, np.ascontiguousarray(pixels).data)


def _send_line(answers: IO[bytes], header: dict[str, Any], payload: memoryview | bytes = b"") -> None:
    answers.write(json.dumps(header).encode() + b"\n")
    answers.write(payload)
    answers.flush()


if __name__ == "__main__":
    main()
