"""Image files become true sRGB pixels, or a reason why not; this room knows neither Beam nor TensorFlow.

`decode` gives the pixels of a file as they are, `decode_resized` those that a model takes. Both repair what decoders
get silently wrong, and raise an `ImageError` where the colours cannot be trusted.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.images.decoding import (
        Decoded,
        DecodeSettings,
        Pixels,
        Resized,
        decode,
        decode_resized,
        ignore_metadata_warnings,
        resize,
    )
    from pipelines.images.layout import ImageError

_ROOMS = {
    **dict.fromkeys(
        ("DecodeSettings", "Decoded", "Pixels", "Resized", "decode", "decode_resized", "resize"), "decoding"
    ),
    "ImageError": "layout",
}

__all__ = [
    "DecodeSettings",
    "Decoded",
    "ImageError",
    "Pixels",
    "Resized",
    "decode",
    "decode_resized",
    "ignore_metadata_warnings",
    "resize",
]


if not TYPE_CHECKING:  # a checker would take every name for a public one

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first used: every `--help` reads the limits in here, and needs no Pillow."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = "layout" if name == "ImageError" else "decoding"
        return getattr(importlib.import_module(f"{__name__}.{module}"), name)
