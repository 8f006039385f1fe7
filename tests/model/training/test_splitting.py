"""Who is held out is up to the user, or drawn so that neither groups nor copies are divided."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from model.data.learnt import IS_COMPLETE, Learnt
from model.data.sides import SplitError
from model.training import reading, settings
from model.training.workspace import Workspace
from pipelines.commandline.parser import UsageError
from pipelines.inference.bundle import LEARNT_IMAGES, Bundle, load_bundle
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


def read(folder: Path, labels: str, *flags: str, start: Bundle | None = None) -> reading.Data:
    words = ["--images", str(folder / "images"), "--labels", labels, "--output", str(folder / "bundle")]
    parsed = settings.parse([*words, "--weights", "none", "--image_size", "32", *flags])._replace(weights=start)
    return reading.read(reading.find(parsed), parsed, Workspace(folder / "work"))


def test_identical_images_with_different_tags_are_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read(folder, write(folder / "labels.csv", "image,tags", range(COUNT), "#")).findings
    told = "1 image identical to another one that has other tags, kept: place4_4.png (place3_3.png)"
    assert told in map(str, found)
    assert f"{told}\n" in capsys.readouterr().out
    assert read(folder, write(folder / "labels.csv", "image,tags", range(COUNT), "x")).findings == ()


def test_one_image_to_train_on_is_said_as_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(folder, write(folder / "labels.csv", "image,tags", range(2), "clear"))
    assert "1 image to train on, 1 held out, 1 label\n" in capsys.readouterr().out


@pytest.fixture
def bundle(bundle_path: str) -> Bundle:
    return load_bundle(bundle_path)


def that_has_learnt(bundle: Bundle, record: Learnt, folder: Path) -> Bundle:
    """Return the bundle with this record, written to the folder, as the only one of its files."""
    record.write(folder)
    digest = hashlib.sha256((folder / LEARNT_IMAGES).read_bytes()).hexdigest()
    return dataclasses.replace(
        bundle, path=str(folder), files={LEARNT_IMAGES: digest}, training={IS_COMPLETE: record.is_complete}
    )


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
        (("--split_column", "a", "--validation_fraction", "0.3"), "--split_column: not allowed with --validation_frac"),
        (("--group_column", "a", "--group_pattern", "b"), "--group_pattern: not allowed with --group_column"),
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


def test_what_the_start_bundle_has_learnt_is_not_held_out(
    folder: Path, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write(folder / "labels.csv", "image_name,tags", range(COUNT), "x")
    half = ("--validation_fraction", "0.5")
    before = read(folder, labels, *half)
    start = that_has_learnt(bundle, before.learnt, tmp_path)
    assert sides(read(folder, labels, *half, start=start)) == sides(before), "the same split held out the same images"
    assert "in --weights" not in capsys.readouterr().out
    # Their files are known at any size of the network.
    for share, flags in (
        (0.5, ("--seed", "1")),
        (0.25, ("--seed", "1")),
        (0.25, ("--seed", "2", "--image_size", "48")),
        (0.8, ("--seed", "2")),
    ):
        capsys.readouterr()
        data = read(folder, labels, "--validation_fraction", str(share), *flags, start=start)
        training, held_out = map(set, sides(data))
        # 3 and 4 are the same picture.
        assert held_out <= set(sides(before)[1])
        assert min(share, 0.5) * COUNT - 1 <= len(held_out) <= min(share, 0.5) * COUNT + 1, "of all images"
        assert training | held_out == set(range(COUNT))
        told = capsys.readouterr().out
        assert "10 images that the bundle in --weights has already learnt, not held out: " in told
        no_new = (
            "10 images that the bundle in --weights has not learnt yet, all held out (a smaller --validation_fraction"
        )
        assert (no_new in told) == (len(held_out) == 10)
        assert ("50% of the images are held out, and not 80%" in told) == (share == 0.8)
        assert data.learnt.has(before.learnt.digests[:, None]).all(), "what it started from is learnt, too"
        assert data.learnt.is_complete


@pytest.mark.parametrize("flags", [(), ("--group_pattern", r"place(\d)")])
def test_copies_of_learnt_images_and_others_of_their_group_are_not_held_out(
    folder: Path, bundle: Bundle, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    first = write(folder / "first.csv", "image_name,tags,fold", range(2), "x", "#")
    start = that_has_learnt(bundle, read(folder, first, "--split_column", "fold=1").learnt, tmp_path)
    path = folder / "images" / "place0_0.png"
    path.write_bytes(path.read_bytes() + b"another file of the same pixels")
    labels = write(folder / "labels.csv", "image_name,tags", range(COUNT), "x")
    learnt = {0, 5, 10, 15} if flags else {0}
    for known, expected in ((None, learnt), (start, set())):
        held_out = set()
        for seed in ("0", "1", "2", "3"):
            data = read(folder, labels, *flags, "--validation_fraction", "0.5", "--seed", seed, start=known)
            held_out |= set(sides(data)[1])
        assert held_out & learnt == expected


def test_a_training_that_could_hold_out_only_learnt_images_is_refused(
    folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    labels = write(folder / "labels.csv", "image_name,tags,fold", range(COUNT), "x", "#")
    data = read(folder, labels, "--split_column", "fold=2")
    start = that_has_learnt(bundle, data.learnt.with_images(data.held_out_digests), tmp_path)
    with pytest.raises(
        SplitError, match=r"bundle in --weights has already learnt all 20 images: place0_0.png, place1_1"
    ):
        read(folder, labels, start=start)
    start = that_has_learnt(bundle, data.learnt, tmp_path)
    assert sides(read(folder, labels, "--split_column", "fold=2", start=start)) == sides(data)
    with pytest.raises(
        SplitError, match=r"has already learnt all 4 images to hold out: place3_3\.png.*--final_epochs 0$"
    ):
        read(folder, labels, "--split_column", "fold=3", start=start)


@pytest.mark.parametrize(
    ("flags", "left_out"),
    [
        # 3 and 4 are the same picture.
        ((), [3, 4]),
        (("--group_pattern", r"place(\d)_"), [3, 4, 8, 9, 13, 14, 18, 19]),
    ],
)
def test_learnt_images_among_those_that_the_user_holds_out_are_left_out_and_listed(
    folder: Path, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: Any, left_out: list[int]
) -> None:
    first = write(folder / "first.csv", "image_name,tags,fold", range(4), "x", "#")
    start = that_has_learnt(bundle, read(folder, first, "--split_column", "fold=0").learnt, tmp_path)
    lines = [
        f"place{image % 5}_{image},{'x mine' if image == 4 else 'x'},{'val' if image % 5 in (0, 3, 4) else 'train'}"
        for image in range(COUNT)
    ]
    (folder / "labels.csv").write_text("\n".join(["image_name,tags,split", *lines]))
    capsys.readouterr()

    data = read(folder, str(folder / "labels.csv"), "--split_column", "split", *flags, start=start)

    training, held_out = sides(data)
    assert training == [image for image in range(COUNT) if image % 5 in (1, 2)]
    assert held_out == [image for image in range(COUNT) if image % 5 in (0, 3, 4) and image not in left_out]
    assert sorted([*training, *held_out, *left_out]) == list(range(COUNT))
    others = " (or others in their group)" if flags else ""
    found = f"images to hold out that the bundle in --weights has already learnt{others}, left out"
    [names] = [finding.names for finding in data.findings if finding.what == found]
    assert names == tuple(f"place{image % 5}_{image}.png" for image in left_out)
    told = capsys.readouterr().out
    assert f"{len(left_out)} {found}: place3_3.png, place4_4.png" in told
    listed = folder / "work" / "left_out.csv"
    assert f"the images left out are listed in {listed}\n" in told
    paths = [str(folder / "images" / f"place{image % 5}_{image}.png") for image in left_out]
    assert listed.read_text() == "".join(f"{line}\n" for line in ["path", *paths])
    assert "1 label found only on images left out, dropped: mine" in told
    assert (data.labels, data.training.targets.shape[1], data.validation.targets.shape[1]) == (("x",), 1, 1)


def test_a_start_that_does_not_say_what_it_has_learnt_is_a_caution(
    folder: Path, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write(folder / "labels.csv", "image_name,tags", range(COUNT), "x")
    data = read(folder, labels, start=bundle)
    told = "caution: the bundle that the training started from does not say which images it has learnt"
    assert told in capsys.readouterr().out
    # Nor does one that started from it.
    assert not read(folder, labels, start=that_has_learnt(bundle, data.learnt, tmp_path)).learnt.is_complete
    assert told in capsys.readouterr().out
