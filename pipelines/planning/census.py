"""Count the images of a listing, and choose a sample of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from pipelines.records import Failure, ImageRef, Listed
from pipelines.supervision import interruption

SEED = 20170420
"""Fixed, so that a listing always gives the same sample."""


@dataclass(frozen=True)
class Census:
    """Contents of a listing.

    Attributes:
      images: number of images.
      bytes: total size of the images.
      failures: the first inputs that cannot be images, at most as many as the sample size.
      failure_count: number of all such inputs.
      sample: the chosen images, in the order of the listing.
      seconds: duration of the listing.
    """

    images: int
    bytes: int
    failures: tuple[Failure, ...]
    failure_count: int
    sample: tuple[ImageRef, ...]
    seconds: float


def take_census(listed: Iterable[Listed], count: int) -> Census:
    """Count a listing in one pass, and choose a uniform random sample of its images.

    Nothing else of the listing is kept: Algorithm R of J. S. Vitter, "Random Sampling with a Reservoir", ACM
    Transactions on Mathematical Software 11 (1985).

    Args:
      listed: the listing, in a stable order.
      count: sample size; all images if there are no more.
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
    # In the order of the listing, so that members of a compressed archive cost one pass.
    sample = tuple(ref for _, ref in sorted(chosen))
    return Census(images, size, tuple(failures), failure_count, sample, time.perf_counter() - began)
