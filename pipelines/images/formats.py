"""Read what an image file says about its own pixels from its header, without decoding it.

Where a header is unusual, decoders guess, and their guesses differ. `pipelines.images` relies on the layout read here
instead.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import partial

from pipelines.images.bmp import read_bmp
from pipelines.images.gif import read_gif
from pipelines.images.jpeg.layout import read_jpeg
from pipelines.images.jpeg2000.layout import MARK
from pipelines.images.jpeg2000.rendering import read_raster
from pipelines.images.jpeg2000.size import SIGNATURE
from pipelines.images.layout import DamagedImageError, Layout, NotAnImageError, UnsupportedImageError
from pipelines.images.png import read_png
from pipelines.images.rendering import NO_RENDERING, Rendering
from pipelines.images.tiff.layout import read_tiff
from pipelines.images.webp import read_webp

SIGNATURES = {
    b"\xff\xd8\xff": "jpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"BM": "bmp",
    MARK: "jpeg2000",
    SIGNATURE: "jpeg2000",
}
ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".gif", ".bmp", ".webp"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
)
"""Lowercase name endings of files that are listed as images in a folder."""

_READ = "JPEG, JPEG 2000, PNG, TIFF, GIF, BMP or WebP"
_BRAND = 8
# Formats that are not read, by where a mark of theirs is; more special ones first.
_OTHERS = (
    *((_BRAND, brand, "AVIF") for brand in (b"avif", b"avis")),
    *((_BRAND, brand, "HEIC") for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")),
    *((_BRAND, brand, "HEIF") for brand in (b"mif1", b"msf1")),
    (_BRAND, b"crx ", "CR3"),
    (4, b"ftyp", "MP4"),
    *((0, mark, "JPEG XL") for mark in (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")),
    (0, b"II\xbc\x01", "JPEG XR"),
    (0, b"8BPS", "PSD"),
    (0, b"%PDF", "PDF"),
    *((0, mark, "PostScript") for mark in (b"%!PS", b"\xc5\xd0\xd3\xc6")),
    (0, b"<svg", "SVG"),
    (0, b"<VRTDataset", "VRT"),
    *((0, mark, "NetCDF") for mark in (b"CDF\1", b"CDF\2", b"CDF\5")),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5"),
    (0, b"NITF", "NITF"),
    (0, b"GRIB", "GRIB"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"msid", "MrSID"),
    (128, b"DICM", "DICOM"),
    (0, b"v/1\1", "OpenEXR"),
    (0, b"DDS ", "DDS"),
    (0, b"qoif", "QOI"),
    (0, b"\0\0\1\0", "ICO"),
    (0, b"FUJIFILMCCD-RAW", "RAF"),
    *((0, mark, "ORF") for mark in (b"IIRO", b"IIRS", b"MMOR")),
    (0, b"IIU\0", "RW2"),
    *((0, f"P{kind}".encode() + space, "PNM") for kind in range(1, 8) for space in (b"\n", b" ", b"\r")),
)

# RIFF is a container for many formats, so WebP is recognized by two marks.
_RIFF, _WEBP = b"RIFF", b"WEBP"


def read_layout(data: bytes, rendering: Rendering = NO_RENDERING) -> Layout:
    """Read the layout of an image file.

    Args:
      data: the whole file, or at least its headers.
      rendering: of rasters that are no picture by themselves.

    Raises:
      ImageError: the data is not an image in a known format, its header is truncated, or the header alone shows that
        the colours cannot be trusted.
    """
    format_name = recognize(data)
    readers: Mapping[str, Callable[[bytes], Layout]] = {
        "jpeg": read_jpeg,
        "png": read_png,
        "tiff": partial(read_tiff, rendering=rendering),
        "gif": read_gif,
        "bmp": read_bmp,
        "webp": read_webp,
        "jpeg2000": partial(read_raster, rendering=rendering),
    }
    try:
        return readers[format_name](data)
    except (struct.error, IndexError, OverflowError) as error:
        raise DamagedImageError(f"truncated {format_name.upper()} header") from error


def recognize(data: bytes) -> str:
    """Return the name of an image file's format, by its first bytes.

    Raises:
      UnsupportedImageError: it is in a format that is known, but not read.
      NotAnImageError: it is in none of the known formats.
    """
    if not data:
        raise NotAnImageError("empty file")
    format_name = next((name for mark, name in SIGNATURES.items() if data.startswith(mark)), None)
    if data.startswith(_RIFF) and data[8:12] == _WEBP:
        format_name = "webp"
    if format_name is None:
        other = next((name for at, mark, name in _OTHERS if data.startswith(mark, at)), None)
        if other is not None:
            raise UnsupportedImageError(f"{other} file: this format is not supported, only {_READ} is")
        raise NotAnImageError(f"not a {_READ} file: begins with {data[:8]!r}")
    return format_name
