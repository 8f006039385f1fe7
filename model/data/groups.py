"""Number the groups of images that belong together, so that a split does not separate them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def from_pattern(names: Sequence[str], pattern: re.Pattern[str]) -> list[str]:
    """Return the group of each image: what the pattern's groups match in its name, or all that it matches.

    Names that it does not match give an empty string.
    """
    found = (pattern.search(name) for name in names)
    return ["" if match is None else "\n".join(part or "" for part in match.groups() or (match[0],)) for match in found]


def number(*kinds: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of each image's group, int64 [N], 0 to G - 1, in the order of their first images.

    Images belong together that have the same value of any kind, directly or by way of others; an empty value joins
    nothing.
    """
    leader = list(range(len(kinds[0])))

    def lead(image: int) -> int:
        while leader[image] != image:
            leader[image] = image = leader[leader[image]]
        return image

    for values in kinds:
        first: dict[str, int] = {}
        for image, value in enumerate(values):
            if value:
                one, other = sorted((lead(first.setdefault(value, image)), lead(image)))
                leader[other] = one
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(lead(image), len(numbers)) for image in range(len(leader))], np.int64)
