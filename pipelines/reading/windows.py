"""Read windows of scenes: the parts in which they lie are fetched ahead, decoded once and kept for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache, partial
from typing import NamedTuple

from pipelines import storage
from pipelines.images import DecodeSettings, ImageError, Pixels, resize
from pipelines.images.layout import ImageTooLargeError
from pipelines.images.limits import Limits
from pipelines.images.rendering import Rendering
from pipelines.images.tiff.parts import Box
from pipelines.reading.budget import Allowance, Budget
from pipelines.records import Footprint, ImageRef
from pipelines.scenes.footprint import locate
from pipelines.scenes.grid import Grid
from pipelines.scenes.reading import ReadPart, Shown, bytes_of, memory_of, read_part, show_window
from pipelines.scenes.scene import Scene, open_scene
from pipelines.supervision import interruption, watchdog

_AT_ONCE = 4
"""Parts fetched concurrently."""
_KEPT = 2
"""Parts kept although no window of theirs is expected: the next windows may still lie in them."""
_OPEN = 64
"""Scenes whose directories are kept."""


class WindowPixels(NamedTuple):
    """A window at a model's size; the attributes are those of `images.Resized`, and where the window lies."""

    width: int
    height: int
    source: str
    repairs: tuple[str, ...]
    pixels: Pixels
    footprint: Footprint


class Windows:
    """Windows of scenes, which several threads can read independently."""

    def __init__(
        self,
        grid: Grid,
        decoding: DecodeSettings,
        limits: Limits,
        budget: Budget,
        turn: AbstractContextManager[object],
    ) -> None:
        """Prepare to read.

        Args:
          grid: of the windows.
          decoding: what the model takes.
          limits: of what is decoded at once.
          budget: of the memory for images.
          turn: to decode.
        """
        self._grid = grid
        self._decoding = decoding
        self._limits = limits
        self._budget = budget
        self._turn = turn
        self._parts: OrderedDict[tuple[str, str, int], _Held] = OrderedDict()
        self._expected: dict[str, Sequence[_Held]] = {}
        self._lock = threading.Lock()
        self._fetchers = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="parts")

    def expect(self, ref: ImageRef) -> None:
        """Begin to read the parts in which a window lies."""
        # Who reads the window meets the same error, and reports it.
        with suppress(OSError, ImageError):
            scene = self._open(ref)
            with self._lock:
                self._expected[ref.path] = self._hold(scene, _box(ref))

    def read(self, ref: ImageRef) -> WindowPixels | None:
        """Read a window; return None if too little of it holds data.

        Raises:
          ImageError: it cannot be decoded.
          OSError: it cannot be fetched.
          InterruptedRunError: the run was asked to stop.
        """
        scene, box = self._open(ref), _box(ref)
        with self._lock:
            held = self._expected.pop(ref.path, None) or self._hold(scene, box)
        try:
            parts = [part.reading.result() for part in held]
            with self._turn:
                interruption.check()
                shown = self.show(scene, box, parts)
        finally:
            self._let_go(held)
        if shown is None:
            return None
        footprint = Footprint() if scene.georeference is None else locate(scene.georeference, *box[:2], *box.size)
        return WindowPixels(*box.size, scene.source, shown.repairs, shown.pixels, footprint)

    def show(self, scene: Scene, box: Box, parts: Sequence[ReadPart]) -> Shown | None:
        """Make a picture of a window, at the model's size; None if too little of it holds data."""
        shown = show_window(scene, box, parts)
        if shown.valid < self._grid.min_valid:
            return None
        pixels = resize(shown.pixels, self._decoding.image_size, self._decoding.resize_filter)
        # A view would keep its part.
        return shown._replace(pixels=pixels if pixels.base is None else pixels.copy())

    def close(self) -> None:
        """Abandon work in progress."""
        with storage.hurried():
            self._fetchers.shutdown(wait=not interruption.overdue(), cancel_futures=True)

    def _open(self, ref: ImageRef) -> Scene:
        assert ref.window
        file = ImageRef(ref.window.scene, ref.window.size, ref.fingerprint)
        return _open_once(file, self._grid, self._decoding.rendering, self._decoding.max_pixels)

    def _hold(self, scene: Scene, box: Box) -> list[_Held]:
        """Keep the parts in which a window lies, and begin to read those that are not there."""
        held = []
        for number in scene.division.parts_of(box):
            key = scene.ref.path, scene.ref.fingerprint, number
            if key not in self._parts:
                self._parts[key] = _Held(self._fetchers.submit(self._read, scene, number))
            self._parts.move_to_end(key)
            self._parts[key].expected += 1
            held.append(self._parts[key])
        return held

    def _let_go(self, held: Sequence[_Held]) -> None:
        """Drop the oldest parts in which no window is expected."""
        with self._lock:
            for part in held:
                part.expected -= 1
            idle = [key for key, part in self._parts.items() if not part.expected]
            for key in idle[: max(0, len(idle) - _KEPT)]:
                del self._parts[key]

    def _read(self, scene: Scene, number: int) -> ReadPart:
        interruption.check()
        size = bytes_of(scene, number)
        if size > self._limits.max_bytes:
            raise storage.FileTooLargeError(
                f"{size:,} bytes of the scene have to be read at once: exceeds the limit of "
                f"{self._limits.max_bytes:,} (predict --max_bytes)"
            )
        needed = memory_of(scene, number)
        if needed > self._budget.memory:
            raise ImageTooLargeError(
                f"a part of the scene takes {needed / 1e6:,.0f} MB of memory, but only "
                f"{self._budget.memory / 1e6:,.0f} MB may be used",
                "use a machine with more memory, or rewrite it in tiles, e.g. with gdal_translate -of COG",
            )
        with Allowance(self._budget) as allowance:
            allowance.take(needed)
            interruption.check()
            fetch, decoding = partial(self.fetch, scene), partial(self.decoding_of, scene)
            return read_part(scene, number, self._decoding.rendering, fetch, decoding)

    def fetch(self, scene: Scene, start: int, length: int) -> bytes:
        """Fetch bytes of a scene's file, of the version that was listed.

        Raises:
          OSError: they cannot be read.
        """
        return storage.read_range(scene.ref.path, start, length, scene.ref.fingerprint)

    @contextmanager
    def decoding_of(self, scene: Scene) -> Iterator[None]:
        """Let the block decode a part of a scene, once it is its turn."""
        # Many threads may fetch, but few may decode.
        with self._turn, watchdog.noted(scene.ref.path):
            interruption.check()
            yield


class _Held:
    """A part that is kept, or being read, and the number of windows in it that are expected."""

    def __init__(self, reading: Future[ReadPart]) -> None:
        self.reading = reading
        self.expected = 0


@lru_cache(maxsize=_OPEN)
def _open_once(file: ImageRef, grid: Grid, rendering: Rendering, max_pixels: int) -> Scene:
    scene = open_scene(file, grid, rendering, max_pixels)
    if scene is None:
        raise storage.ChangedFileError
    return scene


def _box(ref: ImageRef) -> Box:
    assert ref.window
    _, column, row, width, height, *_ = ref.window
    return Box(column, row, column + width, row + height)
