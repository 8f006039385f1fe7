"""Which names mean what: endings by which files are taken for images, patterns, and braces."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable

import bracex
from wcmatch import glob

from pipelines.images.formats import ENDINGS

_MOST_PATTERNS = 10_000


def is_image(name: str, passed_over: Counter[str] | None = None) -> bool:
    """Tell whether a file that a folder or an archive holds is taken for an image.

    Args:
      name: of the file, relative to the folder or archive.
      passed_over: is given the count of files that are not named like images, by the ending of their names; hidden
        ones, and markers of folders, do not count.
    """
    if name.endswith("/") or any(part.startswith(".") and part != ".." and part != "." for part in name.split("/")):
        return False
    if name.lower().endswith(ENDINGS):
        return True
    if passed_over is not None:
        passed_over[posixpath.splitext(name)[1].lower() or "no ending"] += 1
    return False


def compile_pattern(pattern: str) -> Callable[[str], object]:
    """Make a function that tells which names a pattern with `*`, `?`, `[...]` and `**` matches."""
    [included], _ = glob.translate(pattern, flags=glob.GLOBSTAR | glob.FORCEUNIX)
    return re.compile(included).match


def spread_braces(pattern: str) -> list[str]:
    """Write out the braces of a pattern: `a/{b,c}/*` becomes `a/b/*` and `a/c/*`, and `{1..3}` becomes 1, 2 and 3.

    Raises:
      ValueError: it stands for more patterns than anybody means.
    """
    try:
        return list(bracex.iexpand(pattern, keep_escapes=True, limit=_MOST_PATTERNS))
    except bracex.ExpansionLimitException as error:
        raise ValueError(f"its braces stand for more than {_MOST_PATTERNS:,} patterns") from error
