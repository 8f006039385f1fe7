"""Read which bands of a TIFF are red, green and blue from the names that GDAL gives them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pipelines.images.layout import UntrustedColoursError
from pipelines.images.rendering import COLOURS

_ITEM = re.compile(rb"<Item\b([^<>]{0,200})>([^<]{0,200})</Item>")
_SAMPLE = re.compile(rb'sample="(\d{1,4})"')
_ROLES = (b'role="description"', b'role="colorinterp"')
"""A description is a user's, and counts more than what GDAL takes a band for."""

_NO_PICTURE = (
    r"mask|class(es)?|classification|land.?cover|lulc|segmentation|labels?|elevation|altitude|height|d[est]m|slope|"
    r"aspect|qa|quality|probability|temperature|nd[a-z]i|m?savi|evi"
)
_NO_PICTURES = re.compile(rf"\b({_NO_PICTURE})\b")
_OTHERS = re.compile(
    rf"\b(v?nir|[smlt]w?ir|ir|infra.?red|red.?edge|uv|ultra.?violet|thermal|panchromatic|pan|coastal|aerosol|cirrus|"
    rf"{_NO_PICTURE})\d*\b"
)
_NUMBERED = re.compile(r"b(\d{1,2})a?")
# As Sentinel-2, Landsat and Earth Engine write them: `B4, central wavelength 665 nm`, `SR_B4`, `Band 4`, `B08A`.
_OF_SATELLITE = re.compile(r"(?:sr |toa )?b(?:and ?)?(\d{1,2})(a?)(?![a-z\d])")
# Sentinel-2 and Landsat 8 number red, green and blue 4, 3 and 2; the others are no more than the order.
_LIKELY_NUMBERS = (["b4", "b3", "b2"], ["b04", "b03", "b02"], ["b1", "b2", "b3"])


def named_colours(metadata: bytes, samples: int) -> tuple[int, int, int] | None:
    """Return which bands a file names red, green and blue, from 0; None if it does not name all three."""
    return _pick(_read_names(metadata), samples)


def numbered_colours(metadata: bytes, samples: int, numbers: Sequence[int]) -> tuple[int, int, int] | None:
    """Return which bands a file names as a satellite numbers red, green and blue, from 0; None if not one of each.

    Args:
      metadata: GDAL's, in XML; empty if there is none.
      samples: bands of the file.
      numbers: the satellite's.
    """
    named = [(band, _number(name)) for band, name in _read_names(metadata).items() if band < samples]
    found = [[band for band, number in named if number == wanted] for wanted in numbers]
    if any(len(bands) != 1 for bands in found):
        return None
    red, green, blue = (bands[0] for bands in found)
    return red, green, blue


def find_contradiction(metadata: bytes, bands: Sequence[int], numbers: Sequence[int] = ()) -> str | None:
    """Say in which way a file names its bands so that they cannot be red, green and blue; None if it does not.

    Args:
      metadata: GDAL's, in XML; empty if there is none.
      bands: numbers of those that are said to be red, green and blue, from 0.
      numbers: the satellite's of red, green and blue; empty if it numbers them as the file does.
    """
    names = _read_names(metadata)
    for band, colour, wanted in zip(bands, COLOURS, numbers or [band + 1 for band in bands], strict=True):
        name = names.get(band, "")
        is_other = _colour(name) not in (None, colour)
        if is_other or _number(name) not in (None, wanted):
            return f"whose band {band + 1} is named {name!r}"
    named = _pick(names, max(names, default=0) + 1)
    if named and named != tuple(bands):
        return f"that names bands {', '.join(str(band + 1) for band in named)} red, green and blue"
    return None


def find_colours(metadata: bytes, samples: int) -> tuple[int, int, int] | None:
    """Find red, green and blue among the bands of a file that is shown as its first three.

    Args:
      metadata: GDAL's, in XML; empty if there is none.
      samples: bands of the file.

    Returns:
      Their numbers, from 0; None if the file does not name all three.

    Raises:
      UntrustedColoursError: it names others, but not all three, or numbers them as no satellite numbers these three.
    """
    names = _read_names(metadata)
    if not names:
        return None
    if named := _pick(names, samples):
        return named
    for band in range(min(3, samples)):
        name = names.get(band, "")
        if _colour(name) not in (None, COLOURS[band]):
            raise UntrustedColoursError(
                f"TIFF whose band {band + 1} is named {name!r}: decoders show it as something else"
            )
    first = [names.get(band, "").lower() for band in range(3)]
    if all(_NUMBERED.fullmatch(name) for name in first) and first not in _LIKELY_NUMBERS:
        raise UntrustedColoursError(
            f"TIFF whose bands are named {', '.join(first).upper()}: they may not be red, green and blue"
        )
    return None


def check_single(metadata: bytes) -> None:
    """Refuse a file whose only band is named as something that is no picture.

    Raises:
      UntrustedColoursError: it is.
    """
    name = first_name(metadata)
    if _NO_PICTURES.search(_plain(name)):
        raise UntrustedColoursError(f"TIFF whose band is named {name!r}: it is not a picture")


def first_name(metadata: bytes) -> str:
    """Return the name of a file's first band; empty if it has none."""
    return _read_names(metadata).get(0, "")


def find_other_name(metadata: bytes, colour: int, number: int) -> str | None:
    """Return the name of a file's only band if it is that of another one than it is said to be; else None.

    Args:
      metadata: GDAL's, in XML; empty if there is none.
      colour: 0 for red, 1 for green, 2 for blue.
      number: of the satellite's band of this colour.
    """
    name = first_name(metadata)
    is_other = _colour(name) not in (None, COLOURS[colour]) or _number(name) not in (None, number)
    return name if is_other else None


def _pick(names: Mapping[int, str], samples: int) -> tuple[int, int, int] | None:
    """Return which bands are named red, green and blue; None if not one of each is.

    Of two bands of a colour, such as Planet's `green` and `green_i`, the one that is named so and no more counts.
    """
    found = []
    for colour in COLOURS:
        bands = [band for band, name in names.items() if band < samples and _colour(name) == colour]
        found.append([band for band in bands if _plain(names[band]) == colour] if len(bands) > 1 else bands)
    if any(len(bands) != 1 for bands in found):
        return None
    red, green, blue = (bands[0] for bands in found)
    return red, green, blue


def _read_names(metadata: bytes) -> dict[int, str]:
    """Return the names of bands, by number."""
    names: dict[int, str] = {}
    items = [(match[1], match[2]) for match in _ITEM.finditer(metadata)]
    for role in _ROLES:
        for attributes, name in items:
            sample = _SAMPLE.search(attributes)
            if role in attributes and sample and name.strip():
                names.setdefault(int(sample[1]), name.decode("utf-8", "replace").strip())
    return names


def _colour(name: str) -> str | None:
    """Return the colour that a name stands for, `other` for something that is no visible colour, None if unknown."""
    plain = _plain(name)
    if len(plain) == 1:
        return next((colour for colour in COLOURS if colour.startswith(plain)), None)
    if _OTHERS.search(plain):
        return "other"
    named = [colour for colour in COLOURS if re.search(rf"\b{colour}\b", plain)]
    return named[0] if len(named) == 1 else None


def _number(name: str) -> int | None:
    """Return which band of a satellite a name numbers, None if none; 0 for one next to another of the same number."""
    match = _OF_SATELLITE.match(_plain(name))
    if match is None:
        return None
    return 0 if match[2] else int(match[1])


def _plain(name: str) -> str:
    return name.lower().replace("_", " ")
