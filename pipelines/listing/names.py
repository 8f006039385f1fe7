"""Rules for names: file name endings of images, patterns, and braces."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable

import bracex
from wcmatch import glob

from pipelines.images.formats import ENDINGS
from pipelines.images.hidden import hides, is_beside_scene, is_mask, is_of_system

MAGIC = re.compile(r"[*?\[]")
"""What makes a name a pattern."""

_MOST_PATTERNS = 10_000

_MOST_ENDINGS, _LONGEST_ENDING = 100, 16
OTHERS = "other endings"
"""Under which rare endings are counted."""
CURVES = "curves of bundles"
"""Under which the pictures are counted that training draws into a bundle."""

MASKS = "masks of scenes"
"""Under which masks and classes of pixels are counted."""

_WRITTEN = re.compile(
    # The tables and the manifest of a run, by its name, and the lock.
    r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{4}(-[0-9a-f]{12})?\.(parquet|json)|no_rows\.parquet|_lock"
    r"|bundle\.json|golden\.npz|MODEL_CARD\.md|model\.tflite|saved_model\.pb|fingerprint\.pb"
    r"|variables\.(index|data-\d{5}-of-\d{5})"
)


def is_image(name: str, passed_over: Counter[str] | None = None) -> bool:
    """Return whether a file in a folder or an archive is an image, judging by its name.

    Args:
      name: of the file, relative to the folder or archive.
      passed_over: receives the number of files that are not listed: not named like images, by the ending of the name;
        hidden; in a folder of the system, by its name; masks. What runs and training write is not counted. See
        `keep_commonest` for files with ever different endings.
    """
    if name.endswith("/") or not name:
        # A folder marker in a bucket.
        return False
    reason = hides(name) if "/" not in name else next(filter(None, map(hides, name.split("/"))), None)
    if reason is None and name.lower().endswith(ENDINGS):
        return _is_no_mask(name, passed_over)
    if reason is None and is_written(posixpath.basename(name)):
        return False
    count(passed_over, reason or _ending(name))
    return False


def is_chosen(name: str, passed_over: Counter[str] | None = None) -> bool:
    """Return whether a file is listed that a pattern matches, whatever its ending.

    Args:
      name: of the file.
      passed_over: as of `is_image`.
    """
    if is_written(name):
        return False
    if is_beside_scene(name):
        count(passed_over, _ending(name))
        return False
    return _is_no_mask(name, passed_over)


def _is_no_mask(name: str, passed_over: Counter[str] | None) -> bool:
    if not is_mask(name):
        return True
    count(passed_over, MASKS)
    return False


def is_written(name: str) -> bool:
    """Return whether a file of this name belongs to an output or a bundle, and neither is nor counts as an input.

    By names, since they tell the same in buckets, whose objects come one by one, as on this machine.
    """
    return _WRITTEN.fullmatch(name) is not None


def count(passed_over: Counter[str] | None, name: str) -> None:
    """Count what is passed over, if anybody wants to know."""
    if passed_over is not None:
        passed_over[name] += 1
        if len(passed_over) > 2 * _MOST_ENDINGS:
            keep_commonest(passed_over)


def keep_commonest(passed_over: Counter[str]) -> None:
    """Count all but the 100 most frequent endings together.

    In a folder of a million files without proper endings, e.g. `scan.000001`, there are as many endings as files.
    """
    others = passed_over.pop(OTHERS, 0)
    for ending, count in passed_over.most_common()[_MOST_ENDINGS:]:
        others += count
        del passed_over[ending]
    if others:
        passed_over[OTHERS] = others


def _ending(name: str) -> str:
    """Return the ending of a name, short and fit to be printed."""
    ending = posixpath.splitext(name)[1].lower()
    plain = "".join(letter if letter.isprintable() else "?" for letter in ending[: _LONGEST_ENDING + 1])
    return (plain if len(plain) <= _LONGEST_ENDING else f"{plain[:_LONGEST_ENDING]}...") or "no ending"


def compile_pattern(pattern: str) -> Callable[[str], object]:
    """Return a function that matches names against a pattern with `*`, `?`, `[...]` and `**`."""
    # No character is special besides these, so that a name with a backslash can be written as it is.
    [included], _ = glob.translate(pattern.replace("\\", r"\\"), flags=glob.GLOBSTAR | glob.FORCEUNIX)
    return re.compile(included).fullmatch


def hint_at_brackets(pattern: str) -> str:
    """Return what may be wrong with a pattern that matches nothing: brackets can be meant as a part of a name."""
    found = re.search(r"\[([^]/]+)\]", pattern)
    return f"[{found[1]}] is one of these characters; write [[]{found[1]}] if it is part of the name" if found else ""


class Steps:
    """A pattern that is matched folder by folder, at several places at a time: `**` matches any number of folders.

    A place is the number of steps before it. The last one, `end`, is reached with what the whole pattern matches.
    """

    def __init__(self, pattern: str) -> None:
        """Compile a pattern; the empty one is at its end from the beginning."""
        names = [name for name in pattern.split("/") if name]
        self.end = len(names)
        self.only_folders = pattern.endswith("/")
        self._steps = [compile_pattern(name) if self.is_magic(name) else name for name in names]
        self._repeated = frozenset(place for place, name in enumerate(names) if name == "**")

    @staticmethod
    def is_magic(name: str) -> bool:
        """Return whether a pattern is more than the name of one file."""
        return MAGIC.search(name) is not None

    def begin(self) -> frozenset[int]:
        """Return the places where a match begins."""
        return self.enter({0})

    def advance(self, at: frozenset[int], name: str) -> set[int]:
        """Return the places reached with a name in a folder that was reached at these places."""
        reached = set()
        for place in at:
            if self._takes(place, name):
                reached |= {place, self.end} & self.enter({place}) if place in self._repeated else {place + 1}
        return reached

    def enter(self, reached: set[int]) -> frozenset[int]:
        """Return the places in a folder that was reached at these: also after each `**`, which may match nothing."""
        places = set(reached)
        for place in reached:
            while place in self._repeated:
                place += 1
                places.add(place)
        return frozenset(places)

    def goes_deep(self, at: frozenset[int]) -> bool:
        """Return whether files at any depth may match below a folder that was reached at these places."""
        return self.end in at or not self._repeated.isdisjoint(at)

    def literals(self, at: frozenset[int]) -> frozenset[str] | None:
        """Return the only names that match at these places; None if others may."""
        steps = [self._steps[place] for place in at if place < self.end]
        names = frozenset(step for step in steps if isinstance(step, str))
        return names if len(names) == len(at) else None

    def _takes(self, place: int, name: str) -> bool:
        if place == self.end:
            return False
        step = self._steps[place]
        if isinstance(step, str):
            return step == name
        if is_of_system(name):
            return False
        return not name.startswith(".") if place in self._repeated else step(name) is not None


def spread_braces(pattern: str) -> list[str]:
    """Expand the braces of a pattern: `a/{b,c}/*` becomes `a/b/*` and `a/c/*`, and `{1..3}` becomes 1, 2 and 3.

    Raises:
      ValueError: the pattern expands to more than 10,000 patterns.
    """
    try:
        return list(bracex.iexpand(pattern, keep_escapes=True, limit=_MOST_PATTERNS))
    except bracex.ExpansionLimitException as error:
        raise ValueError(f"its braces expand to more than {_MOST_PATTERNS:,} patterns") from error
