"""Describe a bundle to people, to catalogues and to the job: its model card, its STAC item and its manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.export import stac_item
from pipelines.images.rendering import NO_RENDERING, Rendering
from pipelines.inference.bundle import MODEL_CARD, seal_bundle
from pipelines.inference.reference import Reference


def write(
    folder: Path,
    card: str,
    *,
    name: str,
    labels: Sequence[str],
    thresholds: Sequence[float],
    image_size: int,
    resize_filter: str,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    versions: Mapping[str, str],
    rendering: Rendering = NO_RENDERING,
    reference: Reference | None = None,
) -> None:
    """Complete a folder that holds all other files of a bundle.

    Args:
      folder: holds the model files, the golden pairs and the pictures of the card.
      card: text of the model card.
      name: as in `seal_bundle`, like all that follow.
      labels: in the order of the model's outputs.
      thresholds: one per label, 0 to 1.
      image_size: columns and rows that the model takes.
      resize_filter: one of `images.limits.RESIZINGS`.
      training: how the model was trained; any JSON.
      metrics: quality on validation data; any JSON.
      versions: of the libraries that made the bundle.
      rendering: how rasters among the training images became pictures.
      reference: what the training images look like; None if there are too few.

    Raises:
      BundleError: the fields are inconsistent.
      OSError: a file cannot be written.
    """
    (folder / MODEL_CARD).write_text(card, encoding="utf-8")
    stac_item.write(
        folder,
        name=name,
        labels=labels,
        thresholds=thresholds,
        image_size=image_size,
        training=training,
        metrics=metrics,
        versions=versions,
    )
    # Last, since it has the digests of all others.
    seal_bundle(
        folder,
        name=name,
        labels=labels,
        thresholds=thresholds,
        image_size=image_size,
        resize_filter=resize_filter,
        training=training,
        metrics=metrics,
        versions=versions,
        rendering=rendering,
        reference=reference,
    )
