"""Rules for names: file name endings of images, patterns, and braces."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable

import bracex
from wcmatch import glob

from pipelines.images.formats import ENDINGS

_MOST_PATTERNS = 10_000

_MOST_ENDINGS, _LONGEST_ENDING = 100, 16
OTHERS = "other endings"
"""Under which rare endings are counted."""


def is_image(name: str, passed_over: Counter[str] | None = None) -> bool:
    """Return whether a file in a folder or an archive is an image, judging by its name.

    Args:
      name: of the file, relative to the folder or archive.
      passed_over: receives the number of files not named like images, by file name ending; hidden files and folder
        markers are not counted. See `keep_commonest` for files with ever different endings.
    """
    if name.endswith("/") or any(part.startswith(".") and part != ".." and part != "." for part in name.split("/")):
        return False
    if name.lower().endswith(ENDINGS):
        return True
    if passed_over is not None:
        passed_over[_ending(name)] += 1
        if len(passed_over) > 2 * _MOST_ENDINGS:
            keep_commonest(passed_over)
    return False


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
    [included], _ = glob.translate(pattern, flags=glob.GLOBSTAR | glob.FORCEUNIX)
    return re.compile(included).match


def spread_braces(pattern: str) -> list[str]:
    """Expand the braces of a pattern: `a/{b,c}/*` becomes `a/b/*` and `a/c/*`, and `{1..3}` becomes 1, 2 and 3.

    Raises:
      ValueError: the pattern expands to more than 10,000 patterns.
    """
    try:
        return list(bracex.iexpand(pattern, keep_escapes=True, limit=_MOST_PATTERNS))
    except bracex.ExpansionLimitException as error:
        raise ValueError(f"its braces expand to more than {_MOST_PATTERNS:,} patterns") from error
