"""Trainings of a network that learns and is exported in a second, where it matters little which network it is.

Its curves are drawn, but not painted: the layout of three pictures takes as long as the training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from model.export import bundle as export
from model.quality import curves
from model.training import network
from pipelines.inference.bundle import Bundle
from tests.image_files import encode, picture
from tests.model.conftest import eagerly


@contextmanager
def small_networks() -> Iterator[None]:
    """Have trainings take a small network for a MobileNetV2 of any width and weights, and run it eagerly."""
    exporting = export.export

    def export_compiled(*arguments: Any) -> Bundle:
        with eagerly(False):
            return exporting(*arguments)

    with eagerly(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "_mobilenet", backbone)
        patch.setattr(curves, "_png", unpainted)
        patch.setattr(export, "export", export_compiled)
        yield


def backbone(image_size: int, alpha: float, weights: str | Path | None) -> Any:
    """Build what trainings look for: layers of this name, with normalization of batches among them."""
    import keras

    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3)),
            keras.layers.Conv2D(8, 3, strides=4),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
        ],
        name="backbone",
    )


def unpainted(draw: Callable[[Any], None], width: float, height: float) -> bytes:
    """Draw a figure, as `curves` does, and give another picture for it."""
    from matplotlib.figure import Figure

    draw(Figure(figsize=(width, height)))
    return encode(picture(), "png")
