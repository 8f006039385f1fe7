"""A table with a row for each pair of image and label is no list of tags; a list of tags may have further columns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from pipelines import labels
from pipelines.labels import LabelOptions
from tests.pipelines.labels.reading import findings_of, read_with, refusal, tags_of, write

LABELS = "ship", "bare soil", "sea", "road"
# Of each image, which of the labels it has.
TRUTH = {"a": (1, 0, 0, 1), "b": (0, 0, 1, 0), "c": (1, 1, 0, 0), "d": (0, 0, 1, 1), "e": (0, 0, 0, 1)}
OTHERS = (
    "leave out the rows of labels that an image lacks, or call that column confidence if it says so by 0, or remove it "
    "if it says something else"
)


def pairs(yes: str, no: str, header: str = "image,label,seen") -> Iterator[str]:
    yield header
    for image, number in product(TRUTH, range(len(LABELS))):
        yield f"{image},{LABELS[number]},{yes if TRUTH[image][number] else no}"


@pytest.mark.parametrize("left_out", [slice(0), slice(6, 7), slice(2, None, 3)])
@pytest.mark.parametrize(
    ("yes", "no"),
    [
        ("1", "0"),
        ("yes", "no"),
        ("0.9", "0.1"),
        ("7", "0"),
        ("85.5", "0"),
        ('"85,5"', "0"),
        ('"0,9"', '"0,1"'),
        ("present", "absent"),
        ("Y", "N"),
        ("1", "-1"),
        ("\N{CHECK MARK}", ""),
        ("1", ""),
        ("2.5", "-1.75"),
    ],
)
def test_rows_for_most_pairs_are_refused_next_to_a_column_that_may_say_which_hold(
    yes: str, no: str, left_out: slice, tmp_path: Path
) -> None:
    rows = list(pairs(yes, no))
    missing = rows[1:][left_out]
    file = write(tmp_path, "labels.csv", "\n".join(row for row in rows if row not in missing))
    has = "most images have a row for most" if missing else "each image has a row for each"
    assert refusal(file) == f"{has} of 4 labels, and column seen may say which of them hold; {OTHERS}"


@pytest.mark.parametrize("cells", [("5", "4", "2", "1"), ("sure", "likely", "hardly", "no")])
@pytest.mark.parametrize("header", ["image,label,rating", "image,label,lat,rating"])
def test_where_each_image_has_a_row_for_each_label_any_column_may_say_it(
    header: str, cells: tuple[str, ...], tmp_path: Path
) -> None:
    lat = "12.5," * ("lat" in header)
    rows = [f"{image},{label},{lat}{cell}" for image in TRUTH for label, cell in zip(LABELS, cells, strict=True)]
    told = f"each image has a row for each of 4 labels, and column rating may say which of them hold; {OTHERS}"
    assert refusal(write(tmp_path, "labels.csv", "\n".join((header, *rows)))) == told
    # Without such a column, there is nothing to say it.
    plain = write(tmp_path, "plain.csv", "\n".join(("image,label", *(row.rpartition(",")[0] for row in rows))))
    assert "lat" in header or tags_of(plain)["a"] == {"road"}


@pytest.mark.parametrize(
    ("header", "yes", "no"),
    [("present", "1", ""), ("confidence", "0.9", "0.2"), ("Confidence", "1", "0.01"), ("confidence", "1", "")],
)
def test_confidences_of_each_pair_that_take_no_tag_are_refused(header: str, yes: str, no: str, tmp_path: Path) -> None:
    told = "images have rows for most labels or all, and no confidence of 0 says which of them they lack; "
    told += "leave out the rows of labels that an image lacks, or write 0 as their confidence, such as 0 below 0.5"
    assert refusal(write(tmp_path, "labels.csv", "\n".join(pairs(yes, no, f"image,label,{header}")))) == told


def test_confidences_of_some_pairs_take_no_tag(tmp_path: Path) -> None:
    same = write(tmp_path, "same.csv", "\n".join(pairs("1", "1", "image,label,confidence")))
    assert len(labels.read_labels(same).rows) == len(LABELS) * len(TRUTH)
    sure = write(tmp_path, "sure.csv", "image,label,confidence\na,ship,0.9\na,sea,0.6\nb,road,0.7\nc,hut,1\n")
    assert not findings_of(sure)
    few = write(tmp_path, "few.csv", "image,label,present\na,ship,1\na,sea,\nb,road,1\nc,hut,1\n")
    assert findings_of(few) == ["1 row without present, whose tags are kept: line 3"]


@pytest.mark.parametrize(
    "header",
    [
        *("annotated_by", "labeler", "reviewer_id", "Source", "object_id", "annotation_id"),
        *("bbox,occlusion", "x_center,y_center,box_w,box_h,conf", "bbox_x,bbox_y,bbox_w,bbox_h"),
    ],
)
def test_objects_and_annotators_of_most_labels_of_an_image_are_no_pairs(header: str, tmp_path: Path) -> None:
    columns = header.count(",") + 1
    rows = [
        f"{image},{label}{f',{number}' * columns}"
        for image, number in product("1234", range(3))
        for label in [LABELS[(int(image) + number) % 4]]
    ]
    found = tags_of(write(tmp_path, "objects.csv", "\n".join((f"image,label,{header}", *rows))))
    assert [*found] == [*"1234"]


def test_neither_two_words_in_a_label_nor_another_column_of_confidence_hides_the_pairs(tmp_path: Path) -> None:
    words = write(tmp_path, "words.csv", "\n".join(pairs("1", "0", "image,tags,seen")))
    assert "column seen may say" in refusal(words)
    sure = write(tmp_path, "sure.csv", "\n".join(pairs("0.9,1", "0.8,0", "image,label,confidence,seen")))
    assert "column seen may say" in refusal(sure)
    # Those that it refutes are no tags any more.
    refuted = write(tmp_path, "refuted.csv", "\n".join(pairs("1,1", "0,0", "image,label,confidence,seen")))
    assert [row.tags for row in labels.read_labels(refuted).rows][:4] == [{"ship"}, set(), set(), {"road"}]


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("weight", ("0.5", "1", "0.25")),
        ("annotator", ("0", "1", "1")),
        ("annotator", ("anna", "ben", "ben")),
        ("certainty", ("0.9", "0.4", "0.8")),
        ("xmin,ymin,xmax,ymax", ("0,0,0.5,0.5", "0.1,0,0.2,0.9", "0,0.3,1,1")),
        ("difficult,occluded", ("0,1", "1,0", "0,0")),
        ("source", ("human", "machine", "human")),
    ],
)
def test_further_columns_of_a_list_of_tags_do_no_harm(header: str, cells: tuple[str, ...], tmp_path: Path) -> None:
    rows = [f"{image},{LABELS[number]}" for image in TRUTH for number, has in enumerate(TRUTH[image]) if has]
    lines = [f"{row},{cells[number % 3]}" for number, row in enumerate(rows)]
    file = write(tmp_path, "labels.csv", "\n".join((f"image,label,{header}", *lines)))
    expected = {image: {label for label, has in zip(LABELS, TRUTH[image], strict=True) if has} for image in TRUTH}
    found = labels.match(labels.read_labels(file).rows, [f"c/{image}.jpg" for image in TRUTH], "c")
    assert [set(tags) for tags in found.tags] == list(expected.values())
    assert not any("of marks" in finding for finding in findings_of(file))


@pytest.mark.parametrize("header", ["xmin,ymin,xmax,ymax", "x,y,w,h", "xmin,ymin,xmax,ymax,score"])
def test_boxes_of_two_labels_that_most_images_have_are_no_pairs(header: str, tmp_path: Path) -> None:
    rows = [
        f"{image},{label},0,0.1,{share},0.{image}" + f",{share}" * (header.count(",") - 3)
        for image in "1234"
        for label, share in (("car", 0.4), ("hut", 1))
    ]
    found = tags_of(write(tmp_path, "boxes.csv", "\n".join((f"image,label,{header}", *rows))))
    assert [*found] == [*"1234"]


def test_a_column_that_was_taken_for_one_that_decides_can_be_removed(tmp_path: Path) -> None:
    rows = "a,ship,hand", "a,sea,machine", "b,ship,machine", "c,sea,hand", "d,ship,hand", "d,sea,machine"
    made = write(tmp_path, "made.csv", "\n".join(("image,label,made_by", *rows)))
    said = refusal(made)
    assert said.startswith("most images have a row for most of 2 labels, and column made_by may say which of them hold")
    assert said.endswith("or remove it if it says something else")
    without = (line.rpartition(",")[0] for line in made.read_text().splitlines())
    assert [*tags_of(write(tmp_path, "without.csv", "\n".join(without)))] == [*"abcd"]


def test_a_column_to_divide_images_by_or_about_whole_images_says_nothing_of_labels(tmp_path: Path) -> None:
    whole = write(tmp_path, "night.csv", "image,label,night\na,ship,1\na,sea,1\nb,ship,0\nb,sea,0\nc,sea,0\n")
    assert tags_of(whole) == {"a": {"sea"}, "b": {"sea"}, "c": {"sea"}}
    valid = write(tmp_path, "valid.csv", "\n".join(pairs("1", "0", "image,label,is_valid")))
    assert tags_of(valid)["b"] == {"road"}
    by_value = read_with(
        write(tmp_path, "v.csv", "image,label,value\na,ship,1\nb,sea,0\n"), LabelOptions(keep=("value",))
    )
    assert [set(row.tags) for row in by_value.rows] == [{"ship"}, {"sea"}]


def test_marks_next_to_a_few_tags_are_said_to_be_no_confidence(tmp_path: Path) -> None:
    rows = "a,ship,1", "a,sea,0", "b,road,0", "b,hut,1", "c,bay,1"
    assert findings_of(write(tmp_path, "labels.csv", "\n".join(("image,label,verified", *rows)))) == [
        "1 column other than names and tags, ignored: verified",
        "1 column of marks next to the tags, not read (called confidence, 0 would take the tag): verified",
    ]
