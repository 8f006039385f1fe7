"""Labels in another order, and tags that tell nothing of the images, are noticed by labelled images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model import importing
from model.foreign.disorder import _areas, find_disorder, find_ignorance
from pipelines.inference.bundle import load_bundle
from tests import image_files
from tests.model.foreign import models

LABELS = "clear", "haze", "road", "sea", "mine"


def made(seed: int, certainty: float, images: int = 150) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Draw labels, of which the last is rare, and probabilities that tell them more or less well."""
    rng = np.random.default_rng(seed)
    truth = rng.random((images, 5)) < (0.7, 0.3, 0.3, 0.2, 0.02)
    odds = certainty * (truth - 0.5) + rng.normal(size=truth.shape)
    return truth, np.asarray(1 / (1 + np.exp(-odds)), np.float32)


@pytest.mark.parametrize("order", [[1, 0, 2, 3, 4], [4, 3, 2, 1, 0], [1, 2, 3, 0, 4], [1, 2, 3, 4, 0]])
@pytest.mark.parametrize("seed", range(3))
def test_labels_in_another_order_are_noticed(order: list[int], seed: int) -> None:
    truth, probabilities = made(seed, 3)
    doubt = find_disorder(LABELS, truth, probabilities[:, order])
    assert doubt is not None
    assert doubt.what.startswith("other outputs than those named for them tell the labels, such as that of ")
    assert doubt.remedy == "the order of --labels is probably another"


@pytest.mark.parametrize("images", [25, 150, 1000])
@pytest.mark.parametrize("certainty", [0, 0.5, 3])
def test_a_model_that_knows_little_or_much_is_in_order(certainty: float, images: int) -> None:
    for seed in range(20):
        assert find_disorder(LABELS, *made(seed, certainty, images)) is None


def test_few_images_say_nothing_of_the_order() -> None:
    truth, probabilities = made(0, 3, images=12)
    assert find_disorder(LABELS, truth, probabilities[:, ::-1]) is None


def test_the_areas_are_those_of_scikit_learn() -> None:
    sklearn = pytest.importorskip(
        "sklearn.metrics", reason="scikit-learn is not installed: pip install 'scenetags[test]'"
    )
    truth, probabilities = made(0, 1, images=60)
    probabilities = probabilities.round(1)
    truth[:2, 4] = True, False
    found = _areas(truth, probabilities)
    for label in range(5):
        for output in range(5):
            assert found[label, output] == pytest.approx(
                sklearn.roc_auc_score(truth[:, label], probabilities[:, output])
            )


def test_tags_that_are_no_better_than_the_same_for_every_image_are_noticed() -> None:
    truth, probabilities = made(0, 3)
    half = np.full(5, 0.5)
    assert find_ignorance(truth, probabilities, half, 2) is None
    doubt = find_ignorance(truth, np.full_like(probabilities, 0.4), half, 2)
    assert doubt is not None
    assert doubt.what.startswith("F2 over samples is 0.")
    assert doubt.remedy.startswith("check --scaling, the order of --labels")
    # Of images with the same labels, or of a few, a perfect model is no better.
    for images in (truth[:1].repeat(40, axis=0), truth[:12]):
        assert find_ignorance(images, images.astype(np.float32), half, 2) is None
        assert find_ignorance(images, np.full_like(images, 0.4, np.float32), half, 2) is None


@pytest.mark.usefixtures("tensorflow")
def test_an_import_with_labels_in_another_order_says_so_in_output_and_bundle(
    foreign: Path, chips: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probabilities = np.load(foreign / "expected.npy")
    (tmp_path / "chips").mkdir()
    rows = [",".join(("image_name", *models.LABELS))]
    for number, (chip, has) in enumerate(zip(chips, probabilities > np.median(probabilities, axis=0), strict=True)):
        (tmp_path / "chips" / f"{number}.png").write_bytes(image_files.png(chip, "RGB"))
        rows.append(",".join((str(number), *map(str, has.astype(int)))))
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    flags = ["--scaling", "unit", "--images", str(tmp_path / "chips"), "--labels_csv", str(tmp_path / "labels.csv")]
    told = "other outputs than those named for them tell the labels, such as that of "
    for order, is_told in ((1, False), (-1, True)):
        names, output = tmp_path / "names.txt", tmp_path / f"bundle{order}"
        names.write_text("\n".join(models.LABELS[::order]))
        model = str(foreign / "float.tflite")
        assert importing.main([model, "--labels", str(names), "--output", str(output), *flags]) == 0
        assert (told in capsys.readouterr().err) == is_told
        doubts = load_bundle(str(output)).training["imported"]["doubts"]
        assert [doubt.startswith(told) for doubt in doubts] == [True] * is_told
