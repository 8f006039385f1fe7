"""Rows of a label file find the images that they name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipelines import labels
from pipelines.labels import Row


def rows_of(*names: str) -> list[Row]:
    return [Row(name, frozenset({"clear"})) for name in names]


def matched(names: Sequence[str], paths: Sequence[str]) -> dict[str, str]:
    """Say which path each name fits, by giving each row a tag of its own."""
    found = labels.match([Row(name, frozenset({name})) for name in names], paths, "chips")
    return {next(iter(tags)): path for path, tags in zip(found.paths, found.tags, strict=True)}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a", "gs://chips/jpg/a.jpg"),
        ("a.jpg", "gs://chips/jpg/a.jpg"),
        ("jpg/a", "gs://chips/jpg/a.jpg"),
        ("jpg\\a.jpg", "gs://chips/jpg/a.jpg"),
        ("./jpg/a.jpg", "gs://chips/jpg/a.jpg"),
        ("../jpg/a.jpg", "gs://chips/jpg/a.jpg"),
        ("gs://chips/jpg/a.jpg", "gs://chips/jpg/a.jpg"),
        ("IMG_1.jpg", "img/IMG_1.JPG"),
        ("img_1", "img/IMG_1.JPG"),
        ("/data/img/b.v1", "/data/img/b.v1.png"),
        ("for\u00eat", "img/fore\u0302t.png"),
    ],
)
def test_a_row_names_an_image_by_the_end_of_its_path(name: str, path: str) -> None:
    assert matched([name], [path, "/other/c.jpg"]) == {name: path}


def test_an_absolute_name_fits_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert matched([f"{tmp_path}/jpg/a.jpg"], ["jpg/a.jpg"]) == {f"{tmp_path}/jpg/a.jpg": "jpg/a.jpg"}


def test_names_fit_the_members_of_archives() -> None:
    paths = ["gs://b/x.tar::a.jpg", "gs://b/x.tar::./c/b.jpg"]
    assert matched(["a", "c/b.jpg"], paths) == {"a": paths[0], "c/b.jpg": paths[1]}


def test_spaces_around_the_names_of_files_do_not_count() -> None:
    assert matched(["a.jpg", "b"], ["c/ a.jpg", "c/b .jpg"]) == {"a.jpg": "c/ a.jpg", "b": "c/b .jpg"}


@pytest.mark.parametrize("name", ["other/a", "pg/a", "a.png", "b", "jpg", ".."])
def test_names_that_only_look_alike_do_not_fit(name: str) -> None:
    with pytest.raises(labels.LabelError, match="no row names an image"):
        labels.match(rows_of(name), ["jpg/a.jpg"], "chips")


def test_the_narrowest_reading_of_a_name_counts() -> None:
    paths = ["c/a.jpg", "c/A.jpg", "c/a.jpg.png", "c/a"]
    assert matched(["a.jpg", "A.jpg", "a"], paths) == {"a.jpg": "c/a.jpg", "A.jpg": "c/A.jpg", "a": "c/a"}


def test_an_image_that_is_listed_twice_is_one() -> None:
    assert matched(["a"], ["c/a.jpg", "c/a.jpg"]) == {"a": "c/a.jpg"}


def test_a_path_from_the_folder_of_all_images_takes_precedence() -> None:
    assert matched(["a.jpg", "x/a.jpg"], ["/c/a.jpg", "/c/x/a.jpg"]) == {"a.jpg": "/c/a.jpg", "x/a.jpg": "/c/x/a.jpg"}


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("x", ["c/a/x.jpg", "c/b/x.jpg"]),
        ("x.jpg", ["c/a/x.jpg", "c/b/d/x.jpg"]),
        ("x", ["c/x.jpg", "c/x.tif"]),
        ("X.JPG", ["c/x.jpg", "c/x.Jpg"]),
    ],
)
def test_a_row_that_fits_several_images_is_refused(name: str, paths: Sequence[str]) -> None:
    shown = ", ".join(path.removeprefix("c/") for path in paths)
    expected = rf"^{name} matches several images in chips: {shown} \(1 such row in total\); choose .* write paths"
    with pytest.raises(labels.LabelError, match=expected):
        labels.match(rows_of(name), paths, "chips")


def test_several_rows_of_an_image_are_joined_and_identical_ones_count_once() -> None:
    rows = [
        Row("a", frozenset({"clear"})),
        Row("b", frozenset({"haze"})),
        Row("a.jpg", frozenset({"clear"})),
        Row("c", frozenset({"haze"})),
        Row("c", frozenset({"haze"})),
        Row("./c.jpg", frozenset({"water"})),
    ]
    found = labels.match(rows, ["c/a.jpg", "c/b.jpg", "c/c.jpg"], "chips")
    assert found.paths == ("c/a.jpg", "c/b.jpg", "c/c.jpg")
    assert found.tags == (frozenset({"clear"}), frozenset({"haze"}), frozenset({"haze", "water"}))
    assert list(map(str, found.findings)) == [
        "1 duplicate row, counted once: a.jpg",
        "1 image with different tags in several rows, joined: c.jpg",
    ]


def test_rows_that_name_all_tags_contradict_one_another_if_they_differ() -> None:
    rows = [
        Row(name, frozenset({tag}), exhaustive=True) for name, tag in [("a", "clear"), ("a", "haze"), ("b", "haze")]
    ]
    others = [Row(str(number), frozenset({"haze"}), exhaustive=True) for number in range(10)]
    paths = ["c/a.jpg", "c/b.jpg", *(f"c/{number}.jpg" for number in range(10))]
    found = labels.match([*rows, rows[-1], *others], paths, "chips")
    assert found.paths == tuple(paths[1:])
    assert list(map(str, found.findings)) == [
        "1 duplicate row, counted once: b.jpg",
        "1 image with contradictory rows, skipped: a.jpg",
    ]
    for few in (rows, [*rows[:2], *others[:8]]):
        with pytest.raises(labels.LabelError, match=r"the rows contradict one another on 1 of \d images: a\.jpg; keep"):
            labels.match(few, paths, "chips")


def test_rows_of_an_image_keep_one_value_of_a_column_or_are_refused() -> None:
    rows = [Row("a", frozenset({tag}), kept=("fold 1",)) for tag in ("clear", "haze")]
    assert labels.match(rows, ["c/a.jpg"], "chips").kept == (("fold 1",),)
    told = r"rows of an image name different sides of a split, or different groups: a\.jpg; make all rows of an image"
    with pytest.raises(labels.LabelError, match=told):
        labels.match([*rows, rows[0]._replace(kept=("fold 2",))], ["c/a.jpg"], "chips")


@pytest.mark.parametrize(
    "root", ["/kaggle/input/planet/", "C:\\Users\\me\\planet\\", "../input/planet/", "gs://theirs/planet/", "/home/me/"]
)
def test_paths_of_another_machine_match_by_their_ends(root: str) -> None:
    rows = [Row(f"{root}{name}", frozenset({"clear"})) for name in ("train/a.jpg", "train/b.jpg", "val/b.jpg")]
    found = labels.match(rows, ["c/train/a.jpg", "c/val/b.jpg"], "chips")
    assert found.paths == ("c/train/a.jpg", "c/val/b.jpg")
    assert [finding.what for finding in found.findings] == [
        "rows with folders of another machine, matched by the end of the path",
        "rows of the label file without an image, skipped",
    ]


@pytest.mark.parametrize(
    ("names", "paths", "expected"),
    [
        (["aB3", "Ab3", "K"], ["c/aB3.jpg", "c/k.jpg"], {"aB3": "c/aB3.jpg", "K": "c/k.jpg"}),
        (["Ab3.jpg", "aB3"], ["c/aB3.JPG", "c/k.jpg"], {"aB3": "c/aB3.JPG"}),
        (["AB3", "ab3.jpg", "k"], ["c/aB3.jpg", "c/k.jpg"], {"k": "c/k.jpg"}),
        (["X/aB3", "Ab3", "k"], ["c/x/aB3.jpg", "c/k.jpg"], {"k": "c/k.jpg"}),
        (
            ["aB3", "/kaggle/Ab3.jpg", "/kaggle/k.jpg"],
            ["c/aB3.jpg", "c/k.jpg"],
            {"aB3": "c/aB3.jpg", "/kaggle/k.jpg": "c/k.jpg"},
        ),
    ],
)
def test_a_row_in_another_case_takes_no_image_that_another_row_names(
    names: Sequence[str], paths: Sequence[str], expected: dict[str, str]
) -> None:
    found = labels.match([Row(name, frozenset({name})) for name in names], paths, "chips")
    assert dict(zip((*map(" ".join, found.tags),), found.paths, strict=True)) == expected
    [missing] = [
        finding for finding in found.findings if finding.what == "rows of the label file without an image, skipped"
    ]
    assert missing.names == tuple(name for name in names if name not in expected)


@pytest.mark.parametrize("name", ["IMG_1.JPG", "img_1.jpg", "Img_1.png.Jpg"])
def test_rows_with_and_without_extension_are_of_one_image_whatever_the_case_of_the_extension(name: str) -> None:
    stem = name[:-4].casefold()
    rows = [Row(row, frozenset({row})) for row in (stem, f"{stem}.jpg", f"c/{stem}.jpg")]
    assert labels.match(rows, [f"c/{name}", "c/d.jpg"], "chips").tags == (frozenset(row.name for row in rows),)


def test_a_path_of_another_machine_finds_no_image_that_only_has_its_name() -> None:
    rows = rows_of("/kaggle/train/a.jpg", "/kaggle/train/b.jpg", "/data/none/c.jpg", "other/d.jpg")
    found = labels.match(rows, ["c/train/a.jpg", "c/val/b.jpg", "c/val/d.jpg"], "chips")
    assert found.paths == ("c/train/a.jpg",)


def test_paths_of_another_machine_that_become_one_are_refused() -> None:
    rows = rows_of("/kaggle/train/a.jpg", "/kaggle/val/a.jpg")
    with pytest.raises(labels.LabelError, match=r"/kaggle/train/a\.jpg and /kaggle/val/a\.jpg both end like one image"):
        labels.match(rows, ["c/a.jpg", "c/b.jpg"], "chips")


def test_what_has_no_counterpart_is_left_out_and_reported() -> None:
    found = labels.match(rows_of("d", "b", "e"), ["c/a.jpg", "c/b.jpg", "c/x/a.jpg"], "chips")
    assert found.paths == ("c/b.jpg",)
    assert list(map(str, found.findings)) == [
        "2 rows of the label file without an image, skipped: d, e",
        "2 images that the labels do not list, skipped: a.jpg, x/a.jpg",
    ]


def test_a_name_that_is_not_utf8_can_be_written_down() -> None:
    [finding] = labels.match(rows_of("a"), ["c/a.jpg", os.fsdecode(b"c/\xff.jpg")], "chips").findings
    assert finding.names == (r"\udcff.jpg",)


def test_rows_that_fit_nothing_are_one_clear_line() -> None:
    with pytest.raises(labels.LabelError) as refused:
        labels.match(rows_of(*(f"train_{number}" for number in range(5))), ["c/a.jpg", "c/b.jpg"], "chips")
    assert str(refused.value) == (
        "no row names an image in chips: rows such as train_0, train_1, train_2, ...; images such as a.jpg, b.jpg; "
        "rows must hold file names, or the ends of paths"
    )
    with pytest.raises(labels.LabelError, match=r"rows such as /elsewhere/d; images such as c/a\.jpg, c/b\.jpg"):
        labels.match(rows_of("/elsewhere/d"), ["c/a.jpg", "c/b.jpg"], "chips")
    with pytest.raises(labels.LabelError, match="chips: no images there"):
        labels.match(rows_of("a"), [], "chips")


def test_images_are_found_to_the_bottom_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/c.tiff", "a/._c.tiff", ".hidden/d.jpg", "@eaDir/b.JPG", "notes.txt", "e.png/f.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    (tmp_path / "z").symlink_to(tmp_path / "a")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert [str(path.relative_to(tmp_path)) for path in labels.find_images(tmp_path)] == [
        "a/c.tiff",
        "b.JPG",
        "e.png/f.webp",
    ]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").touch()
    with pytest.raises(labels.LabelError, match=r"no images in this folder \(extensions: \.jpg "):
        labels.find_images(tmp_path)
    with pytest.raises(labels.LabelError, match="nowhere: No such file or directory"):
        labels.find_images(tmp_path / "nowhere")


def test_the_vocabulary_is_in_alphabetical_order() -> None:
    tags = [frozenset({"water", "clear"}), frozenset(), frozenset({"road"})]
    assert labels.vocabulary(tags) == ("clear", "road", "water")
    marks = labels.multi_hot(tags, ("clear", "water", "ice"))
    assert marks.dtype == np.float32
    assert marks.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert labels.multi_hot([], ("clear", "water")).shape == (0, 2)
