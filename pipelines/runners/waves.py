"""Divide the listing of a local run into waves; scenes are cut when it is their turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain, islice

from pipelines.archives.packed import PackedNames
from pipelines.listing.scenes import CutSettings, cut_scenes
from pipelines.records import ImageRef, Listed


class Waves:
    """The waves of a run, in order: all files are known, but only the windows of those scenes that were cut."""

    def __init__(
        self,
        listed: Iterable[Listed],
        most: int,
        cutting: CutSettings,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        """List everything, and make the first wave.

        Args:
          listed: images, scenes and failures.
          most: images of a wave.
          cutting: how scenes are cut.
          tell: called with what is remarkable about scenes.
        """
        self._packs = deque(_pack(listed, most))
        self.listed = sum(map(len, self._packs))
        self._cutting = cutting
        self._files = self._cut = 0
        self._rest = _pack(self._windows(tell), most) if cutting.grid else self._unchanged()
        self._next = deque[PackedNames]()
        self._prepare()
        if not self._next:
            # One of nothing writes a manifest, too.
            self._next.append(PackedNames(()))

    def __bool__(self) -> bool:
        return bool(self._next)

    @property
    def expected(self) -> int:
        """Images of the run; an estimate until all scenes are cut."""
        if not self._cutting.grid:
            return self.listed
        return max(self._cut, self._cut * self.listed // max(1, self._files))

    def sample(self, number: int) -> Sequence[Listed]:
        """Return about as many images, evenly spread over those that are known so far."""
        # Of each pack its beginning: the rest is packed.
        packs = [*self._next, *([] if self._cutting.grid else self._packs)]
        return [item for names in packs for item in islice(names, max(1, number // len(packs)))]

    def take(self) -> tuple[PackedNames, bool]:
        """Return the names of the next wave, and whether it is the last one."""
        names = self._next.popleft()
        if not self._next:
            self._prepare()
        return names, not self._next

    def put_back(self, names: PackedNames) -> None:
        """Put names that a wave has postponed before all others."""
        self._next.appendleft(names)

    def close(self) -> None:
        """Abandon scenes that are being opened for later waves."""
        self._rest.close()

    def _prepare(self) -> None:
        self._next.extend(islice(self._rest, 1))

    def _unchanged(self) -> Generator[PackedNames]:
        while self._packs:
            yield self._packs.popleft()

    def _windows(self, tell: Callable[[str], object]) -> Iterator[Listed]:
        """Cut scenes; count what they become, and from how many files that is."""
        last = ""
        with closing(cut_scenes(chain.from_iterable(self._unchanged()), self._cutting, tell)) as windows:
            for item in windows:
                file = item.window.scene if isinstance(item, ImageRef) and item.window else item.path
                self._files += file != last
                self._cut += 1
                last = file
                yield item


def _pack(listed: Iterable[Listed], most: int) -> Generator[PackedNames]:
    items = iter(listed)
    while names := PackedNames(islice(items, most)):
        yield names
