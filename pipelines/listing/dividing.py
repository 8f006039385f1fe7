"""Divide what is in a bucket into ranges that take about as long to list.

No store says how many objects begin with a prefix. But it says which comes first behind any place: so the characters
that follow a prefix are found one by one, each with a glimpse at what begins with it, and how many objects there are
is estimated from how far a glimpse reaches. Whatever the estimates are worth, the ranges are the whole area.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pipelines import storage
from pipelines.listing.buckets import Area
from pipelines.listing.sizes import Part, Sizes
from pipelines.listing.threads import UnawaitedPool
from pipelines.storage.objects import PAGE_SIZE
from pipelines.supervision import interruption

RANGES = 256
"""Ranges into which a large area is divided, about."""
SMALL = 10_000
"""Objects of a range that is not worth dividing."""
_GLIMPSE = 100
"""Paths that a look shows."""
_MOST_LOOKS = 4096
_NOT_WORTH_A_LOOK = PAGE_SIZE
"""Objects that are listed in a request."""
_UNEVEN = 3
"""Times the size that a range should have: one is divided if it is larger."""
_AT_ONCE = 32
_CHARACTERS = 32
"""Characters behind a prefix that are found one after another; others wait until it is their turn."""
_LAST_CHARACTER = 0x10FFFF

Look = Callable[[str], tuple[Sequence[str], bool]]
"""Returns the first paths of an area behind a place, and whether there are more."""


def divide_area(area: Area) -> Iterator[Area]:
    """Divide an area into ranges, in order.

    Raises:
      OSError: the bucket cannot be listed.
    """
    first, more = storage.peek(area.prefix, "", _NOT_WORTH_A_LOOK)
    borders, after = list[str](), ""
    if more:
        borders = find_borders(area.prefix, first, lambda place: storage.peek(area.prefix, place, _GLIMPSE))
    for until in (*borders, ""):
        yield area._replace(after=after, until=until)
        after = until


def find_borders(prefix: str, first: Sequence[str], look: Look) -> list[str]:
    """Return paths, in order, between which there are about as many objects; they need not exist.

    Args:
      prefix: of the area.
      first: first paths in it; there are more.
      look: at the area.
    """
    parts = [Part(prefix, "", "", first[:_GLIMPSE], more=True)]
    known = Sizes(prefix)
    known.learn(first)
    looks = [0]

    def counted(place: str) -> tuple[Sequence[str], bool]:
        looks[0] += 1
        return look(place)

    with UnawaitedPool(_AT_ONCE, "divide") as pool:
        while looks[0] < _MOST_LOOKS:
            interruption.check()
            sizes = [known.estimate(part) for part in parts]
            most = max(SMALL, sum(sizes) / RANGES)
            # The first glimpse may show one character only.
            most = 0 if len(parts) == 1 else _UNEVEN * most
            largest = sorted((-size, number) for number, size in enumerate(sizes) if size > most and parts[number].more)
            open_ends = known.find_open_ends(parts)
            chosen = list(dict.fromkeys((*open_ends, *(number for _, number in largest))))[:_AT_ONCE]
            if not chosen:
                break
            begun = {number: pool.submit(_divide, parts[number], counted) for number in chosen}
            try:
                divided = {number: future.result() for number, future in begun.items()}
            except OSError:
                # The worker that lists the range meets it again, if it lasts.
                break
            for number, found in divided.items():
                for part in found:
                    known.learn(part.first)
                if number in open_ends:
                    known.note(open_ends[number], parts[number])
            parts = [new for number, part in enumerate(parts) for new in divided.get(number, (part,))]
    sizes = [known.estimate(part) for part in parts]
    return _join(parts, sizes, max(SMALL, sum(sizes) / RANGES))


def _join(parts: Sequence[Part], sizes: Sequence[float], most: float) -> list[str]:
    """Return the borders between parts, without those between neighbours that are small together."""
    borders, together = list[str](), sizes[0]
    for before, size in zip(parts[:-1], sizes[1:], strict=True):
        if together + size > most:
            borders.append(before.until)
            together = 0
        together += size
    return borders


def _divide(part: Part, look: Look) -> list[Part]:
    """Divide a part by the characters that follow its prefix."""
    depth, after = len(part.prefix), part.after
    paths, more = part.first, part.more
    found = list[Part]()
    while more and len(found) < _CHARACTERS:
        letter = paths[-1][depth : depth + 1]
        known = [path for path in paths if not letter or path[depth : depth + 1] != letter]
        if known:
            found.append(Part(part.prefix, after, known[-1], known, more=False))
            after = known[-1]
        if letter:
            prefix = part.prefix + letter
            until = successor(prefix)
            found.append(Part(prefix, after, until, paths[len(known) :], more=True))
            after = until
        paths, more = _look_within(part, after, look)
    if more:
        found += _divide_wide(Part(part.prefix, after, part.until, paths, more), look)
    elif paths:
        found.append(Part(part.prefix, after, part.until, paths, more))
    found[-1] = found[-1]._replace(until=part.until)
    if len(found) == 1 and found[0].more:
        return [found[0]._replace(prefix=_find_fork(found[0], look))]
    return found


def _divide_wide(part: Part, look: Look) -> list[Part]:
    """Divide a part by even ranges of characters: too many follow its prefix to find them all, as in Chinese."""
    depth = len(part.prefix)
    begin = last = ord(part.first[-1][depth : depth + 1] or "\0")
    end = _LAST_CHARACTER
    while last < end:
        middle = (last + end + 1) // 2
        paths, _ = _look_within(part, f"{part.prefix}{_character(middle)}", look)
        last, end = (max(middle, ord(paths[0][depth])), end) if paths else (last, middle - 1)
    found, after, paths, more = list[Part](), part.after, part.first, part.more
    for number in range(1, _CHARACTERS):
        until = f"{part.prefix}{_character(begin + (last - begin) * number // _CHARACTERS)}"
        if until > after:
            found.append(Part(part.prefix, after, until, *_cut(paths, until, more)))
            after = until
            paths, more = _look_within(part, after, look)
    return [*found, Part(part.prefix, after, part.until, paths, more)]


def _cut(paths: Sequence[str], until: str, more: bool) -> tuple[Sequence[str], bool]:
    within = [path for path in paths if path <= until]
    return within, more and len(within) == len(paths)


def _find_fork(part: Part, look: Look) -> str:
    """Return how far all paths in a part are alike; its first ones are, and it may be that few of the others differ."""
    alike = part.alike
    known, most, step = len(part.prefix), len(alike), 0
    while known < most:
        # Numbers begin with zeros: they are alike nearly as far as the first ones are.
        middle = max((known + most + 1) // 2, most - step)
        paths, _ = _look_within(part, successor(alike[:middle]), look)
        known, most = (known, middle - 1) if paths else (middle, most)
        step = 2 * step + 1
    return alike[:known]


def _look_within(part: Part, place: str, look: Look) -> tuple[Sequence[str], bool]:
    """Look at what is in a part behind a place."""
    paths, more = look(place)
    within = [path for path in paths if path.startswith(part.prefix)]
    more = more and len(within) == len(paths)
    return _cut(within, part.until, more) if part.until else (within, more)


def successor(prefix: str) -> str:
    """Return the first text behind all that begin with a prefix, in the order of UTF-8; empty if there is none."""
    for end in range(len(prefix) - 1, -1, -1):
        if (code := ord(prefix[end]) + 1) <= _LAST_CHARACTER:
            return prefix[:end] + _character(code)
    return ""


def _character(code: int) -> str:
    """Return a character, or the one behind the surrogates, which are none."""
    return chr(0xE000 if 0xD800 <= code < 0xE000 else code)
