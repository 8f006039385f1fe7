"""When a scene was taken, as far as its tags surely say it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from xml.etree import ElementTree

from pipelines.images.tiff.tags import METADATA

_SURE = (
    "ACQUISITIONDATETIME",
    "DATATAKE_1_DATATAKE_SENSING_START",
    "PRODUCT_START_TIME",
)
"""Items that mean the acquisition: GDAL's name for any satellite, and Sentinel-2's own."""

_LANDSAT_DAY, _LANDSAT_TIME = "DATE_ACQUIRED", "SCENE_CENTER_TIME"
_LONGEST = 1 << 20
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d*)?(Z|\+00:00)?", re.ASCII)


def read_taken(tags: Mapping[int, bytes]) -> str:
    """Return when a scene was taken, in UTC and ISO 8601; empty if its tags do not surely say it.

    The TIFF tag DateTime is not asked: by the standard, and with most writers, it is when the file was written.

    Args:
      tags: number of a tag to its bytes, as they are in the file.
    """
    items = _items(tags.get(METADATA, b""))
    times = [items.get(name, "") for name in _SURE]
    times.append(f"{items.get(_LANDSAT_DAY, '')}T{items.get(_LANDSAT_TIME, '')}")
    return next(filter(None, map(_instant, times)), "")


def _items(data: bytes) -> dict[str, str]:
    """Return the items of GDAL's metadata that are the scene's, not a band's; none if it is not understood."""
    # Honest metadata define no entities; those of a stranger could grow without bound.
    if len(data) > _LONGEST or b"<!" in data:
        return {}
    try:
        root = ElementTree.fromstring(data.rstrip(b"\0").decode())
    except (ElementTree.ParseError, ValueError):
        return {}
    return {
        item.get("name", ""): (item.text or "").strip('" \n')
        for item in root.iter("Item")
        if item.get("sample") is None
    }


def _instant(text: str) -> str:
    match = _TIME.fullmatch(text)
    if match is None:
        return ""
    try:
        instant = datetime.fromisoformat(f"{match[1]}T{match[2]}").replace(tzinfo=UTC)
    except ValueError:
        return ""
    return instant.isoformat().replace("+00:00", "Z")
