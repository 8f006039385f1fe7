"""The small bundle with other golden pairs, sealed anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.inference import engines
from pipelines.inference.bundle import GOLDEN, MANIFEST, Bundle, Description, seal_bundle

ENGINES = ("litert", "openvino", "tensorflow")


Change = Callable[[dict[str, NDArray[Any]]], None]


def shift(golden: dict[str, NDArray[Any]]) -> None:
    golden["probabilities"][0, 0] += 2 * engines.GOLDEN_TOLERANCE


def swap_colours(golden: dict[str, NDArray[Any]]) -> None:
    golden["pixels"] = golden["pixels"][..., ::-1]


def scale(golden: dict[str, NDArray[Any]]) -> None:
    golden["pixels"] = golden["pixels"] // 2


def forget(golden: dict[str, NDArray[Any]]) -> None:
    golden["probabilities"][-1, -1] = np.nan


def take_logits(golden: dict[str, NDArray[Any]]) -> None:
    golden["probabilities"] = golden["probabilities"] * 8 - 4


def add_a_label(golden: dict[str, NDArray[Any]]) -> None:
    golden["probabilities"] = np.pad(golden["probabilities"], ((0, 0), (0, 1)))


def drop_a_pair(golden: dict[str, NDArray[Any]]) -> None:
    golden["probabilities"] = golden["probabilities"][1:]


def crop(golden: dict[str, NDArray[Any]]) -> None:
    golden["pixels"] = golden["pixels"][:, :16]


def empty(golden: dict[str, NDArray[Any]]) -> None:
    golden["pixels"], golden["probabilities"] = golden["pixels"][:0], golden["probabilities"][:0]


def lose_the_pixels(golden: dict[str, NDArray[Any]]) -> None:
    del golden["pixels"]


def change_golden(folder: Path, change: Change) -> None:
    with np.load(folder / GOLDEN) as arrays:
        golden = dict(arrays)
    change(golden)
    np.savez_compressed(folder / GOLDEN, **golden)


def seal(folder: Path, **changes: Any) -> Bundle:
    """Seal a changed copy of a bundle again."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    for derived in ("digest", "format", "files"):
        del manifest[derived]
    return seal_bundle(folder, Description(**{**manifest, **changes}))


def assert_is_one_line(error: Exception) -> None:
    assert str(error).strip(), "a refusal says why"
    assert "\n" not in str(error).strip(), f"more than one line: {error}"
