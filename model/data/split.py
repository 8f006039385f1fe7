"""Hold images out for validation: a share of them in which each label is about as frequent as overall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.1
"""By how much of the wanted number the number of images held out may differ, for the sake of rare labels."""

_TRAINING, _HELD_OUT, _NEITHER = 0, 1, -1
# Groups tried, and partners tried for each, before a rare label is left where it is.
_TRIED = 10


class Split(NamedTuple):
    """Indices of the examples to train on and of those held out for validation, int64 each, sorted."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def stratified(
    targets: NDArray[np.float32],
    validation_fraction: float,
    seed: int,
    groups: NDArray[np.int64] | None = None,
    trained: NDArray[np.int64] | None = None,
) -> Split:
    """Hold out a share of the examples in which each label is about as frequent as overall.

    The number held out differs from the share by at most a tenth of it, or by one; only large groups, or too few that
    may be held out, can make it differ by more. Within these bounds, as many labels as possible that two or more groups
    have end up on both sides. A label of a single group is trained on. The same seed gives the same split.

    Args:
      targets: float32 [N, L], above 0 if example n has label l.
      validation_fraction: share to hold out, 0 to 1; each side gets at least one group.
      seed: of the random split.
      groups: int64 [N], the group of each example, 0 to G - 1; a group stays on one side. By default each example is a
        group of its own.
      trained: int64 [T], groups that are not held out, fewer than all.

    Raises:
      ValueError: fewer than two groups.
    """
    groups = np.arange(len(targets)) if groups is None else groups
    sizes = np.bincount(groups)
    if len(sizes) < 2:
        raise ValueError("a single group of images cannot be split into training and validation")
    has = np.zeros((len(sizes), targets.shape[1]), np.int64)
    np.add.at(has, groups, targets > 0)
    free = np.ones(len(sizes), np.bool_)
    free[[] if trained is None else trained] = False
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]  # what is large is hard to place later
    order = order[free[order]]
    division = _Division(has, sizes, validation_fraction, free)
    division.deal(order)
    division.spread_rare_labels(order)
    held_out = division.side[groups] == _HELD_OUT
    return Split(np.flatnonzero(~held_out), np.flatnonzero(held_out))


class _Division:
    """Groups of examples on their way to one of two sides; those that are not free to be held out are there already.

    Attributes:
      side: of each group, int64 [G].
    """

    def __init__(
        self, has: NDArray[np.int64], sizes: NDArray[np.int64], fraction: float, free: NDArray[np.bool_]
    ) -> None:
        count = int(sizes.sum())
        wanted = min(max(round(count * fraction), 1), count - 1, int(sizes[free].sum()))
        spare = max(1, int(wanted * TOLERANCE))
        self.side = np.where(free, _NEITHER, _TRAINING)
        self._has, self._sizes = has, sizes
        # Examples of each label on each side, and all examples there.
        self._held = np.stack([has[~free].sum(axis=0), np.zeros(has.shape[1], np.int64)])
        self._filled = np.array([sizes[~free].sum(), 0])
        self._wanted = np.array([count - wanted, wanted])
        self._most = np.array([min(count - wanted + spare, count - 1), min(wanted + spare, count - 1)])
        # A label of a single group is needed in training alone; and one that is never learnt is worse than one that is
        # never measured.
        total, of_free = has.sum(axis=0), has[free].sum(axis=0)
        several = ((has > 0).sum(axis=0) >= 2) & (of_free > 0)
        self._loss = np.stack([2 * (total > 0), several])
        most = np.minimum(np.maximum(total - 1, 1), of_free)
        of_held_out = np.where(several, np.clip(total * wanted / count, 1, most), 0)
        self._share = np.stack([total - of_held_out, of_held_out]).astype(np.float64)

    def deal(self, order: NDArray[np.int64]) -> None:
        """Place all groups, those of the rarest label first.

        Source: iterative stratification, Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data",
        ECML PKDD 2011.
        """
        while True:
            rest = order[self.side[order] == _NEITHER]
            carriers = (self._has[rest] > 0).sum(axis=0)
            if not carriers.any():
                break
            label = int(np.where(carriers, carriers, len(order) + 1).argmin())
            for group in rest[self._has[rest, label] > 0]:
                self._place(group, (self._share - self._held)[:, label])
        for group in rest:
            self._place(group, np.zeros(2))
        if not self._filled.all():
            self._switch([min(order, key=lambda group: (self._sizes[group], group))])

    def spread_rare_labels(self, order: NDArray[np.int64]) -> None:
        """Move groups to the other side, alone or in exchange, as long as fewer labels are missing on a side then."""
        while self._lost():
            gains = self._gains()[order]
            ranked = order[np.argsort(-gains, kind="stable")]
            promising = ranked[: min(int((gains > 0).sum()), _TRIED)]
            if not any(self._improves(group, ranked) for group in promising):
                return

    def _improves(self, group: int, ranked: NDArray[np.int64]) -> bool:
        """Move a group, alone or in exchange for a promising one of the other side, if that helps."""
        before = self._lost()
        others = ranked[self.side[ranked] != self.side[group]][:_TRIED]
        for moved in ([group], *([group, other] for other in others)):
            self._switch(moved)
            if (self._filled <= self._most).all() and self._lost() < before:
                return True
            self._switch(moved)
        return False

    def _lost(self) -> int:
        """Return how bad it is that labels are missing on a side."""
        return int((self._loss * (self._held == 0)).sum())

    def _gains(self) -> NDArray[np.int64]:
        """Return by how much less would be lost if each group by itself moved to the other side."""
        rare = self._held.min(axis=0) <= self._sizes.max()
        has, held, loss = self._has[:, rare], self._held[:, rare], self._loss[:, rare]
        here, there = self.side, 1 - self.side
        gained = (has > 0) * (loss * (held == 0))[there]
        lost = (has > 0) * (has == held[here]) * loss[here]
        return np.asarray(gained.sum(axis=1) - lost.sum(axis=1))

    def _place(self, group: int, needs: NDArray[np.float64]) -> None:
        """Put a group on the side with room that needs most; if they do alike, on that furthest from its share."""
        room = self._filled + self._sizes[group] <= self._most
        side = max((_TRAINING, _HELD_OUT), key=lambda side: (room[side], needs[side], self._left(side)))
        self.side[group] = side
        self._filled[side] += self._sizes[group]
        self._held[side] += self._has[group]

    def _left(self, side: int) -> int:
        return int(self._wanted[side] - self._filled[side])

    def _switch(self, groups: Sequence[int]) -> None:
        for group in groups:
            for side, sign in ((self.side[group], -1), (1 - self.side[group], 1)):
                self._filled[side] += sign * self._sizes[group]
                self._held[side] += sign * self._has[group]
            self.side[group] = 1 - self.side[group]
