"""A model in any format becomes a bundle that answers as the model does in its own framework."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model import evaluate, importing
from model.export import bundle as export
from model.foreign.opening import open_original
from model.foreign.original import Wanted
from model.foreign.scaling import scale
from model.quality import thresholds
from pipelines import predict
from pipelines.inference.bundle import Bundle, BundleError, load_bundle
from pipelines.inference.engines import check_engine
from tests import image_files
from tests.model.foreign import models
from tests.outputs import rows

pytestmark = pytest.mark.usefixtures("tensorflow")


def imported(model: Path, output: Path, *flags: str) -> Bundle:
    labels = output.with_name("labels.txt")
    labels.write_text("\n".join(models.LABELS))
    assert importing.main([str(model), "--labels", str(labels), "--output", str(output), *flags]) == 0
    return load_bundle(str(output))


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("tutorial.keras", ()),
        ("keras_2.h5", ()),
        ("keras_3", ("--output_kind", "probabilities")),
        ("tensorflow", ("--output_kind", "probabilities")),
        ("float.tflite", ()),
    ],
)
def test_an_imported_model_answers_as_it_did(
    foreign: Path, chips: NDArray[np.uint8], tmp_path: Path, name: str, flags: tuple[str, ...]
) -> None:
    bundle = imported(foreign / name, tmp_path / "bundle", "--scaling", "unit", *flags)

    expected = np.load(foreign / "expected.npy")
    assert expected.std(axis=0).min() > 0.05
    # The import has compared the SavedModel itself.
    found = np.concatenate([export.litert(Path(bundle.path), chip[np.newaxis]) for chip in chips])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert bundle.has_saved_model == (not name.endswith(".tflite"))
    assert not bundle.is_int8


def test_an_int8_file_answers_as_its_own_interpreter(foreign: Path, chips: NDArray[np.uint8], tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    bundle = imported(foreign / "int8.tflite", tmp_path / "bundle", "--scaling", "unit")

    interpreter = Interpreter(str(foreign / "int8.tflite"))
    interpreter.allocate_tensors()
    [source], [result] = interpreter.get_input_details(), interpreter.get_output_details()
    (step, zero), (result_step, result_zero) = source["quantization"], result["quantization"]
    for chip in chips:
        rounded = np.clip(np.round(chip / 255.0 / step + zero), -128, 127).astype(np.int8)
        interpreter.set_tensor(source["index"], rounded[np.newaxis])
        interpreter.invoke()
        expected = (interpreter.get_tensor(result["index"]).astype(np.float32) - result_zero) * result_step
        np.testing.assert_allclose(export.litert(Path(bundle.path), chip[np.newaxis]), expected, atol=1e-6)
    assert bundle.is_int8


@pytest.mark.parametrize("channels_first", [True, False])
def test_onnx_answers_as_its_reference(chips: NDArray[np.uint8], tmp_path: Path, channels_first: bool) -> None:
    models.skip_without_openvino()
    reference = pytest.importorskip("onnx.reference", reason="ONNX is not installed: pip install 'scenetags[test]'")
    path = tmp_path / "network.onnx"
    models.write_onnx(path, channels_first=channels_first)

    bundle = imported(path, tmp_path / "bundle", "--scaling", "imagenet", "--output_kind", "logits")

    images = scale(chips[:6], "imagenet")
    ordered = images.transpose(0, 3, 1, 2) if channels_first else images
    [logits] = reference.ReferenceEvaluator(str(path)).run(None, {"image" if channels_first else "pixels": ordered})
    assert logits.std(axis=0).min() > 0.01
    found = export.litert(Path(bundle.path), chips[:6])
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), atol=1e-4)


def test_an_imported_bundle_tags_real_chips(
    foreign: Path, planet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--scaling", "unit", "--images", str(planet / "jpg"), "--labels_csv", str(planet / "train_v2.csv"))
    bundle = imported(foreign / "float.tflite", tmp_path / "bundle", *flags, "--beta", "0.5")
    output = str(tmp_path / "tagged")

    assert predict.main(["--input", str(planet / "jpg"), "--model", bundle.path, "--output", output]) == 0

    found = rows(output)
    names = sorted(path.name for path in (planet / "jpg").iterdir())
    expected = dict(zip(names, np.load(foreign / "expected.npy"), strict=True))
    assert len(found) == len(expected) == 20
    for row in found:
        probabilities = [row[f"p_{label}"] for label in models.LABELS]
        np.testing.assert_allclose(probabilities, expected[Path(row["path"]).name], atol=1e-4)
    assert bundle.metrics["images"] == 20
    assert bundle.training["imported"]["scaling"] == "unit"
    told = capsys.readouterr().out
    assert f"F0.5 over samples {bundle.metrics['f0_5_over_samples']:.3f} on 20 images" in told
    assert all(label in told for label in bundle.metrics["never_given"])
    listed = "Tags that none of these images was given" in bundle.read("MODEL_CARD.md").decode()
    assert listed == bool(bundle.metrics["never_given"])
    with pytest.raises(BundleError, match="no saved_model/, like every bundle imported from a LiteRT file"):
        check_engine(bundle, "tensorflow")


def test_an_imported_model_is_measured_as_evaluate_measures_its_predictions(
    foreign: Path, chips: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "chips").mkdir()
    probabilities = np.load(foreign / "expected.npy")
    has = probabilities > 0.5
    rows = ["image_name,clear,water,road"]
    for number, (chip, (clear, *_, water)) in enumerate(zip(chips, has, strict=True)):
        (tmp_path / "chips" / f"{number}.png").write_bytes(image_files.png(chip, "RGB"))
        rows.append(f"{number},{int(clear)},{int(water)},{int(number == 3)}")
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(rows))
    flags = ("--scaling", "unit", "--images", str(tmp_path / "chips"), "--labels_csv", str(labels))

    bundle = imported(foreign / "float.tflite", tmp_path / "bundle", *flags)

    told = capsys.readouterr()
    assert "--scaling is probably" not in told.err
    assert "3 labels of the model that the label file does not have, not measured: cloudy, haze, primary" in told.out
    assert "1 label that the model does not know, counted as missed: road" in told.out
    judged = [0, 4]
    tuned = thresholds.tune(has[:, judged], probabilities[:, judged])
    chosen = [tuned.each[0], *[tuned.flat] * 3, tuned.each[1]]
    assert bundle.thresholds == pytest.approx(chosen), "as if the labels that nobody judged were not there"
    out = str(tmp_path / "out")
    assert predict.main(["--input", str(tmp_path / "chips"), "--model", bundle.path, "--output", out]) == 0
    evaluated = tmp_path / "scores.json"
    assert evaluate.main(["--predictions", out, "--labels", str(labels), "--json", str(evaluated)]) == 0
    scores = json.loads(evaluated.read_text())
    for name in ("f2_over_samples", "micro_f1", "macro_f1", "mean_average_precision", "never_given"):
        assert bundle.metrics[name] == scores[name]
    assert bundle.metrics["reliability"]["log_loss"] == pytest.approx(scores["log_loss"], abs=1e-6)
    assert bundle.metrics["labels"]["haze"]["predicted"] == scores["labels"]["haze"]["predicted"]
    card = bundle.read("MODEL_CARD.md").decode()
    assert "| road | 1 | – | – | 0.000 | – |" in card

    labels.write_text("image_name,tags\n1,road")
    command = [str(foreign / "float.tflite"), "--labels", str(tmp_path / "labels.txt"), *flags]
    assert importing.main([*command, "--output", str(tmp_path / "other")]) == 2
    assert "the labels have none of those of the model: they are road, and the model's are" in capsys.readouterr().err


@pytest.mark.parametrize("narrow", ["mixed_float16", "mixed_bfloat16"])
def test_a_model_trained_in_mixed_precision_computes_in_float32(
    chips: NDArray[np.uint8], tmp_path: Path, narrow: str
) -> None:
    import keras

    def build(precision: str) -> Any:
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy(precision)
        try:
            base = keras.Sequential([keras.Input((models.SIZE, models.SIZE, 3)), keras.layers.Conv2D(8, 5)])
            head = keras.layers.Dense(len(models.LABELS), activation="sigmoid", dtype="float32")
            return keras.Sequential([base, keras.layers.GlobalMaxPooling2D(), head])
        finally:
            keras.config.set_dtype_policy("float32")

    build(narrow).save(tmp_path / "mixed.keras")
    found = open_original(tmp_path / "mixed.keras", Wanted(len(models.LABELS), None)).answer(chips, "unit")
    np.testing.assert_allclose(found, build("float32")(scale(chips, "unit")), atol=1e-6)


def test_thresholds_name_and_softmax_are_in_bundle_and_card(
    tmp_path: Path, tensorflow: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    layers = [keras.layers.Flatten(), keras.layers.Dense(len(models.LABELS), activation="softmax")]
    keras.Sequential([keras.Input((32, 32, 3)), *layers]).save(tmp_path / "one_of.keras")
    chosen = tmp_path / "thresholds.json"
    chosen.write_text('{"clear": 0.1, "cloudy": 0.2, "haze": 0.3, "primary": 0.4, "water": 0.5}')

    bundle = imported(
        *(tmp_path / "one_of.keras", tmp_path / "bundle", "--scaling", "symmetric"),
        *("--thresholds", str(chosen), "--name", "One of *five*"),
    )

    assert bundle.thresholds == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert bundle.name == "One of *five*"
    assert bundle.metrics == {}
    assert bundle.training["imported"]["softmax"]
    catalogued = json.loads(bundle.read("stac_item.json"))["properties"]["mlm:hyperparameters"]
    assert (catalogued["scaling"], catalogued["thresholds"]["water"]) == ("symmetric", 0.5)
    card = bundle.read("MODEL_CARD.md").decode()
    assert card.startswith("# One of \\*five\\*\n")
    assert "chooses one label per image (softmax)" in card
    assert bundle.training["imported"]["sha256"] in card
    assert "sum to 1 (softmax); tags are still given by thresholds" in capsys.readouterr().out
