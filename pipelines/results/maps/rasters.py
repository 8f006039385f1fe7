"""Put the probabilities of windows into rasters that lie over their scenes, as the scenes themselves lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines import storage
from pipelines.errors import ScenetagsError, quantity
from pipelines.images import ImageError
from pipelines.listing.stacks import refer_place
from pipelines.output.footers import Footer
from pipelines.output.tables import read_each
from pipelines.records import Failure
from pipelines.results.files import NoOutputError
from pipelines.results.maps import MAX, MEAN
from pipelines.results.maps.footprints import Counts, Footprints
from pipelines.results.maps.outlines import Outlines
from pipelines.results.whereabouts import Whereabouts
from pipelines.scenes.footprint import locate
from pipelines.scenes.georeference import Georeference, GeoTags
from pipelines.scenes.grid import Grid, split_window
from pipelines.scenes.place import read_place

_MOST_VALUES = 1 << 26
"""Cells times tags of a raster; its sums take up to 1.5 GB."""

Cells = NDArray[np.float32]
"""float32[rows, columns, tags], 0 to 1; NaN where no window is."""


class RasterTooLargeError(ScenetagsError):
    """A raster that memory would not hold."""


class Windows(NamedTuple):
    """The windows of an output, by scene.

    Attributes:
      scenes: paths.
      bounds: west, south, east and north of the first window of each.
      of: int64[N], the scene of each window.
      boxes: int64[N, 4], column, row, width and height in the scene.
      probabilities: float32[N, T].
      counts: of all rows.
    """

    scenes: Sequence[str]
    bounds: Sequence[tuple[float, ...]]
    of: NDArray[np.int64]
    boxes: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    counts: Counts


class _Placed(NamedTuple):
    """Where a scene lies: its width and height in pixels, and on the ground, as it says it and as a GeoTIFF does."""

    width: int
    height: int
    georeference: Georeference
    tags: GeoTags


class Raster(NamedTuple):
    """Probabilities over a scene.

    Attributes:
      scene: its path.
      place: its columns and rows on the ground, and the GeoKeys of the scene.
      cells: the probabilities.
    """

    scene: str
    place: GeoTags
    cells: Cells


class Unreadable(NamedTuple):
    """A scene of which there is no raster.

    Attributes:
      scene: its path.
      windows: number of them.
      reason: why it cannot be read.
    """

    scene: str
    windows: int
    reason: str


def gather_windows(pieces: Iterable[Footprints]) -> Windows:
    """Read the windows of an output, and sort them by scene; what is no window is counted with the images.

    Raises:
      NoOutputError: there is none.
    """
    numbers: dict[str, int] = {}
    bounds: list[tuple[float, ...]] = []
    of, boxes, probabilities, counts = [], [], [], Counts()
    for piece in pieces:
        windows = [split_window(path or "") for path in piece.rows.column("path").to_pylist()]
        for index, window in enumerate(windows):
            if window and window[0] not in numbers:
                numbers[window[0]] = len(numbers)
                bounds.append(_bounds(piece.outlines, index))
        named = np.array([window is not None for window in windows], bool)
        of += [numbers[window[0]] for window in windows if window]
        boxes += [window[1] for window in windows if window]
        probabilities.append(piece.probabilities[named])
        strange = len(windows) - int(named.sum())
        counts += piece.counts + Counts(shown=-strange, images=strange)
    if not numbers:
        raise NoOutputError("no row has the path of a window", "run `scenetags predict` on scenes, with --tile")
    order = np.argsort(of, kind="stable")
    return Windows(
        list(numbers),
        bounds,
        np.array(of, np.int64)[order],
        np.array(boxes, np.int64).reshape(-1, 4)[order],
        np.concatenate(probabilities)[order],
        counts,
    )


def make_rasters(
    windows: Windows, footer: Footer, whereabouts: Whereabouts, merge: str
) -> Iterator[Raster | Unreadable]:
    """Make a raster of each scene, in the order of `Windows.scenes`.

    The beginnings of the scenes are read again: rows say where a window lies in longitude and latitude only.

    Args:
      windows: of an output.
      footer: what its rows were made with.
      whereabouts: of its scenes.
      merge: one of `MERGES`.

    Raises:
      RasterTooLargeError: one would be.
      NoOutputError: a window is none of the grid.
    """
    grid = footer.grid
    if (windows.boxes[:, 2:] > grid.tile).any():
        raise NoOutputError("a window is larger than --tile was, so scenetags did not write it")
    ends = np.searchsorted(windows.of, np.arange(len(windows.scenes)), "right")
    # Those of a bucket are opened concurrently.
    scenes = [whereabouts.whole(scene) for scene in windows.scenes]
    places = read_each(scenes[0], lambda scene: _read_place(scene, footer), scenes)
    for scene, place, bounds, start, end in zip(windows.scenes, places, windows.bounds, [0, *ends], ends, strict=False):
        boxes, probabilities = windows.boxes[start:end], windows.probabilities[start:end]
        reason = place if isinstance(place, str) else _find_contradiction(place, boxes, bounds, grid)
        if isinstance(place, str) or reason:
            yield Unreadable(scene, len(boxes), reason)
            continue
        side = min(grid.stride, grid.tile)
        size = _reach(grid, place.width), _reach(grid, place.height)
        _check_size(scene, size, side, probabilities.shape[1])
        a, b, c, d, e, f = place.tags.transform
        transform = (a * side, b * side, c, d * side, e * side, f)
        yield Raster(scene, GeoTags(transform, place.tags.keys), fill_cells(boxes, probabilities, side, size, merge))


def fill_cells(
    boxes: NDArray[np.int64], probabilities: NDArray[np.float32], side: int, size: tuple[int, int], merge: str
) -> Cells:
    """Give each cell the mean or the largest of the probabilities of the windows that its centre lies in.

    A window whose sides are no shorter than a cell's, or than the scene's, is in one cell at least.

    Args:
      boxes: int64[N, 4], column, row, width and height of windows.
      probabilities: float32[N, T].
      side: pixels of the scene to a cell.
      size: width and height of the scene with its padded windows, in pixels.
      merge: one of `MERGES`.
    """
    across, down = (_centres(length, side) for length in size)
    columns, rows = (np.searchsorted(centres, boxes[:, axis]) for axis, centres in enumerate((across, down)))
    right, lower = (
        np.searchsorted(centres, boxes[:, axis] + boxes[:, axis + 2]) for axis, centres in enumerate((across, down))
    )
    shape = (len(across) * len(down), probabilities.shape[1])
    found = np.full(shape, np.nan, np.float32) if merge == MAX else np.zeros(shape)
    number = np.zeros(shape[0], np.int64)
    for i in range(np.max(lower - rows, initial=0)):
        for j in range(np.max(right - columns, initial=0)):
            inside = (rows + i < lower) & (columns + j < right)
            at = ((rows + i) * len(across) + columns + j)[inside]
            if merge == MAX:
                np.fmax.at(found, at, probabilities[inside])
            else:
                np.add.at(found, at, probabilities[inside])
                np.add.at(number, at, 1)
    if merge == MEAN:
        # A cell without a window is 0 divided by 0, which is NaN as it should be.
        with np.errstate(invalid="ignore"):
            found /= number[:, np.newaxis]
    return found.astype(np.float32, copy=False).reshape(len(down), len(across), -1)


def _reach(grid: Grid, length: int) -> int:
    """Return how far a scene and its windows reach along a side of the scene."""
    last = grid.starts(length)[-1]
    return max(length, last + grid.extent(last, length))


def _centres(length: int, side: int) -> NDArray[np.float64]:
    """Return the centres of the cells along a side; of the last one, the centre of the part that is inside."""
    starts = np.arange(0, length, side)
    return (starts + np.minimum(starts + side, length)) / 2


def _bounds(outlines: Outlines, index: int) -> tuple[float, ...]:
    """Return west, south, east and north of a window."""
    first = int(outlines.rings[:index].sum())
    start = int(outlines.sizes[:first].sum())
    end = start + int(outlines.sizes[first : first + outlines.rings[index]].sum())
    vertices = outlines.vertices[start:end]
    return (*vertices.min(axis=0).tolist(), *vertices.max(axis=0).tolist())


def _read_place(path: str, footer: Footer) -> _Placed | str:
    """Return where a scene lies, or why that is unknown."""
    try:
        listed = refer_place(storage.normalize(path), footer.rendering)
        if isinstance(listed, Failure):
            return listed.message
        place = read_place(listed.file)
    except ImageError as error:
        return error.message
    except OSError as error:
        return storage.reason_of(error)
    if place.georeference is None or place.georeference.tags is None:
        return "it does not say where it lies"
    return _Placed(place.width, place.height, place.georeference, place.georeference.tags)


def _find_contradiction(place: _Placed, boxes: NDArray[np.int64], bounds: Sequence[float], grid: Grid) -> str:
    """Return why windows cannot be those of a scene: the first does not lie, within a pixel, where its row says."""
    if (boxes[:, :2] + boxes[:, 2:] > (_reach(grid, place.width), _reach(grid, place.height))).any():
        return "it was replaced, and is smaller now"
    column, row, width, height = boxes[0].tolist()
    found = locate(place.georeference, column, row, width, height).bounds
    west, south, east, north = bounds
    pixel = np.array([(east - west) / width, (north - south) / height] * 2)
    if not found or not (np.abs(np.subtract(found, bounds)) <= pixel).all():
        return "it was replaced, and its windows lie elsewhere now"
    return ""


def _check_size(scene: str, size: Sequence[int], side: int, tags: int) -> None:
    columns, rows = (-(-length // side) for length in size)
    if columns * rows * tags > _MOST_VALUES:
        raise RasterTooLargeError(
            f"{scene}: a raster of {columns:,} x {rows:,} cells and {quantity(tags, 'tag')} is too large",
            "choose fewer with --tag" if tags > 1 else "",
        )
