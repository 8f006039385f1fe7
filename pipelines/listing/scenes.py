"""Cut the scenes of a listing into windows."""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import NamedTuple

from pipelines import storage
from pipelines.errors import quantity
from pipelines.images import ImageError
from pipelines.images.layout import UnsupportedImageError
from pipelines.images.rendering import Rendering, pack_rendering
from pipelines.listing.lookup import refer, with_mask
from pipelines.listing.stacks import is_virtual, refer_virtual
from pipelines.records import Failure, ImageRef, Listed, Window, failed
from pipelines.scenes.footprint import unlocated
from pipelines.scenes.grid import CLEAR_MASK, DATA_MASK, Grid, cover_mask, split_window, window_path
from pipelines.scenes.opening import open_scene
from pipelines.scenes.scene import Scene, about, may_be_scene
from pipelines.scenes.udm2 import Clear, look_for_clear, usable_path
from pipelines.supervision import interruption

_TOLD = 3
"""Scenes without a place that are named; others are counted."""
_AT_ONCE = 16
"""Scenes opened concurrently: in a bucket, each takes a request or two, which mostly wait."""


class CutSettings(NamedTuple):
    """How scenes are cut.

    Attributes:
      grid: of the windows.
      rendering: of rasters that are no picture by themselves.
      max_pixels: the most pixels that are decoded at once.
      trusted: folders and buckets whose files virtual rasters may name, besides those next to and below them; None if
        they may name none.
    """

    grid: Grid
    rendering: Rendering
    max_pixels: int
    trusted: tuple[str, ...] | None = None


class _Opened(NamedTuple):
    """A scene, and how clear its windows are if that was asked for."""

    scene: Scene
    clear: Clear | None


class Cutter:
    """A queue that takes a listing and yields it in the same order, with the windows of each scene in its place."""

    def __init__(self, settings: CutSettings, tell: Callable[[str], object] = lambda _: None) -> None:
        """Start the threads that open scenes.

        Args:
          settings: how scenes are cut.
          tell: called with what is remarkable: scenes whose windows cannot be located.
        """
        self._settings = settings
        self._tell = tell
        self._nowhere = 0
        self._executor = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="scenes")
        self._queue: deque[tuple[int, Listed, Future[_Opened | Failure | None] | None]] = deque()

    def put(self, item: Listed, number: int = 0) -> Iterator[tuple[int, Listed]]:
        """Take an item, and begin to open it if it may be a scene; yield what an earlier one becomes, with its number.

        That is the windows of a scene, part by part; the failure of one that cannot be cut; or the item itself.
        """
        if split_window(item.path):
            if isinstance(item, ImageRef):
                reason = "the name is that of a window of a scene; rename the file"
                item = failed(item, "list", ValueError.__name__, reason)
            # In a spelling that no window has: the scene may be listed, too.
            item = item._replace(path=storage.marked(item.path, 1))
        opening = None
        if isinstance(item, ImageRef) and may_be_cut(item):
            opening = self._executor.submit(_open, item, self._settings)
        self._queue.append((number, item, opening))
        if len(self._queue) > _AT_ONCE:
            yield from self._take()

    def drain(self) -> Iterator[tuple[int, Listed]]:
        """Yield what the remaining items become, with their numbers, and end."""
        while self._queue:
            yield from self._take()
        if self._nowhere > _TOLD:
            self._tell(f"{quantity(self._nowhere - _TOLD, 'more scene')}: their windows get no geometry either")
        self.close()

    def close(self) -> None:
        """Abandon scenes that are not open yet."""
        with storage.hurried(interruption.asked()):
            self._executor.shutdown(wait=not interruption.overdue(), cancel_futures=True)

    def _take(self) -> Iterator[tuple[int, Listed]]:
        number, item, opening = self._queue.popleft()
        for listed in self._cut(item, opening):
            yield number, listed

    def _cut(self, item: Listed, opening: Future[_Opened | Failure | None] | None) -> Iterator[Listed]:
        opened = opening.result() if opening else None
        if not isinstance(opened, _Opened):
            yield opened or item
            return
        scene = opened.scene
        if reason := unlocated(scene.georeference, scene.division.width, scene.division.height):
            self._nowhere += 1
            if self._nowhere <= _TOLD:
                self._tell(f"{scene.ref.path}: its windows get no geometry: {reason}")
        yield from _windows(opened, self._settings.rendering, item.kept)


def cut_scenes(
    listed: Iterable[Listed], settings: CutSettings, tell: Callable[[str], object] = lambda _: None
) -> Generator[Listed]:
    """Cut the scenes of a listing; see `Cutter`."""
    cutter = Cutter(settings, tell)
    try:
        for item in listed:
            yield from _without_numbers(cutter.put(item))
        yield from _without_numbers(cutter.drain())
    finally:
        cutter.close()


def may_be_cut(item: Listed) -> bool:
    """Return whether an item may be a scene, which opening it decides."""
    if isinstance(item, Failure) or item.place is not None:
        return False
    return item.stack is not None or may_be_scene(item.path) or is_virtual(item.path)


def _without_numbers(items: Iterable[tuple[int, Listed]]) -> Iterator[Listed]:
    return (item for _, item in items)


def _open(ref: ImageRef, settings: CutSettings) -> _Opened | Failure | None:
    interruption.check()
    is_version_known = False
    try:
        if ref.stack is None and is_virtual(ref.path):
            listed = _look_into(ref, settings)
            if isinstance(listed, Failure):
                return listed
            ref = listed
        ref = with_mask(ref)
        is_version_known = ref.mask is None and not settings.grid.clear
        # As its windows refer to it, since a scene that is open is not opened again.
        scene = open_scene(ref._replace(kept=()), settings.grid, settings.rendering, settings.max_pixels)
        if scene is None:
            return None
        return _Opened(scene, _look_for_clear(scene, settings.grid) if settings.grid.clear else None)
    except ImageError as error:
        return failed(ref, "decode", type(error).__name__, str(error))
    except OSError as error:
        if isinstance(error, storage.TransientError):
            # A run that was asked to stop does not retry: that is no failure of the scene.
            interruption.check()
        if not is_version_known:
            ref = _of_unknown_version(ref)
        return failed(ref, "read", type(error).__name__, storage.reason_of(error))


def _of_unknown_version(ref: ImageRef) -> ImageRef:
    """Leave it open which version of a scene this is, since not all of its files were read: earlier rows stay."""
    return ref._replace(fingerprint="")


def _look_into(ref: ImageRef, settings: CutSettings) -> Listed:
    """Look up the files that a virtual raster names."""
    if settings.trusted is None:
        refusal = UnsupportedImageError("virtual raster, which names other files", "if you trust it, add --allow_vrt")
        return failed(_of_unknown_version(ref), "decode", type(refusal).__name__, str(refusal))
    listed = refer_virtual(ref, settings.rendering, settings.trusted)
    if isinstance(listed, Failure):
        # As above.
        interruption.check()
        return listed._replace(kept=ref.kept)
    return listed


def _look_for_clear(scene: Scene, grid: Grid) -> Clear:
    """Read the mask next to a scene."""
    path = usable_path(scene.files[0].ref.path)
    name = posixpath.basename(path)
    listed = refer(path)
    if isinstance(listed, Failure) and listed.error == FileNotFoundError.__name__:
        raise UnsupportedImageError(f"scene without its usable data mask, {name}", "fetch it, or omit --mask")
    with about(path):
        if isinstance(listed, Failure):
            # As above.
            interruption.check()
            raise OSError(listed.message)
        return look_for_clear(scene, listed, grid)


def _windows(opened: _Opened, said: Rendering, kept: tuple[str | None, ...]) -> Iterator[ImageRef]:
    scene, clear = opened
    # Who reads a window need not look for it again.
    found = pack_rendering(scene.rendering) if scene.rendering and scene.rendering != said else ""
    path, size, fingerprint = scene.ref[:3]
    if scene.ref.mask:
        fingerprint = cover_mask(fingerprint, DATA_MASK, scene.ref.mask.fingerprint)
    if clear:
        fingerprint = cover_mask(fingerprint, CLEAR_MASK, clear.fingerprint)
    ref = scene.ref._replace(fingerprint=fingerprint, kept=kept)
    of_scene = scene.division.width, scene.division.height, size
    # What a window takes of the file, about: plans and progress count bytes.
    density = size / (scene.division.width * scene.division.height)
    shares = clear.shares if clear else repeat(1.0)
    for (number, box), share in zip(scene.division.windows(), shares, strict=False):
        place = box.left, box.top, *box.size
        window = Window(path, *place, number, *of_scene, found, share)
        taken = round(box.width * box.height * density)
        yield ref._replace(path=window_path(path, *place), size=taken, window=window)
