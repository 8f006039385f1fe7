"""Label files of every kind and condition give tags, findings, or one clear line."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import pytest

from pipelines import labels
from tests.pipelines.labels.reading import Write, findings_of, refusal, tags_of


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends_may_vary(write: Write, delimiter: str, end: str) -> None:
    file = write(
        f'"a"{delimiter}"haze primary"', "", f"b{delimiter}clear", header=f"image_name{delimiter}tags", end=end
    )
    assert tags_of(file) == {"a": {"haze", "primary"}, "b": {"clear"}}


def test_a_delimiter_within_quotes_or_labels_is_none(write: Write) -> None:
    file = write('"a"; 1;0', header='"name, or path";wet,not dry;dry')
    assert tags_of(file) == {"a": {"wet,not dry"}}
    for space in (" ", "   "):
        file = write(f'a,{space}"haze, primary"', header="image_name, tags")
        assert tags_of(file) == {"a": {"haze", "primary"}}


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("forêt,image_name\n1,a\n", encoding="utf-8-sig")
    assert tags_of(file) == {"a": {"forêt"}}


@pytest.mark.parametrize(
    "data",
    [
        "image_name,tags\na,clear\n".encode("utf-16"),
        "image_name,tags\na,clear\n".encode("utf-16-le"),
        "image_name,tags\na,forêt\n".encode("latin-1"),
        b"\xff\xd8\xff\xe0 a JPEG",
        b"PAR1\x15\x04\x15\x00",
    ],
)
def test_what_is_not_utf8_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "labels.csv").write_bytes(data)
    assert refusal(tmp_path / "labels.csv") == "not UTF-8 text; save it as CSV in UTF-8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n \n,\n", "the file is empty"),
        ("image_name,tags\n\n", "has a header but no rows"),
        (f"image_name,tags\na,{'x' * 1001}\n", r"the label x{200}\.\.\. has 1,001 characters; name the column"),
        (
            "image_name\na\n",
            "unusable header: image_name; use image_name,tags, or image_name and one column per label",
        ),
        ("image_name|tags\na|clear\n", r"unusable header: image_name\|tags; .* commas, semicolons or tabs"),
        ("tags\n1\n", "unusable header: tags; use image_name,tags, or "),
        ("image_name,\na,1\n", "unusable header: image_name, ''; use image_name,tags, or "),
        (
            "image_name,tags\na,\n,clear\n",
            "no usable row: 1 row without an image name, skipped: line 3; 1 row wi",
        ),
        ("image_name,tags\na,haze,primary\n", "line 2: number of cells is 3, but the header has 2; put quotes"),
        ("image_name,tags\n\n\na\n", "line 4: number of cells is 1, but the header has 2; put quotes"),
        ('image_name,tags\na,"b\nc"\nd\n', "line 4: number of cells is 1"),
        ('image_name,tags\na,"clear\nb,haze\n', "line 2: unexpected end of data; check that quotes come in pairs"),
        ('image_name,tags\na,"clear\nb,"haze"\n', "line 2: ',' expected after '\"'; check that quotes come in pairs"),
        (
            'image_name,tags\na,"clear\nb,haze"\nc,clear\n',
            "line 2: a quoted cell runs into the next rows; check that quotes come",
        ),
        ('image_name,tags\r\n\r\na,"clear\r\nb,haze"\r\n', "line 3: a quoted cell runs into the next rows"),
        ('image_name,tags,note\na,clear,"x\nb,haze,y"\n', "line 2: a quoted cell runs into the next rows"),
        ('image_name\ttags\na\t"clear"haze\n', r"line 2: .* expected after .*; check that quotes come in pairs"),
        (f"image_name,tags\na,{'x' * 2_000_000}\n", "line 2: field larger than field limit"),
        ("train_0,haze primary\ntrain_1,clear\n", r"line 1 looks like a row \(train_0, haze primary\), not a hea"),
        ("train_0,haze,primary\ntrain_1,clear\n", "line 1 looks like a row"),
        ("a.jpg,haze\nb.jpg,clear\n", "line 1 looks like a row"),
        ("a,1,0\nb,0,1\n", "line 1 looks like a row"),
        ("a,haze\nb,clear\n", "line 2, column haze: clear is not 0, .* must be a header, with image_name above"),
        (f"image_name,clear\na,{'2' * 5000}\n", r"line 2, column clear: 2{200}\.\.\. is not 0"),
    ],
)
def test_what_cannot_be_understood_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(text.encode())
    with pytest.raises(labels.LabelError, match=message):
        labels.read_labels(file)
    assert len(refusal(file)) < 500


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith("no label files in this folder (extensions: .csv ")
    assert refusal(tmp_path / "none.csv") == "No such file or directory"


def test_rows_without_a_name_are_reported_by_line(write: Write) -> None:
    file = write('a,"clear\nwater"', "", ",haze", '" ",clear')
    assert tags_of(file) == {"a": {"clear", "water"}}
    assert "2 rows without an image name, skipped: line 5, line 6" in findings_of(file)


def test_a_finding_shows_its_count_and_the_first_few_names() -> None:
    assert str(labels.Finding("rows, left out", ("a", "b", "a", "c"))) == "4 rows, left out: a, b, c"
    assert str(labels.Finding("rows, left out", tuple("abcd"))) == "4 rows, left out: a, b, c, ..."
    assert str(labels.Finding("rows, left out", ("a\nb",))) == r"1 row, left out: 'a\nb'"


@pytest.mark.parametrize("in_columns", [False, True])
def test_a_large_file_reads_and_matches_quickly(tmp_path: Path, in_columns: bool) -> None:
    # Each folder calls its image the same, which a search among images of one name would take minutes for.
    count, every = 10_000, [f"label_{number}" for number in range(17)]
    with (tmp_path / "labels.csv").open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(["image_name", *every] if in_columns else ["image_name", "tags"])
        for row in range(count):
            has = {f"label_{row % 17}", f"label_{row % 5}"}
            table.writerow(
                [f"{row}/rgb", *(int(label in has) for label in every)] if in_columns else [f"{row}/rgb", " ".join(has)]
            )
    started = time.process_time()
    read = labels.read_labels(tmp_path / "labels.csv")
    found = labels.match(read.rows, [f"gs://chips/{row}/rgb.png" for row in range(count)], "chips")
    # A quarter of a second on a slow core; the bound is one for a slow machine, not for slow code.
    assert time.process_time() - started < 1.5
    assert len(found.paths) == count
    assert (read.findings, found.findings) == ((), ())


def test_the_label_files_of_the_planet_set_have_no_findings(planet: Path) -> None:
    file = labels.read_labels(planet / "train_v2.csv")
    assert (len(file.rows), len(file.labels), file.findings) == (40_479, 17, ())
    sample = labels.match(file.rows, [str(path) for path in labels.find_images(planet / "sample")], "sample")
    assert len(sample.paths) == 600
    assert [len(finding.names) for finding in sample.findings] == [39_879]
