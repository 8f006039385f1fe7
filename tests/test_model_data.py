"""Label files, images and scores, before any network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model import dataset, labels, metrics, synthetic, thresholds


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    synthetic.write_chips(tmp_path, 6, seed=2, size=64)
    return tmp_path


def write_labels(folder: Path, *rows: str, header: str = "image_name,tags") -> Path:
    file = folder / "written.csv"
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file


def test_rows_name_images_with_or_without_extension(chips: Path) -> None:
    rows = labels.read_rows(write_labels(chips, "chip_4.jpg,haze primary", "chip_1,clear", "chip_99,clear"))
    matched = labels.match(rows, chips / "jpg")
    assert [path.name for path in matched.paths] == ["chip_4.jpg", "chip_1.jpg"]
    assert matched.tags == (frozenset({"haze", "primary"}), frozenset({"clear"}))
    assert matched.rows_without_image == ("chip_99",)
    assert matched.images_without_row == ("chip_0.jpg", "chip_2.jpg", "chip_3.jpg", "chip_5.jpg")


def test_labels_that_match_nothing_are_one_clear_error(chips: Path) -> None:
    rows = labels.read_rows(write_labels(chips, *(f"train_{i},clear" for i in range(5))))
    with pytest.raises(
        labels.LabelError, match=r"no row names an image .* train_0, train_1, train_2, \.\.\.; .*chip_0"
    ):
        labels.match(rows, chips / "jpg")


def test_a_file_of_another_kind_is_refused(chips: Path) -> None:
    with pytest.raises(labels.LabelError, match=r"needs the columns image_name,tags; has file,label"):
        labels.read_rows(write_labels(chips, "a,b", header="file,label"))
    with pytest.raises(labels.LabelError, match="not a CSV file"):
        labels.read_rows(chips / "jpg" / "chip_0.jpg")
    with pytest.raises(labels.LabelError, match="has no row"):
        labels.read_rows(write_labels(chips))


def test_the_vocabulary_is_in_alphabetical_order() -> None:
    tags = [frozenset({"water", "clear"}), frozenset(), frozenset({"road"})]
    assert labels.vocabulary(tags) == ("clear", "road", "water")
    assert labels.multi_hot(tags, ("clear", "road", "water")).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_unreadable_images_are_reported_and_left_out(chips: Path) -> None:
    (chips / "jpg" / "chip_2.jpg").write_bytes(b"no image")
    paths = [chips / "jpg" / f"chip_{i}.jpg" for i in range(4)]
    read = dataset.read_pixels(paths, 32)
    assert read.pixels.shape == (3, 32, 32, 3)
    assert read.indices.tolist() == [0, 1, 3]
    assert [bad.path.name for bad in read.unreadable] == ["chip_2.jpg"]
    assert read.repairs == {"unmarked_rgba_jpeg": 3}


def test_a_split_is_whole_and_the_same_for_a_seed() -> None:
    split = dataset.split(50, 0.2, seed=4)
    assert len(split.validation) == 10
    assert sorted([*split.train, *split.validation]) == list(range(50))
    np.testing.assert_array_equal(split.validation, dataset.split(50, 0.2, seed=4).validation)
    assert split.validation.tolist() != dataset.split(50, 0.2, seed=5).validation.tolist()


def test_an_image_has_eight_orientations() -> None:
    pixels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    seen = {dataset.turn(pixels, orientation).tobytes() for orientation in range(8)}
    assert len(seen) == 8
    assert all(sorted(view) == sorted(pixels.tobytes()) for view in seen)


def test_an_epoch_brings_every_example_once_in_another_order_and_orientation() -> None:
    pytest.importorskip("tensorflow")
    pixels = np.random.default_rng(0).integers(0, 256, size=(10, 4, 4, 3), dtype=np.uint8)
    examples = dataset.Examples(pixels, np.eye(10, dtype=np.float32))
    batches = dataset.batches(examples, 4, augment_seed=1)
    epochs = []
    for _ in range(2):
        seen = [
            (int(target.argmax()), image)
            for images, targets in batches.as_numpy_iterator()
            for image, target in zip(images, targets, strict=True)
        ]
        assert sorted(number for number, _ in seen) == list(range(10))
        for number, image in seen:
            assert any((dataset.turn(pixels[number], turn) == image).all() for turn in range(8))
        epochs.append([number for number, _ in seen])
    assert epochs[0] != epochs[1]
    plain = np.concatenate([images for images, _ in dataset.batches(examples, 4).as_numpy_iterator()])
    np.testing.assert_array_equal(plain, pixels)


def test_f2_over_samples_agrees_with_scikit_learn() -> None:
    fbeta_score = pytest.importorskip("sklearn.metrics").fbeta_score
    rng = np.random.default_rng(3)
    truth, predicted = rng.random((200, 6)) < 0.2, rng.random((200, 6)) < 0.3
    expected = fbeta_score(truth, predicted, beta=2, average="samples", zero_division=1)
    assert metrics.f2_over_samples(truth, predicted) == pytest.approx(expected, abs=1e-12)


def test_the_flat_threshold_is_the_best_of_all() -> None:
    rng = np.random.default_rng(5)
    truth = rng.random((300, 5)) < 0.3
    probabilities = np.clip(0.5 * truth + rng.normal(0.25, 0.15, truth.shape), 0, 1).astype(np.float32)
    best = thresholds.best_flat(truth, probabilities)
    score = metrics.f2_over_samples(truth, probabilities >= best)
    assert all(score >= metrics.f2_over_samples(truth, probabilities >= t) for t in np.arange(0.01, 1, 0.01))
