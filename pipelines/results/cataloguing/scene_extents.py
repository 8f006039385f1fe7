"""Sum up the windows of an output by scene: where it lies, when it was taken, its tags, and the files with its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.output.footers import Footer
from pipelines.results.files import NoOutputError
from pipelines.results.maps.footprints import spell_time
from pipelines.results.maps.outlines import read_outlines
from pipelines.results.outputs import Output
from pipelines.results.windows import lacks_windows
from pipelines.scenes.grid import split_window

_FIELDS = pa.schema(
    [
        ("path", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("fingerprint", pa.string()),
        ("scene", pa.string()),
        # As text: years that Python's datetime does not know are no reason to fail.
        ("datetime", pa.string()),
        ("geometry", pa.binary()),
    ]
)


@dataclass
class SceneExtent:
    """The windows of a scene.

    Attributes:
      path: of the scene.
      name: the id of its STAC item, or its path.
      fingerprint: of its files.
      taken: when it was taken, UTC in ISO 8601; empty if the rows do not say it.
      hull: float64[V, 2], longitudes and latitudes of the convex hull of its windows, counter-clockwise; longitudes may
        exceed 180. Empty if no window says where it lies.
      tags: number of windows by tag.
      rows: number of windows by the file that holds their rows.
    """

    path: str
    name: str
    fingerprint: str
    taken: str = ""
    hull: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    tags: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)


def read_extents(output: Output, footer: Footer) -> list[SceneExtent]:
    """Sum up the windows of an output, scene by scene, in the order in which they come.

    Args:
      output: the output.
      footer: what its rows were made with.

    Raises:
      NoOutputError: it has no windows of scenes, several rows of the same one, its files are not as scenetags writes
        them, or a run has changed one since it was listed.
      OutputError: a file is damaged.
    """
    extents: dict[str, SceneExtent] = {}
    for file, batch in output.pieces_by_file(_FIELDS, missing=_FIELDS.names[2:], made_with=footer):
        _add(extents, file, batch)
    if not extents:
        raise lacks_windows(output)
    return list(extents.values())


def _add(extents: dict[str, SceneExtent], file: str, batch: pa.RecordBatch) -> None:
    columns = (batch.column(name).to_pylist() for name in _FIELDS.names)
    of_scene: dict[str, list[bytes]] = {}
    for path, tags, fingerprint, name, taken, geometry in zip(*columns, strict=True):
        window = split_window(path or "")
        if name is None or window is None:
            continue
        scene = extents.setdefault(window[0], SceneExtent(window[0], name, fingerprint or ""))
        scene.rows[file] += 1
        scene.tags.update(tags or ())
        scene.taken = scene.taken or spell_time(taken) or ""
        if geometry is not None:
            of_scene.setdefault(window[0], []).append(geometry)
    for path, geometries in of_scene.items():
        scene = extents[path]
        try:
            vertices = read_outlines(geometries).vertices
        except ValueError as error:
            raise NoOutputError(f"{file} holds a geometry that scenetags did not write: {error}") from error
        scene.hull = find_hull([*scene.hull.tolist(), *vertices.tolist()])


def find_hull(points: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Return the convex hull of points: longitudes and latitudes, counter-clockwise.

    A. M. Andrew, "Another Efficient Algorithm for Convex Hulls in Two Dimensions", Information Processing Letters 9
    (1979). Points on both sides of the antimeridian are brought together.
    """
    first = points[0][0]
    ordered = sorted({(first + (longitude - first + 180) % 360 - 180, latitude) for longitude, latitude in points})
    if len(ordered) < 3:
        return np.array(ordered)
    halves = []
    for some in (ordered, ordered[::-1]):
        half: list[tuple[float, float]] = []
        for point in some:
            while len(half) > 1 and _turn(half[-2], half[-1], point) <= 0:
                half.pop()
            half.append(point)
        halves += half[:-1]
    return np.array(halves)


def _turn(origin: tuple[float, float], one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return a number above 0 if the way over three points turns left."""
    across, up = one[0] - origin[0], one[1] - origin[1]
    return across * (other[1] - origin[1]) - up * (other[0] - origin[0])
