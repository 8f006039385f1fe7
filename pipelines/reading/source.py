"""Where images come from: fetch one within limits, from a file or an archive, and decode it for a model."""

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
      message: the reason, for people.
    """

    stage: str
    error: str
    message: str


class Source(Protocol):
    """Images that can be read, each on its own, by several threads at the same time."""

    def expect(self, ref: ImageRef) -> None:
        """Take note that an image will be read soon; the calls come in the order of the images."""
        ...

    def read(self, ref: ImageRef) -> Resized | Refusal:
        """Read an image, or give the reason why that cannot be done."""
        ...

    def close(self) -> None:
        """End what is at work."""
        ...


class ImageSource:
    """Images that are files, or members of archives."""

    def __init__(self, decoding: DecodeSettings, limits: Limits, threads: int | None = None) -> None:
        """Prepare to read.

        Args:
          decoding: what the model takes.
          limits: what one image may cost.
          threads: images that are decoded at the same time, by default one per core: more would only take cores from
            the engine.
        """
        threads = threads or available_cores()
        self._decoding = decoding
        self._limits = limits
        self._turn = _turn(threads)
        self._pool = DecoderPool(decoding, limits.max_seconds, threads) if limits.isolated else None
        self._streams = archives.Streams.borrow()
        # One thread goes through a stream, in the order in which its members come.
        self._streaming = ThreadPoolExecutor(1, thread_name_prefix="stream")
        self._begun: dict[str, Future[bytes]] = {}

    def expect(self, ref: ImageRef) -> None:
        """Begin to fetch what lies in a stream: it can only be gone through in order."""
        if archives.is_streamed(ref) and ref.size <= self._limits.max_bytes:
            self._begun[ref.path] = self._streaming.submit(self.fetch, ref)

    def read(self, ref: ImageRef) -> Resized | Refusal:
        """Read an image, or give the reason why that cannot be done."""
        begun = self._begun.pop(ref.path, None)
        size = max(ref.size, ref.place.length if ref.place else 0)
        if size > self._limits.max_bytes:
            message = f"{size:,} bytes: more than the {self._limits.max_bytes:,} that are read"
            return Refusal("read", storage.FileTooLargeError.__name__, message)
        try:
            data = begun.result() if begun else self.fetch(ref)
        except storage.TransientError as error:
            return _refusal("read", error, f"{error.strerror} (temporary; rerun the same command to retry)")
        except OSError as error:
            return _refusal("read", error, error.strerror or str(error))
        except MemoryError as error:
            return _refusal("read", error, f"{ref.size:,} bytes: more than there is memory for")
        # Many threads may fetch while few decode.
        with self._turn, watchdog.noted(ref.path):
            try:
                return self.decode(data)
            except ImageError as error:
                return _refusal("decode", error, str(error))

    def fetch(self, ref: ImageRef) -> bytes:
        """Bring the bytes of an image; of a stream in one thread at a time.

        Raises:
          OSError: they cannot be read, or are more than may be.
        """
        if archives.is_streamed(ref):
            return self._streams.read(ref)
        return archives.read_member(ref) if ref.place else storage.read(ref.path, self._limits.max_bytes)

    def decode(self, data: bytes) -> Resized:
        """Make pixels of a file's bytes.

        Raises:
          ImageError: that cannot be done.
        """
        return self._pool.decode(data) if self._pool else decode_resized(data, self._decoding)

    def close(self) -> None:
        """End what is at work."""
        # What is still being fetched here is wanted by nobody any more.
        with storage.hurried():
            self._streaming.shutdown(cancel_futures=True)
        self._streams.give_back()
        if self._pool:
            self._pool.close()


@cache
def _turn(threads: int) -> threading.Semaphore:
    """Share the turns to decode: some runners have a process work on several bundles, each with a source of its own."""
    return threading.Semaphore(threads)


def _refusal(stage: str, error: Exception, message: str) -> Refusal:
    return Refusal(stage, type(error).__name__, message)
