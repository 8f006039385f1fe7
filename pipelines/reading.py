"""Read one image for a model: fetch it within limits, and decode it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from pipelines import archives, storage, watchdog
from pipelines.decoding import Decode, Refusal
from pipelines.images import MAX_PIXELS
from pipelines.records import Failure, Image, ImageRef

Fetch = Callable[[], bytes]


@dataclass(frozen=True)
class Limits:
    """What one image may cost, beyond which it becomes a failure.

    Attributes:
      max_bytes: of its file.
      max_pixels: columns times rows.
      max_seconds: for decoding it; holds where decoding is isolated, for nothing stops a thread.
      isolated: whether images are decoded in processes of their own, which may crash.
    """

    max_bytes: int = 512_000_000
    max_pixels: int = MAX_PIXELS
    max_seconds: float = 60.0
    isolated: bool = False

    def __post_init__(self) -> None:
        """Refuse limits that nothing could meet."""
        for name in ("max_bytes", "max_pixels", "max_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0, not {getattr(self, name)}")

    @classmethod
    def given(cls, max_bytes: int | None, max_pixels: int | None, max_seconds: float | None, isolated: bool) -> Limits:
        """Take the limits that somebody named, and the usual ones in place of those that are None."""
        named: dict[str, Any] = {"max_bytes": max_bytes, "max_pixels": max_pixels, "max_seconds": max_seconds}
        return cls(**{name: limit for name, limit in named.items() if limit is not None}, isolated=isolated)


def read_image(
    ref: ImageRef,
    decode: Decode,
    max_bytes: int = Limits.max_bytes,
    turn: AbstractContextManager[object] = nullcontext(),  # noqa: B008 - it holds nothing
    fetch: Fetch | None = None,
) -> Image | Failure:
    """Read an image, or say why that cannot be done.

    Args:
      ref: the image's file.
      decode: makes pixels of the file's bytes.
      max_bytes: of a file; a larger one is not read.
      turn: is entered to decode, so that many threads may fetch while few decode.
      fetch: brings the file's bytes, where that is not for this function to do.

    Returns:
      An `Image`, or a `Failure` of the stage `read` or `decode`.
    """
    size = max(ref.size, ref.span.length if ref.span else 0)
    if size > max_bytes:
        message = f"{size:,} bytes: more than the {max_bytes:,} that are read"
        return Failure(ref.path, "read", storage.FileTooLargeError.__name__, message, ref.fingerprint)
    try:
        data = fetch() if fetch else fetch_image(ref, max_bytes)
    except storage.TransientError as error:
        return _failure(ref, "read", error, f"{error.strerror}: the same command again may succeed")
    except OSError as error:
        return _failure(ref, "read", error, error.strerror or str(error))
    except MemoryError as error:
        return _failure(ref, "read", error, f"{ref.size:,} bytes: more than there is memory for")
    with turn, watchdog.noted(ref.path):
        decoded = decode(data)
    if isinstance(decoded, Refusal):
        return Failure(ref.path, "decode", decoded.error, decoded.message, ref.fingerprint)
    return Image(ref, *decoded)


def fetch_image(ref: ImageRef, max_bytes: int) -> bytes:
    """Bring the bytes of an image, wherever they are.

    Raises:
      OSError: they cannot be read, or are more than may be.
    """
    return archives.read_member(ref) if ref.span else storage.read(ref.path, max_bytes)


def _failure(ref: ImageRef, stage: str, error: Exception, message: str) -> Failure:
    return Failure(ref.path, stage, type(error).__name__, message, ref.fingerprint)
