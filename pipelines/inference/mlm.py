"""Describe a model as the STAC extension `mlm` wants it: what it is, takes and returns.

Source: Machine Learning Model extension 1.4, https://github.com/stac-extensions/mlm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipelines.images.rendering import COLOURS

EXTENSION = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
BANDS = tuple({"name": colour} for colour in COLOURS)
"""Of the item's properties and of its model's asset: the extension wants them there, and STAC wants them here, too."""

_TASKS = ("scene-classification",)
_NO_NAME = re.compile(r"[^A-Za-z0-9_.\-\s]+|^[^A-Za-z]+|[^A-Za-z0-9]+$")


class Input(NamedTuple):
    """What a model takes.

    Attributes:
      name: of one, e.g. "image".
      description: of one.
      side: its columns and rows.
    """

    name: str
    description: str
    side: int


def name_model(name: str, otherwise: str) -> str:
    """Return the name of a bundle in characters that the extension allows, or another one if too few are left."""
    allowed = " ".join(_NO_NAME.sub(" ", name).split())
    return allowed if len(allowed) > 2 else otherwise


def describe_model(
    name: str,
    image: Input,
    classes: Mapping[str, str],
    hyperparameters: Mapping[str, Any],
    architecture: str = "MobileNetV2",
) -> dict[str, Any]:
    """Return the properties of an item that describe its model.

    Args:
      name: from `name_model`.
      image: what the model takes.
      classes: a short name for each label, in the order of the model's outputs.
      hyperparameters: of the model; any JSON.
      architecture: of its network.
    """
    return {
        "mlm:name": name,
        "mlm:architecture": architecture,
        "mlm:tasks": list(_TASKS),
        "mlm:input": [
            {
                "name": image.name,
                "description": image.description,
                "bands": list(COLOURS),
                "input": {
                    "shape": [-1, image.side, image.side, len(COLOURS)],
                    "dim_order": ["batch", "height", "width", "bands"],
                    "data_type": "uint8",
                },
            }
        ],
        "mlm:output": [
            {
                "name": "probabilities",
                "description": "probability of each tag, 0 to 1; several may apply",
                "tasks": list(_TASKS),
                "result": {"shape": [-1, len(classes)], "dim_order": ["batch", "class"], "data_type": "float32"},
                "classification:classes": [
                    {"value": number, "name": short, "description": label}
                    for number, (label, short) in enumerate(classes.items())
                ],
            }
        ],
        "mlm:hyperparameters": dict(hyperparameters),
    }


def describe_file(href: str) -> dict[str, Any]:
    """Return the asset of an item that is the model itself: a LiteRT file."""
    return {
        "href": href,
        "title": "the model",
        "type": "application/octet-stream",
        "roles": ["mlm:model"],
        "bands": list(BANDS),
        "mlm:artifact_type": "tflite",
    }
