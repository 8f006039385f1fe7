"""Read which bands of a TIFF are red, green and blue from the names that GDAL gives them."""

from __future__ import annotations

import re

from pipelines.images.layout import UntrustedColoursError

_ITEM = re.compile(rb"<Item\b([^>]{0,200})>([^<]{0,200})</Item>")
_SAMPLE = re.compile(rb'sample="(\d{1,4})"')
_ROLES = (b'role="description"', b'role="colorinterp"')
"""A description is a user's, and counts more than what GDAL takes a band for."""

_COLOURS = ("red", "green", "blue")
_OTHERS = re.compile(
    r"\b(nir|infrared|red.?edge|swir|mwir|lwir|tir|thermal|panchromatic|coastal|cirrus|ndvi|evi|ndwi|mask|classes|"
    r"classification|elevation|height|slope|aspect|qa|quality)\b"
)


def find_colours(metadata: bytes, samples: int) -> tuple[int, int, int] | None:
    """Find red, green and blue among the bands of a file.

    Args:
      metadata: GDAL's, in XML; empty if there is none.
      samples: bands of the file.

    Returns:
      Their numbers, from 0; None if the file does not name all three.

    Raises:
      UntrustedColoursError: it names others, but not all three.
    """
    names = _read_names(metadata)
    if not names:
        return None
    found = {
        colour: [band for band, name in names.items() if band < samples and _colour(name) == colour]
        for colour in _COLOURS
    }
    if all(len(bands) == 1 for bands in found.values()):
        red, green, blue = (bands[0] for bands in found.values())
        return red, green, blue
    for band in range(min(3, samples)):
        name = names.get(band, "")
        if _colour(name) not in (None, _COLOURS[band]):
            raise UntrustedColoursError(
                f"TIFF whose band {band + 1} is named {name!r}: decoders show it as something else"
            )
    return None


def _read_names(metadata: bytes) -> dict[int, str]:
    """Return the names of bands, by number."""
    names: dict[int, str] = {}
    items = [(match[1], match[2]) for match in _ITEM.finditer(metadata)]
    for role in _ROLES:
        for attributes, name in items:
            sample = _SAMPLE.search(attributes)
            if role in attributes and sample:
                names.setdefault(int(sample[1]), name.decode("utf-8", "replace").strip())
    return names


def _colour(name: str) -> str | None:
    """Return the colour that a name stands for, `other` for something that is no visible colour, None if unknown."""
    plain = name.lower().replace("_", " ")
    if _OTHERS.search(plain):
        return "other"
    named = [colour for colour in _COLOURS if re.search(rf"\b{colour}\b", plain)]
    return named[0] if len(named) == 1 else None
