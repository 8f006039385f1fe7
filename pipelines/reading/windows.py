"""Read windows of scenes: the parts in which they lie are fetched ahead, decoded once and kept for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import NamedTuple

from pipelines import storage
from pipelines.images import DecodeSettings, ImageError, Pixels, resize
from pipelines.images.layout import ImageTooLargeError
from pipelines.images.limits import Limits
from pipelines.images.parts import Box
from pipelines.images.rendering import unpack_rendering
from pipelines.records import Footprint, ImageRef
from pipelines.scenes.footprint import locate
from pipelines.scenes.grid import Grid, without_mask
from pipelines.scenes.opening import open_scene
from pipelines.scenes.reading import ReadPart, Shown, bytes_of, memory_of, read_part, show_window, stack_parts
from pipelines.scenes.scene import Scene, as_listed
from pipelines.scenes.stack import about
from pipelines.supervision import interruption, watchdog
from pipelines.supervision.budget import Allowance, Budget
from pipelines.supervision.interruption import InterruptedRunError

_AT_ONCE = 4
"""Parts fetched concurrently."""
_KEPT = 2
"""Parts kept although no window of theirs is expected: the next windows may still lie in them."""
_SHARE = 4
"""Pictures of parts that are kept take one part in so many of the budget: it does not count them."""
_BYTES = 4
"""Of a pixel of such a picture, with its mask."""
_SECONDS_BETWEEN_LOOKS = 0.5
"""While room is waited for, between looks at whether the run was asked to stop."""

_Key = tuple[str, str, int]
"""Of a part: path and fingerprint of its scene, and its number."""


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
        self._parts: OrderedDict[_Key, _Held] = OrderedDict()
        self._expected: dict[str, _Window] = {}
        self._room = threading.Condition()
        self._fetchers = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="parts")

    def expect(self, ref: ImageRef) -> None:
        """Begin to read the parts in which a window lies, once there is room for them."""
        # Who reads the window meets the same error, and reports it.
        if self._is_unclear(ref):
            return
        with suppress(OSError, ImageError, InterruptedRunError):
            window = self._begin(ref)
            with self._room:
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
        with self._room:
            expected = self._expected.pop(ref.path, None)
        scene, box, held = expected or self._begin(ref)
        try:
            return OpenWindow(self, ref, scene, box, held, [part.reading.result() for part in held])
        except BaseException:
            self.let_go(held)
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
        with storage.hurried(interruption.asked()):
            self._fetchers.shutdown(wait=not interruption.overdue(), cancel_futures=True)

    def _open(self, ref: ImageRef) -> Scene:
        assert ref.window
        # As it was listed: who cuts it in this process has opened it already.
        path, size, fingerprint = ref.window.scene, ref.window.size, without_mask(ref.fingerprint)
        file = ref._replace(path=path, size=size, fingerprint=fingerprint, window=None, kept=())
        packed = ref.window.rendering
        rendering = unpack_rendering(packed) if packed else self._decoding.rendering
        scene = open_scene(file, self._grid, rendering, self._decoding.max_pixels)
        if scene is None:
            raise storage.ChangedFileError
        return scene

    def _begin(self, ref: ImageRef) -> _Window:
        """Keep the parts in which a window lies, and begin to read those that are not there.

        Who waits for room holds nothing, and who holds parts waits for nothing else: so nobody waits in a circle.
        """
        scene, box = self._open(ref), _box(ref)
        sizes = {
            (scene.ref.path, scene.ref.fingerprint, number): _bytes(scene.division.part(number))
            for number in scene.division.parts_of(box)
        }
        with self._room:
            while not self._make_room(sizes):
                interruption.check()
                self._room.wait(_SECONDS_BETWEEN_LOOKS)
            for key, size in sizes.items():
                if key not in self._parts:
                    self._parts[key] = _Held(self._fetchers.submit(self._read, scene, key[2]), size)
                self._parts.move_to_end(key)
                self._parts[key].expected += 1
            return _Window(scene, box, [self._parts[key] for key in sizes])

    def _make_room(self, sizes: Mapping[_Key, int]) -> bool:
        """Drop parts in which no window is expected, the oldest first, until these fit; return whether they do."""
        new = sum(size for key, size in sizes.items() if key not in self._parts)
        if not new:
            return True
        idle = [key for key, part in self._parts.items() if not part.expected and key not in sizes]
        excess = new + sum(part.size for part in self._parts.values()) - self._budget.capacity // _SHARE
        while excess > 0 and idle:
            excess -= self._parts.pop(idle.pop(0)).size
        # Parts that are too large for all room there is are kept alone.
        return excess <= 0 or not any(part.expected for part in self._parts.values())

    def let_go(self, held: Sequence[_Held]) -> None:
        """Expect one window less in these parts; drop the oldest parts in which no window is expected."""
        with self._room:
            for part in held:
                part.expected -= 1
            idle = [key for key, part in self._parts.items() if not part.expected]
            for key in idle[: max(0, len(idle) - _KEPT)]:
                del self._parts[key]
            self._room.notify_all()

    def _read(self, scene: Scene, number: int) -> ReadPart:
        interruption.check()
        size = 0
        for file in scene.files:
            with self._about(scene, file), as_listed(file.ref):
                size += bytes_of(file, number)
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
            decoding, parts = partial(self.decoding_of, scene), []
            for file in scene.files:
                with self._about(scene, file):
                    parts.append(read_part(file, number, partial(self.fetch_bytes, file), decoding))
            return stack_parts(scene, parts) if scene.planes else parts[0]

    def _about(self, scene: Scene, file: Scene) -> AbstractContextManager[None]:
        return about(file.ref.path) if scene.planes else nullcontext()

    def fetch_bytes(self, scene: Scene, start: int, length: int) -> bytes:
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


class OpenWindow:
    """A window whose parts are decoded, and kept for it.

    Attributes:
      ref: of the window.
    """

    def __init__(
        self, windows: Windows, ref: ImageRef, scene: Scene, box: Box, held: Sequence[_Held], parts: Sequence[ReadPart]
    ) -> None:
        """Hold the parts until the window is shown, or let go."""
        self.ref = ref
        self._windows = windows
        self._scene = scene
        self._box = box
        self._held = held
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
            self._windows.let_go(held)


class _Held:
    """A part that is kept, or being read; the bytes of its picture; and the number of windows expected in it."""

    def __init__(self, reading: Future[ReadPart], size: int) -> None:
        self.reading = reading
        self.size = size
        self.expected = 0


class _Window(NamedTuple):
    """A window: its scene, its pixels, and the parts in which it lies."""

    scene: Scene
    box: Box
    parts: Sequence[_Held]


def _box(ref: ImageRef) -> Box:
    assert ref.window
    _, column, row, width, height, *_ = ref.window
    return Box(column, row, column + width, row + height)


def _bytes(part: Box) -> int:
    """Return how many bytes the picture of a part takes."""
    return part.width * part.height * _BYTES
