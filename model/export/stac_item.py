"""Describe a bundle as a STAC item with the extension `mlm`, so that catalogues of models can list it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.errors import quantity
from pipelines.inference import mlm
from pipelines.inference.bundle import LITERT_MODEL, MODEL_CARD, SAVED_MODEL, Description

STAC_ITEM = "stac_item.json"

_EXTENSIONS = (mlm.EXTENSION, "https://stac-extensions.github.io/file/v2.1.0/schema.json")
_GRAPH = f"{SAVED_MODEL}saved_model.pb"
_SHA256 = "1220"
"""The beginning of a multihash: which digest, of how many bytes."""
_RELEASE = re.compile(r"\d+\.\d+\.\d+")
_NOT_SHORT = re.compile(r"[^0-9A-Za-z_-]+")


def write(folder: Path, description: Description) -> None:
    """Write the item into a folder that holds all other files of a bundle but the manifest.

    Of the training, with what is said of an import, and of the metrics it has what is one number or text; the rest is
    in `bundle.json`. It has no place and no footprint, as nobody said where the training images were taken; its time is
    that of the export.

    Args:
      folder: holds the model files and the model card.
      description: of the bundle.
    """
    training, labels = description.training, description.labels
    image = mlm.Input("image", "an image in sRGB, 0 to 255", description.image_size)
    settings = {
        **_plain(training.get("imported", {})),
        **_plain(training),
        "thresholds": dict(zip(labels, description.thresholds, strict=True)),
    }
    classes = {label: _NOT_SHORT.sub("_", label) for label in labels}
    named = mlm.name_model(description.name, "scenetags model")
    architecture = str(training.get("architecture") or "unknown")
    exported = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": named,
        "geometry": None,
        "properties": {
            "datetime": exported,
            "created": exported,
            "title": description.name,
            "description": f"Tags satellite images with {quantity(len(labels), 'label')}; several may apply to an "
            "image",
            **mlm.describe_model(named, image, classes, settings, architecture),
            **_describe_framework(description.versions),
            **_describe_weights(training),
            "bands": list(mlm.BANDS),
            "scenetags:metrics": _plain(description.metrics),
        },
        "links": [],
        "assets": _describe_assets(folder),
    }
    (folder / STAC_ITEM).write_text(json.dumps(item, indent=2, ensure_ascii=False), encoding="utf-8")


def _describe_framework(versions: Mapping[str, str]) -> dict[str, str]:
    version = versions.get("tensorflow", "")
    return {
        "mlm:framework": "TensorFlow",
        **({"mlm:framework_version": version} if _RELEASE.fullmatch(version) else {}),
    }


def _describe_weights(training: Mapping[str, Any]) -> dict[str, Any]:
    """Say what the training started from, if it is known."""
    weights = training.get("weights")
    if not isinstance(weights, str):
        return {}
    source = {"none": None, "imagenet": "ImageNet"}.get(weights, weights)
    return {"mlm:pretrained": source is not None, "mlm:pretrained_source": source}


def _describe_assets(folder: Path) -> dict[str, Any]:
    model = {**mlm.describe_file(f"./{LITERT_MODEL}"), **_seal(folder / LITERT_MODEL)}
    card = {"href": f"./{MODEL_CARD}", "title": "the model card", "type": "text/markdown", "roles": ["metadata"]}
    assets = {"model": model, "card": {**card, **_seal(folder / MODEL_CARD)}}
    if (folder / _GRAPH).exists():
        graph = mlm.describe_file(f"./{_GRAPH}")
        form = {"title": "the same for TensorFlow", "mlm:artifact_type": "tf.saved_model"}
        assets["saved_model"] = {**graph, **form, **_seal(folder / _GRAPH)}
    return assets


def _seal(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"file:size": len(content), "file:checksum": _SHA256 + hashlib.sha256(content).hexdigest()}


def _plain(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a description is one number or text."""
    return {name: value for name, value in described.items() if isinstance(value, int | float | str) and value != ""}
