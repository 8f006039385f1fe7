"""Where the windows of a scene lie on the Earth: polygons in CRS84, as GeoParquet and GeoJSON (RFC 7946) have them.

A polygon has the four corners of the window, and further points on its edges where they would leave the edge by more
than a tenth of a pixel otherwise. Rings run counter-clockwise. What crosses the antimeridian is split there, and its
bounds then run from -180 to 180: of bounds whose west is greater than their east, as RFC 7946 has them, a filter that
compares columns would miss either half. A window that a pole lies in becomes the cap around that pole: its ring follows
the antimeridian to the pole and back. A window that a pole lies on the edge of has an edge along the pole's parallel.
"""

from __future__ import annotations

import math
from itertools import pairwise

from pipelines.records import Footprint
from pipelines.scenes.georeference import Georeference
from pipelines.scenes.ground import Ground, UnknownPlaceError, ground_of
from pipelines.scenes.rings import Points, cap, edges, split_at_antimeridian, wkb

_TOLERANCE = 0.05
"""Pixels; a cubic edge may be off by twice as much as at `_PROBED`."""

_PROBED = 0.4
"""Where the chord of an edge is compared with it: nearly where a parabola is off most, and not where a cubic is not."""

_BEYOND = "it reaches beyond what its coordinate reference system can show"

_MOST_POINTS = 1024
_MOST_TURNS = 1.05
"""Turns around the Earth; rasters of all of it may repeat some columns."""

_AT_POLE = 0.05
"""Pixels; a pole that is nearer to an edge lies on it."""


def locate(georeference: Georeference | None, column: int, row: int, width: int, height: int) -> Footprint:
    """Return where a window lies; without geometry if that is not known.

    Args:
      georeference: of the scene.
      column: of the scene, at which the window begins.
      row: likewise.
      width: columns.
      height: rows.

    Raises:
      ScenetagsError: pyproj is not installed.
    """
    if georeference is None:
        return Footprint()
    nowhere = Footprint(taken=georeference.taken)
    if georeference.reason:
        return nowhere
    try:
        ground = ground_of(georeference.crs, georeference.unit)
        ring = _Outline(ground, georeference.transform).ring(column, row, width, height)
    except UnknownPlaceError:
        return nowhere
    rings = split_at_antimeridian(ring)
    longitudes, latitudes = zip(*(place for part in rings for place in part), strict=True)
    bounds = min(longitudes), min(latitudes), max(longitudes), max(latitudes)
    return Footprint(wkb(rings), bounds, georeference.taken)


def unlocated(georeference: Georeference | None, width: int, height: int) -> str:
    """Return why no window of a scene can be located; empty if nothing speaks against it.

    Args:
      georeference: of the scene.
      width: of the scene, in pixels.
      height: likewise.

    Raises:
      ScenetagsError: pyproj is not installed.
    """
    if georeference is None:
        return "it does not say where it lies"
    if georeference.reason:
        return georeference.reason
    try:
        ground_of(georeference.crs, georeference.unit)
    except UnknownPlaceError as error:
        return str(error)
    # The corners of a scene may lie beyond the Earth, as in a sinusoidal projection.
    pixels = [(column, row) for column in (0, width // 2, width - 1) for row in (0, height // 2, height - 1)]
    return "" if any(locate(georeference, *pixel, 1, 1).geometry for pixel in pixels) else _BEYOND


class _Outline:
    """Draws the outlines of windows of one scene."""

    def __init__(self, ground: Ground, transform: tuple[float, ...]) -> None:
        self._ground = ground
        self._transform = transform
        a, b, _, d, e, _ = transform
        self._pixel = min(math.hypot(a, d), math.hypot(b, e))

    def ring(self, column: int, row: int, width: int, height: int) -> Points:
        """Return longitudes and latitudes around a window, the first not repeated; longitudes may exceed 180.

        Raises:
          UnknownPlaceError: it reaches beyond what its coordinate reference system can show.
        """
        corners = self._corners(column, row, width, height)
        pole = self._pole_on(corners)
        if pole:
            index, latitude = pole
            corners = corners[index:] + corners[:index]
        places = self._trace(corners, bool(pole))
        if pole:
            # Along the parallel of the pole, which is no longer than a point.
            return [*places[1:-1], (places[-2][0], latitude), (places[1][0], latitude)]
        turn = places.pop()[0] - places[0][0]
        if abs(turn) < 180:
            return places
        inside = [latitude for x, y, latitude in self._ground.pole_points if self._holds(corners, (x, y))]
        if len(inside) == 1:
            return cap(places, math.copysign(360.0, turn), inside[0])
        raise UnknownPlaceError(_BEYOND)

    def _corners(self, column: int, row: int, width: int, height: int) -> Points:
        a, b, c, d, e, f = self._transform
        columns, rows = (column, column + width, column + width, column), (row, row, row + height, row + height)
        corners = [(a * i + b * j + c, d * i + e * j + f) for i, j in zip(columns, rows, strict=True)]
        if not all(math.isfinite(number) for corner in corners for number in corner):
            raise UnknownPlaceError(_BEYOND)
        period, highest = self._ground.period, self._ground.highest
        if period and max(corners)[0] - min(corners)[0] > _MOST_TURNS * period:
            raise UnknownPlaceError(_BEYOND)
        if not highest:
            return corners
        south, north = min(y for _, y in corners), max(y for _, y in corners)
        if south >= highest or north <= -highest or max(abs(x) for x, _ in corners) > 8 * highest:
            raise UnknownPlaceError(_BEYOND)
        if (south < -highest or north > highest) and (b or d):
            raise UnknownPlaceError(_BEYOND)
        # Padded windows, and those of rasters with centres of pixels at the poles, reach beyond these.
        return [(x, min(max(y, -highest), highest)) for x, y in corners]

    def _pole_on(self, corners: Points) -> tuple[int, float] | None:
        """Return index and latitude of the corner that a pole is, after it was made one if it lies on an edge."""
        near = _AT_POLE * self._pixel
        for x, y, latitude in self._ground.pole_points:
            for index, corner in enumerate(corners):
                if math.dist(corner, (x, y)) <= near:
                    return index, latitude
            for index, (start, end) in enumerate(edges(corners)):
                along, aside = _on_edge(start, end, (x, y))
                if 0 < along < 1 and abs(aside) <= near:
                    corners.insert(index + 1, (x, y))
                    return index + 1, latitude
        return None

    def _holds(self, corners: Points, point: tuple[float, float]) -> bool:
        sides = [_on_edge(start, end, point)[1] > 0 for start, end in edges(corners)]
        return all(sides) or not any(sides)

    def _trace(self, corners: Points, from_pole: bool) -> Points:
        """Return longitudes and latitudes along the closed ring of corners; longitudes are continuous.

        Args:
          corners: x and y.
          from_pole: the first of them is a pole, whose longitude is that of its neighbours.
        """
        points = [*corners, corners[0]]
        bent = [True]
        while any(bent):
            places = self._ground.places(points)
            if not all(math.isfinite(number) for place in places for number in place):
                break
            if from_pole:
                places[0], places[-1] = (places[1][0], places[0][1]), (places[-2][0], places[0][1])
            places = _continuous(places)
            bent = self._bent(points, places)
            if not any(bent):
                return places
            if len(points) > _MOST_POINTS:
                break
            points = _bisected(points, bent)
        raise UnknownPlaceError(_BEYOND)

    def _bent(self, points: Points, places: Points) -> list[bool]:
        """Return for each edge between points whether the straight line between their places leaves it."""
        chords = [
            (west + _PROBED * (east - west), south + _PROBED * (north - south))
            for (west, south), (east, north) in pairwise(places)
        ]
        bent, period = [], self._ground.period
        for (start, end), (x, y) in zip(pairwise(points), self._ground.points(chords), strict=True):
            if period:
                x -= period * _rounds((x - start[0] - _PROBED * (end[0] - start[0])) / period)
            along, aside = _on_edge(start, end, (x, y))
            bent.append(not (abs(aside) <= _TOLERANCE * self._pixel and abs(along - _PROBED) < 0.2))
        return bent


def _rounds(number: float) -> int:
    return round(number) if math.isfinite(number) else 0


def _on_edge(start: tuple[float, float], end: tuple[float, float], point: tuple[float, float]) -> tuple[float, float]:
    """Return how far along an edge a point lies, 0 to 1, and how far to its left, in units of the plane."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    x, y = point[0] - start[0], point[1] - start[1]
    length = math.hypot(dx, dy)
    if not length:
        return 0.5, math.hypot(x, y)
    return (x * dx + y * dy) / length / length, (dx * y - dy * x) / length


def _bisected(points: Points, bent: list[bool]) -> Points:
    divided = points[:1]
    for ((x, y), end), is_bent in zip(pairwise(points), bent, strict=True):
        if is_bent:
            divided.append(((x + end[0]) / 2, (y + end[1]) / 2))
        divided.append(end)
    return divided


def _continuous(places: Points) -> Points:
    """Return places of which each longitude is within 180 degrees of the one before."""
    longitude = places[0][0]
    unwound = []
    for other, latitude in places:
        longitude += (other - longitude + 180) % 360 - 180
        unwound.append((longitude, latitude))
    return unwound
