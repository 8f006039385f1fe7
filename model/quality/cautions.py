"""Say what a training or its figures cannot be relied on for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from model.quality.fbeta import BETA, title
from pipelines.errors import quantity
from pipelines.labels import Finding

FEW_IMAGES = 30
"""Held-out images below which figures are hardly more than chance: F2 is then off by 0.03 and more."""

# What stratification allows, and some rounding.
_SHARE_TOLERANCE = 0.15


def of_split(
    labels: Sequence[str],
    train_targets: NDArray[np.float32],
    validation_targets: NDArray[np.float32],
    wanted_share: float | None,
) -> tuple[str, ...]:
    """Return what is known before training, a sentence each, the most important first.

    Args:
      labels: L names.
      train_targets: float32 [N, L], 1.0 if training image n has label l.
      validation_targets: float32 [M, L], of the held-out images.
      wanted_share: of the images to hold out; None if the user has chosen them.
    """
    return tuple(_of_split(labels, train_targets, validation_targets, wanted_share))


def of_start(is_known: bool) -> tuple[str, ...]:
    """Return what it means for the figures if nobody knows which images a training has started from, or nothing."""
    if is_known:
        return ()
    return (
        "the bundle that the training started from does not say which images it has learnt: if held-out images are "
        "among them, the figures are too good, and the thresholds do not suit new images",
    )


def of_network(fbeta: float, fbeta_of_frequencies: float, beta: float = BETA) -> tuple[str, ...]:
    """Return what the F-beta of a trained network says about it, in a sentence or none."""
    if fbeta > fbeta_of_frequencies:
        return ()
    return (
        f"{title(beta)} over samples is {fbeta:.3f}, and {fbeta_of_frequencies:.3f} for giving every image the most "
        "frequent labels: nothing was learnt from the images",
    )


def _of_split(
    labels: Sequence[str],
    train_targets: NDArray[np.float32],
    validation_targets: NDArray[np.float32],
    wanted_share: float | None,
) -> Iterator[str]:
    train, held_out = len(train_targets), len(validation_targets)
    of_train, of_held_out = train_targets.sum(axis=0), validation_targets.sum(axis=0)

    def named(what: str, chosen: NDArray[np.bool_]) -> Iterator[str]:
        names = tuple(label for label, is_chosen in zip(labels, chosen, strict=True) if is_chosen)
        if names:
            yield str(Finding(what, names))

    if held_out < FEW_IMAGES:
        images = "a single held-out image" if held_out == 1 else f"only {quantity(held_out, 'held-out image')}"
        yield f"thresholds and figures rest on {images}: they are hardly more than chance"
    if len(labels) > train:
        images = "a single image" if train == 1 else f"only {quantity(train, 'image')}"
        yield f"{quantity(len(labels), 'label')}, but {images} to train on: most labels cannot be learnt"
    yield from named("labels that no training image has, impossible to learn", of_train == 0)
    yield from named("labels without a held-out image, not measured", of_held_out == 0)
    everywhere = of_train + of_held_out == train + held_out
    yield from named("labels on every image, nothing to tell apart", everywhere)
    if wanted_share is not None:
        wanted = min(max(wanted_share * (train + held_out), 1), train + held_out - 1)
        if abs(held_out - wanted) > max(1.5, _SHARE_TOLERANCE * wanted):
            yield f"{held_out / (train + held_out):.0%} of the images are held out, and not {wanted_share:.0%}"
