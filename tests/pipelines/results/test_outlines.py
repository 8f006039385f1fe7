"""Polygons of windows are read from WKB, and nothing else is taken for one."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from pipelines.results.maps.outlines import read_outlines
from tests.pipelines.results.scene_outputs import square, wkb

ONE, OTHER = square(10, 20), square(-70.25, -3.5)
HEXAGON = [(0.0, 0.0), (1.0, 0.0), (2.0, 1.0), (1.0, 2.0), (0.0, 2.0), (-1.0, 1.0)]
BIG_ENDIAN = struct.pack(">BIII", 0, 3, 1, 5) + np.array([*ONE, ONE[0]], ">f8").tobytes()


@pytest.mark.parametrize(
    ("geometries", "expected"),
    [
        ([wkb(ONE), wkb(OTHER)], [[ONE], [OTHER]]),
        ([wkb(ONE), wkb(HEXAGON)], [[ONE], [HEXAGON]]),
        ([wkb(HEXAGON), wkb(HEXAGON)], [[HEXAGON], [HEXAGON]]),
        ([wkb(ONE), wkb(ONE, OTHER), wkb(OTHER)], [[ONE], [ONE, OTHER], [OTHER]]),
        ([BIG_ENDIAN, wkb(OTHER)], [[ONE], [OTHER]]),
        ([], []),
    ],
)
def test_windows_have_the_rings_that_were_written(geometries: list[bytes], expected: list[list[object]]) -> None:
    outlines = read_outlines(geometries)

    found = [[list(map(tuple, ring)) for ring in rings] for rings in outlines.windows()]
    assert found == expected
    assert outlines.vertices.shape == (outlines.sizes.sum(), 2)


WITH_HOLE = struct.pack("<BII", 1, 3, 2) + 2 * (struct.pack("<I", 5) + np.array([*ONE, ONE[0]], "<f8").tobytes())
OPEN = struct.pack("<BIII", 1, 3, 1, 4) + np.array(ONE, "<f8").tobytes()


@pytest.mark.parametrize("beside", [[], [wkb(OTHER)], [wkb(OTHER, ONE)]])
@pytest.mark.parametrize(
    ("geometry", "reason"),
    [
        (b"", "it is not WKB"),
        (b"\x02" + wkb(ONE)[1:], "it is not WKB"),
        (wkb(ONE)[:-1], "buffer is smaller"),
        (wkb(ONE) + b"\0", "something follows"),
        (wkb(ONE)[:7], "cut off"),
        (wkb(ONE, OTHER)[:9], "it is not WKB"),
        (struct.pack("<BII", 1, 6, 0), "a polygon is empty"),
        (struct.pack("<BII", 1, 6, 1 << 31), "it is not WKB"),
        (struct.pack("<BIII", 1, 3, 1, 1 << 31), "buffer is smaller|byte"),
        (struct.pack("<BIdd", 1, 1, 2, 3), "it is not a polygon"),
        (WITH_HOLE, "it is not a polygon without holes"),
        (OPEN, "a ring is not closed"),
        (wkb(square(500_000, 20)), "not longitudes and latitudes"),
        (wkb(square(float("nan"), 20)), "not"),
    ],
)
def test_what_is_no_outline_of_a_window_is_refused(geometry: bytes, reason: str, beside: list[bytes]) -> None:
    with pytest.raises(ValueError, match=reason):
        read_outlines([*beside, geometry])
