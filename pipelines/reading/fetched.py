"""An image that is fetched and waits to be decoded, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from pipelines import storage
from pipelines.images import ImageError, Resized
from pipelines.reading.windows import OpenWindow, WindowPixels
from pipelines.records import ImageRef
from pipelines.supervision import interruption, watchdog
from pipelines.supervision.budget import Allowance


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


Read = Resized | WindowPixels | Refusal | None
"""What becomes of an image: pixels, or the reason why it cannot be read; None for a window without enough data."""


class Fetched(Protocol):
    """An image that is fetched, and holds memory until it is decoded.

    Attributes:
      ref: of the image.
    """

    ref: ImageRef

    def decode(self) -> Read:
        """Decode the image, and let go of what it was decoded from."""
        ...

    def let_go(self) -> None:
        """Let go of what the image would be decoded from."""
        ...


class FetchedFile:
    """The bytes of a file, or of a member of an archive."""

    def __init__(self, decode: Callable[[bytes], Resized], ref: ImageRef, data: bytes, allowance: Allowance) -> None:
        """Hold the bytes of the image, and the allowance for what they take until they are decoded."""
        self.ref = ref
        self._decode = decode
        self._data = data
        self._allowance = allowance

    def decode(self) -> Resized | Refusal:
        """Decode the image; see `Fetched`."""
        # The bytes are handed over: their memory is free when the allowance ends.
        with self._allowance, watchdog.noted(self.ref.path):
            try:
                return self._decode(self._hand_over())
            except ImageError as error:
                return refusal("decode", error, str(error))

    def let_go(self) -> None:
        """Give back the memory."""
        self._hand_over()
        self._allowance.give_back()

    def _hand_over(self) -> bytes:
        data, self._data = self._data, b""
        return data


class FetchedWindow:
    """A window whose parts of the scene are decoded."""

    def __init__(self, window: OpenWindow) -> None:
        """Hold the window."""
        self.ref = window.ref
        self._window = window

    def decode(self) -> WindowPixels | Refusal | None:
        """Show the window; see `Fetched`."""
        try:
            return self._window.show()
        except ImageError as error:
            return refusal("decode", error, str(error))

    def let_go(self) -> None:
        """Let go of the parts."""
        self._window.let_go()


def refused(error: ImageError | OSError) -> Refusal:
    """Say why an image was not read; its bytes cannot be had, or their beginning shows that they cannot be decoded.

    Raises:
      InterruptedRunError: the run was asked to stop, which may be why.
    """
    if isinstance(error, ImageError):
        return refusal("decode", error, str(error))
    if isinstance(error, storage.TransientError):
        interruption.check()
    return refusal("read", error, storage.reason_of(error))


def refusal(stage: str, error: Exception, message: str) -> Refusal:
    """Name an error and its reason."""
    return Refusal(stage, type(error).__name__, message)
