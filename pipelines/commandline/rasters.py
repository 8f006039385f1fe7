"""The flags that say how bands of rasters become a picture, for every command that decodes images."""

from __future__ import annotations

import argparse

from pipelines.commandline.parser import UsageError
from pipelines.images.rendering import COLOURS, NO_RENDERING, PRODUCTS, Rendering, is_range


def add_rasters(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the flags to a parser.

    Args:
      parser: of the command.
      default: what holds without them, in words.
    """
    group = parser.add_argument_group(
        "rasters",
        "How TIFFs of 16 bits, or of other bands than red, green and blue, become pictures;\n"
        f"by default, {default}. See docs/rasters.md.",
    )
    group.add_argument(
        "--bands",
        metavar="R,G,B",
        help="numbers of the bands that are red, green and blue, from 1 (default: as the file names its bands)",
    )
    group.add_argument(
        "--stretch",
        metavar="LOW:HIGH[,...]",
        help="the values that are shown as black and as white, e.g. 0:3000; one range for all, or three for red, "
        "green and blue",
    )
    group.add_argument(
        "--product",
        choices=PRODUCTS,
        metavar="NAME",
        help=f"the bands and the stretch of a product: {', '.join(PRODUCTS)}",
    )


def read_rendering(bands: str | None, stretch: str | None, product: str | None) -> Rendering:
    """Read the values of the flags.

    Raises:
      UsageError: a value is malformed, or they contradict each other.
    """
    if product and bands:
        raise UsageError("--product says which bands are red, green and blue", "omit --bands")
    known = PRODUCTS[product].rendering if product else NO_RENDERING
    return Rendering(
        _read_bands(bands) if bands is not None else known.bands,
        _read_stretch(stretch) if stretch is not None else known.stretch,
        known.product,
    )


def _read_bands(text: str) -> tuple[int, ...]:
    try:
        bands = tuple(map(int, text.split(",")))
    except ValueError:
        bands = ()
    if len(bands) != COLOURS or min(bands) < 1:
        raise UsageError(f"--bands {text}: not three band numbers, counted from 1", "write e.g. --bands 3,2,1")
    return bands


def _read_stretch(text: str) -> tuple[tuple[float, float], ...]:
    try:
        ranges = tuple((float(low), float(high)) for low, high in (part.split(":") for part in text.split(",")))
    except ValueError:
        ranges = ()
    if len(ranges) not in (1, COLOURS) or not all(is_range(*ends) for ends in ranges):
        raise UsageError(
            f"--stretch {text}: neither one range LOW:HIGH nor three, with LOW below HIGH",
            "write e.g. --stretch 0:3000",
        )
    return ranges if len(ranges) == COLOURS else ranges * COLOURS
