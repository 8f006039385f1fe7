"""Rings of longitudes and latitudes, and the polygons that they become: split at the antimeridian, in WKB."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from itertools import pairwise

Points = list[tuple[float, float]]
"""Pairs of x and y, or of longitude and latitude."""

_SAME_PLACE = 1e-9
"""Degrees; a tenth of a millimetre."""


def edges(ring: Points) -> Iterable[tuple[tuple[float, float], tuple[float, float]]]:
    """Return the edges of a ring, of which the first point is not repeated."""
    return zip(ring, [*ring[1:], ring[0]], strict=True)


def cap(places: Points, turn: float, pole: float) -> Points:
    """Return the ring of a cap: around the pole from the antimeridian to itself, and along it to the pole and back.

    Args:
      places: longitudes and latitudes around the pole.
      turn: 360 or -360, by which the longitudes change from first to last.
      pole: its latitude.
    """
    places = [*places, (places[0][0] + turn, places[0][1])]
    for index, ((start, low), (end, high)) in enumerate(pairwise(places)):
        meridian = 180 + 360 * math.floor((max(start, end) - 180) / 360)
        if min(start, end) <= meridian and start != end:
            latitude = low + (meridian - start) / (end - start) * (high - low)
            rest = [(longitude - turn, latitude) for longitude, latitude in places[index + 1 : -1]]
            around = [(meridian - turn, latitude), *rest, *places[: index + 1], (meridian, latitude)]
            return [*around, (meridian, pole), (meridian - turn, pole)]
    raise AssertionError("a ring around a pole crosses every meridian")


def split_at_antimeridian(ring: Points) -> list[Points]:
    """Return the parts of a ring on both sides of the antimeridian, or the ring itself if it lies on one.

    They run counter-clockwise.

    Args:
      ring: either way round; longitudes are continuous and may exceed 180.
    """
    ring = _counter_clockwise(ring)
    if all(longitude <= 180 for longitude, _ in ring):
        return [ring]
    mirrored = [(360 - longitude, latitude) for longitude, latitude in reversed(ring)]
    beyond = [[(-longitude, latitude) for longitude, latitude in reversed(part)] for part in _western(mirrored)]
    return _western(ring) + beyond


def wkb(rings: list[Points]) -> bytes:
    """Return the WKB of a polygon, or of as many as there are rings."""
    polygons = [_polygon(ring) for ring in rings]
    return polygons[0] if len(polygons) == 1 else struct.pack("<BII", 1, 6, len(polygons)) + b"".join(polygons)


def _counter_clockwise(ring: Points) -> Points:
    """Return a ring that runs counter-clockwise, with its westernmost longitude between -180 and 180."""
    ring = [(_snapped(longitude), latitude) for longitude, latitude in ring]
    west, east = min(ring)[0], max(ring)[0]
    if east - west > 360:
        # A raster of the whole Earth with columns that are repeated.
        latitudes = [latitude for _, latitude in ring]
        south, north = min(latitudes), max(latitudes)
        return [(-180.0, south), (180.0, south), (180.0, north), (-180.0, north)]
    shift = 360 * math.floor((west + 180) / 360)
    return [(longitude - shift, latitude) for longitude, latitude in (ring if _area(ring) > 0 else reversed(ring))]


def _area(ring: Points) -> float:
    """Return twice the area of a ring: positive if it runs counter-clockwise."""
    # Seen from a point of its own, a window of small pixels is not lost in rounding errors.
    origin_x, origin_y = ring[0]
    seen = [(x - origin_x, y - origin_y) for x, y in ring]
    return sum(x * other_y - other_x * y for (x, y), (other_x, other_y) in edges(seen))


def _snapped(longitude: float) -> float:
    """Return a longitude without the rounding errors that would put a sliver beyond the antimeridian."""
    nearest = 180.0 + 360 * round((longitude - 180) / 360)
    return nearest if abs(longitude - nearest) < _SAME_PLACE else longitude


def _western(ring: Points) -> list[Points]:
    """Return the parts of a counter-clockwise ring west of 180 degrees, which an edge may cross more than once."""
    first = next(index for index, (longitude, _) in enumerate(ring) if longitude > 180)
    chains: list[Points] = []
    for (x, y), (other_x, other_y) in edges(ring[first:] + ring[:first]):
        if (x > 180) != (other_x > 180):
            if x > 180:
                chains.append([])
            # A point that is on the meridian is the crossing itself.
            if 180 not in (x, other_x):
                chains[-1].append((180.0, y + (180 - x) / (other_x - x) * (other_y - y)))
        if other_x <= 180:
            chains[-1].append((other_x, other_y))
    # What only touches the meridian has no area.
    return _joined([chain for chain in chains if any(longitude < 180 for longitude, _ in chain)])


def _joined(chains: list[Points]) -> list[Points]:
    """Return the rings of chains from meridian to meridian: at its end, a ring goes north to where one begins."""
    rings = []
    while chains:
        ring = chains.pop()
        while following := [
            chain for chain in chains if ring[-1][1] <= chain[0][1] and not ring[-1][1] <= ring[0][1] <= chain[0][1]
        ]:
            nearest = min(following, key=lambda chain: chain[0][1])
            chains.remove(nearest)
            ring += nearest
        rings.append(ring)
    return rings


def _polygon(ring: Points) -> bytes:
    closed = [number for place in [*ring, ring[0]] for number in place]
    return struct.pack(f"<BIII{len(closed)}d", 1, 3, 1, len(closed) // 2, *closed)
