"""Read from a STAC item by which offset the values of Sentinel-2 are higher than its reflectance.

Items of one catalogue say of thousands of scenes that the offset is there although it was removed, and of others give
an offset besides saying that it was: https://github.com/Element84/earth-search/issues/9 and 66. So what is known to be
wrong at times is not taken from them; the values then decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

_OFFSET, _SCALE = 1000, 1e-4
_BASELINE = re.compile(r"\d{1,2}\.\d{1,2}", re.ASCII)
_SINCE = 4.0
"""The processing baseline from which on values hold the offset."""
_PARTS = ("properties", "assets")
_CATALOGUES = ("earthsearch", "sentinel")
_EXTENSIONS = ("s2", "sentinel")


def read_stated_offset(item: dict[str, Any], keys: Sequence[str]) -> int | None:
    """Return the offset of the values of an item's assets.

    Args:
      item: as it was parsed.
      keys: of the assets.

    Returns:
      None if the item does not say it, contradicts itself, or cannot be trusted in it.
    """
    properties, assets = ((found if isinstance(found := item.get(name), dict) else {}) for name in _PARTS)
    removed = [properties.get(f"{catalogue}:boa_offset_applied") for catalogue in _CATALOGUES]
    if True in removed:
        return 0
    if False in removed:
        return None
    of_bands = {_of_band(band) for key in keys for band in _bands(assets.get(key))} - {None}
    of_baseline = _of_baseline(properties)
    if of_baseline is None:
        # That it is 0 may be no more than what was so for years.
        return _OFFSET if of_bands == {_OFFSET} else None
    return of_baseline if of_bands <= {of_baseline} else None


def _of_baseline(properties: dict[str, Any]) -> int | None:
    stated = (str(properties.get(f"{extension}:processing_baseline")) for extension in _EXTENSIONS)
    baseline = next(filter(_BASELINE.fullmatch, stated), None)
    return None if baseline is None else _OFFSET * (float(baseline) >= _SINCE)


def _bands(asset: Any) -> Iterator[dict[str, Any]]:
    """Yield what an asset says of its bands, or of all of them: STAC 1.0 and 1.1."""
    if not isinstance(asset, dict):
        return
    for bands in (asset.get("raster:bands"), asset.get("bands"), [asset]):
        yield from (band for band in (bands if isinstance(bands, list) else []) if isinstance(band, dict))


def _of_band(band: dict[str, Any]) -> int | None:
    try:
        scale, offset = (float(band.get(name, band.get(f"raster:{name}", ""))) for name in ("scale", "offset"))
    except (TypeError, ValueError, OverflowError):
        return None
    if not abs(scale / _SCALE - 1) <= 1e-3:
        return None
    return next((known for known in (0, _OFFSET) if abs(offset / _SCALE + known) < 0.5), None)
