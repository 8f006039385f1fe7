"""What the boxes of a JPEG 2000 say of where its pixels lie: a GeoTIFF of one pixel (GeoJP2), or GML (GMLJP2)."""

from __future__ import annotations

import re
import struct

from pipelines.images import ImageError
from pipelines.images.jpeg2000.layout import walk_boxes
from pipelines.images.jpeg2000.size import SIGNATURE
from pipelines.images.parts import Data
from pipelines.images.tiff.directories import read_directory
from pipelines.scenes.geokeys import projected_keys
from pipelines.scenes.georeference import Georeference, GeoTags, read_georeference

_GEOTIFF = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")
_MOST_BYTES = 1 << 20
_SYSTEM = re.compile(rb'srsName\s*=\s*["\'](?:urn:ogc:def:crs:EPSG:[\d.]*:|EPSG:)(\d{4,6})["\']')
_ORIGIN = re.compile(rb"<gml:origin>.{0,400}?<gml:(?:pos|coordinates)[^>]{0,200}>([^<]{1,200})<", re.DOTALL)
_STEP = re.compile(rb"<gml:offsetVector[^>]{0,200}>([^<]{1,200})<")
# Zones of UTM, whose axes are east and north: of other systems, GML may turn them around.
_ZONES = re.compile(r"32[67](0[1-9]|[1-5]\d|60)", re.ASCII)


def find_georeference(data: Data) -> Georeference | None:
    """Return what a JPEG 2000 says of where its pixels lie; None if it says nothing.

    A GeoTIFF in it counts before GML: it is unambiguous.

    Raises:
      ImageError: its boxes are damaged.
      struct.error: it ends in them.
    """
    if data[: len(SIGNATURE)] == SIGNATURE:
        return None
    in_gml = None
    for name, start, end in walk_boxes(data, 0, len(data)):
        if name == b"jp2c":
            break
        if end - start > _MOST_BYTES:
            continue
        if name == b"uuid" and data[start : start + len(_GEOTIFF)] == _GEOTIFF:
            if found := _read_geotiff(data[start + len(_GEOTIFF) : end]):
                return found
        elif name == b"asoc" and in_gml is None:
            in_gml = _read_gml(data[start:end])
    return in_gml


def _read_geotiff(data: bytes) -> Georeference | None:
    try:
        directory = read_directory(data)
    except (ImageError, struct.error, IndexError):
        return Georeference(reason="the GeoTIFF in it is damaged")
    return read_georeference(directory.texts, directory.form.order)


def _read_gml(gml: bytes) -> Georeference | None:
    """Read a rectified grid of GML; what it counts are the centres of pixels."""
    system, origin, steps = _SYSTEM.search(gml), _ORIGIN.search(gml), _STEP.findall(gml)
    if not (system and origin and len(steps) == 2):
        return None
    code = system[1].decode()
    if not _ZONES.fullmatch(code):
        return Georeference(reason=f"its GML names EPSG:{code}, and of GML only zones of UTM are understood")
    try:
        (x, y), (a, d), (b, e) = (map(float, re.split(rb"[\s,]+", text.strip())) for text in (origin[1], *steps))
    except ValueError:
        return Georeference(reason="the GML that says where it lies is damaged")
    if a * e == b * d:
        return Georeference(reason="its pixels have no area on the ground")
    transform = a, b, x - (a + b) / 2, d, e, y - (d + e) / 2
    return Georeference(transform, f"EPSG:{code}", tags=GeoTags(transform, projected_keys(int(code))))
