"""Pack windows for a page: grouped by scene, in few bytes each."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ScenetagsError, printable
from pipelines.results.maps.footprints import Counts, Footprints, spell_time
from pipelines.results.maps.outlines import Outlines
from pipelines.scenes.grid import split_window

MOST_WINDOWS = 1_000_000
"""What a browser draws in about a second."""

STEPS = 65535
"""Positions along each side of a scene that a corner of a window can have on the page."""

_DIRECTIONS = 64


class TooManyWindowsError(ScenetagsError):
    """More windows than a page can show."""


class NothingToShowError(ScenetagsError):
    """No window is probable enough."""


class Source(NamedTuple):
    """What windows were cut from.

    Attributes:
      scene: its name.
      path: of its file.
    """

    scene: str
    path: str


@dataclass(frozen=True)
class Packed:
    """Windows, ready for a page.

    Attributes:
      scenes: as JSON, in order: name, path, time, number of windows, bounds, and an outline around all its windows.
      sizes: as JSON, the numbers of windows, of their rings and of these rings' vertices.
      data: zlib's, of arrays in turn, little-endian: float32[T, N] probabilities by tag; int32[N, 4] column, row, width
        and height, zeros for an image that is no window; int32[N] rings of each window; int32[R] vertices of each ring;
        uint16[V, 2] their places between the bounds of their scene, from the west and from the south.
      counts: of all rows.
    """

    scenes: Sequence[Mapping[str, Any]]
    sizes: Mapping[str, int]
    data: bytes
    counts: Counts


def pack(pieces: Iterable[Footprints]) -> Packed:
    """Pack windows.

    Raises:
      TooManyWindowsError: they are more than `MOST_WINDOWS`.
      NothingToShowError: there are none.
    """
    counts, kept, numbers = Counts(), [], _Numbers()
    for piece in pieces:
        counts += piece.counts
        if counts.shown > MOST_WINDOWS:
            raise TooManyWindowsError(
                f"the output has more than {MOST_WINDOWS:,} windows, too many for a page",
                "leave out improbable ones with --min_probability, or write --geojson",
            )
        kept.append((numbers.of(piece), piece))
    if not counts.shown:
        raise NothingToShowError("no window has a tag that reaches --min_probability", "lower it")
    source = np.concatenate([of_source for (of_source, _), _ in kept])
    places = np.concatenate([place for (_, place), _ in kept])
    probabilities = np.concatenate([piece.probabilities for _, piece in kept])
    order = np.argsort(source, kind="stable")
    outlines = _ordered([piece.outlines for _, piece in kept], order)
    scenes, corners = _describe(numbers, source[order], outlines)
    arrays = (
        probabilities[order].T.astype("<f4"),
        places[order].astype("<i4"),
        outlines.rings.astype("<i4"),
        outlines.sizes.astype("<i4"),
        corners.astype("<u2"),
    )
    data = zlib.compress(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))
    sizes = {"windows": len(order), "rings": len(outlines.sizes), "vertices": len(corners)}
    return Packed(scenes, sizes, data, counts)


class _Numbers:
    """Numbers sources in the order in which they come."""

    def __init__(self) -> None:
        self.sources: dict[Source, int] = {}
        self.taken: list[str | None] = []

    def of(self, piece: Footprints) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the number of each window's source, and its column, row, width and height there."""
        rows = piece.rows
        numbers = np.empty(rows.num_rows, np.int64)
        places = np.zeros((rows.num_rows, 4), np.int64)
        columns = (rows.column(name).to_pylist() for name in ("path", "scene", "datetime"))
        for index, (path, scene, taken) in enumerate(zip(*columns, strict=True)):
            window = split_window(path or "")
            if window is not None and max(window[1]) < 1 << 31:
                path, places[index] = window
            source = Source(scene or path or "", path or "")
            numbers[index] = self.sources.setdefault(source, len(self.sources))
            if len(self.taken) < len(self.sources):
                self.taken.append(spell_time(taken))
        return numbers, places


def _ordered(pieces: Sequence[Outlines], order: NDArray[np.int64]) -> Outlines:
    """Join outlines, and put the windows in another order."""
    vertices, sizes, rings = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    of_ring = np.repeat(rank, rings)
    ring_order = np.argsort(of_ring, kind="stable")
    vertex_order = np.argsort(np.repeat(of_ring, sizes), kind="stable")
    return Outlines(vertices[vertex_order], sizes[ring_order], rings[order])


def _describe(
    numbers: _Numbers, source: NDArray[np.int64], outlines: Outlines
) -> tuple[list[dict[str, Any]], NDArray[np.float64]]:
    """Describe scenes whose windows are in turn.

    Returns:
      The scenes, and the places of all vertices between the bounds of theirs, 0 to `STEPS`.
    """
    scenes: list[dict[str, Any]] = []
    corners = np.empty_like(outlines.vertices)
    windows = np.bincount(source, minlength=len(numbers.sources))
    ring_ends = np.cumsum(outlines.rings)[np.cumsum(windows) - 1]
    vertex_ends = np.cumsum(outlines.sizes)[ring_ends - 1]
    first_ring = first = 0
    for index, (named, taken) in enumerate(zip(numbers.sources, numbers.taken, strict=True)):
        sizes = outlines.sizes[first_ring : ring_ends[index]]
        vertices = unrolled(outlines.vertices[first : vertex_ends[index]], sizes)
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        extent = np.where(high > low, high - low, 1)
        corners[first : vertex_ends[index]] = np.rint((vertices - low) / extent * STEPS)
        scenes.append(
            {
                "name": printable(named.scene),
                "path": printable(named.path),
                "taken": taken,
                "windows": int(windows[index]),
                "bounds": [*low.tolist(), *(low + extent).tolist()],
                "outline": _around(vertices).round(6).tolist(),
            }
        )
        first_ring, first = ring_ends[index], vertex_ends[index]
    _bring_together(scenes)
    return scenes, corners


def unrolled(vertices: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Add 360 degrees to some longitudes, so that what lies on both sides of the antimeridian lies together.

    Args:
      vertices: float64[V, 2], longitudes and latitudes of rings in turn.
      sizes: number of vertices of each ring; none is torn.
    """
    cut = _widest_gap(vertices[:, 0])
    beyond = vertices[:, 0] < cut
    starts = np.cumsum(sizes) - sizes
    if (np.logical_and.reduceat(beyond, starts) != np.logical_or.reduceat(beyond, starts)).any():
        return vertices
    return vertices + np.where(beyond, 360.0, 0.0)[:, np.newaxis] * (1, 0)


def _widest_gap(longitudes: NDArray[np.float64]) -> float:
    """Return the longitude at the eastern end of the widest gap between longitudes."""
    ordered = np.unique(longitudes)
    gaps = np.diff(ordered, prepend=ordered[-1] - 360)
    return float(ordered[np.argmax(gaps)])


def _around(vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the vertices that lie farthest in each of many directions: corners of a convex outline."""
    # Halfway between, so that none is at right angles to an edge, whose vertices would all be as far.
    angles = (np.arange(_DIRECTIONS) + 0.5) * (2 * np.pi / _DIRECTIONS)
    extent = np.ptp(vertices, axis=0)
    scaled = (vertices - vertices.min(axis=0)) / np.where(extent > 0, extent, 1)
    farthest = np.argmax(scaled @ np.stack([np.cos(angles), np.sin(angles)]), axis=0)
    corners: NDArray[np.float64] = vertices[farthest[np.diff(farthest, prepend=-1) != 0]]
    return corners


def _bring_together(scenes: Sequence[dict[str, Any]]) -> None:
    """Move scenes around the globe, so that the map is cut where its widest gap is."""
    centres = np.array([(scene["bounds"][0] + scene["bounds"][2]) / 2 for scene in scenes])
    cut = _widest_gap(centres)
    for scene, centre in zip(scenes, centres, strict=True):
        if centre < cut:
            west, south, east, north = scene["bounds"]
            scene["bounds"] = [west + 360, south, east + 360, north]
            scene["outline"] = [[longitude + 360, latitude] for longitude, latitude in scene["outline"]]
