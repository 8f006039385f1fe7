"""Write the model card: what a bundle was trained on, how good it is there, and what it is not for."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_TEMPLATE = """\
# {name}

A multi-label tagger for satellite image chips: MobileNetV2 (alpha {alpha:g}) at {image_size} px, {weights}.
It gives each chip a probability for each of {label_count} labels; a label counts as a tag from {threshold:.2f}.
{note}
## Data and split

{train_count} images to train on and {validation_count} held out, drawn at random (seed {seed}). {left_out}

| label | training images | validation images |
|---|---:|---:|
{support}

## Colours

Every image was decoded by `pipelines.images`, the code that also decodes when this bundle predicts, and resized to
{image_size} px ({resize_filter}). Repairs made on the way: {repairs}.

## Measured on the held-out images

| metric | value |
|---|---:|
| F2 over samples, at the bundle's threshold | {f2:.3f} |
| F2 over samples, predicting the training frequencies | {f2_of_frequencies:.3f} |
| loss (binary cross-entropy) | {loss:.4f} |

The threshold and the best epoch were chosen on these same held-out images, so that these figures flatter a little.

## What it is not for

- Imagery unlike its training data: another sensor, resolution, season, region or processing.
- Labels with few training images in the table above: their probabilities mean little.
- Where things are, how large they are or how they changed: it only says that a chip shows them.
- Decisions about people, land or law without somebody looking at the image.
"""


class Facts(NamedTuple):
    """What a model card tells; `targets` are float32 [N, L] of the images trained on and held out."""

    name: str
    labels: tuple[str, ...]
    alpha: float
    image_size: int
    resize_filter: str
    weights: str
    head_epochs: int
    finetune_epochs: int
    batch_size: int
    note: str
    seed: int
    threshold: float
    f2: float
    f2_of_frequencies: float
    loss: float
    train_targets: NDArray[np.float32]
    validation_targets: NDArray[np.float32]
    repairs: dict[str, int]
    unreadable: int


def write(facts: Facts) -> str:
    """Write a model card in Markdown."""
    train_support = facts.train_targets.sum(axis=0).astype(int)
    validation_support = facts.validation_targets.sum(axis=0).astype(int)
    support = zip(facts.labels, train_support, validation_support, strict=True)
    repairs = ", ".join(f"`{name}` on {count}" for name, count in sorted(facts.repairs.items()))
    values = facts._asdict() | {
        "label_count": len(facts.labels),
        "train_count": len(facts.train_targets),
        "validation_count": len(facts.validation_targets),
        "note": f"\n> {facts.note}\n" if facts.note else "",
        "left_out": f"{facts.unreadable} unreadable images were left out." if facts.unreadable else "",
        "support": "\n".join(f"| {label} | {train} | {held_out} |" for label, train, held_out in support),
        "repairs": repairs or "none, all were plain RGB",
    }
    return _TEMPLATE.format_map(values)


def training_summary(facts: Facts) -> dict[str, Any]:
    """Tell how the model was trained, for `bundle.json`."""
    return {
        "architecture": "MobileNetV2",
        "alpha": facts.alpha,
        "weights": facts.weights,
        "head_epochs": facts.head_epochs,
        "finetune_epochs": facts.finetune_epochs,
        "batch_size": facts.batch_size,
        "seed": facts.seed,
        "train_images": len(facts.train_targets),
        "validation_images": len(facts.validation_targets),
        "unreadable_images": facts.unreadable,
        "repairs": facts.repairs,
        "note": facts.note,
    }


def metrics_summary(facts: Facts) -> dict[str, Any]:
    """Tell how good the model was on the held-out images, for `bundle.json`."""
    return {
        "f2_over_samples": facts.f2,
        "f2_over_samples_of_label_frequencies": facts.f2_of_frequencies,
        "validation_loss": facts.loss,
    }
