"""The flags that say how scenes are cut into windows, for every command that tags."""

from __future__ import annotations

import argparse
import os

from pipelines import storage
from pipelines.commandline.numbers import SHARE, Range, at_least
from pipelines.commandline.parser import UsageError, check_range
from pipelines.images.rendering import COLOURS
from pipelines.scenes.documents import Documents
from pipelines.scenes.grid import CLEAR, EDGES, NO_GRID, SHIFT, Grid

_LEAST, _MOST = 16, 8192
_SIDE = at_least(_LEAST, _MOST)
# NaN and infinity never hold data.
_VALUE = Range(example="0")
_YES, _NO = "true", "false"


def add_scenes(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a parser."""
    group = parser.add_argument_group(
        "scenes",
        "How TIFF and JPEG 2000 files that are georeferenced, or larger than a tile, are cut into windows, each of\n"
        "them tagged as an image named SCENE#xywh=COLUMN,ROW,WIDTH,HEIGHT. See docs/scenes.md.",
    )
    group.add_argument(
        "--tile",
        type=_SIDE,
        metavar="PIXELS",
        help=f"cut scenes into windows of this size, {_LEAST} to {_MOST:,} (default: do not cut)",
    )
    group.add_argument(
        "--stride",
        type=_SIDE,
        metavar="PIXELS",
        help=f"pixels from one window to the next, {_LEAST} to {_MOST:,} (default: --tile)",
    )
    group.add_argument(
        "--min_valid",
        type=SHARE,
        metavar="SHARE",
        help=f"leave out windows with a smaller share of valid pixels, 0 to 1 (default {NO_GRID.min_valid})",
    )
    group.add_argument(
        "--nodata",
        type=_VALUE,
        metavar="VALUE",
        help="value of the pixels of TIFFs that hold no data, in place of the one that a file names, e.g. 0 for black "
        "borders",
    )
    group.add_argument(
        "--mask",
        metavar=f"{CLEAR}SHARE",
        help="leave out windows with a smaller share of clear pixels in Planet's usable data mask, the file "
        f"..._udm2.tif next to each scene, e.g. '{CLEAR}0.5'",
    )
    group.add_argument(
        "--edge",
        choices=EDGES,
        help="at the edges of a scene, shift windows back into it, pad them with black, or drop them "
        f"(default {SHIFT})",
    )
    group.add_argument(
        "--asset",
        metavar="KEY",
        help="treat inputs that end in .json or .geojson as STAC items, item collections or catalogues, and tag the "
        "asset that each item has under this key, e.g. visual; or, with --tile, the scene whose red, green and blue "
        "bands are its assets under three keys, e.g. red,green,blue",
    )
    group.add_argument(
        "--allow_vrt",
        nargs="?",
        const=_YES,
        metavar="FOLDER,...",
        help="also cut virtual rasters (.vrt) whose bands are separate files, as `gdalbuildvrt -separate` makes them; "
        "the files must lie next to or below the .vrt, or in one of these folders or buckets",
    )


def read_documents(asset: str | None, allow_vrt: str | None, tile: int | None, bands: str | None) -> Documents:
    """Read the values of the flags that let documents name files.

    Args:
      asset: value of `--asset`.
      allow_vrt: that of `--allow_vrt`.
      tile: that of `--tile`.
      bands: that of `--bands`.

    Raises:
      UsageError: a value is malformed, or needs another one, or excludes it.
    """
    if tile is None and allow_vrt is not None and allow_vrt.lower() != _NO:
        raise UsageError("--allow_vrt needs --tile", "add --tile, e.g. --tile 256")
    return Documents(_read_keys(asset, tile, bands) if asset is not None else (), _read_trusted(allow_vrt))


def _read_keys(text: str, tile: int | None, bands: str | None) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in text.split(","))
    if len(keys) not in (1, len(COLOURS)) or not all(keys):
        raise UsageError(f"--asset {text}: neither one key nor three", "write e.g. --asset red,green,blue")
    if sorted(keys) == sorted(COLOURS) and keys != COLOURS:
        raise UsageError(f"--asset {text} would swap colours", f"write --asset {','.join(COLOURS)}, in this order")
    if len(keys) > 1 and tile is None:
        raise UsageError(
            f"--asset {text}: scenes whose bands are files of their own are read in windows",
            "add --tile, e.g. --tile 256",
        )
    if len(keys) > 1 and bands:
        raise UsageError(f"--asset {text} says which bands are red, green and blue", "omit --bands")
    return keys


def _read_trusted(allow_vrt: str | None) -> tuple[str, ...] | None:
    if allow_vrt is None or allow_vrt.lower() == _NO:
        return None
    if allow_vrt.lower() == _YES:
        return ()
    named = allow_vrt.split(",")
    if not all(named):
        raise UsageError(f"--allow_vrt {allow_vrt}: a folder without a name", "name folders or buckets, or omit them")
    try:
        folders = tuple(map(storage.normalize, named))
    except storage.UnsupportedStorageError as error:
        raise UsageError(f"--allow_vrt {error.message}", error.remedy) from error
    for folder in folders:
        if not storage.is_remote(folder) and not os.path.isdir(folder):
            raise UsageError(f"--allow_vrt {folder} is not a folder", "name a folder or a bucket")
    return folders


def read_grid(
    tile: int | None,
    stride: int | None,
    min_valid: float | None,
    edge: str | None,
    mask: str | None,
    nodata: float | None,
) -> Grid:
    """Read the values of the flags.

    Raises:
      UsageError: a value is out of its range, or needs `--tile`.
    """
    if tile is None:
        others = {"--stride": stride, "--min_valid": min_valid, "--edge": edge, "--mask": mask, "--nodata": nodata}
        if flag := next((flag for flag, value in others.items() if value is not None), ""):
            raise UsageError(f"{flag} needs --tile", "add --tile, e.g. --tile 256")
        return NO_GRID
    check_range("--tile", tile, _SIDE)
    check_range("--stride", stride, _SIDE)
    check_range("--min_valid", min_valid, SHARE)
    check_range("--nodata", nodata, _VALUE)
    return Grid(
        tile,
        tile if stride is None else stride,
        NO_GRID.min_valid if min_valid is None else min_valid,
        SHIFT if edge is None else edge,
        0.0 if mask is None else _read_mask(mask),
        nodata,
    )


def _read_mask(text: str) -> float:
    try:
        share = float(text.removeprefix(CLEAR)) if text.startswith(CLEAR) else 0.0
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UsageError(
            f"--mask {text}: not of the form {CLEAR}SHARE, with a share above 0 and up to 1",
            f"write e.g. --mask '{CLEAR}0.5'",
        )
    return share
