"""Facts of a training that never was, for tests of what is told about one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.quality import calibration
from model.quality.facts import Data, Facts, Network, Training
from model.quality.history import Epoch
from model.quality.thresholds import Thresholds
from pipelines.labels import Finding, LabelSource

# Some labels that Markdown would read something into, and one that is never held out.
LABELS = ("primary", "a|b", "*bold*", "_under_score_", "`tick` <b>", "rare")
IMAGE_SIZE = 32

HISTORY = (
    Epoch("head", 1, 0.003, 0.5, 0.4, 0.80, 0.60, 60.0),
    Epoch("head", 2, 0.001, 0.3, 0.3, 0.82, 0.64, 60.0),
    Epoch("fine-tuning", 3, 0.0002, float("nan"), float("nan"), float("nan"), float("nan"), 90.0),
    Epoch("fine-tuning", 4, 0.0001, 0.2, 0.25, 0.85, 0.70, 90.0),
)


def facts(training_images: int = 40, held_out_images: int = 20) -> Facts:
    """Make up facts about a model that is right about most labels of most images."""
    rng = np.random.default_rng(0)
    shares = np.array([0.9, 0.5, 0.4, 0.3, 0.2, 0.0])
    train = rng.random((training_images, len(LABELS))) < shares
    train[0] = True
    held_out = rng.random((held_out_images, len(LABELS))) < shares
    noise = rng.normal(0, 1.2, held_out.shape)
    timid = (1 / (1 + np.exp(-(2 * held_out - 1 + noise / 2)))).astype(np.float32)
    calibrated = calibration.fit(held_out, timid)
    return Facts(
        name="made up",
        note="",
        labels=LABELS,
        network=Network(alpha=0.35, image_size=IMAGE_SIZE, resize_filter="bilinear", weights=Path("/secret/base.h5")),
        data=Data(
            images="/secret/chips",
            label_file=LabelSource(("/secret/labels.csv",)),
            findings=(Finding("images that the labels do not list, skipped", ("_x", "*y", "z", "w")),),
            repairs={"unmarked_rgba_jpeg": 57, "grayscale": 3},
            validation_fraction=0.25,
            split_flags={},
            train_targets=train.astype(np.float32),
            validation_targets=held_out.astype(np.float32),
            side=256,
        ),
        training=Training(
            head_epochs=2,
            finetune_epochs=2,
            final_epochs=0,
            batch_size=8,
            seed=7,
            history=HISTORY,
            kept_epoch=4,
            augment="orientations",
            loss="bce",
            beta=2.0,
            max_minutes=None,
            criterion="the best F2 over samples on the held-out images",
            machine="2 CPU cores",
            mixed_precision=False,
        ),
        calibration=calibrated,
        probabilities=calibrated.correction.apply(timid),
        thresholds=Thresholds(0.4, np.linspace(0.2, 0.6, len(LABELS))),
    )
