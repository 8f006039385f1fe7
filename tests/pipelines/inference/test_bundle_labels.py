"""Labels that are missing, blank or repeated are refused where a bundle is sealed and where it is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.inference.bundle import GOLDEN, MANIFEST, BundleError, Description, load_bundle, seal_bundle

FIELDS: dict[str, Any] = {
    "name": "small",
    "image_size": 8,
    "resize_filter": "box",
    "training": {},
    "metrics": {},
    "versions": {},
}

UNUSABLE = [
    pytest.param([], "at least one", id="none"),
    pytest.param(["clear", ""], "label 2 is ''", id="empty"),
    pytest.param([" ", "clear"], "label 1 is ' '", id="space"),
    pytest.param(["clear", "\t\n"], r"label 2 is '\t\n'", id="tab and newline"),
    pytest.param(["clear", "\u00a0\u3000"], "label 2 is", id="wide spaces"),
    pytest.param(["clear", "clear"], "label 'clear' is repeated", id="repeated"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """All files of a bundle but the manifest."""
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    np.savez(tmp_path / GOLDEN, pixels=pixels, probabilities=np.full((1, 2), 0.5, np.float32))
    return tmp_path


def seal(folder: Path, labels: Sequence[Any]) -> None:
    seal_bundle(folder, Description(labels=labels, thresholds=[0.5] * len(labels), **FIELDS))


@pytest.mark.parametrize(("labels", "reason"), UNUSABLE)
def test_sealing_refuses_unusable_labels_and_leaves_no_manifest(folder: Path, labels: list[Any], reason: str) -> None:
    with pytest.raises(BundleError) as refusal:
        seal(folder, labels)
    assert reason in str(refusal.value)
    assert [path.name for path in folder.iterdir()] == [GOLDEN]


def test_refused_sealing_keeps_an_earlier_manifest(folder: Path) -> None:
    seal(folder, ["clear", "water"])
    before = (folder / MANIFEST).read_bytes()
    with pytest.raises(BundleError):
        seal(folder, ["clear", " "])
    assert (folder / MANIFEST).read_bytes() == before


@pytest.mark.parametrize(("labels", "reason"), [*UNUSABLE, pytest.param(["clear", 7], "label 2 is 7", id="number")])
def test_loading_refuses_unusable_labels(folder: Path, labels: list[Any], reason: str) -> None:
    seal(folder, ["clear", "water"])
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["digest"]
    manifest.update(labels=labels, thresholds=[0.5] * len(labels))
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    manifest["digest"] = hashlib.sha256(canonical.encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError) as refusal:
        load_bundle(str(folder))
    assert reason in str(refusal.value)


def test_labels_may_have_spaces_within_and_around(folder: Path) -> None:
    seal(folder, [" water, deep ", "bare ground"])
    assert load_bundle(str(folder)).labels == (" water, deep ", "bare ground")
