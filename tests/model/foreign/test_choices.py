"""What a file does not say is asked for, what it says is not contradicted, and a wrong scaling is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model import importing
from model.export import bundle, place
from model.foreign import judging, keras_file, session
from model.foreign.opening import open_original
from model.foreign.original import Original, Wanted
from model.foreign.scaling import Scaling
from tests.model.foreign import models

pytestmark = pytest.mark.usefixtures("tensorflow")


LABELS = "\n".join(models.LABELS)


def refused(
    capsys: pytest.CaptureFixture[str], model: Path, *flags: str, labels: str = "\n".join(models.LABELS)
) -> str:
    """Import a model, and return the one line that says why it is not."""
    file = model.with_name("names.txt")
    file.write_text(labels)
    output = model.with_name("refused")
    assert importing.main([str(model), "--labels", str(file), "--output", str(output), *flags]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1, told
    assert not output.exists()
    return told


@pytest.fixture
def saved(tmp_path: Path, tensorflow: Any) -> Any:
    """Save a Sequential model of these layers, which takes 32 px."""
    import keras

    def save(*layers: Any, size: int | None = 32, kind: str = "float32", activation: str = "linear") -> Path:
        head = [keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(len(models.LABELS), activation=activation)]
        keras.utils.set_random_seed(0)
        keras.Sequential([keras.Input((size, size, 3), dtype=kind), *layers, *head]).save(tmp_path / "model.keras")
        return tmp_path / "model.keras"

    return save


def test_what_the_file_does_not_say_is_asked_for(saved: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--scaling is missing" in refused(capsys, saved())
    assert "--output_kind is missing" in refused(capsys, saved(), "--scaling", "unit")
    any_size = saved(size=None)
    assert "it takes images of any size; add --image_size PX" in refused(capsys, any_size, "--scaling", "unit")


def test_a_bundle_may_be_named_by_a_url(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ["model.keras", "--labels", "names.txt", "--output"]
    assert place.output_folder((tmp_path / "my bundle").as_uri()) == tmp_path / "my bundle"
    assert importing.main([*named, tmp_path.joinpath("my bundle").as_uri()]) == 2
    assert "MODEL: nothing at model.keras" in capsys.readouterr().err
    assert importing.main([*named, "s3://bucket/bundle"]) == 2
    assert "--output: s3://bucket/bundle is not a local folder; write to one, then" in capsys.readouterr().err


def test_contradictions_are_refused(saved: Any, capsys: pytest.CaptureFixture[str]) -> None:
    import keras

    rescaling = saved(keras.layers.Rescaling(1 / 255, name="shrink"))
    assert "takes pixels of 0 to 255 (its layer shrink scales them); use --scaling none" in refused(
        capsys, rescaling, "--scaling", "unit"
    )
    integers = saved(keras.layers.Rescaling(1.0), kind="uint8")
    assert "(its input is uint8); use --scaling none" in refused(capsys, integers, "--scaling", "unit")
    kinds = ("--scaling", "none", "--output_kind")
    told = refused(capsys, saved(), *kinds, "probabilities")
    assert "the outputs are from " in told
    assert ", but probabilities are from 0 to 1; use --output_kind logits if they get a sigmoid" in told
    assert "the model ends in a sigmoid" in refused(capsys, saved(activation="sigmoid"), *kinds, "logits")
    assert "not that of --image_size 64" in refused(capsys, saved(), "--scaling", "unit", "--image_size", "64")


@pytest.mark.parametrize(
    ("factors", "takes_pixels"),
    [
        ((255, 1 / 127.5), False),
        ((1 / 255,), True),
        ((0.5, 1 / 51), True),
        ((0.5,), False),
    ],
)
def test_layers_that_scale_are_taken_together(saved: Any, factors: tuple[float, ...], takes_pixels: bool) -> None:
    import keras

    layers = [keras.layers.RandomFlip(), *(keras.layers.Rescaling(factor) for factor in factors)]
    original = open_original(saved(*layers), Wanted(len(models.LABELS), None))
    assert bool(original.scales_itself) == takes_pixels


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("Permute", ((2, 1, 3),)),
        ("Reshape", ((32, 32, 3),)),
        ("Cropping2D", (4,)),
        ("ZeroPadding2D", (4,)),
        ("Resizing", (48, 48)),
        ("CenterCrop", (16, 16)),
        ("UpSampling2D", (2,)),
        ("SpatialDropout2D", (0.1,)),
        ("RandomRotation", (0.1,)),
        ("RandAugment", ()),
    ],
)
def test_layers_that_leave_the_range_of_pixels_hide_no_scaling(
    saved: Any, kind: str, arguments: tuple[Any, ...]
) -> None:
    import keras

    layer = getattr(keras.layers, kind)
    once = saved(layer(*arguments), keras.layers.Rescaling(1 / 127.5, offset=-1, name="shrink"))
    told = "its layer shrink scales them"
    assert open_original(once, Wanted(len(models.LABELS), None)).scales_itself == told
    between = saved(keras.layers.Rescaling(0.5), layer(*arguments), keras.layers.Rescaling(1 / 51, name="shrink"))
    assert open_original(between, Wanted(len(models.LABELS), None)).scales_itself == told
    larger = saved(keras.layers.Rescaling(255), layer(*arguments), keras.layers.Rescaling(1 / 127.5, offset=-1))
    assert not open_original(larger, Wanted(len(models.LABELS), None)).scales_itself


@pytest.mark.parametrize(
    ("layer", "arguments"), [("AveragePooling2D", (2,)), ("Conv2D", (3, 1)), ("ReLU", (6.0,)), ("AutoContrast", ())]
)
def test_a_layer_behind_others_says_nothing_of_pixels(saved: Any, layer: str, arguments: tuple[Any, ...]) -> None:
    import keras

    model = saved(getattr(keras.layers, layer)(*arguments), keras.layers.Rescaling(0.05))
    assert not open_original(model, Wanted(len(models.LABELS), None)).scales_itself


@pytest.mark.parametrize("computes", [False, True])
def test_operations_between_layers_count_as_layers_do(tmp_path: Path, tensorflow: Any, computes: bool) -> None:
    import keras

    image = keras.Input((32, 32, 3))
    # Of -1 to 1, in the second case.
    value = (image + 1.0) * 127.5 if computes else keras.ops.cast(image, "float32")[..., ::-1]
    value = keras.layers.GlobalMaxPooling2D()(keras.layers.Rescaling(1 / 255)(value))
    keras.Model(image, keras.layers.Dense(len(models.LABELS))(value)).save(tmp_path / "model.keras")

    original = open_original(tmp_path / "model.keras", Wanted(len(models.LABELS), None))
    assert bool(original.scales_itself) != computes


@pytest.mark.parametrize(("chosen", "activation"), [("logits", None), ("probabilities", "sigmoid")])
def test_the_activation_is_that_of_the_output_of_a_nested_model(
    tmp_path: Path, tensorflow: Any, chosen: str, activation: str | None
) -> None:
    import keras

    image = keras.Input((32, 32, 3))
    logits = keras.layers.Dense(len(models.LABELS))(keras.layers.GlobalMaxPooling2D()(image))
    inner = keras.Model(image, {"logits": logits, "probabilities": keras.layers.Activation("sigmoid")(logits)})
    outer = keras.Input((32, 32, 3))
    keras.Model(outer, inner(outer)[chosen]).save(tmp_path / "nested.keras")

    assert open_original(tmp_path / "nested.keras", Wanted(len(models.LABELS), None)).activation == activation


def test_outputs_that_are_no_probabilities_are_refused_whatever_they_seem_to_be(
    saved: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_file, "_activation", lambda _: "sigmoid")
    told = refused(capsys, saved(), "--scaling", "none")
    assert "model.keras ends in a sigmoid: its outputs are from " in told
    assert ", but a sigmoid gives 0 to 1; check --scaling, and the file itself" in told


def test_a_bundle_that_another_process_is_writing_is_left_alone(
    saved: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--scaling", "unit", "--output_kind", "logits")
    with bundle.written_whole(tmp_path / "refused") as partial:
        told = refused(capsys, saved(), *flags)
        assert partial.is_dir()
    assert "refused: another process is writing a bundle there; wait for it to finish, or choose another" in told
    assert [path.name for path in tmp_path.glob(".refused*")] == []


def test_an_onnx_file_that_divides_pixels_takes_no_other_scaling(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models.skip_without_openvino()
    pytest.importorskip("onnx")
    models.write_onnx(tmp_path / "network.onnx", channels_first=False, divides=True)
    told = refused(capsys, tmp_path / "network.onnx", "--scaling", "unit", "--output_kind", "logits")
    assert "(its first operation scales them); use --scaling none" in told


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ("a\nb\n", "it has 5 outputs per image, but --labels names 2 labels"),
        ("a\n\nb", "line 2 is blank"),
        ("a\nb\nb", "'b' occurs twice"),
        ("", "it is empty"),
        ('["a", 1]', "its JSON is not a list of strings"),
        ("[", "neither text in UTF-8 nor a JSON list"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    saved: Any, capsys: pytest.CaptureFixture[str], labels: str, named: str
) -> None:
    assert named in refused(capsys, saved(), "--scaling", "unit", labels=labels)


def opened(path: Path) -> Original:
    return open_original(path, Wanted(len(models.LABELS), None))


def test_a_wrong_scaling_is_noticed(foreign: Path, chips: NDArray[np.uint8]) -> None:
    original = opened(foreign / "float.tflite")
    by_scaling = {scaling: original.answer(chips, scaling) for scaling in session.SCALINGS}
    truth = by_scaling["unit"] > 0.5

    for given in session.SCALINGS:
        found = judging.find_better(given, by_scaling, truth)
        assert (found and found.remedy) == (None if given == "unit" else "--scaling is probably unit")


def test_without_labels_the_scaling_that_tells_images_apart_is_preferred() -> None:
    rng = np.random.default_rng(0)
    sure = (rng.random((64, 5)) < 0.5) * 0.9 + 0.05
    unsure = 0.5 + (sure - 0.5) / 4
    by_scaling: dict[Scaling, NDArray[np.float32]]
    by_scaling = {"unit": sure.astype(np.float32), "none": unsure.astype(np.float32)}
    found = judging.find_better("none", by_scaling, None)
    assert found is not None
    assert found.remedy == "--scaling is probably unit"
    assert judging.find_better("unit", by_scaling, None) is None


@pytest.mark.parametrize(
    ("probabilities", "named"),
    [
        (np.full((20, 2), 0.3), "the probabilities of all 20 images are alike"),
        (np.tile([[0.0, 1.0], [1.0, 0.0]], (10, 1)), "all probabilities are 0 or 1"),
        (np.linspace(0.6, 0.9, 40).reshape(20, 2), "all 20 images get the same tags"),
    ],
)
def test_nonsense_is_named(probabilities: NDArray[np.float64], named: str) -> None:
    found = judging.find_nonsense(probabilities.astype(np.float32), np.full(2, 0.5))
    assert found is not None
    assert named in found.what
    assert judging.find_nonsense(np.linspace(0, 1, 40).reshape(20, 2).astype(np.float32), np.full(2, 0.5)) is None


def test_integers_that_stand_for_other_numbers_are_noticed(foreign: Path) -> None:
    original = opened(foreign / "int8.tflite")
    assert original.input_range is not None
    assert judging.find_misfit("unit", original.input_range) is None
    found = judging.find_misfit("none", original.input_range)
    assert found is not None
    assert found.what.endswith("and --scaling none gives 0 to 255")
