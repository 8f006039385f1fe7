"""Real chips, at a model's size, and what can be wrong with such images."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.images import DecodeSettings, decode, decode_resized
from pipelines.images.appearance import measure

_SETTINGS = DecodeSettings(224, "bilinear16")
_CHIPS = 360
"""Of 600: enough, in a second."""

Pixels = NDArray[np.uint8]


@cache
def appearances(planet: Path) -> NDArray[np.float64]:
    """Return what chips look like: float64[N, K]."""
    return measure([decode_resized(path.read_bytes(), _SETTINGS).pixels for path in _paths(planet)])


@cache
def changed(planet: Path, change: str) -> NDArray[np.float64]:
    """Return what 60 chips that are not the first of `appearances` look like after a change."""
    chips = [decode(path.read_bytes()).pixels for path in _paths(planet)[-60:]]
    resized = [Image.fromarray(CHANGES[change](chip)).resize((224, 224), Image.Resampling.BILINEAR) for chip in chips]
    return measure([np.asarray(image) for image in resized])


def _paths(planet: Path) -> list[Path]:
    return sorted((planet / "sample" / "jpg").iterdir())[:_CHIPS]


def _scaled(factor: float) -> Callable[[Pixels], Pixels]:
    return lambda pixels: np.clip(pixels * factor, 0, 255).astype(np.uint8)


def _gray(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))


def _blurred(pixels: Pixels) -> Pixels:
    coarse = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BOX)
    return np.asarray(coarse.resize((256, 256), Image.Resampling.BICUBIC))


def _magnified(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels[96:160, 96:160]).resize((256, 256), Image.Resampling.BICUBIC))


def _compressed(pixels: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=10)
    return np.asarray(Image.open(file))


def _half_black(pixels: Pixels) -> Pixels:
    return np.concatenate([np.zeros_like(pixels[:128]), pixels[128:]])


CHANGES: Mapping[str, Callable[[Pixels], Pixels]] = {
    "nothing": lambda pixels: pixels,
    "turned": lambda pixels: np.rot90(pixels),
    "red and blue exchanged": lambda pixels: pixels[..., ::-1],
    "red and green exchanged": lambda pixels: pixels[..., [1, 0, 2]],
    "bands rotated": lambda pixels: pixels[..., [1, 2, 0]],
    "inverted": lambda pixels: 255 - pixels,
    "dark": _scaled(0.4),
    "bright": _scaled(1.6),
    "gray": _gray,
    "blurred": _blurred,
    "magnified": _magnified,
    "compressed": _compressed,
    "half black": _half_black,
}
