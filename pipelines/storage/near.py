"""Guess which file was meant by a path that leads nowhere, or to something else."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from itertools import islice

from pipelines.storage.spelling import is_remote

_MOST_NAMES = 10_000
_MOST_FOLDERS = 200
_MOST_SHOWN = 2
_LEAST_LIKENESS = 0.8
_ONE_SLASH = re.compile(r"(gs|gcs|s3|s3a|s3n):/(?=[^/])", re.IGNORECASE)


def hint_at_near(path: str) -> str:
    """Return a question for the user of a path that leads nowhere; empty if it exists, or nothing has a similar name.

    In a bucket nothing is looked for: each look would be a request.
    """
    if is_remote(path):
        return ""
    if hint := hint_at_scheme(path):
        return hint
    whole = os.path.abspath(os.path.expanduser(path))
    near = "" if os.path.lexists(whole) else _find_near(whole)
    return f"did you mean {near}?" if near else ""


def hint_at_holder(name: str, path: str) -> str:
    """Return a question for the user of a path where a folder was expected that holds an entry of a name.

    It is looked for below the path, above it, and next to it, but not in a bucket. Empty if there is none, or if there
    are many.

    Args:
      name: of the entry, such as `bundle.json`.
      path: as given.
    """
    if is_remote(path):
        return ""
    here = os.path.abspath(os.path.expanduser(path))
    above = os.path.dirname(here)
    for folders in (_folders_in(here), (above, os.path.dirname(above)), _folders_in(above)):
        holders = [folder for folder in folders if os.path.exists(os.path.join(folder, name))]
        if holders:
            return f"did you mean {' or '.join(holders)}?" if len(holders) <= _MOST_SHOWN else ""
    return ""


def _folders_in(path: str) -> Iterator[str]:
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in islice(entries, _MOST_FOLDERS) if entry.is_dir())
    except OSError:
        return
    yield from (os.path.join(path, name) for name in names if not name.startswith("."))


def hint_at_scheme(path: str) -> str:
    """Return a question for the user of a local path that begins like a bucket, but lacks a slash."""
    scheme = _ONE_SLASH.match(path)
    if scheme is None or os.path.lexists(path.partition("/")[0]):
        return ""
    return f"did you mean {scheme[1]}://{path[scheme.end() :]}?"


def _find_near(path: str) -> str:
    above, below = path, ""
    while not os.path.isdir(above):
        above, name = os.path.split(above)
        below = os.path.join(name, below) if below else name
    name, _, rest = below.partition("/")
    try:
        with os.scandir(above) as entries:
            names = {entry.name.lower(): entry.name for entry in islice(entries, _MOST_NAMES)}
    except OSError:
        return ""
    for near in difflib.get_close_matches(name.lower(), names, 3, _LEAST_LIKENESS):
        found = os.path.join(above, names[near], rest) if rest else os.path.join(above, names[near])
        if os.path.exists(found):
            return found
    return ""
