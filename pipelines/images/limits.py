"""Per-image limits and resize filters, importable without a decoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

MAX_PIXELS = 64_000_000
"""Pixels of the largest image that is decoded; 64 million take 256 MB as four 8-bit samples each."""

SMALL_FILE = 1 << 20
"""Bytes of a file that is fetched without being judged by its head: a second request would cost more."""
HEAD = 1 << 16
"""Bytes by which a larger file is judged before the rest of it is fetched or unpacked."""

A_DAY = 86_400.0
"""Seconds; in effect no limit of the time to decode an image."""

RESIZE_FILTERS = ("bilinear16", "box", "bilinear", "hamming", "bicubic", "lanczos")
"""Filters for resizing; all of them average over the area that a pixel covers. All but the first are Pillow's."""

FITS = ("squash", "crop", "pad")
"""How an image that is no square becomes one: out of proportion, by its middle, or with grey margins."""

RESIZINGS = tuple(name if fit == "squash" else f"{name}+{fit}" for name in RESIZE_FILTERS for fit in FITS)
"""Filters with what fits an image into a square: `bilinear16`, which squashes, `bilinear16+crop`, and so on."""


@dataclass(frozen=True)
class Limits:
    """Per-image limits; an image over a limit becomes a failure.

    Attributes:
      max_bytes: size of its file.
      max_pixels: columns times rows.
      max_seconds: decoding time; applies only if decoding is isolated, since a thread cannot be stopped.
      isolated: whether images are decoded in separate processes, which may crash.
    """

    max_bytes: int = 512_000_000
    max_pixels: int = MAX_PIXELS
    max_seconds: float = 60.0
    isolated: bool = False

    def __post_init__(self) -> None:
        """Refuse limits that no image could meet."""
        for name in ("max_bytes", "max_pixels", "max_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0, not {getattr(self, name)}")

    def in_processes(self) -> Limits:
        """Return limits with which images are decoded in separate processes, without a limit of time unless it holds.

        Threads share Python's lock, which leaves an engine on a GPU idle most of the time.
        """
        return self if self.isolated else replace(self, isolated=True, max_seconds=A_DAY)

    @classmethod
    def given(cls, max_bytes: int | None, max_pixels: int | None, max_seconds: float | None, isolated: bool) -> Limits:
        """Return the given limits, with defaults in place of those that are None."""
        named: dict[str, Any] = {"max_bytes": max_bytes, "max_pixels": max_pixels, "max_seconds": max_seconds}
        return cls(**{name: limit for name, limit in named.items() if limit is not None}, isolated=isolated)
