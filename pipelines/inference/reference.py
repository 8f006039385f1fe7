"""What the training images of a bundle look like, and how strange an image is compared with them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.images.appearance import HIGHEST, MEASURES
from pipelines.images.rendering import COLOURS

LEAST_IMAGES = 100
"""Fewer do not show how their measures vary together: there are a hundred such numbers."""

STRANGE = 0.99
"""Novelty above which an image is called strange: of images like the training images, 1 of 100 is."""

TAIL = 0.1
"""Share of the training images, the strangest, whose distances are described by a power law: there are too few of them
to count."""

_LEAST_DEVIATIONS = np.where([name in COLOURS for name in MEASURES], 2.0, 0.05)
"""Differences in a measure, in levels and in logarithms, that do not matter to a model, such as those that a JPEG of
good quality makes. Without them, images of a set that is alike in some respect would be strange for a trace of it."""

_SELECTIONS, _SELECTED = 300, 60
_QUANTILES, _MOST_QUANTILES = 91, 1000
_SEED = 20170420


@dataclass(frozen=True)
class Reference:
    """What the training images of a bundle look like: statistics, no images.

    The distance of an image is that of P. C. Mahalanobis, "On the Generalised Distance in Statistics" (1936), squared:
    how far its measures are from the training images' means, in the directions in which these vary little above all.

    Attributes:
      images: number of training images, held-out ones included.
      means: of each of `appearance.MEASURES`.
      covariances: of each pair of them.
      distances: of the training images, each measured against all others: their quantiles, evenly spaced from 0 to
        1 - `TAIL`.
      tail: exponent of the power law of larger distances.
      spread: distance of the means of 60 images, times 60, which 1 of 100 random selections of training images exceeds.
    """

    images: int
    means: tuple[float, ...]
    covariances: tuple[tuple[float, ...], ...]
    distances: tuple[float, ...]
    tail: float
    spread: float

    def distance(self, measured: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distances of images, or of means of images, float64[N]; `measured` is float64[N, K]."""
        differences, whitened = measured - np.array(self.means), np.zeros_like(measured)
        # Not as a product of matrices, whose last bits depend on how many images there are.
        for measure, weights in zip(differences.T, self._whitening, strict=True):
            whitened += measure[:, np.newaxis] * weights
        squares: NDArray[np.float64] = np.square(whitened, out=whitened).sum(axis=1)
        return squares

    def novelty(self, measured: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return how strange images are: the share of training images that are less so.

        Args:
          measured: float64[N, K], as `appearance.measure` returns it.

        Returns:
          float32[N], 0 to 1; 0.99 means stranger than 99 of 100 training images.
        """
        found, known = self.distance(measured), np.array(self.distances)
        shares = np.interp(found, known, np.linspace(0, 1 - TAIL, len(known)))
        beyond = 1 - TAIL * (known[-1] / np.maximum(found, known[-1])) ** self.tail
        return np.where(found > known[-1], beyond, shares).astype(np.float32)

    def described(self) -> dict[str, Any]:
        """Return the reference as JSON."""
        return {**asdict(self), "measures": list(MEASURES)}

    @cached_property
    def _whitening(self) -> NDArray[np.float64]:
        """A matrix that makes the measures of training images uncorrelated, and each of variance 1."""
        inverse: NDArray[np.float64] = np.linalg.inv(
            np.linalg.cholesky(np.array(self.covariances) + np.diag(_LEAST_DEVIATIONS**2))
        )
        return inverse.T


def gather_reference(measured: NDArray[np.float64]) -> Reference | None:
    """Describe what training images look like.

    Args:
      measured: float64[N, K], as `appearance.measure` returns it.

    Returns:
      The reference; None if there are fewer than `LEAST_IMAGES`.
    """
    count = len(measured)
    if count < LEAST_IMAGES:
        return None
    means, covariances = measured.mean(axis=0), np.cov(measured.T)
    plain = Reference(count, _tuple(means), tuple(map(_tuple, covariances)), (0.0,), 1.0, 0.0)
    distances = np.sort(_each_against_the_others(plain.distance(measured), count))
    known = np.quantile(distances, np.linspace(0, 1 - TAIL, _QUANTILES))
    # If all images are the same, what differs from them by no more than does not matter is not strange.
    known[-1] = max(known[-1], 1.0)
    random = np.random.default_rng(_SEED)
    selections = [random.choice(count, _SELECTED, replace=False) for _ in range(_SELECTIONS)]
    of_selections = _SELECTED * plain.distance(np.array([measured[chosen].mean(axis=0) for chosen in selections]))
    return Reference(
        count,
        plain.means,
        plain.covariances,
        _tuple(known),
        tail=_fit_tail(distances[distances > known[-1]] / known[-1]),
        spread=float(np.quantile(of_selections, 0.99)),
    )


def read_reference(described: Any) -> Reference:
    """Read a reference from its JSON.

    Raises:
      ValueError: it is none.
    """
    if not isinstance(described, Mapping) or described.get("measures") != list(MEASURES):
        raise ValueError("not of the measures that this version takes")
    try:
        reference = Reference(
            described["images"],
            _numbers(described["means"]),
            tuple(map(_numbers, described["covariances"])),
            _numbers(described["distances"]),
            *_numbers([described["tail"], described["spread"]]),
        )
        sound = _is_sound(reference)
    except (KeyError, TypeError, ValueError, OverflowError, np.linalg.LinAlgError):
        sound = False
    if not sound:
        raise ValueError("not one of statistics that fit together")
    return reference


def _is_sound(reference: Reference) -> bool:
    size, covariances = len(MEASURES), np.array(reference.covariances)
    return (
        type(reference.images) is int
        and reference.images >= LEAST_IMAGES
        and len(reference.means) == size
        and covariances.shape == (size, size)
        and np.allclose(covariances, covariances.T)
        and bool((np.abs(reference.means) <= HIGHEST).all() and (np.abs(covariances) <= HIGHEST**2).all())
        and 0 < len(reference.distances) <= _MOST_QUANTILES
        and list(reference.distances) == sorted(reference.distances)
        and 0 <= reference.distances[0] < reference.distances[-1]
        and reference.tail > 0
        and reference.spread >= 0
        and bool(np.isfinite(reference.distance(np.zeros((1, size)))).all())
    )


def _each_against_the_others(distances: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return what the distance of each image would be if it were not part of the means and covariances itself."""
    own = np.minimum(count * distances / (count - 1) ** 2, 0.999)
    without: NDArray[np.float64] = (count - 2) * count**2 / (count - 1) ** 3 * distances / (1 - own)
    return without


def _fit_tail(ratios: NDArray[np.float64]) -> float:
    """Fit the exponent of a power law to the ratios of large distances to the least of them.

    B. M. Hill, "A Simple General Approach to Inference About the Tail of a Distribution", The Annals of Statistics 3
    (1975).
    """
    return float(1 / max(np.log(ratios).mean(), 0.05)) if len(ratios) else 20.0


def _tuple(numbers: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(map(float, numbers))


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    if not all(type(value) in (int, float) and math.isfinite(value) for value in values):
        raise ValueError(values)
    return tuple(map(float, values))
