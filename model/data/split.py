"""Hold images out for validation, with every label on both sides if possible."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Split(NamedTuple):
    """Indices of the examples to train on and of those held out for validation, int64 each, sorted."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def stratified(targets: NDArray[np.float32], validation_fraction: float, seed: int) -> Split:
    """Hold out a share of the examples in which each label is about as frequent as overall.

    A label with two or more examples ends up on both sides, unless that would remove another label from one side. A
    label with a single example is trained on. The same seed gives the same split.

    Args:
      targets: float32 [N, L], above 0 if example n has label l.
      validation_fraction: share to hold out, 0 to 1; each side gets at least one example.
      seed: of the random split.

    Raises:
      ValueError: fewer than two examples.

    Source: iterative stratification, Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data",
    ECML PKDD 2011.
    """
    count = len(targets)
    if count < 2:
        raise ValueError(f"{count} example cannot be split into training and validation")
    held_out = np.zeros(count, bool)
    held_out[_draw(targets > 0, validation_fraction, seed)] = True
    if held_out.all() or not held_out.any():
        held_out[0] = not held_out[0]
    _spread_rare_labels(targets > 0, held_out)
    return Split(np.flatnonzero(~held_out), np.flatnonzero(held_out))


def _draw(has: NDArray[np.bool_], validation_fraction: float, seed: int) -> NDArray[np.int64]:
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    # The library assigns examples without labels last, and needs at least two columns.
    without = ~has.any(axis=1, keepdims=True)
    columns = np.concatenate([has, without, np.ones_like(without)], axis=1).astype(int)
    size = min(max(round(len(has) * validation_fraction), 1), len(has) - 1)
    splitter = MultilabelStratifiedShuffleSplit(1, test_size=size, random_state=seed)
    _, validation = next(splitter.split(np.empty((len(has), 0)), columns))
    return np.asarray(validation, np.int64)


def _spread_rare_labels(has: NDArray[np.bool_], held_out: NDArray[np.bool_]) -> None:
    """Move an example to the other side for each label that is on one side only, the rarest label first.

    Iterative stratification fills the side that needs a label most, and thus leaves a label with two or three examples
    out of a small validation set: the label would be trained but never validated.
    """
    for label in np.argsort(has.sum(axis=0), kind="stable"):
        carriers = np.flatnonzero(has[:, label])
        on_one_side = len(carriers) >= 2 and len(set(held_out[carriers])) == 1
        if not on_one_side:
            continue
        side = held_out[carriers[0]]
        # An example may move if each of its labels keeps another example on this side.
        stays = has[held_out == side].sum(axis=0)
        movable = [i for i in carriers if (stays[has[i]] >= 2).all()]
        if movable:
            # The one with the fewest labels, because all of them move with it.
            held_out[min(movable, key=lambda i: int(has[i].sum()))] = not side
