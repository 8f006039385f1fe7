"""Fetch an image from a file or an archive, within limits, and decode it for a model."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import NamedTuple, Protocol

from pipelines import archives, storage
from pipelines.images import DecodeSettings, ImageError, Resized, decode_resized
from pipelines.images.isolation import DecoderPool
from pipelines.images.limits import Limits
from pipelines.records import ImageRef
from pipelines.supervision import watchdog
from pipelines.supervision.machine import available_cores


class Refusal(NamedTuple):
    """Why an image was not read.

    Attributes:
      stage: `read` or `decode`.
      error: the kind of error, a Python exception's name.
      message: the reason, in words.
    """

    stage: str
    error: str
    message: str


class Source(Protocol):
    """Images that several threads can read independently."""

    def expect(self, ref: ImageRef) -> None:
        """Announce that an image will be read soon; the calls come in the order of the images."""
        ...

    def read(self, ref: ImageRef) -> Resized | Refusal:
        """Read an image, or return the reason why it cannot be read."""
        ...

    def close(self) -> None:
        """Abandon work in progress."""
        ...


class ImageSource:
    """Images that are files or members of archives."""

    def __init__(self, decoding: DecodeSettings, limits: Limits, threads: int | None = None) -> None:
        """Prepare to read.

        Args:
          decoding: what the model takes.
          limits: per-image limits.
          threads: images decoded concurrently, by default one per core: more would only take cores from the engine.
        """
        threads = threads or available_cores()
        self._decoding = decoding
        self._limits = limits
        self._turn = _turn(threads)
        self._pool = DecoderPool(decoding, limits.max_seconds, threads) if limits.isolated else None
        self._streams = archives.Streams.borrow()
        # A single thread reads the streams, in the order of their members.
        self._streaming = ThreadPoolExecutor(1, thread_name_prefix="stream")
        self._begun: dict[str, Future[bytes]] = {}

    def expect(self, ref: ImageRef) -> None:
        """Begin to fetch an image in a stream, which can only be read in order."""
        if archives.is_streamed(ref) and ref.size <= self._limits.max_bytes:
            self._begun[ref.path] = self._begin(ref)

    def read(self, ref: ImageRef) -> Resized | Refusal:
        """Read an image, or return the reason why it cannot be read."""
        begun = self._begun.pop(ref.path, None)
        size = max(ref.size, ref.place.length if ref.place else 0)
        if size > self._limits.max_bytes:
            message = f"{size:,} bytes: exceeds the limit of {self._limits.max_bytes:,} (predict --max_bytes)"
            return Refusal("read", storage.FileTooLargeError.__name__, message)
        try:
            data = (begun or self._begin(ref)).result() if archives.is_streamed(ref) else self.fetch(ref)
        except storage.TransientError as error:
            return _refusal("read", error, f"{error.strerror} (temporary; rerun the same command to retry)")
        except OSError as error:
            return _refusal("read", error, error.strerror or str(error))
        except MemoryError as error:
            return _refusal("read", error, f"{ref.size:,} bytes do not fit in memory")
        # Many threads may fetch, but few may decode.
        with self._turn, watchdog.noted(ref.path):
            try:
                return self.decode(data)
            except ImageError as error:
                return _refusal("decode", error, str(error))

    def fetch(self, ref: ImageRef) -> bytes:
        """Fetch the bytes of an image; in a stream, from one thread at a time.

        Raises:
          OSError: they cannot be read, or there are too many.
        """
        if archives.is_streamed(ref):
            return self._streams.read(ref)
        return archives.read_member(ref) if ref.place else storage.read(ref.path, self._limits.max_bytes)

    def decode(self, data: bytes) -> Resized:
        """Decode a file's bytes to pixels.

        Raises:
          ImageError: they cannot be decoded.
        """
        return self._pool.decode(data) if self._pool else decode_resized(data, self._decoding)

    def close(self) -> None:
        """Abandon work in progress and release the streams and children."""
        # Nothing needs the images that are still being fetched.
        with storage.hurried():
            self._streaming.shutdown(cancel_futures=True)
        self._streams.give_back()
        if self._pool:
            self._pool.close()

    def _begin(self, ref: ImageRef) -> Future[bytes]:
        return self._streaming.submit(self.fetch, ref)


@cache
def _turn(threads: int) -> threading.Semaphore:
    """Share the turns to decode among the sources of a process: some runners give it several Beam bundles at once."""
    return threading.Semaphore(threads)


def _refusal(stage: str, error: Exception, message: str) -> Refusal:
    return Refusal(stage, type(error).__name__, message)
