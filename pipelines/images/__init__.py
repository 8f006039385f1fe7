"""Decode image files to true sRGB pixels, or report why not; independent of Beam and TensorFlow.

`decode` returns a file's pixels at their own size, `decode_resized` at the size a model takes. Both repair what
decoders silently get wrong, and raise an `ImageError` where the colours cannot be trusted.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.images.decoding import (
        Decoded,
        DecodedPart,
        DecodeSettings,
        Pixels,
        Resized,
        decode,
        decode_part,
        decode_resized,
        decode_values,
        ignore_metadata_warnings,
        resize,
    )
    from pipelines.images.layout import ImageError

__all__ = [
    "DecodeSettings",
    "Decoded",
    "DecodedPart",
    "ImageError",
    "Pixels",
    "Resized",
    "decode",
    "decode_part",
    "decode_resized",
    "decode_values",
    "ignore_metadata_warnings",
    "resize",
]


if not TYPE_CHECKING:  # a type checker would accept any name as public

    def __getattr__(name: str) -> Any:
        """Import a public name on first use: every `--help` reads the limits in here and must not load Pillow."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = "layout" if name == "ImageError" else "decoding"
        return getattr(importlib.import_module(f"{__name__}.{module}"), name)
