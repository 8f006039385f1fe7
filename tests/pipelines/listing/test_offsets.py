"""What a STAC item says of Sentinel-2's offset is taken from it where it can be trusted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.listing.offsets import read_stated_offset

KEYS = ("red", "green", "blue")
HELD, PLAIN = ({"scale": 1e-4, "offset": offset} for offset in (-0.1, 0))


def item(*bands: Any, name: str = "raster:bands", **properties: Any) -> dict[str, Any]:
    """Return an item whose assets say this of their bands, one after the other."""
    assets = {key: {"href": "a.tif", name: [band]} for key, band in zip(KEYS, bands, strict=False)}
    return {"properties": {key.replace("__", ":"): value for key, value in properties.items()}, "assets": assets}


@pytest.mark.parametrize(
    ("said", "offset"),
    [
        (item(), None),
        (item(s2__processing_baseline="05.09"), 1000),
        (item(s2__processing_baseline="02.14"), 0),
        (item(HELD, HELD, HELD), 1000),
        (item({"raster:scale": 1e-4, "raster:offset": -0.1}, name="bands"), 1000),
        (item(HELD, HELD, HELD, s2__processing_baseline="05.09"), 1000),
        (item(PLAIN, PLAIN, PLAIN, sentinel__processing_baseline="03.01"), 0),
        # As of scenes from which the offset was removed, whatever else is said of them.
        (item(HELD, HELD, HELD, s2__processing_baseline="05.09", earthsearch__boa_offset_applied=True), 0),
        # As of scenes that hold it, and of others that do not.
        (item(HELD, HELD, HELD, s2__processing_baseline="05.09", earthsearch__boa_offset_applied=False), None),
        # Contradictions, and what need not have been brought up to date.
        (item(PLAIN, PLAIN, PLAIN, s2__processing_baseline="05.09"), None),
        (item(HELD, HELD, HELD, s2__processing_baseline="02.14"), None),
        (item(HELD, PLAIN, HELD), None),
        (item(PLAIN, PLAIN, PLAIN), None),
        (item(s2__processing_baseline="nan"), None),
        # Of another product.
        (item({"scale": 2.75e-5, "offset": -0.2}), None),
        (item({"scale": 1e-4, "offset": -0.3}), None),
    ],
)
def test_the_offset_is_what_an_item_says_without_contradiction(said: dict[str, Any], offset: int | None) -> None:
    assert read_stated_offset(said, KEYS) == offset


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.sampled_from(["05.09", "nan", 1e-4, 10**400]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["red", "raster:bands", "bands", "scale", "offset", "s2:processing_baseline"]), inner
        )
    ),
    max_leaves=8,
)


@given(JSON, JSON)
def test_no_item_of_a_stranger_raises_anything(properties: Any, assets: Any) -> None:
    assert read_stated_offset({"properties": properties, "assets": assets}, KEYS) in (None, 0, 1000)
