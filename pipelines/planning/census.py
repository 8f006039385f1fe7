"""Count the images of a listing, and choose a sample of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from random import Random
from typing import Any

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
    Transactions on Mathematical Software 11 (1985). Windows that are read at once are chosen together: one alone would
    cost as much as all of them.

    Args:
      listed: the listing, in a stable order.
      count: sample size; all images if there are no more.
    """
    began = time.perf_counter()
    random = Random(SEED)
    chosen: list[tuple[int, Sequence[ImageRef]]] = []
    failures: list[Failure] = []
    images = size = failure_count = 0
    for group in _read_at_once(listed):
        interruption.check()
        for item in group:
            if isinstance(item, Failure):
                failure_count += 1
                if failure_count <= count:
                    failures.append(item)
                continue
            if images < count:
                chosen.append((images, group))
            elif (place := random.randrange(images + 1)) < count:
                chosen[place] = (images, group)
            images += 1
            size += item.size
    sample = _take_whole(chosen, count, random)
    return Census(images, size, tuple(failures), failure_count, sample, time.perf_counter() - began)


def _read_at_once(listed: Iterable[Listed]) -> Iterator[Sequence[Any]]:
    """Group the windows of a part of a scene; anything else is alone."""
    for part, group in groupby(listed, _part):
        if part:
            yield tuple(group)
        else:
            yield from ((item,) for item in group)


def _part(item: Listed) -> tuple[str, int] | None:
    window = item.window if isinstance(item, ImageRef) else None
    return (window.scene, window.part) if window else None


def _take_whole(chosen: Sequence[tuple[int, Sequence[ImageRef]]], count: int, random: Random) -> tuple[ImageRef, ...]:
    """Take groups of which some images were chosen, at random, until there are enough images."""
    groups = {id(group): (first, group) for first, group in chosen}
    taken: list[tuple[int, Sequence[ImageRef]]] = []
    images = 0
    for number in random.sample(list(groups), len(groups)):
        if images >= count:
            break
        taken.append(groups[number])
        images += len(groups[number][1])
    # In the order of the listing, so that members of a compressed archive cost one pass.
    return tuple(ref for _, group in sorted(taken) for ref in group)
