"""Read what the user says of JPEG 2000s: how one band of more than 8 bits is shown, and what holds no data."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.images.jpeg2000.layout import read_jpeg2000
from pipelines.images.layout import Layout, UntrustedColoursError
from pipelines.images.loading import STRIP_PIXELS, load_whole, open_image
from pipelines.images.parts import Data
from pipelines.images.products import PRODUCTS
from pipelines.images.rendering import COLOURS, NO_RENDERING, Rendering
from pipelines.images.tiff.rendering import stretched

_PILLOWS_BITS = 16


def read_raster(data: Data, rendering: Rendering = NO_RENDERING) -> Layout:
    """Read the layout of a JPEG 2000, and how it is shown if it is not a picture by itself.

    Args:
      data: the file.
      rendering: of files that are no picture by themselves.

    Raises:
      ImageError: it is damaged, not supported, or its colours are unknown.
    """
    layout = read_jpeg2000(data, rendering)
    fill = PRODUCTS[rendering.product].fill if rendering.product else None
    if layout.samples == len(COLOURS) and layout.bits == 8:
        # Sentinel-2's true colours, in which no surface is black.
        return layout._replace(no_data=fill)
    if layout.samples > 1 or layout.bits <= 8 or not rendering.stretch:
        return layout
    if len(set(rendering.stretch)) != 1:
        raise UntrustedColoursError("JPEG 2000 of one band, but --stretch says three ranges", "give it one range")
    return layout._replace(render=partial(_render, layout, *rendering.stretch[0], fill))


def _render(
    layout: Layout, low: float, high: float, fill: int | None, data: bytes, holes: NDArray[np.bool_] | None = None
) -> tuple[Image.Image, list[str]]:
    """Show the values from `low` to `high`; all are data but `fill`, for the format itself has no value for others."""
    pixels, lacks_data = layout.to_pixels(data), False
    with open_image(pixels, layout) as image:
        load_whole(image, pixels, layout)
        levels = np.empty((image.height, image.width), np.uint8)
        rows = max(1, STRIP_PIXELS // image.width)
        for top in range(0, image.height, rows):
            strip = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
            # Pillow scales them to 16 bits.
            values = strip >> (_PILLOWS_BITS - layout.bits)
            levels[top : top + len(strip)] = stretched(values, low, high)
            if fill is not None:
                lacks = values == fill
                lacks_data |= bool(lacks.any())
                if holes is not None:
                    holes[top : top + len(strip)] = lacks
    shown = Image.fromarray(levels)
    return Image.merge("RGB", (shown, shown, shown)), [*["no_data_kept"] * lacks_data, "stretched", "grayscale"]
