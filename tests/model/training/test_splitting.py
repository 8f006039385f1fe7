"""Who is held out is up to the user, or drawn so that neither groups nor copies are divided."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.data.sides import SplitError
from model.training import reading, settings
from model.training.workspace import Workspace
from pipelines.commandline.parser import UsageError
from tests import image_files as files

pytest.importorskip("imagehash", reason="ImageHash is not installed: pip install 'scenetags[train]'")

COUNT = 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for image in range(COUNT):
        # 3 and 4 are the same picture.
        pixels = files.picture(seed=3 if image == 4 else image)
        (tmp_path / "images" / f"place{image % 5}_{image}.png").write_bytes(files.png(pixels, "RGB"))
    return tmp_path


def write(file: Path, header: str, images: range, *columns: str) -> str:
    """Write a label file of these images; in its columns, `#` is the number of the image modulo 5."""
    lines = [f"place{image % 5}_{image}," + ",".join(columns).replace("#", str(image % 5)) for image in images]
    file.write_text("\n".join((header, *lines)))
    return str(file)


def read(folder: Path, labels: str, *flags: str) -> reading.Data:
    words = ["--images", str(folder / "images"), "--labels", labels, "--output", str(folder / "bundle"), *flags]
    parsed = settings.parse([*words, "--weights", "none", "--image_size", "32"])
    return reading.read(reading.find(parsed), parsed, Workspace(folder / "work"))


def sides(data: reading.Data) -> tuple[list[int], list[int]]:
    """Return the numbers of the images on each side; they are in the order of the label file."""
    return data.training.rows.tolist(), data.validation.rows.tolist()


def test_a_column_says_which_images_to_hold_out(folder: Path) -> None:
    labels = write(folder / "labels.csv", "image_name,tags,fold", range(COUNT), "x y", "#")
    training, held_out = sides(read(folder, labels, "--split_column", "fold=2"))
    assert held_out == [2, 7, 12, 17]
    assert sorted(training + held_out) == list(range(COUNT))


def test_a_column_of_one_per_label_is_no_label(folder: Path) -> None:
    labels = write(folder / "labels.csv", "image_name,x,y,is_valid", range(10), "1", "0", "1")
    with pytest.raises(SplitError, match="no image to train on"):
        read(folder, labels, "--split_column", "is_valid")
    labels = write(folder / "labels.csv", "image_name,x,y,fold", range(10), "1", "0", "#")
    assert read(folder, labels, "--split_column", "fold=1").labels == ("x",)


def test_a_file_says_which_images_to_hold_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = write(folder / "labels.csv", "image_name,tags", range(4, COUNT), "x")
    others = write(folder / "others.csv", "image_name,tags", range(4), "X y")
    data = read(folder, labels, "--validation_labels", others)
    assert sides(data) == (list(range(16)), [16, 17, 18, 19])
    assert data.labels == ("x", "y")
    printed = capsys.readouterr().out
    assert "1 held-out image identical to one that is trained on: place3_3.png (place4_4.png)" in printed
    assert "1 label without an image to train on, cannot be learnt: y" in printed
    again = write(folder / "others.csv", "image_name,tags", range(6), "x")
    with pytest.raises(SplitError, match=r"in both --labels and --validation_labels: place0_5, place4_4; remove them"):
        read(folder, labels, "--validation_labels", again)


def test_a_label_whose_images_cannot_be_read_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = write(folder / "labels.csv", "image_name,tags", range(COUNT - 1), "x")
    with open(labels, "a") as file:
        file.write(f"\nplace{(COUNT - 1) % 5}_{COUNT - 1},x zebra")
    (folder / "images" / f"place{(COUNT - 1) % 5}_{COUNT - 1}.png").write_bytes(b"junk")
    data = read(folder, labels)
    assert data.labels == ("x",)
    assert "1 label that only unreadable images have, dropped: zebra" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [("--group_column", "place"), ("--group_pattern", r"place(\d)")])
def test_no_group_is_divided(folder: Path, flags: tuple[str, str]) -> None:
    labels = write(folder / "labels.csv", "image_name,tags,place", range(COUNT), "x", "#")
    for seed in range(3):
        training, held_out = sides(read(folder, labels, *flags, "--seed", str(seed)))
        # 3 and 4 are identical, so that places 3 and 4 belong together.
        groups = [{min(image % 5, 3) for image in side} for side in (training, held_out)]
        assert not groups[0] & groups[1]
        assert len(held_out) == 4


def test_groups_on_both_sides_of_the_users_split_are_refused(folder: Path) -> None:
    labels = write(folder / "labels.csv", "image_name,tags,fold", range(COUNT), "x", "#")
    flags = ("--split_column", "fold=1", "--group_pattern", r"place[12]")
    assert len(read(folder, labels, *flags).validation.rows) == 4
    with pytest.raises(SplitError, match=r"groups on both sides of the split: place \(1 in total\)"):
        read(folder, labels, "--split_column", "fold=1", "--group_pattern", "place")


def test_a_pattern_that_matches_nothing_is_refused(folder: Path) -> None:
    labels = write(folder / "labels.csv", "image_name,tags", range(COUNT), "x")
    with pytest.raises(SplitError, match=r"matches no image, such as place0_0.png"):
        read(folder, labels, "--group_pattern", "scene")


@pytest.mark.parametrize("seed", range(4))
def test_identical_images_are_drawn_together(folder: Path, seed: int) -> None:
    labels = write(folder / "labels.csv", "image_name,tags", range(COUNT), "x")
    training, held_out = sides(read(folder, labels, "--seed", str(seed)))
    assert ({3, 4} <= set(training)) != ({3, 4} <= set(held_out))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--split_column", "a", "--validation_fraction", "0.3"), "--split_column: not allowed with --validation_frac"),
        (("--group_column", "a", "--group_pattern", "b"), "--group_pattern: not allowed with --group_column"),
        (("--group_pattern", "("), r"\( is not a regular expression"),
    ],
)
def test_flags_that_exclude_one_another_are_refused(folder: Path, flags: tuple[str, ...], told: str) -> None:
    labels = write(folder / "labels.csv", "image_name,tags", range(COUNT), "x")
    with pytest.raises(UsageError, match=told):
        read(folder, labels, *flags)
