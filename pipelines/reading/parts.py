"""The parts of scenes in which windows lie: fetched ahead, decoded once and kept while windows are expected in them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from pipelines import storage
from pipelines.errors import quantity
from pipelines.images.layout import ImageTooLargeError
from pipelines.images.limits import Limits
from pipelines.images.parts import Box
from pipelines.records import File
from pipelines.scenes.reading import ReadPart, bytes_of, memory_of, read_part, stack_parts
from pipelines.scenes.scene import Scene, about, as_listed
from pipelines.supervision import interruption, watchdog
from pipelines.supervision.budget import Allowance, Budget

_AT_ONCE = 4
"""Parts fetched concurrently."""
_KEPT = 2
"""Parts kept although no window of theirs is expected: the next windows may still lie in them."""
_SHARE = 4
"""Pictures of parts that are kept take one part in so many of the budget: it does not count them."""
_BYTES = 4
"""Of a pixel of such a picture, with its mask."""

_Key = tuple[str, str, int]
"""Of a part: path and fingerprint of its scene, and its number."""


class Part:
    """A part of a scene.

    Attributes:
      reading: the part, or what becomes of it.
      size: bytes of its picture.
      expected: number of windows that are expected in it.
    """

    def __init__(self, reading: Future[ReadPart], size: int) -> None:
        self.reading = reading
        self.size = size
        self.expected = 0


class Parts:
    """Parts of scenes, which several threads can hold independently."""

    def __init__(self, limits: Limits, budget: Budget, turn: AbstractContextManager[object]) -> None:
        """Prepare to read.

        Args:
          limits: of what is decoded at once.
          budget: of the memory for images.
          turn: to decode.
        """
        self._limits = limits
        self._budget = budget
        self._turn = turn
        self._kept: OrderedDict[_Key, Part] = OrderedDict()
        self._room = threading.Condition()
        self._fetchers = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="parts")

    def hold(self, scene: Scene, box: Box) -> Sequence[Part]:
        """Keep the parts in which a window lies, and begin to read those that are not there, once there is room.

        Who waits for room holds nothing, and who holds parts waits for nothing else: so nobody waits in a circle.

        Raises:
          InterruptedRunError: the run was asked to stop.
        """
        sizes = {
            (scene.ref.path, scene.ref.fingerprint, number): _bytes(scene.division.part(number))
            for number in scene.division.parts_of(box)
        }
        with self._room:
            while not self._make_room(sizes):
                interruption.check()
                self._room.wait(interruption.SECONDS_BETWEEN_LOOKS)
            for key, size in sizes.items():
                if key not in self._kept:
                    self._kept[key] = Part(self._fetchers.submit(self._read, scene, key[2]), size)
                self._kept.move_to_end(key)
                self._kept[key].expected += 1
            return [self._kept[key] for key in sizes]

    def let_go(self, held: Sequence[Part]) -> None:
        """Expect one window less in these parts; drop the oldest parts in which no window is expected."""
        with self._room:
            for part in held:
                part.expected -= 1
            idle = [key for key, part in self._kept.items() if not part.expected]
            for key in idle[: max(0, len(idle) - _KEPT)]:
                del self._kept[key]
            self._room.notify_all()

    def close(self) -> None:
        """Abandon work in progress."""
        with storage.hurried(interruption.asked()):
            self._fetchers.shutdown(wait=not interruption.overdue(), cancel_futures=True)

    def fetch_bytes(self, file: File, start: int, length: int) -> bytes:
        """Fetch bytes of a file of a scene, of the version that was listed.

        Raises:
          OSError: they cannot be read.
        """
        return storage.read_range(file.path, start, length, file.fingerprint)

    @contextmanager
    def decoding_of(self, scene: Scene) -> Iterator[None]:
        """Let the block decode a part of a scene, once it is its turn."""
        # Many threads may fetch, but few may decode.
        with self._turn, watchdog.noted(scene.ref.path):
            interruption.check()
            yield

    def _make_room(self, sizes: Mapping[_Key, int]) -> bool:
        """Drop parts in which no window is expected, the oldest first, until these fit; return whether they do."""
        new = sum(size for key, size in sizes.items() if key not in self._kept)
        if not new:
            return True
        idle = [key for key, part in self._kept.items() if not part.expected and key not in sizes]
        excess = new + sum(part.size for part in self._kept.values()) - self._budget.capacity // _SHARE
        while excess > 0 and idle:
            excess -= self._kept.pop(idle.pop(0)).size
        # Parts that are too large for all room there is are kept alone.
        return excess <= 0 or not any(part.expected for part in self._kept.values())

    def _read(self, scene: Scene, number: int) -> ReadPart:
        interruption.check()
        size = 0
        for file in scene.files:
            with self._about(scene, file), as_listed(file.ref):
                size += bytes_of(file, number)
        if size > self._limits.max_bytes:
            raise storage.FileTooLargeError(
                f"{quantity(size, 'byte of the scene has', 'bytes of the scene have')} to be read at once: "
                f"exceeds the limit of {self._limits.max_bytes:,} (predict --max_bytes)"
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
                    parts.append(read_part(file, number, self.fetch_bytes, decoding))
            return stack_parts(scene, parts) if scene.planes else parts[0]

    def _about(self, scene: Scene, file: Scene) -> AbstractContextManager[None]:
        return about(file.ref.path) if scene.planes else nullcontext()


def _bytes(part: Box) -> int:
    """Return how many bytes the picture of a part takes."""
    return part.width * part.height * _BYTES
