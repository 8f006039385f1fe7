"""Images become training batches: decoded once by the code that predicts, each epoch another order and view."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data import Augment, augmentation, dataset
from model.data.listing import list_images, versions
from model.synthetic import chips as synthetic
from pipelines import images, storage
from pipelines.images.rendering import Rendering
from tests import image_files as files
from tests.conftest import Bucket


@pytest.fixture
def chips(tmp_path: Path) -> list[str]:
    synthetic.write_chips(tmp_path / "chips", 6, seed=2, size=64)
    return [str(tmp_path / "chips" / "jpg" / f"chip_{i}.jpg") for i in range(6)]


@pytest.fixture
def examples() -> dataset.Examples:
    pixels = np.random.default_rng(0).integers(0, 256, size=(12, 4, 4, 3), dtype=np.uint8)
    return dataset.Examples(pixels, np.arange(1, 11), np.eye(12, dtype=np.float32)[1:11])


def numbers_of(batches: Any) -> list[int]:
    """Tell by their targets which examples come, in their order."""
    return [int(target.argmax()) for _, targets in batches.as_numpy_iterator() for target in targets]


def test_images_are_decoded_as_predict_decodes_them(chips: list[str], tmp_path: Path) -> None:
    decoded = dataset.decode(versions(chips), 32, tmp_path / "cache")
    assert decoded.readable.tolist() == list(range(6))
    assert decoded.repairs == {"unmarked_rgba_jpeg": 6}
    for path, pixels in zip(chips, decoded.pixels, strict=True):
        alone = images.resize(images.decode(Path(path).read_bytes()).pixels, 32, dataset.RESIZE_FILTER)
        np.testing.assert_array_equal(pixels, alone)


def test_images_are_fitted_as_predict_fits_them(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    path.write_bytes(files.png(np.random.default_rng(0).integers(0, 256, (20, 50, 3), np.uint8), "RGB"))
    seen = set()
    for fit in ("", "+crop", "+pad"):
        settings = images.DecodeSettings(16, dataset.RESIZE_FILTER + fit)
        decoded = dataset.decode(
            versions([str(path)]), 16, tmp_path / "cache", resize_filter=dataset.RESIZE_FILTER + fit
        )
        np.testing.assert_array_equal(decoded.pixels[0], images.decode_resized(path.read_bytes(), settings).pixels)
        seen.add(decoded.pixels.tobytes())
    assert len(seen) == 3, "a change of the fit decodes again"


def test_rasters_are_shown_as_the_user_says_and_decoded_again_if_that_changes(tmp_path: Path) -> None:
    path = tmp_path / "raster.tif"
    path.write_bytes(files.tiff(np.full((8, 8, 4), (1000, 2000, 3000, 9), np.uint16), files.RGB))
    for bands, shown in (((3, 2, 1), (255, 170, 85)), ((1, 2, 3), (85, 170, 255))):
        rendering = Rendering(bands, ((0, 3000),) * 3)
        decoded = dataset.decode(versions([str(path)]), 8, tmp_path / "cache", rendering)
        assert decoded.pixels[0, 0, 0].tolist() == list(shown)
        assert decoded.repairs["stretched"] == 1
    with pytest.raises(dataset.DatasetError, match="give --bands and --stretch"):
        dataset.decode(versions([str(path)]), 8, tmp_path / "cache")


def test_images_from_afar_are_decoded_by_as_many_threads_as_there_are_cores(
    chips: list[str], bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not by as many as fetch them, each with a whole image in memory."""
    for chip in chips:
        storage.write(f"{bucket.path}/{Path(chip).name}", Path(chip).read_bytes())
    decode_resized, at_work, most = images.decode_resized, list[bytes](), list[int]()

    def decode(data: bytes, settings: images.DecodeSettings) -> images.Resized:
        at_work.append(data)
        most.append(len(at_work))
        time.sleep(0.02)
        at_work.remove(data)
        return decode_resized(data, settings)

    monkeypatch.setattr(dataset, "available_cores", lambda: 2)
    monkeypatch.setattr(images, "decode_resized", decode)

    decoded = dataset.decode(list_images(bucket.path), 32, tmp_path / "cache")

    assert len(decoded.readable) == len(chips)
    assert max(most) == 2


def test_unreadable_images_are_named_with_the_reason(chips: list[str], tmp_path: Path) -> None:
    Path(chips[2]).write_bytes(b"no image")
    decoded = dataset.decode(versions(chips), 32, tmp_path / "cache")
    assert decoded.readable.tolist() == [0, 1, 3, 4, 5]
    assert [bad.path for bad in decoded.unreadable] == [chips[2]]
    assert "not a JPEG" in decoded.unreadable[0].reason
    assert decoded.repairs == {"unmarked_rgba_jpeg": 5}


def test_their_usual_size_is_that_before_they_were_resized(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("bad.png", "1.png", "2.png", "3.png")]
    for path, (width, height) in zip(paths[1:], [(500, 500), (70, 90), (80, 60)], strict=True):
        path.write_bytes(files.encode(files.picture(width, height), "png"))
    paths[0].write_bytes(b"no image")
    assert dataset.decode(versions(list(map(str, paths))), 32, tmp_path / "cache").side == 70


def test_images_are_decoded_a_second_time_only_if_they_have_changed(
    chips: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(chips[1]).write_bytes(b"no image")
    first = dataset.decode(versions(chips), 32, tmp_path / "cache")
    decode = images.decode_resized
    reads: list[bytes] = []

    def watched(data: bytes, settings: images.DecodeSettings) -> images.Resized:
        reads.append(data)
        return decode(data, settings)

    monkeypatch.setattr(images, "decode_resized", watched)
    again = dataset.decode(versions(chips), 32, tmp_path / "cache")
    assert not reads
    np.testing.assert_array_equal(again.pixels, first.pixels)
    assert (again.side, again.repairs, again.unreadable) == (first.side, first.repairs, first.unreadable)
    shutil.copyfile(chips[0], chips[1])
    assert len(dataset.decode(versions(chips), 32, tmp_path / "cache").readable) == 6
    assert len(reads) == 6
    dataset.decode(versions(chips), 48, tmp_path / "cache")
    assert len(reads) == 12


def test_a_half_written_cache_is_not_used(chips: list[str], tmp_path: Path) -> None:
    whole = np.array(dataset.decode(versions(chips), 32, tmp_path / "cache").pixels)
    (tmp_path / "cache" / "decoded.json").write_text('{"identity": "')
    (tmp_path / "cache" / "pixels.npy").write_bytes(b"half")
    np.testing.assert_array_equal(dataset.decode(versions(chips), 32, tmp_path / "cache").pixels, whole)


def test_pixels_of_another_size_are_not_taken_for_these(chips: list[str], tmp_path: Path) -> None:
    whole = np.array(dataset.decode(versions(chips), 32, tmp_path / "cache").pixels)
    np.save(tmp_path / "cache" / "pixels.npy", np.zeros((6, 48, 48, 3), np.uint8))
    np.testing.assert_array_equal(dataset.decode(versions(chips), 32, tmp_path / "cache").pixels, whole)


def test_images_of_which_none_can_be_decoded_are_one_line(chips: list[str], tmp_path: Path) -> None:
    for path in chips:
        Path(path).write_bytes(b"no image")
    with pytest.raises(dataset.DatasetError, match=r"none of 6 images can be decoded, e\.g\. .*chip_0\.jpg"):
        dataset.decode(versions(chips), 32, tmp_path / "cache")


def test_a_disk_too_small_for_the_cache_is_one_line(chips: list[str], tmp_path: Path) -> None:
    with pytest.raises(dataset.DatasetError, match=r"6 decoded images need .* MB during training, .* MB are free"):
        dataset.decode(versions(chips), 99_999_999, tmp_path / "cache")
    assert not any((tmp_path / "cache").iterdir())


def test_an_image_has_eight_orientations() -> None:
    pixels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    seen = {augmentation.turn(pixels, orientation).tobytes() for orientation in range(8)}
    assert len(seen) == 8
    assert all(sorted(view) == sorted(pixels.tobytes()) for view in seen)


def test_images_are_turned_mirrored_or_left_alone() -> None:
    rising = np.broadcast_to(np.linspace(40, 200, 32)[:, None, None], (32, 32, 3)).astype(np.uint8)
    rng = np.random.default_rng(0)

    def directions(image: Any, augment: Augment) -> set[tuple[int, int]]:
        """Tell where brightness rises to in what becomes of an image: down and right are positive."""
        varied = [augmentation.vary(image, rng, augment).astype(int) for _ in range(40)]
        return {(int(np.sign(v[-1, 8, 0] - v[0, 8, 0])), int(np.sign(v[8, -1, 0] - v[8, 0, 0]))) for v in varied}

    across = rising.transpose(1, 0, 2)
    assert len(directions(rising, "orientations")) == 4
    assert directions(rising, "flips") == {(1, 0)}
    assert directions(across, "flips") == {(0, 1), (0, -1)}
    assert augmentation.vary(rising, rng, "none") is rising


def test_a_varied_image_shows_the_same_place_in_another_light() -> None:
    ramp = np.linspace(40, 200, 64)
    image = np.broadcast_to(ramp[:, None, None], (64, 64, 3)).astype(np.uint8)
    rng = np.random.default_rng(1)
    for _ in range(50):
        varied = augmentation.vary(image, rng)
        assert varied.shape == image.shape
        assert varied.dtype == np.uint8
        # So much of the ramp is cropped at most, and its light changes by a tenth and a few levels.
        spread = float(varied.max()) - float(varied.min())
        kept = 1 - augmentation.LARGEST_CROP
        assert 160 * kept * 0.9 - 4 <= spread <= 160 * 1.1 + 4
        assert abs(float(varied.mean()) - 120) < 120 * 0.1 + 6.4 + 160 * (1 - kept) / 2


def test_an_epoch_brings_every_example_once_in_another_order(examples: dataset.Examples, tensorflow: Any) -> None:
    batches = dataset.training_batches(examples, 4, seed=1, epochs=range(2))
    numbers = numbers_of(batches)
    assert sorted(numbers[:10]) == sorted(numbers[10:]) == list(range(1, 11))
    assert numbers[:10] != numbers[10:]
    assert [len(targets) for _, targets in batches.as_numpy_iterator()] == [4, 4, 2, 4, 4, 2]


def test_a_training_that_continues_sees_what_it_would_have_seen(examples: dataset.Examples, tensorflow: Any) -> None:
    whole = list(dataset.training_batches(examples, 4, seed=1, epochs=range(3)).as_numpy_iterator())
    rest = list(dataset.training_batches(examples, 4, seed=1, epochs=range(1, 3)).as_numpy_iterator())
    for (pixels, targets), (expected_pixels, expected_targets) in zip(rest, whole[3:], strict=True):
        np.testing.assert_array_equal(pixels, expected_pixels)
        np.testing.assert_array_equal(targets, expected_targets)
    other_seed = dataset.training_batches(examples, 4, seed=2, epochs=range(1))
    assert numbers_of(other_seed) != [int(target.argmax()) for _, targets in whole[:3] for target in targets]


def test_images_to_validate_on_come_in_order_and_as_they_are(examples: dataset.Examples, tensorflow: Any) -> None:
    chosen = examples.take(np.array([7, 0, 3]))
    pixels = np.concatenate([pixels for pixels, _ in dataset.batches(chosen, 2).as_numpy_iterator()])
    np.testing.assert_array_equal(pixels, examples.pixels[[8, 1, 4]])
    assert numbers_of(dataset.batches(chosen, 2)) == [8, 1, 4]


@pytest.mark.parametrize(("count", "most"), [(1, 64), (7, 64), (64, 64), (65, 64), (1000, 8)])
def test_images_are_chosen_from_first_to_last(count: int, most: int) -> None:
    chosen = dataset.spread(count, most)
    assert len(chosen) == min(count, most)
    assert chosen[0] == 0
    assert chosen[-1] == count - 1 or count == 1
    assert len(set(np.diff(chosen).tolist())) <= 2
    assert len(set(chosen.tolist())) == len(chosen)
