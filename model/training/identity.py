"""Tell trainings apart: one resumes only what an interrupted one of the same identity has left."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

from model.data.listing import fingerprint, versions
from model.training import network, reading
from model.training.settings import Settings
from pipelines.inference.bundle import Bundle

# Settings of which the content determines the outcome, and those that do not.
_WITHOUT_EFFECT = (
    *("images", "labels", "validation_labels", "weights"),
    *("anonymous", "output", "name", "note", "quantize", "max_minutes"),
)


def describe(settings: Settings, found: reading.Found, precision: network.Precision) -> dict[str, str]:
    """Describe everything that determines the outcome; training resumes only an attempt of the same identity.

    Quantization comes after training: a finished training can be exported either way.
    """
    flags = {flag: str(value) for flag, value in settings._asdict().items() if flag not in _WITHOUT_EFFECT}
    # By image, as the order of the rows is told apart.
    rows = sorted(range(len(found.files)), key=list(found.files).__getitem__)
    tags = [sorted(found.tags[row]) for row in rows]
    weights = settings.weights
    if isinstance(weights, Path):
        weights = fingerprint(versions([str(weights)]))
    elif isinstance(weights, Bundle):
        weights = weights.digest
    return {
        **flags,
        "weights": str(weights),
        "images": fingerprint(dict(sorted(found.files.items()))),
        "labels": _digest((tags, found.unjudged)),
        "assignment": _digest(found.assignment.take(rows)),
        "order of the rows": _digest(rows),
        "resize_filter": settings.resize_filter,
        # The optimizer's state differs between precisions, so epochs on a GPU cannot be resumed on a CPU.
        "precision": precision,
        "version": importlib.metadata.version("scenetags"),
    }


def _digest(described: object) -> str:
    return hashlib.sha256(repr(described).encode()).hexdigest()
