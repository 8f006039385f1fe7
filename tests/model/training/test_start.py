"""A network starts from a bundle: its labels keep their probabilities, new ones begin anew."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from model.training import network, start
from pipelines.inference.bundle import load_bundle
from tests.bundles import IMAGE_SIZE
from tests.model.conftest import Trained

pytestmark = pytest.mark.usefixtures("tensorflow")


def test_a_network_that_starts_from_a_bundle_gives_its_labels_the_same_probabilities(trained: Trained) -> None:
    bundle = trained.bundle
    begin = start.read(bundle, 0.35)
    labels = ("new", *bundle.labels[:0:-1])
    model = network.build(np.full(len(labels), 0.1, np.float32), image_size=IMAGE_SIZE, alpha=0.35, weights=None)
    begin.put_into(model, labels)
    golden = bundle.golden()
    expected = golden.probabilities[:, :0:-1]
    np.testing.assert_allclose(np.asarray(model(golden.pixels))[:, 1:], expected, atol=1e-4)
    assert network.head_of(model).get_weights()[1][0] == pytest.approx(np.log(0.1 / 0.9)), "a new label begins anew"
    assert list(begin.describe(labels)) == [
        f"{len(labels) - 1} of {len(labels)} labels start from the bundle; new: new",
        f"1 label of the bundle that no image has, dropped: {bundle.labels[0]}",
    ]


def test_a_bundle_of_another_kind_is_no_start(bundle_path: str, trained: Trained) -> None:
    with pytest.raises(network.WeightsError, match=r"not those of a MobileNetV2 of alpha 0\.35 that train builds"):
        start.read(load_bundle(bundle_path), 0.35)
    bundle = trained.bundle
    files = {name: digest for name, digest in bundle.files.items() if not name.startswith("saved_model/")}
    with pytest.raises(network.WeightsError, match="has no weights to start from, because it is in int8"):
        start.read(dataclasses.replace(bundle, files=files), 0.35)
