"""Fetch an image from a file or an archive, within limits, and decode it for a model."""

from __future__ import annotations

import threading
from functools import cache
from typing import Protocol

from pipelines import archives, storage
from pipelines.archives import Admit
from pipelines.errors import quantity
from pipelines.images import DecodeSettings, ImageError, Resized, decode_resized
from pipelines.images.formats import recognize
from pipelines.images.head import Cost, holds_interpreter, judge_head
from pipelines.images.isolation import DecoderPool
from pipelines.images.layout import ImageTooLargeError
from pipelines.images.limits import A_DAY, Limits
from pipelines.reading.fetched import Fetched, FetchedFile, FetchedWindow, Refusal, refusal, refused
from pipelines.reading.fetching import Prefetch, fetch
from pipelines.reading.parts import Parts
from pipelines.reading.windows import Windows
from pipelines.records import ImageRef
from pipelines.scenes.grid import NO_GRID, Grid
from pipelines.supervision import interruption
from pipelines.supervision.budget import Allowance, Budget, process_budget
from pipelines.supervision.machine import available_cores


class Source(Protocol):
    """Images that several threads can fetch and decode independently.

    Attributes:
      threads: images decoded concurrently.
      isolated: whether they are decoded in processes of their own.
    """

    threads: int
    isolated: bool

    def expect(self, ref: ImageRef) -> None:
        """Announce that an image will be read soon; the calls come in the order of the images."""
        ...

    def is_near(self, ref: ImageRef) -> bool:
        """Return whether fetching an image waits for nothing but the disks of this machine, as far as is known."""
        ...

    def fetch(self, ref: ImageRef, waits: bool = True) -> Fetched | Refusal | None:
        """Fetch an image; None for a window that is left out without being looked at.

        Args:
          ref: the image.
          waits: whether to wait for memory.

        Raises:
          MustWaitError: it would have to wait.
        """
        ...

    def close(self) -> None:
        """Abandon work in progress."""
        ...


def stream_of(ref: ImageRef) -> str | None:
    """Name what an image is read together with: its compressed archive, or the part of its scene; None for nothing.

    In two processes, or out of order, it would be read twice.
    """
    if ref.window:
        return f"{ref.window.scene}#{ref.window.part}"
    return ref.place.archive if ref.place and archives.is_streamed(ref) else None


class ImageSource:
    """Images that are files, members of archives or windows of scenes."""

    def __init__(
        self,
        decoding: DecodeSettings,
        limits: Limits,
        threads: int | None = None,
        budget: Budget | None = None,
        grid: Grid = NO_GRID,
    ) -> None:
        """Prepare to read.

        Args:
          decoding: what the model takes.
          limits: per-image limits.
          threads: images decoded concurrently, by default one per core: more would only take cores from the engine.
          budget: of the memory for images; by default that of the process.
          grid: of the windows of scenes.
        """
        self.threads = threads = threads or available_cores()
        self.isolated = limits.isolated
        self._decoding = decoding
        self._limits = limits
        self._turn = _turns_at_parts(threads)
        self._budget = budget or process_budget(threads)
        # Without isolation, for images that would keep all other threads waiting; children start when they are needed.
        self._pool = DecoderPool(decoding, limits.max_seconds if limits.isolated else A_DAY, threads)
        self._streams = archives.Streams.borrow()
        self._prefetch = Prefetch(self.fetch_bytes)
        self._windows = self.windows(grid) if grid else None

    def expect(self, ref: ImageRef) -> None:
        """Begin to fetch an image in a stream, which can only be read in order, or the parts around a window."""
        if self._windows and ref.window:
            self._windows.expect(ref)
        if archives.is_streamed(ref) and ref.size <= self._limits.max_bytes:
            self._prefetch.begin(ref)

    def is_near(self, ref: ImageRef) -> bool:
        """Return whether an image is a file on this machine, or a member that is read from one by itself."""
        return not (ref.window or archives.is_streamed(ref) or storage.is_remote(ref.path))

    def fetch(self, ref: ImageRef, waits: bool = True) -> Fetched | Refusal | None:
        """Fetch an image, once there is memory for all that it takes until it is decoded.

        Args:
          ref: the image.
          waits: whether to wait for the memory.

        Raises:
          InterruptedRunError: the run was asked to stop.
          MustWaitError: the memory is not free.
        """
        if self._windows and ref.window:
            return self._fetch_window(self._windows, ref)
        size = max(ref.size, ref.place.length if ref.place else 0)
        if size > self._limits.max_bytes:
            message = f"{quantity(size, 'byte')}: exceeds the limit of {self._limits.max_bytes:,} (predict --max_bytes)"
            return Refusal("read", storage.FileTooLargeError.__name__, message)
        allowance = Allowance(self._budget, waits)
        try:
            fetched = self._fetch_file(ref, allowance)
        except BaseException:
            allowance.give_back()
            raise
        if isinstance(fetched, Refusal):
            allowance.give_back()
        return fetched

    def windows(self, grid: Grid) -> Windows:
        """Prepare to read windows of scenes."""
        return Windows(grid, self._decoding, Parts(self._limits, self._budget, self._turn))

    def fetch_bytes(self, ref: ImageRef, admit: Admit) -> bytes:
        """Fetch the bytes of an image; in a stream, from one thread at a time.

        Args:
          ref: the image.
          admit: asked before the rest of a large image is fetched.

        Raises:
          OSError: they cannot be read, or there are too many.
        """
        return fetch(ref, self._limits.max_bytes, self._streams, admit)

    def decode_bytes(self, data: bytes) -> Resized:
        """Decode a file's bytes to pixels.

        Raises:
          ImageError: they cannot be decoded.
        """
        return self._pool.decode(data) if self.is_apart(data) else decode_resized(data, self._decoding)

    def is_apart(self, head: bytes) -> bool:
        """Return whether an image that begins like this is decoded in a process of its own."""
        return self._limits.isolated or holds_interpreter(head)

    def close(self) -> None:
        """Abandon work in progress and release the streams and children."""
        # Nothing needs the images that are still being fetched.
        abandoning = interruption.overdue()
        with storage.hurried(interruption.asked()):
            self._prefetch.close(wait=not abandoning)
        if self._windows:
            self._windows.close()
        self._streams.give_back()
        self._pool.close()

    def _fetch_window(self, windows: Windows, ref: ImageRef) -> Fetched | Refusal | None:
        try:
            window = windows.fetch(ref)
        except (ImageError, OSError) as error:
            return refused(error)
        return FetchedWindow(window) if window else None

    def _fetch_file(self, ref: ImageRef, allowance: Allowance) -> Fetched | Refusal:
        try:
            return FetchedFile(self.decode_bytes, ref, self._fetch_admitted(ref, allowance), allowance)
        except (ImageError, OSError) as error:
            return refused(error)
        except MemoryError as error:
            return refusal("read", error, f"{quantity(ref.size, 'byte does', 'bytes do')} not fit in memory")

    def _fetch_admitted(self, ref: ImageRef, allowance: Allowance) -> bytes:
        """Fetch an image, with an allowance for all that it takes until it is decoded.

        Raises:
          ImageError: its head shows that it cannot be decoded.
          MemoryError: there is less memory than its bytes take.
          OSError: it cannot be read.
        """
        is_judged = False

        def admit(head: bytes, fetching: int) -> None:
            nonlocal is_judged
            cost = judge_head(head, self._limits.max_pixels)
            # Only a TIFF may describe itself behind its pixels.
            is_judged = cost.known or recognize(head) != "tiff"
            self._allow(allowance, fetching + self._copies(head) * ref.size, cost)

        data = self._prefetch.wait(ref, admit) if archives.is_streamed(ref) else self.fetch_bytes(ref, admit)
        if not is_judged:
            try:
                cost = judge_head(data, self._limits.max_pixels)
            except ImageError:
                # Decoding begins with a closer look, and may have another reason.
                return data
            self._allow(allowance, (1 + self._copies(data)) * len(data), cost)
        return data

    def _copies(self, head: bytes) -> int:
        # Decoders copy some files once, and a child has a copy of its own.
        return 2 if self.is_apart(head) else 1

    def _allow(self, allowance: Allowance, size: int, decoding: Cost) -> None:
        needed, memory = size + decoding.bytes, self._budget.memory
        if size > memory:
            raise MemoryError
        if decoding.known and needed > memory:
            raise ImageTooLargeError(
                f"decoding takes {needed / 1e6:,.0f} MB of memory, but only {memory / 1e6:,.0f} MB may be used",
                "use a machine with more memory",
            )
        if min(needed, self._budget.capacity) > allowance.taken:
            allowance.take(needed)
        interruption.check()


@cache
def _turns_at_parts(threads: int) -> threading.Semaphore:
    """Limit how many parts of scenes a process decodes at once, in however many sources.

    These turns are not those of the queues in `ahead`: a part may take seconds to decode, and meanwhile the windows
    that are ready are passed to the model.
    """
    return threading.Semaphore(threads)
