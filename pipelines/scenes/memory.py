"""Memory for what is looked at while scenes are opened: many at once, and apart from the budget of images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.images.parts import Box, Divided, Part
from pipelines.supervision.budget import Allowance, Budget

_MOST_BYTES = 1 << 27
"""Of all that is looked at concurrently; what takes more is looked at alone."""
_PICTURE = 12
"""Bytes per pixel of pictures, and of what is between them and the samples."""


_LOOKING = Budget(_MOST_BYTES, _MOST_BYTES)
"""Shared by all scenes that are being opened."""


def memory_to_show(image: Divided, box: Box, fetched: int) -> int:
    """Return how many bytes of memory are needed to fetch and decode some pixels, about.

    Args:
      image: they are in.
      box: the pixels.
      fetched: bytes of the file that hold them.
    """
    # What is fetched is joined to a file, and its samples may be unpacked twice.
    return 2 * fetched + box.width * box.height * (_PICTURE + 2 * image.stored)


@contextmanager
def looking_at(image: Divided, part: Part) -> Iterator[None]:
    """Let the block fetch and decode a part of an image, once there is memory for it."""
    with Allowance(_LOOKING) as allowance:
        allowance.take(memory_to_show(image, part.box, sum(size for _, size in part.spans)))
        yield
