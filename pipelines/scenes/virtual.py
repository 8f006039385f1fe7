"""Read virtual rasters: GDAL's VRT files, which say in XML of which files the bands of a scene are.

Only those are understood of which each band is the whole of a file, as `gdalbuildvrt -separate` writes them: then a
window of the scene is the same window of each file.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import NamedTuple
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from pipelines import storage
from pipelines.errors import quantity
from pipelines.images.layout import DamagedImageError, ImageTooLargeError, UnsupportedImageError
from pipelines.images.rendering import Rendering
from pipelines.images.tiff.directories import Directory
from pipelines.images.tiff.entries import Form
from pipelines.images.tiff.rasters import find_raster
from pipelines.images.tiff.samples import read_samples
from pipelines.images.tiff.tags import (
    BITS,
    BLACK_IS_ZERO,
    HEIGHT,
    METADATA,
    PHOTOMETRIC,
    PLANES,
    SAMPLE_FORMAT,
    SAMPLES,
    SEPARATE_PLANES,
    WIDTH,
)
from pipelines.records import File
from pipelines.scenes.georeference import Georeference

ENDING = ".vrt"

_MOST_BYTES = 10_000_000
_MOST_PIXELS = (1 << 31) - 1
"""Of a side, as in GDAL."""
_OPEN = 64
_APART = 0.001
"""Pixels by which a band may be offset from its file: programs round."""
_MOST_SHOWN = 300
_CRS = re.compile(r"EPSG:\d+$|[A-Z_]+\[")

# Name of a type to the number of TIFF's sample format, and bits.
_TYPES = {
    **{"Byte": (1, 8), "UInt16": (1, 16), "Int16": (2, 16), "Float32": (3, 32), "Int8": (2, 8)},
    **{"UInt32": (1, 32), "Int32": (2, 32), "Float64": (3, 64), "UInt64": (1, 64), "Int64": (2, 64)},
}
# What a band may have besides its source: it changes none of its values.
_ABOUT_BAND = {
    *("Description", "ColorInterp", "NoDataValue", "HideNoDataValue", "Metadata", "UnitType", "Offset", "Scale"),
    *("CategoryNames", "Histograms", "Overview"),
}
_ABOUT_FILE = {"SourceFilename", "SourceBand", "SourceProperties", "SrcRect", "DstRect"}
_SOURCES = {"SimpleSource": _ABOUT_FILE, "ComplexSource": {*_ABOUT_FILE, "NODATA"}}
_ABOUT_SCENE = {
    *("SRS", "GeoTransform", "GCPList", "Metadata", "OverviewList", "BlockXSize", "BlockYSize", "VRTRasterBand"),
}


class VirtualBand(NamedTuple):
    """A band, which is the only one of a file.

    Attributes:
      href: the file, as it is named.
      is_relative: whether the name begins at the folder of the virtual raster.
      no_data: the value that stands for no data, as it is written; empty if none does.
    """

    href: str
    is_relative: bool
    no_data: str


class Virtual(NamedTuple):
    """A virtual raster.

    Attributes:
      width: columns.
      height: rows.
      sample: number of TIFF's sample format, and bits of each.
      georeference: where it lies; None if it does not say it.
      bands: all of them, as they are written.
      names: of the bands, as GDAL writes them into a TIFF.
    """

    width: int
    height: int
    sample: tuple[int, int]
    georeference: Georeference | None
    bands: tuple[ElementTree.Element, ...]
    names: bytes

    def choose(self, rendering: Rendering) -> tuple[int, ...]:
        """Return the numbers of the bands that are red, green and blue, from 0, or of the only one.

        They are those of a TIFF of the same bands.

        Args:
          rendering: what the user says of rasters.

        Raises:
          ImageError: it is unknown, or there are no such bands.
        """
        number, (kind, bits) = len(self.bands), self.sample
        tags = {
            **{WIDTH: (self.width,), HEIGHT: (self.height,), SAMPLES: (number,), BITS: (bits,) * number},
            **{SAMPLE_FORMAT: (kind,) * number, PHOTOMETRIC: (BLACK_IS_ZERO,), PLANES: (SEPARATE_PLANES,)},
        }
        form, texts = Form("<", "I", "H", 4), {METADATA: self.names}
        as_tiff = Directory(form, 0, 0, tags, texts, b"", {}, is_bare=True, pictures=1)
        raster = find_raster(as_tiff, rendering)
        bands = raster.bands if raster else read_samples(as_tiff).bands
        return bands[:number]

    def band(self, number: int) -> VirtualBand:
        """Return a band, given its number from 0.

        Raises:
          ImageError: it is not the whole of a file.
        """
        try:
            return _read_band(self.bands[number], number + 1, self.width, self.height)
        except ValueError as error:
            raise DamagedImageError(f"damaged VRT: band {number + 1}: {shown(str(error))}") from error


@lru_cache(maxsize=_OPEN)
def read_virtual(file: File) -> Virtual:
    """Read a virtual raster, once per process.

    Raises:
      ImageError: it is none, damaged, or more than bands of files.
      OSError: it cannot be read.
    """
    if file.size > _MOST_BYTES:
        raise ImageTooLargeError(f"VRT of {quantity(file.size, 'byte')}: the limit is {_MOST_BYTES:,}")
    data = storage.read_range(file.path, 0, file.size, file.fingerprint)
    try:
        # Honest ones define no entities; those of a stranger could grow without bound.
        text = data.decode()
        if "<!DOCTYPE" in text:
            raise UnsupportedImageError("VRT with a document type of its own")
        root = ElementTree.fromstring(text)
        return _read_scene(root)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise DamagedImageError(f"damaged VRT: {shown(str(error))}") from error


def _read_scene(root: ElementTree.Element) -> Virtual:
    if root.tag != "VRTDataset":
        raise UnsupportedImageError(f"VRT whose root is {shown(root.tag)}")
    if kind := root.get("subClass"):
        raise UnsupportedImageError(f"VRT of the kind {shown(kind)}: only bands of files are supported")
    _check_children(root, _ABOUT_SCENE, "VRT")
    width, height = (int(root.get(side) or "") for side in ("rasterXSize", "rasterYSize"))
    bands = tuple(root.iterfind("VRTRasterBand"))
    if not bands or min(width, height) < 1:
        raise DamagedImageError("damaged VRT: no bands, or no pixels")
    if max(width, height) > _MOST_PIXELS:
        raise ImageTooLargeError(f"VRT of more than {_MOST_PIXELS:,} columns or rows")
    if any(band.findtext("ColorInterp") == "Alpha" for band in bands):
        raise UnsupportedImageError("VRT with a band of opacity, which is not supported")
    kinds = {band.get("dataType", "Byte") for band in bands}
    if len(kinds) > 1 or not kinds <= _TYPES.keys():
        raise UnsupportedImageError(f"VRT with samples of the kinds {shown(', '.join(sorted(kinds)))}")
    return Virtual(width, height, _TYPES[kinds.pop()], _read_place(root), bands, _name_bands(bands))


def _read_place(root: ElementTree.Element) -> Georeference | None:
    text, crs = root.findtext("GeoTransform"), (root.findtext("SRS") or "").strip()
    if text is None:
        points = root.find("GCPList") is not None
        return Georeference(reason="it has ground control points alone") if points else None
    c, a, b, f, d, e = map(float, text.split(","))
    transform = (a, b, c, d, e, f)
    if not all(map(math.isfinite, transform)) or a * e == b * d:
        raise ValueError("its GeoTransform gives pixels no area")
    # PROJ understands much else, of which some names files.
    is_known = _CRS.match(crs) is not None
    return Georeference(transform, crs if is_known else "", reason="" if is_known else "its SRS is not understood")


def _name_bands(bands: tuple[ElementTree.Element, ...]) -> bytes:
    items = (
        f'<Item name={quoteattr(role)} sample="{number}" role="{role}">{escape(name.strip())}</Item>'
        for number, band in enumerate(bands)
        for role, name in (
            ("description", band.findtext("Description") or ""),
            ("colorinterp", band.findtext("ColorInterp") or ""),
        )
        if name.strip()
    )
    return f"<GDALMetadata>{''.join(items)}</GDALMetadata>".encode()


def _read_band(band: ElementTree.Element, number: int, width: int, height: int) -> VirtualBand:
    what = f"VRT whose band {number}"
    if kind := band.get("subClass"):
        raise UnsupportedImageError(f"{what} is a {shown(kind)}: only bands of files are supported")
    sources = [child for child in band if child.tag.endswith("Source")]
    if len(sources) != 1:
        raise UnsupportedImageError(
            f"{what} is made of {quantity(len(sources), 'file')}, and not of one: mosaics are not supported",
            "tag the files that it is made of, or make a file of it, e.g. with gdal_translate -of COG",
        )
    [source] = sources
    _check_children(band, {*_ABOUT_BAND, *_SOURCES}, what)
    _check_children(source, _SOURCES.get(source.tag, set()), f"the {source.tag} of a {what}")
    if source.findtext("SourceBand", "1").strip() != "1":
        raise UnsupportedImageError(f"{what} is not the first of its file: only files of a single band are supported")
    whole = (0.0, 0.0, float(width), float(height))
    for tag in ("SrcRect", "DstRect"):
        rectangle = source.find(tag)
        if rectangle is None:
            continue
        sides = [float(rectangle.get(side) or "") for side in ("xOff", "yOff", "xSize", "ySize")]
        if not all(abs(side - other) <= _APART for side, other in zip(sides, whole, strict=True)):
            raise UnsupportedImageError(
                f"{what} is a part of its file, or resampled: only files of the same grid are supported",
                "bring them to one grid, e.g. with gdalwarp",
            )
    name = source.find("SourceFilename")
    if name is None or not name.text:
        raise DamagedImageError(f"damaged {what} names no file")
    return VirtualBand(name.text, name.get("relativeToVRT") == "1", _read_no_data(band, source, what))


def _read_no_data(band: ElementTree.Element, source: ElementTree.Element, what: str) -> str:
    of_band, of_source = band.findtext("NoDataValue", "").strip(), source.findtext("NODATA", "").strip()
    value = float(of_band or 0)
    if of_source and not (float(of_source) == value or (math.isnan(float(of_source)) and math.isnan(value))):
        raise UnsupportedImageError(
            f"{what} shows the value {shown(of_source)} of its file as {shown(of_band or '0')}: only values as they "
            "are stored are supported"
        )
    return of_band or of_source


def _check_children(parent: ElementTree.Element, known: set[str], what: str) -> None:
    for child in parent:
        if child.tag not in known:
            raise UnsupportedImageError(f"{what} has a {shown(child.tag)}, which is not supported")


def shown(text: str) -> str:
    """Shorten what a stranger wrote."""
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
