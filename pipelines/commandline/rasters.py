"""The flags that say how bands of rasters become a picture, for every command that decodes images."""

from __future__ import annotations

import argparse
import re

from pipelines.commandline.parser import UsageError
from pipelines.images.products import PRODUCTS, Stretch
from pipelines.images.rendering import COLOURS, PERCENT, Rendering, is_range, rendering_of

_PERCENTILES = re.compile(rf"{PERCENT}[\d.]+:{PERCENT}[\d.]+(,{PERCENT}[\d.]+:{PERCENT}[\d.]+)*", re.ASCII)


def add_rasters(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the flags to a parser.

    Args:
      parser: of the command.
      default: what holds without them, in words.
    """
    group = parser.add_argument_group(
        "rasters",
        "How 16-bit TIFFs, and TIFFs with bands other than red, green and blue, become pictures;\n"
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
        "green and blue; where scenes are cut, also p2:p98 for percentiles of each scene's own values",
    )
    group.add_argument(
        "--product",
        choices=PRODUCTS,
        metavar="NAME",
        help=f"the bands and the range of values of a product: {', '.join(PRODUCTS)}",
    )


def read_rendering(bands: str | None, stretch: str | None, product: str | None) -> Rendering:
    """Read the values of the flags.

    Raises:
      UsageError: a value is malformed, or they contradict each other.
    """
    known = rendering_of(product or "")
    if known.bands and bands:
        raise UsageError("--product says which bands are red, green and blue", "omit --bands")
    said = known if bands is None else known._replace(bands=_read_bands(bands))
    if stretch is None:
        return said
    if stretch.startswith(PERCENT):
        return said._replace(stretch=(), percentiles=_read_percentiles(stretch))
    return said._replace(stretch=_read_stretch(stretch))


def check_percentiles(rendering: Rendering, are_scenes_cut: bool) -> None:
    """Refuse percentiles of images that are no scenes.

    Raises:
      UsageError: they are.
    """
    if rendering.percentiles and not are_scenes_cut:
        raise UsageError(
            "--stretch of percentiles is for scenes that --tile cuts: a chip's own would show water as bright as "
            "a city",
            "give values, e.g. --stretch 0:3000"
            + ", and --bands, unless the files name them" * (not rendering.bands and not rendering.product),
        )


def _read_bands(text: str) -> tuple[int, ...]:
    try:
        bands = tuple(map(int, text.split(",")))
    except ValueError:
        bands = ()
    if len(bands) != len(COLOURS) or min(bands) < 1:
        raise UsageError(f"--bands {text}: not three band numbers, counted from 1", "write e.g. --bands 3,2,1")
    return bands


def _read_stretch(text: str) -> Stretch:
    ranges = _read_ranges(text)
    if not ranges:
        raise UsageError(
            f"--stretch {text}: neither one range LOW:HIGH nor three, with LOW below HIGH, and none beyond 1e30",
            "write e.g. --stretch 0:3000, or p2:p98 for percentiles",
        )
    return ranges


def _read_percentiles(text: str) -> Stretch:
    ranges = _read_ranges(text.replace(PERCENT, "")) if _PERCENTILES.fullmatch(text) else ()
    if not ranges or not all(high <= 100 for _, high in ranges):
        raise UsageError(
            f"--stretch {text}: neither one range of percentiles nor three, from p0 to p100",
            "write e.g. --stretch p2:p98",
        )
    return ranges


def _read_ranges(text: str) -> Stretch:
    """Return three ranges, of which one was given or each; none if they are malformed."""
    try:
        ranges = tuple((float(low), float(high)) for low, high in (part.split(":") for part in text.split(",")))
    except ValueError:
        return ()
    if len(ranges) not in (1, len(COLOURS)) or not all(is_range(*ends) for ends in ranges):
        return ()
    return ranges if len(ranges) == len(COLOURS) else ranges * len(COLOURS)
