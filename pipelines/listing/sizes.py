"""Estimate how many objects there are in a range of a bucket, from glimpses at what ranges begin with."""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

_FEW = 8
"""Paths of which it is not worth asking how they continue."""
_MOST = 1e12
"""Objects that an estimate may give."""
_DIGITS = "0123456789"

_Place = tuple[int, int]
"""Of a character in a path: number of the folder, and of the character in its name."""


class Part(NamedTuple):
    """A range of an area.

    Attributes:
      prefix: of the paths in it, perhaps but for the last one.
      after: path behind which it begins; empty if it is the first.
      until: path with which it ends; empty if it is the last.
      first: its first paths.
      more: whether these are not all.
    """

    prefix: str
    after: str
    until: str
    first: Sequence[str]
    more: bool

    @property
    def alike(self) -> str:
        """What its first paths have in common; not empty."""
        # They are in order.
        ends = zip(self.first[0], self.first[-1], strict=False)
        return "".join(letter for letter, _ in takewhile(lambda pair: pair[0] == pair[1], ends))

    @property
    def is_cut_between_letters(self) -> bool:
        """Return whether it ends between paths of its own prefix."""
        return len(self.until) > len(self.prefix) and self.until.startswith(self.prefix)


class Sizes:
    """Estimates of how many objects are in parts of an area.

    They follow from the characters that were seen at each place of paths, counted from the slash before it.
    """

    def __init__(self, prefix: str) -> None:
        """Begin with an area of which nothing was seen."""
        self._begin = len(prefix)
        self._seen: defaultdict[_Place, list[str]] = defaultdict(list)
        # Places at which numbers end.
        self._ends = set[_Place]()
        # Places of which it is known whether longer numbers continue there.
        self._known = set[_Place]()

    def learn(self, paths: Sequence[str]) -> None:
        """Learn from paths."""
        for path in paths:
            before = ""
            for place, letter in self._places(path):
                seen = self._seen[place]
                if not seen or seen[bisect(seen, letter) - 1] != letter:
                    # Numbers begin with zeros and ones: a look at what comes first shows no other digits.
                    for one in _DIGITS if letter in _DIGITS else letter:
                        seen.insert(bisect(seen, one), one)
                    if before.isdecimal() and letter not in _DIGITS:
                        self._ends.add(place)
                before = letter

    def estimate(self, part: Part) -> float:
        """Estimate the number of objects in a part.

        What begins with a character that the glimpse does not reach is taken to be as much as what begins with the last
        one that it does.
        """
        if not part.more:
            return len(part.first)
        paths, size, times = part.first, 0.0, 1.0
        depth = len(part.prefix)
        for place, letter in self._places(paths[-1])[depth - self._begin :]:
            known = next(number for number, path in enumerate(paths) if path[depth : depth + 1] == letter)
            size += known * times
            paths = paths[known:]
            if depth == len(part.prefix) and part.is_cut_between_letters:
                times *= 1 + _letters_left(part)
            elif place in self._ends and letter < "0":
                times *= self._count_longer(place)
            else:
                times *= 1 + len(self._seen[place]) - bisect(self._seen[place], letter)
            if len(paths) <= _FEW:
                break
            depth += 1
        return min(size + len(paths) * times, _MOST)

    def _count_longer(self, place: _Place) -> int:
        """Count the numbers that begin like one that ends at a place, itself included."""
        folder, first = place
        count = 1
        while count < _MOST and self._seen[folder, first][-1:] >= ["0"]:
            count, first = 10 * count + 1, first + 1
        return count

    def find_open_ends(self, parts: Sequence[Part]) -> dict[int, _Place]:
        """Choose parts that show whether longer numbers continue where shorter ones end, by their numbers.

        Behind all that a look at `scene_1/` shows, there may be `scene_10/` and `scene_100/`.
        """
        found = defaultdict[_Place, list[int]](list)
        for number, part in enumerate(parts):
            if part.more:
                # As far as the glimpse shows nothing else.
                for place, _ in self._places(part.alike)[len(part.prefix) - self._begin :]:
                    if place in self._ends and place not in self._known and self._seen[place][-1] < "0":
                        found[place].append(number)
                        break
        # The second one: nothing continues behind `scene_0/`.
        return {numbers[min(1, len(numbers) - 1)]: place for place, numbers in found.items()}

    def note(self, place: _Place, part: Part) -> None:
        """Note that a part was divided to see whether longer numbers continue at a place."""
        if part.first and self._places(part.first[-1])[len(part.prefix) - self._begin][0] == place:
            self._known.add(place)

    def _places(self, path: str) -> list[tuple[_Place, str]]:
        """Return the characters of a path behind the area's prefix, each with its place."""
        folder, begin = 0, self._begin
        places = []
        for number, letter in enumerate(path[self._begin :], self._begin):
            places.append(((folder, number - begin), letter))
            if letter == "/":
                folder, begin = folder + 1, number + 1
        return places


def _letters_left(part: Part) -> float:
    """Estimate how many characters follow the prefix of a part behind those that a glimpse reaches."""
    letters = sorted({ord(path[len(part.prefix)]) for path in part.first if len(path) > len(part.prefix)})
    gap = (letters[-1] - letters[0]) / (len(letters) - 1) if len(letters) > 1 else 1
    return max(0, ord(part.until[len(part.prefix)]) - letters[-1]) / gap
