"""A blank label in the header or among the tags is refused or reported, and never becomes a label."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pipelines import labels
from pipelines.labels import Finding, LabelFile, spelling

BLANKS = ["", " ", "\t", "\u00a0", "\u3000", "\u200b", "\ufeff", " \u200b ", "\u200e\u2060"]


def read(folder: Path, *rows: tuple[str, ...]) -> LabelFile:
    file = folder / "labels.csv"
    with file.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines, quoting=csv.QUOTE_ALL).writerows(rows)
    return labels.read_labels(file)


@pytest.mark.parametrize("blank", BLANKS)
def test_a_column_with_a_blank_name_is_ignored_and_reported(blank: str, tmp_path: Path) -> None:
    found = read(tmp_path, ("image_name", blank, "clear"), ("a", "1", "1"), ("b", "", "0"))

    assert found.labels == ("clear",)
    assert [row.tags for row in found.rows] == [{"clear"}, frozenset()]
    assert found.findings == (Finding("columns without a name, ignored", ("column 2",)),)


@pytest.mark.parametrize("blank", BLANKS)
def test_a_header_of_blank_labels_alone_is_refused(blank: str, tmp_path: Path) -> None:
    with pytest.raises(labels.LabelError, match=r"unusable header: image_name, ''; use image_name,tags, or"):
        read(tmp_path, ("image_name", blank), ("a", "1"))


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("separator", [";", "|", ","])
def test_a_blank_tag_is_removed_and_reported(separator: str, blank: str, tmp_path: Path) -> None:
    found = read(tmp_path, ("image_name", "tags"), ("a", separator.join(("clear", blank, "haze"))), ("b", "haze"))

    assert found.labels == ("clear", "haze")
    assert [row.tags for row in found.rows] == [{"clear", "haze"}, {"haze"}]
    assert found.findings == (Finding("rows with stray spaces or separators in the tags, cleaned", ("line 2",)),)


def test_a_blank_tag_between_spaces_is_removed_and_reported(tmp_path: Path) -> None:
    found = read(tmp_path, ("image_name", "tags"), ("a", "clear \u200b haze"), ("b", "haze \ufeff"))

    assert found.labels == ("clear", "haze")
    assert [row.tags for row in found.rows] == [{"clear", "haze"}, {"haze"}]
    assert [len(finding.names) for finding in found.findings] == [2]


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("separator", ["", ";", "|,"])
def test_a_row_with_blank_tags_alone_is_skipped_and_reported(separator: str, blank: str, tmp_path: Path) -> None:
    found = read(tmp_path, ("image_name", "tags"), ("a", "haze primary"), ("b", f"{blank}{separator}{blank}"))

    assert found.labels == ("haze", "primary"), "a cell of separators does not decide how others are split"
    assert [row.tags for row in found.rows] == [{"haze", "primary"}]
    assert found.findings == (Finding("rows without tags, skipped", ("b",)),)


@pytest.mark.parametrize("blank", BLANKS)
def test_a_file_with_blank_tags_alone_is_refused(blank: str, tmp_path: Path) -> None:
    with pytest.raises(labels.LabelError, match="no usable row: 1 row without tags, skipped: a"):
        read(tmp_path, ("image_name", "tags"), ("a", blank))


@pytest.mark.parametrize("blank", BLANKS)
def test_a_row_with_a_blank_image_name_is_skipped_and_reported(blank: str, tmp_path: Path) -> None:
    found = read(tmp_path, ("image_name", "tags"), ("a", "clear"), (blank, "haze"))

    assert [row.name for row in found.rows] == ["a"]
    assert found.findings == (Finding("rows without an image name, skipped", ("line 3",)),)


@pytest.mark.parametrize("label", ["\u0646\u200c\u0647", "\U0001f468\u200d\U0001f33e", "\ue000"])
def test_invisible_characters_within_a_label_are_kept(label: str) -> None:
    assert spelling.tidy(f" {label} ") == label


@pytest.mark.parametrize(
    "label",
    [
        *("clear\u200b", "\ufeffclear", "cle\u00adar", "cle\u034far", "clear\ufe0f", "CLE\u2060AR"),
        *("cle\u0430r", "\u0421lear", "CL\u0415AR", "CLE\u0391R", "\uff43lear", "clear\u200e"),
    ],
)
def test_labels_that_look_the_same_are_reported_as_escapes(label: str, tmp_path: Path) -> None:
    found = read(tmp_path, ("image_name", "tags"), ("a", "clear;dry"), ("b", "clear"), ("c", f"{label};dry"))

    told = f"{label!a} (1 row) next to 'clear'"
    assert found.findings == (Finding("labels looking like another one, kept apart", (told,)),)
    assert found.labels == tuple(sorted(("clear", "dry", label)))


@pytest.mark.parametrize(
    ("one", "other"), [("bare soil", "Bare_Soil"), ("bare-soil", "bare_soil"), ("1", "1.0"), ("-3", "-3.00")]
)
def test_labels_that_differ_only_in_what_joins_their_words_or_in_decimals_are_reported(
    one: str, other: str, tmp_path: Path
) -> None:
    found = read(tmp_path, ("image_name", "tags"), ("a", f"{one};dry"), ("b", one), ("c", f"{other};dry"))
    told = f"{other!a} (1 row) next to {one!a}"
    assert Finding("labels looking like another one, kept apart", (told,)) in found.findings
    assert found.labels == tuple(sorted((one, other, "dry")))


def test_numbers_and_words_that_differ_otherwise_are_not_alike(tmp_path: Path) -> None:
    found = read(tmp_path, ("image_name", "tags"), ("a", "1;01;1.5;10;-1"), ("b", "baresoil;bare soil;a-;a"))
    assert not [finding for finding in found.findings if "looking like" in finding.what]


def test_a_label_that_looks_like_one_of_a_model_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("image_name,tags\na,clear\u200b;dry\nb,\u043b\u0435\u0441\n", encoding="utf-8")
    known = ["clear", "cle\u00adar", "dry"]
    assert [finding.names for finding in labels.read_labels(file, known).findings if "looking" in finding.what] == [
        (r"'clear\u200b' (1 row) next to 'clear'",)
    ]


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("rows without tags, skipped", "row without tags, skipped"),
        ("duplicate rows, counted once", "duplicate row, counted once"),
        ("images with contradictory rows, skipped", "image with contradictory rows, skipped"),
        ("label spellings merged", "label spelling merged"),
        (
            "multi-word labels never seen next to a ';', not split",
            "multi-word label never seen next to a ';', not split",
        ),
        ("labels looking like another one, kept apart", "label looking like another one, kept apart"),
        ("missing values next to tags, left out", "missing value next to tags, left out"),
        ("labelled images that predict failed on", "labelled image that predict failed on"),
    ],
)
def test_a_finding_reads_well_in_singular_and_plural(plural: str, singular: str) -> None:
    assert str(Finding(plural, ("a",))) == f"1 {singular}: a"
    assert str(Finding(plural, ("a", "b"))) == f"2 {plural}: a, b"
