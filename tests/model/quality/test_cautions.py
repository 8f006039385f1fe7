"""Trainings that mean little say so."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.quality import cautions

LABELS = ("a", "b", "c")


def told(train: NDArray[np.float32], held_out: NDArray[np.float32], share: float | None = None) -> str:
    labels = LABELS if train.shape[1] == 3 else tuple(f"l{label}" for label in range(train.shape[1]))
    return "\n".join(cautions.of_split(labels, train, held_out, share))


def targets(count: int, labels: int = 3) -> NDArray[np.float32]:
    return (np.arange(count * labels).reshape(count, labels) % 2).astype(np.float32)


def test_a_sound_split_needs_no_caution() -> None:
    assert told(targets(160), targets(40), 0.2) == ""


@pytest.mark.parametrize(
    ("train", "held_out", "share", "caution"),
    [
        (targets(10), targets(1), None, "rest on a single held-out image"),
        (targets(100), targets(29), None, "rest on only 29 held-out images"),
        (targets(100, 120), targets(40, 120), None, "120 labels, but only 100 images to train on"),
        (targets(1, 2), targets(40, 2), None, "2 labels, but a single image to train on"),
        (
            targets(100) * [1, 1, 0],
            targets(40),
            None,
            "1 label that no training image has, impossible to learn: c",
        ),
        (targets(100), targets(40) * [0, 0, 1], None, "2 labels without a held-out image, not measured: a, b"),
        (np.ones((100, 3)), np.ones((40, 3)), None, "3 labels on every image, nothing to tell apart: a, b, c"),
        (targets(100), targets(100), 0.2, "50% of the images are held out, and not 20%"),
    ],
)
def test_what_means_little_is_said(
    train: NDArray[np.float32], held_out: NDArray[np.float32], share: float | None, caution: str
) -> None:
    assert caution in told(train, held_out, share)


def test_a_start_of_which_nobody_knows_what_it_has_learnt_is_said() -> None:
    assert cautions.of_start(True) == ()
    assert "the figures are too good" in cautions.of_start(False)[0]


def test_a_network_that_learnt_nothing_is_told_from_one_that_did() -> None:
    (caution,) = cautions.of_network(0.6, 0.7)
    assert "nothing was learnt from the images" in caution
    assert cautions.of_network(0.71, 0.7) == ()
