"""Find the images that the names in label files mean."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Sequence, Set
from enum import Enum, auto

from pipelines.labels.findings import LabelError, shown
from pipelines.labels.rows import Row

Components = tuple[str, ...]

# An absolute path, also of Windows, an address in a bucket, or a path from the folder of a notebook.
_ELSEWHERE = re.compile(r"\s*(?:[/\\~]|\.\.[/\\]|[A-Za-z]:[/\\]|[a-z0-9]+://)")


class _Case(Enum):
    """What must be spelled alike: all of a name, all but its extension, or nothing."""

    ALL = auto()
    ANY_IN_ENDING = auto()
    ANY = auto()


# With what is left of the case of names: whether the extensions of images are compared with the ends of rows.
_READINGS = {_Case.ALL: (True, False), _Case.ANY_IN_ENDING: (True,), _Case.ANY: (True, False)}


def find_elsewhere(
    rows: Sequence[Row],
    written: Sequence[Components],
    fitting: list[list[int]],
    paths: Sequence[Components],
    shared: int,
) -> tuple[str, ...]:
    """Find images of rows whose folders are those of another machine, and return the names of these rows.

    Of all such rows that begin with the same folder, the same number of folders is left out, as few as possible: if
    each row lost as many as it takes to find any image, `/data/train/a.jpg` would find `val/a.jpg`.

    Raises:
      LabelError: different paths become the same.
    """
    roots: dict[str, list[int]] = {}
    for row, fits in enumerate(fitting):
        if not fits and len(written[row]) > 1 and _ELSEWHERE.match(rows[row].name):
            roots.setdefault(written[row][0], []).append(row)
    found = []
    for left in roots.values():
        for count in range(1, max(len(written[row]) for row in left)):
            ends = find([written[row][count:] for row in left], paths, shared, frozenset().union(*fitting))
            if any(ends):
                _refuse_same([rows[row].name for row in left], [written[row] for row in left], ends)
                for row, fits in zip(left, ends, strict=True):
                    fitting[row] = fits
                    found += [rows[row].name] * bool(fits)
                break
    return tuple(found)


def _refuse_same(names: Sequence[str], written: Sequence[Components], ends: Sequence[list[int]]) -> None:
    first: dict[int, int] = {}
    for row, fits in enumerate(ends):
        for image in fits:
            other = first.setdefault(image, row)
            if written[other] != written[row]:
                raise LabelError(
                    f"{shown(names[other])} and {shown(names[row])} both end like one image here",
                    "choose the folder above as the place of the images, or shorten the paths in the label file",
                )


def find(
    rows: Sequence[Components], paths: Sequence[Components], shared: int, named: frozenset[int] = frozenset()
) -> list[list[int]]:
    """Find the images that each row matches, by the strictest comparison under which it matches any.

    In another case, a row matches only an image that no row names as it is spelled, and only if all rows that match it
    are spelled alike: where names differ in case alone, as those in base 62 may, images may be missing.

    Args:
      rows: names, divided into components.
      paths: of the images, likewise.
      shared: how many folders all images share.
      named: images that other rows match.
    """
    found: list[list[int]] = [[] for _ in rows]
    for case, endings in _READINGS.items():
        taken = named.union(*found) if case is _Case.ANY else frozenset[int]()
        for with_ending in endings:
            left = [row for row, fits in enumerate(found) if rows[row] and not fits]
            # Only ends of paths that are as long as some row's name: all ends of all paths would take many times the
            # memory, and a search among images of one name is quadratic if every folder has an image of that name.
            ends: dict[Components, list[int]] = {}
            for length in {len(rows[row]) for row in left}:
                for image, path in enumerate(paths):
                    if len(path) >= length and image not in taken:
                        ends.setdefault(_read_as(path[-length:], case, with_ending), []).append(image)
            for row in left:
                fits = ends.get(_read_as(rows[row], case, with_ending=True), [])
                length = len(rows[row])
                whole = [image for image in fits if len(paths[image]) in (length, length + shared)]
                found[row] = whole if len(whole) == 1 else fits
        if case is _Case.ANY:
            _release_differing(rows, found, taken)
    return found


def _release_differing(rows: Sequence[Components], found: list[list[int]], taken: Set[int]) -> None:
    """Take from rows the images that others match as well whose names differ from theirs in case."""
    matching: dict[int, list[int]] = {}
    for row, fits in enumerate(found):
        for image in fits:
            if image not in taken:
                matching.setdefault(image, []).append(row)
    for image, of_image in matching.items():
        longest = max((rows[row] for row in of_image), key=lambda name: (len(name), len(name[-1])))
        if any(_differ(rows[row], longest) for row in of_image):
            for row in of_image:
                found[row] = [fit for fit in found[row] if fit != image]


def _differ(name: Components, longest: Components) -> bool:
    """Return whether two names of an image differ in the part that both have; its extension does not count."""
    *folders, last = longest[-len(name) :]
    return list(name[:-1]) != folders or not _folded(last).startswith(_folded(name[-1]))


def _read_as(components: Components, case: _Case, with_ending: bool) -> Components:
    *folders, name = components if case is not _Case.ANY else [component.casefold() for component in components]
    if not with_ending:
        return (*folders, posixpath.splitext(name)[0].rstrip())
    return (*folders, _folded(name) if case is _Case.ANY_IN_ENDING else name)


def _folded(name: str) -> str:
    """Return a name with its extension in lower case."""
    stem, ending = posixpath.splitext(name)
    return stem + ending.casefold()


def components_of(path: str) -> Components:
    """Split a path of any operating system into names that compare equal if they look the same."""
    # A member is named ARCHIVE::MEMBER, and an archive counts as a folder.
    separated = path.replace("\\", "/").replace("::", "/")
    plain = posixpath.normpath(unicodedata.normalize("NFC", separated))
    return tuple(name for name in map(str.strip, plain.split("/")) if name not in ("", ".", ".."))
