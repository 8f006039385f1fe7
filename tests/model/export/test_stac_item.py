"""The STAC item of a bundle is valid, and says what the bundle says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pystac
import pytest
from pystac.extensions.mlm import MLMExtension
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from model.export import stac_item
from model.export.stac_item import STAC_ITEM
from model.quality.measuring import measure
from model.quality.summaries import metrics_summary, training_summary
from pipelines.inference.bundle import Description
from tests.model.quality import facts as model_facts

VERSIONS = {"python": "3.11.9", "tensorflow": "2.21.0"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "saved_model").mkdir()
    for name in ("model.tflite", "MODEL_CARD.md", "saved_model/saved_model.pb"):
        (tmp_path / name).write_text(name)
    return tmp_path


def write(folder: Path, **changes: Any) -> pystac.Item:
    """Write the item of a training that never was, and read it as catalogues do."""
    facts = model_facts.facts()
    fields: dict[str, Any] = {
        "resize_filter": "bilinear",
        "name": facts.name,
        "labels": facts.labels,
        "thresholds": facts.thresholds.each.tolist(),
        "image_size": 32,
        "training": training_summary(facts),
        "metrics": metrics_summary(facts, measure(facts)),
        "versions": VERSIONS,
    }
    stac_item.write(folder, Description(**{**fields, **changes}))
    described = json.loads((folder / STAC_ITEM).read_text())
    JsonSchemaSTACValidator().validate_core(described, pystac.STACObjectType.ITEM, "1.1.0", "")
    return pystac.Item.from_file(str(folder / STAC_ITEM))


def test_an_item_says_of_the_model_what_its_bundle_says(folder: Path) -> None:
    facts = model_facts.facts()
    item = write(folder)
    model = MLMExtension.ext(item)
    assert (model.mlm_name, model.architecture) == ("made up", "MobileNetV2")
    assert (model.framework, model.framework_version) == ("TensorFlow", "2.21.0")
    assert (model.pretrained, model.pretrained_source) == (True, "base.h5")
    assert model.input[0].input.shape == [-1, 32, 32, 3]
    assert model.output[0].result.shape == [-1, len(facts.labels)]
    assert [one.description for one in model.output[0].classes] == list(facts.labels)  # type: ignore[union-attr]
    settings = model.hyperparameters.to_dict()  # type: ignore[union-attr]
    assert settings["thresholds"] == dict(zip(facts.labels, facts.thresholds.each.tolist(), strict=True))
    assert (settings["alpha"], settings["batch_size"], settings["seed"]) == (0.35, 8, 7)
    assert item.properties["scenetags:metrics"]["f2_over_samples"] == measure(facts).scores.fbeta_over_samples
    assert "secret" not in (folder / STAC_ITEM).read_text()


def test_an_item_names_the_files_of_the_bundle_and_their_digests(folder: Path) -> None:
    item = write(folder)
    assert set(item.assets) == {"model", "saved_model", "card"}
    for asset in item.assets.values():
        content = Path(str(asset.get_absolute_href())).read_bytes()
        assert asset.extra_fields["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
        assert asset.extra_fields["file:size"] == len(content)
        assert ("mlm:artifact_type" in asset.extra_fields) == asset.has_role("mlm:model")


def test_an_int8_bundle_has_one_model(folder: Path) -> None:
    (folder / "saved_model" / "saved_model.pb").unlink()
    assert set(write(folder).assets) == {"model", "card"}


@pytest.mark.parametrize("name", ["forêt 🌲", "2", "森林", "a" * 300])
def test_any_name_and_label_give_a_valid_item(folder: Path, name: str) -> None:
    item = write(folder, name=name, labels=[name], thresholds=[0.5], training={"weights": None}, versions={})
    assert item.properties["title"] == name
    [output] = MLMExtension.ext(item).output
    assert [one.description for one in output.classes] == [name]  # type: ignore[union-attr]
