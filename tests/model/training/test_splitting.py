"""Who is held out is up to the user, or drawn so that neither groups nor copies are divided."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.data.sides import SplitError
from pipelines.commandline.parser import UsageError
from tests.model.training.labelled_images import COUNT, read, sides, write

pytest.importorskip("imagehash", reason="ImageHash is not installed: pip install 'scenetags[train]'")


def test_identical_images_with_different_tags_are_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read(folder, write(folder / "labels.csv", "image,tags", range(COUNT), "#")).findings
    told = "1 image identical to another one that has other tags, kept: place4_4.png (place3_3.png)"
    assert told in map(str, found)
    assert f"{told}\n" in capsys.readouterr().out
    assert read(folder, write(folder / "labels.csv", "image,tags", range(COUNT), "x")).findings == ()


def test_one_image_to_train_on_is_said_as_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(folder, write(folder / "labels.csv", "image,tags", range(2), "clear"))
    assert "1 image to train on, 1 held out, 1 label\n" in capsys.readouterr().out


def test_a_column_says_which_images_to_hold_out(folder: Path) -> None:
    labels = write(folder / "labels.csv", "image_name,tags,fold", range(COUNT), "x y", "#")
    training, held_out = sides(read(folder, labels, "--split_column", "fold=2"))
    assert held_out == [2, 7, 12, 17]
    assert sorted(training + held_out) == list(range(COUNT))


@pytest.mark.parametrize(
    ("chosen", "told"), [("test", "4 images marked val"), ("val", ""), ("train", "4 images marked val")]
)
def test_images_marked_as_held_out_are_not_trained_on_in_silence(folder: Path, chosen: str, told: str) -> None:
    words = ("val", "train", "train", "train", "test")
    lines = [f"place{image % 5}_{image},x,{words[image % 5]}" for image in range(COUNT) if image not in (3, 4)]
    (folder / "labels.csv").write_text("\n".join(("image,tags,split", *lines)))
    column = f"split={chosen}"
    found = list(map(str, read(folder, str(folder / "labels.csv"), "--split_column", column).findings))
    marked = [one for one in found if "marked val" in one]
    assert [one.partition(":")[0] for one in marked] == [
        f"{told} or the like, trained on because of --split_column {column}"
    ] * bool(told)


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
    assert "1 held-out image identical to a training image: place3_3.png (place4_4.png)" in printed
    assert "1 label that no training image has, impossible to learn: y" in printed
    again = write(folder / "others.csv", "image_name,tags", range(6), "x")
    with pytest.raises(SplitError, match=r"in both --labels and --validation_labels: place0_5, place4_4; remove them"):
        read(folder, labels, "--validation_labels", again)


def test_labels_that_the_file_of_held_out_images_does_not_have_are_not_measured(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write(folder / "labels.csv", "image_name,x,y,z,none", range(8), "1", "1", "1", "0")
    others = write(folder / "others.csv", "image_name,y,none", range(8, COUNT), "1", "0")
    data = read(folder, labels, "--validation_labels", others)
    assert (data.labels, data.unjudged, data.judged.tolist()) == (("x", "y", "z"), ("x", "z"), [False, True, False])
    assert "2 labels missing from --validation_labels, not measured: x, z\n" in capsys.readouterr().out
    assert read(folder, labels).judged.all()
    with pytest.raises(UsageError, match=r"--final_epochs 2: the held-out images cannot be trained on, because --va"):
        read(folder, labels, "--validation_labels", others, "--final_epochs", "2")
    others = write(folder / "others.csv", "image_name,tags", range(8, COUNT), "road")
    with pytest.raises(SplitError, match=r"others\.csv has none of the labels to train on: x, y, z; hold out images"):
        read(folder, labels, "--validation_labels", others)


def test_a_file_that_lists_its_labels_judges_its_images_by_these_alone(folder: Path) -> None:
    labels = write(folder / "labels.csv", "image_name,tags", range(8), "x y z")
    coco = {
        "images": [{"id": image, "file_name": f"place{image % 5}_{image}.png"} for image in range(8, COUNT)],
        "categories": [{"id": number, "name": name} for number, name in enumerate("xy")],
        "annotations": [{"image_id": image, "category_id": 0} for image in range(8, COUNT)],
    }
    (folder / "coco.json").write_text(json.dumps(coco))
    (folder / "voc").mkdir()
    for name, mark in (("x", "1"), ("y", "-1")):
        lines = [f"place{image % 5}_{image} {mark}\n" for image in range(8, COUNT)]
        (folder / "voc" / f"{name}_val.txt").write_text("".join(lines))
    for others in ("coco.json", "voc"):
        data = read(folder, labels, "--validation_labels", str(folder / others))
        assert (data.labels, data.unjudged) == (("x", "y", "z"), ("z",))


@pytest.mark.parametrize("columns", ["image_name,tags", "image_name,x,y,z"])
def test_a_file_of_tags_judges_its_images_by_all_labels(folder: Path, columns: str) -> None:
    of_all = ("x y z",) if columns == "image_name,tags" else ("1", "1", "1")
    labels = write(folder / "labels.csv", columns, range(8), *of_all)
    others = write(folder / "others.csv", "image_name,tags", range(8, COUNT), "y")
    data = read(folder, labels, "--validation_labels", others, "--final_epochs", "2")
    assert (data.labels, data.unjudged, data.judged.tolist()) == (("x", "y", "z"), (), [True] * 3)
    assert data.validation.targets.sum(axis=0).tolist() == [0, COUNT - 8, 0]


def test_a_label_whose_images_cannot_be_read_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = write(folder / "labels.csv", "image_name,tags", range(COUNT - 1), "x")
    with open(labels, "a") as file:
        file.write(f"\nplace{(COUNT - 1) % 5}_{COUNT - 1},x zebra")
    (folder / "images" / f"place{(COUNT - 1) % 5}_{COUNT - 1}.png").write_bytes(b"junk")
    data = read(folder, labels)
    assert data.labels == ("x",)
    assert "1 label found only on unreadable images, dropped: zebra" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [("--group_column", "place"), ("--group_pattern", r"place(\d)")])
def test_no_group_is_divided(folder: Path, flags: tuple[str, str]) -> None:
    labels = write(folder / "labels.csv", "image_name,tags,place", range(COUNT), "x", "#")
    for seed in range(3):
        training, held_out = sides(read(folder, labels, *flags, "--seed", str(seed)))
        # 3 and 4 are identical, so that places 3 and 4 belong together.
        groups = [{min(image % 5, 3) for image in side} for side in (training, held_out)]
        assert not groups[0] & groups[1]
        assert len(held_out) == 4


def test_images_without_a_group_are_groups_of_their_own_however_that_is_marked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"place{image % 5}_{image},x,{('NA', 'nan', '', 'null')[image % 4]}" for image in range(COUNT)]
    (folder / "labels.csv").write_text("\n".join(["image_name,tags,place", *lines]))
    read(folder, str(folder / "labels.csv"), "--group_column", "place")
    told = capsys.readouterr().out
    assert f"{COUNT} images without a group, each treated as a group of its own" in told
    assert f"{COUNT} images in {COUNT} groups" in told


def test_groups_on_both_sides_of_the_users_split_are_refused(folder: Path) -> None:
    labels = write(folder / "labels.csv", "image_name,tags,fold", range(COUNT), "x", "#")
    flags = ("--split_column", "fold=1", "--group_pattern", r"place[12]")
    assert len(read(folder, labels, *flags).validation.rows) == 4
    with pytest.raises(SplitError, match=r"groups on both sides of the split: place \(1 in total\)"):
        read(folder, labels, "--split_column", "fold=1", "--group_pattern", "place")


def test_a_pattern_that_matches_nothing_is_refused(folder: Path) -> None:
    labels = write(folder / "labels.csv", "image_name,tags", range(COUNT), "x")
    with pytest.raises(SplitError, match=r"is in none of the paths below --images: place0_0.png"):
        read(folder, labels, "--group_pattern", "scene")


@pytest.mark.parametrize("seed", range(4))
def test_identical_images_are_drawn_together(folder: Path, seed: int) -> None:
    labels = write(folder / "labels.csv", "image_name,tags", range(COUNT), "x")
    training, held_out = sides(read(folder, labels, "--seed", str(seed)))
    assert ({3, 4} <= set(training)) != ({3, 4} <= set(held_out))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ("--split_column", "a", "--validation_fraction", "0.3"),
            "--validation_fraction and --split_column cannot be combined",
        ),
        (("--group_column", "a", "--group_pattern", "b"), "--group_column and --group_pattern cannot be combined"),
        (("--group_pattern", "("), r"\( is not a regular expression"),
        *((("--split_column", text), f"{text} is neither NAME nor NAME=VALUE") for text in ("=0", "=", "fold=", " =0")),
        *(
            (
                (flag, ""),
                f"{flag} is empty; give it a value or omit it; a shell variable may be unset",
            )
            for flag in ("--split_column", "--group_column", "--group_pattern", "--validation_labels", "--weights")
        ),
    ],
)
def test_flags_that_exclude_one_another_are_refused(folder: Path, flags: tuple[str, ...], told: str) -> None:
    labels = write(folder / "labels.csv", "image_name,tags", range(COUNT), "x")
    with pytest.raises(UsageError, match=told):
        read(folder, labels, *flags)
