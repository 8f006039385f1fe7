"""What the bundle that a training starts from has learnt is not held out."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from model.data.learnt import IS_COMPLETE, Learnt
from model.data.sides import SplitError
from pipelines.inference.bundle import LEARNT_IMAGES, Bundle, load_bundle
from tests.model.training.labelled_images import COUNT, read, sides, write

pytest.importorskip("imagehash", reason="ImageHash is not installed: pip install 'scenetags[train]'")


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
