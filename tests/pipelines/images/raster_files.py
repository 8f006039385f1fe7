"""Rasters with bands of many kinds, and what they show by definition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.images import decode
from pipelines.images.rendering import Rendering
from tests import image_files as files

SAMPLE_FORMAT, PROFILE, METADATA = 339, 34675, 42112
FORMATS = {"u": 1, "i": 2, "f": 3}
STRETCH = ((1000.0, 4000.0), (500.0, 3000.0), (0.0, 6000.0))
BGR = Rendering((3, 2, 1), STRETCH)


def scene(bands: int, dtype: Any = np.uint16, height: int = 33, width: int = 47, seed: int = 0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    low, high = (0, 256) if dtype == np.uint8 else (-500 if dtype == np.int16 else 0, 7000)
    return random.integers(low, high, (height, width, bands)).astype(dtype)


def named(samples: NDArray[Any], *names: str) -> bytes:
    """Write a TIFF whose bands GDAL has named."""
    items = "".join(
        f'<Item name="DESCRIPTION" sample="{number}" role="description">{name}</Item>'
        for number, name in enumerate(names)
    )
    metadata = f"<GDALMetadata>{items}</GDALMetadata>\0".encode()
    return files.tiff(samples, files.BLACK_IS_ZERO, tags={METADATA: ("B", list(metadata))})


def shown(samples: NDArray[Any], rendering: Rendering) -> NDArray[Any]:
    """Show bands by the definition, in double precision."""
    levels = []
    for band, (low, high) in zip(rendering.bands, rendering.stretch, strict=True):
        levels.append(np.clip((samples[..., band - 1].astype(float) - low) * 255 / (high - low), 0, 255))
    return np.stack(levels, axis=-1)


def assert_shown(data: bytes, samples: NDArray[Any], rendering: Rendering, repairs: Sequence[str]) -> None:
    decoded = decode(data, rendering=rendering)
    difference = np.abs(decoded.pixels - shown(samples, rendering)).max()
    # Rounding, and no more.
    assert difference <= 0.51, f"differs by {difference} levels"
    assert decoded.repairs == tuple(repairs)
