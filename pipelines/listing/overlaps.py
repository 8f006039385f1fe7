"""Tell from inputs alone whether two of them can name the same file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise

from pipelines import storage
from pipelines.listing.inputs import is_document
from pipelines.listing.names import MAGIC
from pipelines.scenes.documents import Documents


def can_repeat(patterns: Sequence[str], input_list: str | None, documents: Documents) -> bool:
    """Return whether a path can be listed twice: what a list or a document names may be anything.

    Args:
      patterns: inputs, after `spread`.
      input_list: a list of paths.
      documents: that may name files.
    """
    if input_list or any(is_document(pattern, documents) or ".." in pattern.split("/") for pattern in patterns):
        return True
    # In order, one that begins like others comes right before them.
    return any(after.startswith(before) for before, after in pairwise(sorted(map(_literal, patterns))))


def _literal(pattern: str) -> str:
    """Return the beginning that all paths share that match a pattern."""
    magic = MAGIC.search(pattern)
    begin = pattern[: magic.start()] if magic else pattern.rstrip("/")
    if storage.is_remote(begin):
        return storage.unmarked(begin)
    if not magic:
        # With its last name, which may be `.` or `~`.
        return storage.normalize(pattern)
    # `x/a*` names what begins with `x/a`, and not only what is in a folder `x/a`.
    above, _, name = begin.rpartition("/")
    above = "/" if begin.startswith("/") and not above else os.path.expanduser(above) or "."
    return os.path.join(storage.normalize(above), name)
