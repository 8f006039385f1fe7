"""Fetch the bytes of an image; of a large one the head first, so that it can be judged before the rest is fetched."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from pipelines import archives, storage
from pipelines.archives import Admit
from pipelines.images.limits import HEAD, SMALL_FILE
from pipelines.records import ImageRef

_PIECE = 1 << 23


def fetch(ref: ImageRef, max_bytes: int, streams: archives.Streams, admit: Admit) -> bytes:
    """Fetch an image; of those in streams, one at a time.

    Args:
      ref: the image.
      max_bytes: upper limit on the size of a file.
      streams: that are open.
      admit: asked before the rest of a large image is fetched; what it raises passes through.

    Raises:
      OSError: the image cannot be read, or has too many bytes.
    """
    if archives.is_streamed(ref):
        return _fetch_from_stream(ref, streams, admit)
    if ref.place:
        return archives.read_member(ref, admit)
    expected = min(max_bytes, max(ref.size, SMALL_FILE))
    try:
        return _fetch_file(ref.path, expected, admit)
    except storage.FileTooLargeError:
        if expected == max_bytes:
            raise
        # It has grown since it was listed, and may still be growing.
        return _fetch_file(ref.path, max_bytes, admit)


def _fetch_file(path: str, most: int, admit: Admit) -> bytes:
    if most > SMALL_FILE:
        admit(storage.read_range(path, 0, HEAD), most)
    return storage.read(path, most)


def _fetch_from_stream(ref: ImageRef, streams: archives.Streams, admit: Admit) -> bytes:
    if ref.size <= SMALL_FILE:
        return streams.read(ref)
    fetched = io.BytesIO()
    fetched.write(_read_part(ref, streams, 0, HEAD))
    admit(fetched.getvalue(), ref.size)
    # In pieces, because a stream cannot go back to the head, and joining the head and the rest would copy both.
    while missing := ref.size - fetched.tell():
        fetched.write(_read_part(ref, streams, fetched.tell(), min(missing, _PIECE)))
    return fetched.getvalue()


def _read_part(ref: ImageRef, streams: archives.Streams, begin: int, length: int) -> bytes:
    assert ref.place
    return streams.read(ref._replace(place=ref.place._replace(start=ref.place.start + begin, length=length)))


class Prefetch:
    """Fetches images one after the other in a thread of its own, in the order in which they are begun.

    That thread never waits for memory by itself: what it has fetched already may hold the memory, until somebody wants
    it. It shows the head of a large image, and fetches the rest once the thread that wants it has been admitted.
    """

    def __init__(self, fetch: Callable[[ImageRef, Admit], bytes]) -> None:
        """Start the thread.

        Args:
          fetch: an image, asking for admission.
        """
        self._fetch = fetch
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="stream")
        self._begun: dict[str, tuple[_Begun, Future[bytes]]] = {}

    def begin(self, ref: ImageRef) -> None:
        """Begin to fetch an image."""
        begun = _Begun()
        data = self._executor.submit(self._fetch, ref, begun.ask)
        data.add_done_callback(begun.ask_nothing)
        self._begun[ref.path] = begun, data

    def wait(self, ref: ImageRef, admit: Admit) -> bytes:
        """Return the bytes of an image; the arguments and errors are those of `fetch`."""
        if ref.path not in self._begun:
            self.begin(ref)
        begun, data = self._begun.pop(ref.path)
        if asked := begun.asked.result():
            try:
                admit(*asked)
            except BaseException:
                begun.admitted.cancel()
                raise
            begun.admitted.set_result(None)
        return data.result()

    def close(self, wait: bool = True) -> None:
        """Abandon what nobody has waited for.

        Args:
          wait: for the image that is being fetched.
        """
        # A copy: a thread that is overdue may still take away what it has waited for.
        for begun, _ in list(self._begun.values()):
            begun.admitted.cancel()
        self._executor.shutdown(wait, cancel_futures=True)


class _Begun:
    """The questions of a fetch in progress: it asks for admission once, or not at all.

    It does not hold the data: a circle of references would keep them in memory after their use.
    """

    def __init__(self) -> None:
        self.asked: Future[tuple[bytes, int] | None] = Future()
        self.admitted: Future[None] = Future()

    def ask(self, head: bytes, size: int) -> None:
        self.asked.set_result((head, size))
        self.admitted.result()

    def ask_nothing(self, _: Future[bytes]) -> None:
        if not self.asked.done():
            self.asked.set_result(None)
