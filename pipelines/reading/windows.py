"""Read windows of scenes: the parts in which they lie are fetched ahead, and the windows are cut from them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from pipelines import storage
from pipelines.images import DecodeSettings, ImageError, Pixels, resize
from pipelines.images.parts import Box
from pipelines.images.rendering import unpack_rendering
from pipelines.reading.parts import Part, Parts
from pipelines.records import Footprint, ImageRef
from pipelines.scenes.footprint import locate
from pipelines.scenes.grid import Grid, without_masks
from pipelines.scenes.opening import open_scene
from pipelines.scenes.reading import ReadPart, Shown, show_window
from pipelines.scenes.scene import Scene
from pipelines.supervision.interruption import InterruptedRunError


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

    def __init__(self, grid: Grid, decoding: DecodeSettings, parts: Parts) -> None:
        """Prepare to read.

        Args:
          grid: of the windows.
          decoding: what the model takes.
          parts: of the scenes; closed together with the windows.
        """
        self._grid = grid
        self._decoding = decoding
        self._parts = parts
        self._expected: dict[str, _Window] = {}
        self._expecting = threading.Lock()

    def expect(self, ref: ImageRef) -> None:
        """Begin to read the parts in which a window lies, once there is room for them."""
        # Who reads the window meets the same error, and reports it.
        if self._is_unclear(ref):
            return
        with suppress(OSError, ImageError, InterruptedRunError):
            window = self._begin(ref)
            with self._expecting:
                self._expected[ref.path] = window

    def fetch(self, ref: ImageRef) -> OpenWindow | None:
        """Wait for the parts in which a window lies; return None if too little of it is clear.

        Raises:
          ImageError: they cannot be decoded.
          OSError: they cannot be fetched.
          InterruptedRunError: the run was asked to stop.
        """
        if self._is_unclear(ref):
            return None
        with self._expecting:
            expected = self._expected.pop(ref.path, None)
        window = expected or self._begin(ref)
        try:
            return OpenWindow(self, self._parts, ref, window, [part.reading.result() for part in window.held])
        except BaseException:
            self._parts.let_go(window.held)
            raise

    def show(self, scene: Scene, box: Box, parts: Sequence[ReadPart]) -> Shown | None:
        """Make a picture of a window, at the model's size; None if too little of it holds data."""
        shown = show_window(scene, box, parts)
        if shown.valid < self._grid.min_valid:
            return None
        pixels = resize(shown.pixels, self._decoding.image_size, self._decoding.resize_filter)
        # A view would keep its part.
        return shown._replace(pixels=pixels if pixels.base is None else pixels.copy())

    def _is_unclear(self, ref: ImageRef) -> bool:
        return ref.window is not None and ref.window.clear < self._grid.clear

    def close(self) -> None:
        """Abandon work in progress."""
        self._parts.close()

    def _open(self, ref: ImageRef) -> Scene:
        assert ref.window
        # As it was listed: who cuts it in this process has opened it already.
        path, size, fingerprint = ref.window.scene, ref.window.size, without_masks(ref.fingerprint)
        file = ref._replace(path=path, size=size, fingerprint=fingerprint, window=None, kept=())
        packed = ref.window.rendering
        rendering = unpack_rendering(packed) if packed else self._decoding.rendering
        scene = open_scene(file, self._grid, rendering, self._decoding.max_pixels)
        if scene is None:
            raise storage.ChangedFileError
        return scene

    def _begin(self, ref: ImageRef) -> _Window:
        scene, box = self._open(ref), _box(ref)
        return _Window(scene, box, self._parts.hold(scene, box))


class OpenWindow:
    """A window whose parts are decoded, and kept for it.

    Attributes:
      ref: of the window.
    """

    def __init__(
        self, windows: Windows, kept: Parts, ref: ImageRef, window: _Window, parts: Sequence[ReadPart]
    ) -> None:
        """Hold the parts until the window is shown, or let go."""
        self.ref = ref
        self._windows = windows
        self._kept = kept
        self._scene, self._box, self._held = window
        self._parts = parts

    def show(self) -> WindowPixels | None:
        """Make a picture of the window; return None if too little of it holds data.

        Raises:
          ImageError: it cannot be made.
        """
        try:
            shown = self._windows.show(self._scene, self._box, self._parts)
        finally:
            self.let_go()
        if shown is None:
            return None
        footprint = locate(self._scene.georeference, *self._box[:2], *self._box.size)
        if self.ref.item and self.ref.item.taken:
            footprint = footprint._replace(taken=self.ref.item.taken)
        return WindowPixels(*self._box.size, self._scene.source, shown.repairs, shown.pixels, footprint)

    def let_go(self) -> None:
        """Let go of the parts."""
        held, self._held, self._parts = self._held, [], []
        if held:
            self._kept.let_go(held)


class _Window(NamedTuple):
    """A window: its scene, its pixels, and the parts in which it lies."""

    scene: Scene
    box: Box
    held: Sequence[Part]


def _box(ref: ImageRef) -> Box:
    assert ref.window
    _, column, row, width, height, *_ = ref.window
    return Box(column, row, column + width, row + height)
