"""An export is a bundle whose files agree with the network, or nothing and one clear line."""

from __future__ import annotations

import dataclasses
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.data.dataset import Examples
from model.export import bundle as export
from model.quality import measuring, summaries
from model.quality.facts import Facts
from pipelines.inference.bundle import Bundle
from tests.model.quality import facts as model_facts

pytestmark = pytest.mark.usefixtures("tensorflow")

SIZE = model_facts.IMAGE_SIZE
LABELS = len(model_facts.LABELS)
IMAGES = 150


def distinguishing() -> Any:
    """Build a network that distinguishes images, and is written in less time than a MobileNetV2 is."""
    import keras

    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Rescaling(1 / 127.5, offset=-1.0),
        keras.layers.Conv2D(8, 3, strides=4, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(LABELS, "sigmoid"),
    ]
    return keras.Sequential([keras.Input((SIZE, SIZE, 3), dtype="uint8"), *layers])


def simple() -> Any:
    """Build a network that is written in no time, for exports that fail."""
    import keras

    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Rescaling(1 / 255),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(LABELS, "sigmoid"),
    ]
    return keras.Sequential([keras.Input((SIZE, SIZE, 3), dtype="uint8"), *layers])


def some_pixels(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, size=(count, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> Any:
    return distinguishing()


@pytest.fixture(scope="module")
def validation(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """Every other image of a file that is read as it is needed."""
    file = tmp_path_factory.mktemp("images") / "pixels.npy"
    np.save(file, some_pixels(2 * IMAGES))
    pixels = np.load(file, mmap_mode="r")
    return Examples(pixels, np.arange(1, 2 * IMAGES, 2), np.zeros((IMAGES, LABELS), np.float32))


def facts_about(model: Any, validation: Examples) -> Facts:
    probabilities = model.predict(validation.pixels[validation.rows], verbose=0)
    return dataclasses.replace(model_facts.facts(held_out_images=IMAGES), probabilities=probabilities)


@pytest.fixture(scope="module")
def told(model: Any, validation: Examples) -> Facts:
    return facts_about(model, validation)


@pytest.fixture(scope="module")
def bundle(model: Any, told: Facts, validation: Examples, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Export into an empty folder, where an export that was killed has left something."""
    output = tmp_path_factory.mktemp("bundles") / "tiny"
    output.mkdir()
    (output.with_name(".tiny.partial") / "saved_model").mkdir(parents=True)
    (output.with_name(".tiny.partial") / "left").write_text("left")
    return export.export(model, output, told, validation)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file grow beyond a size in bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_bundle_describes_itself(bundle: Bundle, told: Facts) -> None:
    assert bundle.labels == told.labels
    assert bundle.thresholds == tuple(told.thresholds.each)
    assert bundle.image_size == SIZE
    assert bundle.resize_filter == told.network.resize_filter
    assert bundle.training == summaries.training_summary(told) | {
        "history": bundle.training["history"],
        "learnt_images_known": True,
    }
    assert bundle.metrics == summaries.metrics_summary(told, measuring.measure(told))
    assert bundle.versions.keys() >= {"scenetags", "tensorflow", "keras", "ai-edge-litert", "numpy", "pillow", "python"}


def test_what_a_killed_export_left_is_gone(bundle: Bundle) -> None:
    assert [path.name for path in Path(bundle.path).parent.iterdir()] == ["tiny"]
    assert "left" not in bundle.files


def test_the_pictures_of_the_card_are_sealed_in_the_bundle(bundle: Bundle) -> None:
    text = bundle.read("MODEL_CARD.md").decode()
    for name in ("training.png", "precision_recall.png", "reliability.png"):
        assert f"]({name})" in text
        assert bundle.read(name).startswith(b"\x89PNG")


def test_the_stac_item_is_sealed_in_the_bundle(bundle: Bundle) -> None:
    item = json.loads(bundle.read("stac_item.json"))
    assert item["properties"]["mlm:hyperparameters"]["thresholds"] == dict(
        zip(bundle.labels, bundle.thresholds, strict=True)
    )
    assert item["assets"]["model"]["file:checksum"].endswith(bundle.files["model.tflite"])


def test_golden_pairs_are_what_the_engines_answer(bundle: Bundle) -> None:
    golden = bundle.golden()
    assert len(golden.pixels) == export.GOLDEN_IMAGES
    np.testing.assert_allclose(
        export.litert(Path(bundle.path), golden.pixels), golden.probabilities, atol=export.TOLERANCE
    )


def test_golden_pairs_are_spread_over_the_held_out_images(bundle: Bundle, validation: Examples) -> None:
    held_out = validation.pixels[validation.rows]
    golden = bundle.golden().pixels
    np.testing.assert_array_equal(golden[[0, -1]], held_out[[0, -1]])
    places = [int(np.flatnonzero((held_out == image).all(axis=(1, 2, 3)))[0]) for image in golden]
    assert np.diff(places).min() > 0.9 * IMAGES / export.GOLDEN_IMAGES


def test_files_that_disagree_with_the_network_are_refused(bundle: Bundle) -> None:
    with pytest.raises(export.ExportError, match=r"saved_model/ differs from the Keras model by .* no bundle written"):
        export.check_agreement(simple(), Path(bundle.path), some_pixels(4))


def test_checking_leaves_the_precision_of_tensorflow_as_it_was(bundle: Bundle, model: Any, tensorflow: Any) -> None:
    settings = tensorflow.config.experimental
    for enabled in (True, False):
        settings.enable_tensor_float_32_execution(enabled)
        export.check_agreement(model, Path(bundle.path), some_pixels(1))
        assert settings.tensor_float_32_execution_enabled() is enabled
    settings.enable_tensor_float_32_execution(True)


def test_the_network_tells_images_apart(told: Facts) -> None:
    assert told.probabilities.std(axis=0).min() > 0.05


def test_figures_of_other_images_are_refused(model: Any, told: Facts, validation: Examples, tmp_path: Path) -> None:
    shifted = dataclasses.replace(told, probabilities=np.roll(told.probabilities, 1, axis=0))
    with pytest.raises(export.ExportError, match="measured probabilities are not those of") as refused:
        export.export(model, tmp_path / "bundle", shifted, validation)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_figures_may_be_those_of_the_network_before_it_learnt_the_held_out_images(
    model: Any, told: Facts, validation: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AcceptedError(Exception):
        pass

    def accept(*_: Any) -> None:
        raise AcceptedError

    monkeypatch.setattr(export, "write_models", accept)
    shifted = dataclasses.replace(
        told,
        probabilities=np.roll(told.probabilities, 1, axis=0),
        training=dataclasses.replace(told.training, final_epochs=1),
    )
    with pytest.raises(AcceptedError):
        export.export(model, tmp_path / "bundle", shifted, validation)


def test_a_network_in_mixed_precision_is_refused(told: Facts, validation: Examples, tmp_path: Path) -> None:
    import keras

    keras.config.set_dtype_policy("mixed_float16")
    try:
        backbone = keras.Sequential([keras.Input((SIZE, SIZE, 3)), keras.layers.Conv2D(2, 3, name="narrow")])
        mixed = keras.Sequential([backbone, keras.layers.Dense(LABELS, dtype="float32")])
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(export.ExportError, match=r"computes in float16, not in float32") as refused:
        export.export(mixed, tmp_path / "bundle", told, validation)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


# No weights can be written; weights, but no graph; the SavedModel, but not the golden pairs.
@pytest.mark.parametrize("size", [0, 10_000, 24_500])
def test_a_full_disk_is_one_line_and_leaves_nothing(size: int, validation: Examples, tmp_path: Path) -> None:
    model = simple()
    told = facts_about(model, validation)
    with (
        files_of_at_most(size),
        pytest.raises(export.ExportError, match=r"bundle: cannot be written: File too large; no bu") as refused,
    ):
        export.export(model, tmp_path / "bundle", told, validation)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_written_is_one_line(
    model: Any, told: Facts, validation: Examples, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(export.ExportError, match=r"file/bundle: cannot be written: Not a directory; no bundle written"):
        export.export(model, tmp_path / "file" / "bundle", told, validation)
