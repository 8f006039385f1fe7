"""An int8 bundle is measured as it predicts, says what it cost, and never learnt from held-out images."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.data.dataset import Examples
from model.export import bundle as export
from model.export import quantization
from model.quality import measuring, metrics, summaries, thresholds
from model.quality.facts import Facts
from pipelines import predict
from pipelines.commandline.parser import UsageError
from pipelines.inference.bundle import LITERT_MODEL, SAVED_MODEL, Bundle, load_bundle
from pipelines.inference.engines import open_engine
from tests.model.conftest import Trained, Unfinished, resume
from tests.model.quality import facts as model_facts
from tests.outputs import rows

pytestmark = pytest.mark.usefixtures("tensorflow")


class Quantized(NamedTuple):
    """What a training gave that was interrupted before it was exported in float32, and resumed for int8.

    Attributes:
      bundle: in int8.
      printed: what the second command printed.
      before: the facts of the network.
      training: the images that it learnt from.
      validation: the images that were held out.
      calibration: the images that the int8 file was calibrated on.
    """

    bundle: Bundle
    printed: str
    before: Facts
    training: Examples
    validation: Examples
    calibration: NDArray[np.uint8]


@pytest.fixture(scope="module")
def quantized(unfinished: Unfinished, trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    output = tmp_path_factory.mktemp("int8") / "tiny"
    given: list[Any] = []
    export_bundle, quantize = export.export, quantization.quantize

    def watch_export(*arguments: Any) -> Bundle:
        given.extend(arguments[2:])
        return export_bundle(*arguments)

    def watch_quantize(folder: Path, calibration: NDArray[np.uint8]) -> None:
        given.append(calibration)
        quantize(folder, calibration)

    def take_the_same(_: Any, folder: Path) -> None:
        # The network is that of the other export, as the check of these files shows; to write them again takes seconds.
        shutil.copytree(f"{trained.bundle.path}/{SAVED_MODEL}", folder / SAVED_MODEL)
        shutil.copy(f"{trained.bundle.path}/{LITERT_MODEL}", folder)

    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.setattr(export, "write_models", take_the_same)
        patch.setattr(quantization, "quantize", watch_quantize)
        resume(unfinished, output, watch_export, "--quantize", "int8")
    before, validation, training, _, calibration = given
    return Quantized(load_bundle(str(output)), printed.getvalue(), before, training, validation, calibration)


@pytest.fixture(scope="module")
def probabilities(quantized: Quantized) -> NDArray[np.float32]:
    """Let the engine predict the held-out images."""
    validation = quantized.validation
    return open_engine(quantized.bundle).predict(validation.pixels[validation.rows])


def test_a_finished_training_is_exported_in_another_way_without_training_again(quantized: Quantized) -> None:
    assert "resuming after epoch 2 of an interrupted training" in quantized.printed
    assert [epoch["epoch"] for epoch in quantized.bundle.training["history"]] == [1, 2]


def test_the_file_computes_in_int8_and_its_head_in_float32(quantized: Quantized) -> None:
    from ai_edge_litert.interpreter import Interpreter

    file = quantized.bundle.read(LITERT_MODEL)
    kinds = {
        tensor["name"].split(";")[0]: np.dtype(tensor["dtype"]).name
        for tensor in Interpreter(model_content=file).get_tensor_details()
    }
    assert {kind for name, kind in kinds.items() if name.endswith("/Relu6")} == {"int8"}
    assert {kind for name, kind in kinds.items() if "scenetags_1/probabilities" in name} == {"float32"}


def test_the_bundle_holds_no_other_model(quantized: Quantized) -> None:
    assert [name for name in quantized.bundle.files if name.startswith("saved_model")] == []


def test_it_is_calibrated_on_training_images_alone(quantized: Quantized) -> None:
    training, held_out = quantized.training, quantized.validation
    assert not set(training.rows) & set(held_out.rows)
    np.testing.assert_array_equal(quantized.calibration, training.pixels[training.rows])
    assert quantized.bundle.training["calibration_images"] == len(training.rows)


def test_calibration_images_are_spread_over_all_that_there_are() -> None:
    pixels = np.arange(1000, dtype=np.uint8).reshape(1000, 1, 1, 1)
    chosen = quantization.calibration_images(Examples(pixels, np.arange(0, 1000, 2), np.zeros((500, 1), np.float32)))
    assert len(chosen) == quantization.CALIBRATION_IMAGES
    np.testing.assert_array_equal(chosen[[0, -1]], pixels[[0, 998]])


def test_thresholds_and_figures_are_those_of_what_the_engine_answers(
    quantized: Quantized, probabilities: NDArray[np.float32]
) -> None:
    bundle, truth = quantized.bundle, quantized.validation.targets > 0.5
    assert bundle.thresholds == tuple(thresholds.tune(truth, probabilities).each)
    tags = probabilities >= np.array(bundle.thresholds, np.float32)
    assert bundle.metrics["f2_over_samples"] == metrics.fbeta_over_samples(truth, tags)
    assert bundle.metrics["mean_average_precision"] == metrics.mean_average_precision(truth, probabilities)


def test_what_int8_cost_is_in_the_bundle_the_card_and_the_output(
    quantized: Quantized, probabilities: NDArray[np.float32]
) -> None:
    before, cost = quantized.before, quantized.bundle.metrics["cost_of_int8"]
    differences = np.abs(probabilities - before.probabilities)
    assert 0 < differences.mean() < differences.max() < 0.2
    assert cost == {
        "float32_f2_over_samples": measuring.measure(before).scores.fbeta_over_samples,
        "float32_mean_average_precision": measuring.measure(before).scores.mean_average_precision,
        "mean_difference": float(differences.mean()),
        "largest_difference": float(differences.max()),
    }
    assert quantized.bundle.training["quantization"] == "int8"
    card = quantized.bundle.read("MODEL_CARD.md").decode()
    assert "### Cost of int8" in card
    assert "--quantize int8\n" in card
    assert f"int8 cost: F2 over samples was {cost['float32_f2_over_samples']:.3f} in float32" in quantized.printed


def test_predict_gives_the_golden_probabilities_bit_for_bit(quantized: Quantized, tmp_path: Path) -> None:
    golden = quantized.bundle.golden()
    (tmp_path / "chips").mkdir()
    for number, pixels in enumerate(golden.pixels):
        Image.fromarray(pixels).save(tmp_path / "chips" / f"{number}.png")
    output = str(tmp_path / "tagged")
    flags = ["--input", str(tmp_path / "chips"), "--model", quantized.bundle.path, "--output", output]
    assert predict.main(flags) == 0
    probabilities = [[row[f"p_{label}"] for label in quantized.bundle.labels] for row in rows(output)]
    found = np.array(probabilities, np.float32)
    np.testing.assert_array_equal(found, golden.probabilities)


def test_nonsense_is_distinguished_from_a_loss() -> None:
    before = np.array([[0.1, 0.5], [0.9, 0.5]], np.float32)
    assert quantization.makes_sense(before + np.array([0.2, -0.2], np.float32), before)
    assert not quantization.makes_sense(np.full_like(before, 0.5), before)
    assert not quantization.makes_sense(np.where(before > 0.8, np.nan, before), before)
    # One image, or a network that says the same of all, shows nothing.
    assert quantization.makes_sense(before[:1], before[:1])


def test_nonsense_is_refused_in_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantized: Quantized
) -> None:
    before = quantized.before
    constant = np.full_like(before.probabilities, np.nan)
    monkeypatch.setattr(quantization, "quantize", lambda *_: None)
    monkeypatch.setattr(quantization, "predict", lambda *_: constant)
    with pytest.raises(export.ExportError, match=r"no longer distinguishes images; .* --quantize none") as refused:
        export._quantize(tmp_path, before, quantized.validation, quantized.training)
    assert "\n" not in str(refused.value)


def test_a_tensorflow_that_cannot_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    quantization.check_available()
    monkeypatch.delattr(tf.lite.experimental, "QuantizationDebugger")
    with pytest.raises(UsageError, match=r"--quantize: TensorFlow .* has no .*; .* or train with --quantize none"):
        quantization.check_available()


def test_facts_of_an_int8_file_are_json() -> None:
    before = model_facts.facts()
    told = quantization.of_quantized(before, np.roll(before.probabilities, 1, axis=0), 7)
    told_in_json = (summaries.training_summary(told), summaries.metrics_summary(told, measuring.measure(told)))
    training, measured = json.loads(json.dumps(told_in_json, allow_nan=False))
    assert (training["quantization"], training["calibration_images"]) == ("int8", 7)
    assert measured["cost_of_int8"]["float32_f2_over_samples"] == measuring.measure(before).scores.fbeta_over_samples
    assert measured["cost_of_int8"]["float32_f2_over_samples"] != measured["f2_over_samples"]
