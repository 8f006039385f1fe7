"""What is exported of a MobileNetV2: both files give the same, in float32, for any number of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.export import bundle as export
from tests.model.conftest import Trained

pytestmark = pytest.mark.usefixtures("tensorflow")


def test_litert_and_tensorflow_agree_for_every_batch_size(trained: Trained) -> None:
    folder, size = Path(trained.bundle.path), trained.bundle.image_size
    pixels = np.random.default_rng(0).integers(0, 256, size=(37, size, size, 3), dtype=np.uint8)
    litert = export.litert(folder, pixels)
    assert litert.shape == (37, len(trained.bundle.labels))
    np.testing.assert_allclose(export.saved_model(folder, pixels), litert, atol=export.TOLERANCE)
    np.testing.assert_array_equal(export.litert(folder, pixels[:1]), litert[:1])


def test_the_litert_file_keeps_weights_in_float32(trained: Trained) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(f"{trained.bundle.path}/model.tflite")
    kinds = {np.dtype(tensor["dtype"]).name for tensor in interpreter.get_tensor_details()}
    assert kinds <= {"float32", "uint8", "int32", "int64", "bool"}
    assert len(trained.bundle.read("model.tflite")) > 0.95 * 4 * trained.model.count_params()
