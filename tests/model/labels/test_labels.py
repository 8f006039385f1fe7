"""Label files of every kind and condition give tags, findings, or one clear line."""

from __future__ import annotations

import csv
import os
import tempfile
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import labels
from model.labels import spelling
from model.labels.match import Row

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write lines as a label file; the header is Kaggle's unless another is given."""

    def write_lines(*lines: str, header: str = "image_name,tags", end: str = "\n") -> Path:
        file = tmp_path / "labels.csv"
        file.write_bytes(end.join([header, *lines, ""]).encode())
        return file

    return write_lines


def tags_of(file: Path, known: Sequence[str] = ()) -> dict[str, set[str]]:
    return {row.name: set(row.tags) for row in labels.read_labels(file, known).rows}


def findings_of(file: Path, known: Sequence[str] = ()) -> list[str]:
    return [str(finding) for finding in labels.read_labels(file, known).findings]


def refusal(file: Path) -> str:
    with pytest.raises(labels.LabelError) as refused:
        labels.read_labels(file)
    message = str(refused.value)
    assert message.isprintable()
    assert message.startswith(f"{file}: ")
    return message.removeprefix(f"{file}: ")


def rows_of(*names: str) -> list[Row]:
    return [Row(name, frozenset({"clear"})) for name in names]


def matched(names: Sequence[str], paths: Sequence[str]) -> dict[str, str]:
    """Say which path each name fits, by giving each row a tag of its own."""
    found = labels.match([Row(name, frozenset({name})) for name in names], paths, "chips")
    return {next(iter(tags)): path for path, tags in zip(found.paths, found.tags, strict=True)}


# One column of tags


def test_tags_are_separated_by_spaces(write: Write) -> None:
    file = write("train_0,haze primary", "train_1,clear clear")
    assert tags_of(file) == {"train_0": {"haze", "primary"}, "train_1": {"clear"}}
    assert labels.read_labels(file).labels == ("clear", "haze", "primary")
    assert findings_of(file) == []


@pytest.mark.parametrize("separator", [";", "|", ",", "; ", " | "])
def test_another_separator_holds_for_the_whole_file_and_allows_spaces_in_labels(write: Write, separator: str) -> None:
    file = write(f'a,"bare ground{separator}water"', "b,bare ground", "c,water")
    assert tags_of(file) == {"a": {"bare ground", "water"}, "b": {"bare ground"}, "c": {"water"}}
    assert findings_of(file) == []


def test_two_separators_are_refused(write: Write) -> None:
    message = refusal(write("a,haze;primary", "b,clear|water"))
    assert message == "tags are separated by ; (line 2) and by | (line 3); use one of them in the whole file"


@pytest.mark.parametrize("rows", [("haze primary", "haze", "primary"), ("a b", "b c", "c d", "a c", "d b")])
def test_one_row_with_a_comma_makes_no_label_of_the_cells_without(write: Write, rows: Sequence[str]) -> None:
    message = refusal(write('x,"clear, water"', *(f"{number},{tags}" for number, tags in enumerate(rows))))
    assert message.startswith(f"tags are separated by spaces in line 3 ({rows[0]}) and by , in line 2; ")


def test_labels_of_several_words_that_stand_alone_are_reported(write: Write) -> None:
    file = write("a,clear;water", "b,dense forest", "c,dense forest")
    assert tags_of(file)["b"] == {"dense forest"}
    assert findings_of(file) == [
        "1 labels of several words that never stand beside ;, taken for one label: dense forest"
    ]


def test_rows_without_tags_are_left_out(write: Write) -> None:
    file = write("a,clear", "b,", "c,  ")
    assert set(tags_of(file)) == {"a"}
    assert findings_of(file) == ["2 rows without tags, left out: b, c"]


def test_stray_spaces_are_removed_and_reported(write: Write) -> None:
    file = write(" a ,clear", "b, clear  water", "c,clear water")
    assert tags_of(file) == {"a": {"clear"}, "b": {"clear", "water"}, "c": {"clear", "water"}}
    assert findings_of(file) == [
        "1 names with spaces around them, read without: a",
        "1 rows with stray spaces or separators among their tags, read without: line 3",
    ]


@pytest.mark.parametrize("header", ["Image_Name,TAGS", "image name , Labels", "tags of the image,image_name,tags"])
def test_the_header_may_vary(write: Write, header: str) -> None:
    file = write(*(["x,a,clear"] if header.count(",") == 2 else ["a,clear"]), header=header)
    assert tags_of(file) == {"a": {"clear"}}


def test_columns_beside_names_and_tags_are_ignored_and_reported(write: Write) -> None:
    file = write("0,a,clear,train", header=",image_name,tags,split")
    assert tags_of(file) == {"a": {"clear"}}
    assert findings_of(file) == [
        "1 columns without a name, ignored: column 1",
        "1 columns beside names and tags, ignored: split",
    ]


@pytest.mark.parametrize("cell", ["['clear', 'haze']", '["clear", "haze"]', "{'clear'}", " ('clear',) "])
def test_a_list_of_python_or_json_is_refused(tmp_path: Path, cell: str) -> None:
    file = tmp_path / "labels.csv"
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([["image_name", "tags"], ["a", "clear"], ["b", cell]])
    message = refusal(file)
    assert (
        message
        == f"line 3: {cell} is a list as Python or JSON writes it; write its tags alone, with spaces between them"
    )


@pytest.mark.parametrize("index", ["", "Unnamed: 0"])
def test_an_index_written_before_the_names_holds_no_names(write: Write, index: str) -> None:
    file = write("3,1.jpg,clear", "7,0.jpg,haze", header=f"{index},file,tags")
    assert tags_of(file) == {"1.jpg": {"clear"}, "0.jpg": {"haze"}}
    assert findings_of(file) == ["1 columns without a name, ignored: column 1"]
    assert tags_of(write("0,a.jpg,1", header=f"{index},file,clear")) == {"a.jpg": {"clear"}}


def test_numbers_without_a_header_are_names_where_nothing_else_can_be(write: Write) -> None:
    assert tags_of(write("0,clear", "1,haze", header=",tags")) == {"0": {"clear"}, "1": {"haze"}}
    assert tags_of(write("0,1,0", "1,0,1", header=",clear,haze")) == {"0": {"clear"}, "1": {"haze"}}
    assert tags_of(write("a,train,clear", header=",split,tags")) == {"a": {"clear"}}


# One column a label


def test_a_column_may_stand_for_a_label(write: Write) -> None:
    file = write(
        "a,1,0,1.0", "b,TRUE,false,No", "c,0.0, yes ,0", "d,0,0,0", header='image_name,clear,bare ground,"dry, really"'
    )
    assert tags_of(file) == {"a": {"clear", "dry, really"}, "b": {"clear"}, "c": {"bare ground"}, "d": set()}
    assert labels.read_labels(file).labels == ("bare ground", "clear", "dry, really")
    assert findings_of(file) == []


def test_without_a_column_image_name_the_first_holds_the_names(write: Write) -> None:
    assert tags_of(write("a.jpg,1", header="file,clear")) == {"a.jpg": {"clear"}}
    assert tags_of(write("a.jpg,1", header=",clear")) == {"a.jpg": {"clear"}}
    assert tags_of(write("1,a.jpg", header="clear,image_name")) == {"a.jpg": {"clear"}}


def test_a_label_that_no_row_has_is_known(write: Write) -> None:
    assert labels.read_labels(write("a,1,0", header="image_name,water,clear")).labels == ("clear", "water")


def test_labels_may_be_numbers(write: Write) -> None:
    assert tags_of(write("a,1,0", header="image_name,0,1")) == {"a": {"0"}}
    assert tags_of(write("a,1 2.5")) == {"a": {"1", "2.5"}}


def test_a_cell_of_another_kind_is_refused(write: Write) -> None:
    message = refusal(write("a,1,3", "b,0,2.5", header="image_name,clear,area"))
    assert message.startswith("line 2, column area: 3 is none of 0, 1, true, false, yes, no; correct it, or remove")
    message = refusal(write('a,"x\ny"', header="file,label"))
    assert message.startswith(r"line 2, column label: 'x\ny' is none of 0, 1")


def test_an_empty_cell_is_not_a_0(write: Write) -> None:
    file = write("a,1,0", "b,1,", "c, ,1", header="image_name,clear,water")
    assert set(tags_of(file)) == {"a"}
    assert findings_of(file) == ["2 rows with an empty cell, left out: b, c"]


def test_columns_without_a_name_are_ignored_and_reported(write: Write) -> None:
    file = write("7,a,9,1", header=",image_name,Unnamed: 0,clear")
    assert tags_of(file) == {"a": {"clear"}}
    assert findings_of(file) == ["2 columns without a name, ignored: column 1, column 3"]


@pytest.mark.parametrize("twin", ["c", " c", "C", "image_name"])
def test_two_columns_of_one_name_are_refused(write: Write, twin: str) -> None:
    assert refusal(write("a,1,0", header=f"image_name,c,{twin}")).startswith("two columns have the same name: ")


def test_spaces_around_labels_in_the_header_are_reported(write: Write) -> None:
    file = write("a,1", header="image_name, clear ")
    assert tags_of(file) == {"a": {"clear"}}
    assert findings_of(file) == ["1 labels with stray spaces in the header, read without them: clear"]


# Spellings


def test_spellings_of_a_label_become_the_most_frequent(write: Write) -> None:
    file = write("a,clear", "b,Clear water", "c,clear", "d,CLEAR Clear", "e,Water", "f,clear Water")
    assert tags_of(file)["d"] == {"clear"}
    assert labels.read_labels(file).labels == ("Water", "clear")
    assert findings_of(file) == [
        "3 spellings of labels, merged: CLEAR (1 row) into clear, Clear (2 rows) into clear, water (1 row) into Water"
    ]


def test_a_tie_goes_to_the_alphabetically_first_and_capitals_alone_are_kept(write: Write) -> None:
    assert labels.read_labels(write("a,clear", "b,Clear Water")).labels == ("Clear", "Water")


def test_known_spellings_win(write: Write) -> None:
    assert tags_of(write("a,Clear", "b,Clear"), known=["clear"]) == {"a": {"clear"}, "b": {"clear"}}
    assert findings_of(write("a,Clear", "b,Clear"), known=["clear"]) == [
        "1 spellings of labels, merged: Clear (2 rows) into clear"
    ]
    in_columns = labels.read_labels(write("a,1,0", header="image_name,Clear,WATER"), known=["clear", "water"])
    assert in_columns.labels == ("clear", "water")
    assert tags_of(write("a,a", "b,A"), known=["A", "a"]) == {"a": {"a"}, "b": {"A"}}


def test_unicode_forms_of_a_label_are_one(write: Write) -> None:
    one, two = "for\u00eat", "fore\u0302t"
    file = write(f"a,{one}", f"b,{two}", f"c,{two}")
    assert labels.read_labels(file).labels == (two,)
    assert findings_of(file) == [r"1 spellings of labels, merged: 'for\xeat' (1 row) into 'fore\u0302t'"]


# Whole files


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
    assert refusal(tmp_path / "labels.csv") == "not text in UTF-8; save it as CSV in UTF-8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n \n,\n", "the file is empty"),
        ("image_name,tags\n\n", "has a header, but no row"),
        (
            "image_name\na\n",
            "needs the columns image_name,tags, or image_name and one column a label, .*; has image_name",
        ),
        ("image_name|tags\na|clear\n", r"with commas, semicolons or tabs between them; has image_name\|tags"),
        ("tags\n1\n", "needs the columns image_name,tags, or .*; has tags"),
        ("image_name,\na,1\n", "needs the columns image_name,tags, or .*; has image_name, ''"),
        (
            "image_name,tags\na,\n,clear\n",
            "no row can be used; 1 rows without an image name, left out: line 3; 1 rows wi",
        ),
        ("image_name,tags\na,haze,primary\n", "line 2 has not as many cells as the header: 3, not 2; put quotes"),
        ("image_name,tags\n\n\na\n", "line 4 has not as many cells as the header: 1, not 2; put quotes"),
        ('image_name,tags\na,"b\nc"\nd\n', "line 4 has not as many cells"),
        ('image_name,tags\na,"clear\nb,haze\n', "line 2: unexpected end of data; quotes come in pairs"),
        ('image_name,tags\na,"clear\nb,"haze"\n', "line 2: ',' expected after '\"'; quotes come in pairs"),
        (
            'image_name,tags\na,"clear\nb,haze"\nc,clear\n',
            "line 2: a quoted cell runs on over further rows; quotes come",
        ),
        ('image_name,tags\r\n\r\na,"clear\r\nb,haze"\r\n', "line 3: a quoted cell runs on over further rows"),
        ('image_name,tags,note\na,clear,"x\nb,haze,y"\n', "line 2: a quoted cell runs on over further rows"),
        ('image_name\ttags\na\t"clear"haze\n', r"line 2: .* expected after .*; quotes come in pairs"),
        (f"image_name,tags\na,{'x' * 200_000}\n", "line 2: field larger than field limit"),
        ("train_0,haze primary\ntrain_1,clear\n", r"line 1 looks like a row \(train_0, haze primary\), not like a hea"),
        ("train_0,haze,primary\ntrain_1,clear\n", "line 1 looks like a row"),
        ("a.jpg,haze\nb.jpg,clear\n", "line 1 looks like a row"),
        ("a,1,0\nb,0,1\n", "line 1 looks like a row"),
        ("a,haze\nb,clear\n", "line 2, column haze: clear is none of .* must be a header: image_name above"),
        (f"image_name,clear\na,{'2' * 5000}\n", r"line 2, column clear: 2{200}\.\.\. is none of"),
    ],
)
def test_what_cannot_be_understood_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(text.encode())
    with pytest.raises(labels.LabelError, match=message):
        labels.read_labels(file)
    assert len(refusal(file)) < 500


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "Is a directory"
    assert refusal(tmp_path / "none.csv") == "No such file or directory"


def test_rows_without_a_name_are_reported_by_line(write: Write) -> None:
    file = write('a,"clear\nwater"', "", ",haze", '" ",clear')
    assert tags_of(file) == {"a": {"clear", "water"}}
    assert "2 rows without an image name, left out: line 5, line 6" in findings_of(file)


def test_a_finding_shows_its_count_and_the_first_few_names() -> None:
    assert str(labels.Finding("rows, left out", ("a", "b", "a", "c"))) == "4 rows, left out: a, b, c"
    assert str(labels.Finding("rows, left out", tuple("abcd"))) == "4 rows, left out: a, b, c, ..."
    assert str(labels.Finding("rows, left out", ("a\nb",))) == r"1 rows, left out: 'a\nb'"


# Any names

NAMES = st.text(
    st.one_of(st.sampled_from(" ,;|\"'#%[]é\u0301ß"), st.characters(exclude_categories=("C", "Z"))), min_size=1
).map(lambda name: " ".join(name.split()))
RESERVED = ("image", "tags", "labels", "unnamed", "['", '["')
LABELS = NAMES.filter(lambda name: name and not spelling.key(name).startswith(RESERVED))
IMAGES = NAMES.filter(lambda name: name.strip("./\\ ")).map(lambda name: name.replace("/", "-").replace("\\", "-"))


def image_key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", os.path.splitext(name)[0]).casefold())


def write_read_and_match(
    header: Sequence[str], rows: Sequence[Sequence[str]], names: Sequence[str]
) -> tuple[labels.LabelFile, labels.LabelledImages]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "labels.csv")
        with file.open("w", newline="", encoding="utf-8") as lines:
            csv.writer(lines).writerows([header, *rows])
        read = labels.read_labels(file)
    return read, labels.match(read.rows, [f"/chips/{name}.jpg" for name in names], "chips")


@given(st.data())
def test_any_names_survive_one_column_a_label(data: st.DataObject) -> None:
    known = data.draw(st.lists(LABELS, min_size=1, max_size=5, unique_by=spelling.key))
    names = data.draw(st.lists(IMAGES, min_size=1, max_size=5, unique_by=image_key))
    given_tags = [data.draw(st.frozensets(st.sampled_from(known))) for _ in names]
    rows = [
        [name, *("1" if label in of_image else "0" for label in known)]
        for name, of_image in zip(names, given_tags, strict=True)
    ]
    read, found = write_read_and_match(["image_name", *known], rows, names)
    assert read == (tuple(map(Row, names, given_tags)), tuple(sorted(known)), ())
    assert found == (tuple(f"/chips/{name}.jpg" for name in names), tuple(given_tags), ())


@given(st.data())
def test_any_names_survive_one_column_of_tags(data: st.DataObject) -> None:
    unmarked = LABELS.map(lambda label: label.translate(dict.fromkeys(map(ord, " ,;|"), "_")))
    known = data.draw(st.lists(unmarked, min_size=1, max_size=5, unique_by=spelling.key))
    names = data.draw(st.lists(IMAGES, min_size=1, max_size=5, unique_by=image_key))
    given_tags = [data.draw(st.frozensets(st.sampled_from(known), min_size=1)) for _ in names]
    rows = [[name, " ".join(of_image)] for name, of_image in zip(names, given_tags, strict=True)]
    read, found = write_read_and_match(["image_name", "tags"], rows, names)
    assert read == (tuple(map(Row, names, given_tags)), labels.vocabulary(given_tags), ())
    assert found == (tuple(f"/chips/{name}.jpg" for name in names), tuple(given_tags), ())


# Images


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
    expected = rf"^{name} fits several images of chips: {shown} \(1 such rows in all\); name a folder .* write paths"
    with pytest.raises(labels.LabelError, match=expected):
        labels.match(rows_of(name), paths, "chips")


def test_duplicate_rows_count_once_and_contradictory_ones_not_at_all() -> None:
    rows = [
        Row("a", frozenset({"clear"})),
        Row("b", frozenset({"haze"})),
        Row("a.jpg", frozenset({"clear"})),
        Row("c", frozenset({"haze"})),
        Row("c", frozenset({"haze"})),
        Row("./c.jpg", frozenset({"water"})),
    ]
    found = labels.match(rows, ["c/a.jpg", "c/b.jpg", "c/c.jpg"], "chips")
    assert found.paths == ("c/a.jpg", "c/b.jpg")
    assert found.tags == (frozenset({"clear"}), frozenset({"haze"}))
    assert list(map(str, found.findings)) == [
        "1 duplicate rows, counted once: a.jpg",
        "1 images whose rows contradict one another, left out: c.jpg",
    ]


def test_contradictory_rows_alone_are_refused() -> None:
    rows = [Row("a", frozenset({"clear"})), Row("a", frozenset({"haze"}))]
    with pytest.raises(
        labels.LabelError, match=r"no image of chips is left: 1 images whose rows contradict .*: a\.jpg"
    ):
        labels.match(rows, ["c/a.jpg"], "chips")


def test_what_has_no_counterpart_is_left_out_and_reported() -> None:
    found = labels.match(rows_of("d", "b", "e"), ["c/a.jpg", "c/b.jpg", "c/x/a.jpg"], "chips")
    assert found.paths == ("c/b.jpg",)
    assert list(map(str, found.findings)) == [
        "2 rows without an image, left out: d, e",
        "2 images without a row, left out: a.jpg, x/a.jpg",
    ]


def test_a_name_that_is_not_utf8_can_be_written_down() -> None:
    [finding] = labels.match(rows_of("a"), ["c/a.jpg", os.fsdecode(b"c/\xff.jpg")], "chips").findings
    assert finding.names == (r"\udcff.jpg",)


def test_rows_that_fit_nothing_are_one_clear_line() -> None:
    with pytest.raises(labels.LabelError) as refused:
        labels.match(rows_of(*(f"train_{number}" for number in range(5))), ["c/a.jpg", "c/b.jpg"], "chips")
    assert str(refused.value) == (
        "no row names an image of chips: rows such as train_0, train_1, train_2, ...; images such as a.jpg, b.jpg"
    )
    with pytest.raises(labels.LabelError, match=r"rows such as /elsewhere/a; images such as c/a\.jpg, c/b\.jpg"):
        labels.match(rows_of("/elsewhere/a"), ["c/a.jpg", "c/b.jpg"], "chips")
    with pytest.raises(labels.LabelError, match="chips: no image there"):
        labels.match(rows_of("a"), [], "chips")


def test_images_are_found_to_the_bottom_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/c.tiff", "a/._c.tiff", ".hidden/d.jpg", "notes.txt", "e.png/f.webp"):
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
    with pytest.raises(labels.LabelError, match=r"no image in this folder \(endings: \.jpg "):
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


@pytest.mark.parametrize("in_columns", [False, True])
def test_a_file_of_the_size_of_the_planet_set_reads_and_matches_quickly(tmp_path: Path, in_columns: bool) -> None:
    # Each folder calls its image the same, which a search among images of one name would take minutes for.
    count, every = 40_479, [f"label_{number}" for number in range(17)]
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
    # A second or so on a slow core; the bound is one for a slow machine, not for slow code.
    assert time.process_time() - started < 5
    assert len(found.paths) == count
    assert (read.findings, found.findings) == ((), ())


def test_the_label_files_of_the_planet_set_have_nothing_amiss(planet: Path) -> None:
    file = labels.read_labels(planet / "train_v2.csv")
    assert (len(file.rows), len(file.labels), file.findings) == (40_479, 17, ())
    sample = labels.match(file.rows, [str(path) for path in labels.find_images(planet / "sample")], "sample")
    assert len(sample.paths) == 600
    assert [len(finding.names) for finding in sample.findings] == [39_879]
