"""Describe a bundle to people, to catalogues and to the job: its model card, its STAC item and its manifest."""

from __future__ import annotations

from pathlib import Path

from model.export import stac_item
from pipelines.inference.bundle import MODEL_CARD, Description, seal_bundle


def write(folder: Path, card: str, description: Description) -> None:
    """Complete a folder that holds all other files of a bundle.

    Args:
      folder: holds the model files, the golden pairs and the pictures of the card.
      card: text of the model card.
      description: of the bundle.

    Raises:
      BundleError: the description is inconsistent.
      OSError: a file cannot be written.
    """
    (folder / MODEL_CARD).write_text(card, encoding="utf-8")
    stac_item.write(folder, description)
    # Last, since it has the digests of all others.
    seal_bundle(folder, description)
