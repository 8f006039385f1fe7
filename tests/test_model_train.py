"""Training ends in a bundle that both engines agree on, or in one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import network, synthetic, train
from pipelines.bundle import Bundle, load_bundle

pytest.importorskip("tensorflow")

SIZE = 32


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chips")
    synthetic.write_chips(folder, 48, seed=1, size=64)
    return folder


def flags(chips: Path, output: Path) -> list[str]:
    return ["--images", str(chips / "jpg"), "--labels", str(chips / "labels.csv"), "--output", str(output)]


@pytest.fixture(scope="module")
def bundle(chips: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    output = tmp_path_factory.mktemp("bundles") / "tiny"
    small = ["--image_size", str(SIZE), "--alpha", "0.35", "--weights", "none", "--finetune_epochs", "2"]
    assert train.main([*flags(chips, output), *small, "--note", "Drawn by code."]) == 0
    return load_bundle(str(output))


@pytest.fixture(scope="module")
def untrained() -> Any:
    return network.build(np.full(3, 0.5, np.float32), image_size=SIZE, alpha=0.35, weights=None)


def some_pixels(count: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, size=(count, SIZE, SIZE, 3), dtype=np.uint8)


def test_training_writes_a_bundle_that_describes_itself(bundle: Bundle) -> None:
    assert bundle.name == "tiny"
    assert bundle.image_size == SIZE
    assert set(synthetic.WEATHER) < set(bundle.labels)
    assert bundle.training["repairs"] == {"unmarked_rgba_jpeg": 48}
    assert bundle.training["train_images"] + bundle.training["validation_images"] == 48
    card = bundle.read("MODEL_CARD.md").decode()
    assert "> Drawn by code." in card
    assert "`unmarked_rgba_jpeg` on 48" in card
    beside = Path(bundle.path).with_name("tiny.training")
    assert sorted(path.name for path in beside.iterdir()) == ["history.csv", "tensorboard"]
    assert sorted(path.name for path in beside.parent.iterdir()) == ["tiny", "tiny.training"]


def test_fine_tuning_keeps_the_statistics_of_batch_normalization(untrained: Any) -> None:
    def moved(layers: network.Trainable) -> tuple[bool, bool]:
        """Train one step; tell whether statistics moved, and whether any other weight of the base did."""
        network.free(untrained, layers)
        untrained.compile("adam", "binary_crossentropy", run_eagerly=True)
        backbone = untrained.get_layer("backbone")
        before = {weight.path: weight.numpy() for weight in backbone.weights}
        untrained.fit(some_pixels(4), np.ones((4, 3), np.float32), epochs=1, verbose=0)
        changed = {w.path for w in backbone.weights if not np.array_equal(w.numpy(), before[w.path])}
        return any("moving" in path for path in changed), any("moving" not in path for path in changed)

    assert moved("head") == (False, False)
    assert moved("all but statistics") == (False, True)
    assert moved("everything") == (True, True)


def test_weights_that_do_not_fit_are_one_line(tmp_path: Path, untrained: Any) -> None:
    file = tmp_path / "base.weights.h5"
    untrained.get_layer("backbone").save_weights(file)
    network.build(np.full(2, 0.5, np.float32), image_size=SIZE, alpha=0.35, weights=file)
    with pytest.raises(network.WeightsError, match=r"base.weights.h5: no MobileNetV2 base weights for alpha 0\.5"):
        network.build(np.full(2, 0.5, np.float32), image_size=SIZE, alpha=0.5, weights=file)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (["--images", "nowhere"], "argument --images: no folder at nowhere"),
        (["--labels", "nothing.csv"], "argument --labels: no file at nothing.csv"),
        (["--batch_size", "0"], "argument --batch_size: 0 is too small"),
        (["--image_size", "31"], "argument --image_size: 31 is too small"),
        (["--validation_fraction", "1.5"], "argument --validation_fraction: 1.5 is not between"),
        (["--weights", "missing.h5"], "argument --weights: missing.h5 is neither imagenet nor none nor a file"),
        (["--alpha", "0.6"], "argument --alpha: ImageNet weights exist for"),
        (["--weights", "none", "--finetune_epochs", "0"], "nothing to train"),
        (["--output", "gs://bucket/bundle"], "is not a local folder"),
        (["--epochs", "3"], "unrecognized arguments: --epochs 3"),
    ],
)
def test_wrong_usage_is_one_line(
    wrong: list[str], named: str, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([*flags(chips, tmp_path / "bundle"), *wrong]) == 2
    told = capsys.readouterr().err
    assert named in told
    assert told.count("\n") == 1
    assert not (tmp_path / "bundle").exists()


def test_an_existing_folder_is_not_overwritten(chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert train.main(flags(chips, tmp_path)) == 2
    assert "exists already" in capsys.readouterr().err
