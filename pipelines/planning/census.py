"""Count what a listing holds, and choose a sample of its images."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from pipelines.records import Failure, ImageRef, Listed
from pipelines.supervision import interruption

SEED = 20170420
"""Of the choice: the same sample of the same listing, each time."""


@dataclass(frozen=True)
class Census:
    """What a listing holds.

    Attributes:
      images: count of files.
      bytes: of all of them.
      failures: names that cannot be images; the first of them, as many as images were to be chosen.
      failure_count: of all of them.
      sample: some of the images, in the order of the listing.
      seconds: that the listing took.
    """

    images: int
    bytes: int
    failures: tuple[Failure, ...]
    failure_count: int
    sample: tuple[ImageRef, ...]
    seconds: float


def take_census(listed: Iterable[Listed], count: int) -> Census:
    """Go through a listing once, and choose some of its images, each as likely as any other.

    Nothing else of the listing is kept: Algorithm R of J. S. Vitter, "Random Sampling with a Reservoir", ACM
    Transactions on Mathematical Software 11 (1985).

    Args:
      listed: what is listed, in a stable order.
      count: of images to choose; all of them where there are no more.
    """
    began = time.perf_counter()
    random = Random(SEED)
    chosen: list[tuple[int, ImageRef]] = []
    failures: list[Failure] = []
    images = size = failure_count = 0
    for item in listed:
        interruption.check()
        if isinstance(item, Failure):
            failure_count += 1
            if failure_count <= count:
                failures.append(item)
            continue
        if images < count:
            chosen.append((images, item))
        elif (place := random.randrange(images + 1)) < count:
            chosen[place] = (images, item)
        images += 1
        size += item.size
    # In the order of the listing, in which members of a compressed archive cost one pass.
    sample = tuple(ref for _, ref in sorted(chosen))
    return Census(images, size, tuple(failures), failure_count, sample, time.perf_counter() - began)
