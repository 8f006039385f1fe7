"""Label files with a column of tags or a column per label give tags and findings."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipelines import labels
from pipelines.labels import LabelOptions
from tests.pipelines.labels.reading import Write, findings_of, read_with, refusal, tags_of

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
    assert message.startswith(
        "tags are separated by ; (line 2) and by | (line 3); use the same separator in the whole "
    )


@pytest.mark.parametrize("rows", [("haze primary", "haze", "primary"), ("a b", "b c", "c d", "a c", "d b")])
def test_one_row_with_a_comma_makes_no_label_of_the_cells_without(write: Write, rows: Sequence[str]) -> None:
    message = refusal(write('x,"clear, water"', *(f"{number},{tags}" for number, tags in enumerate(rows))))
    assert message.startswith(f"tags are separated by spaces in line 3 ({rows[0]}) and by , in line 2; ")


def test_labels_of_several_words_that_stand_alone_are_reported(write: Write) -> None:
    file = write("a,clear;water", "b,dense forest", "c,dense forest")
    assert tags_of(file)["b"] == {"dense forest"}
    assert findings_of(file) == ["1 multi-word label never seen next to a ';', not split: dense forest"]


def test_rows_without_tags_are_left_out(write: Write) -> None:
    file = write("a,clear", "b,", "c,  ")
    assert set(tags_of(file)) == {"a"}
    assert findings_of(file) == ["2 rows without tags, skipped: b, c"]


def test_stray_spaces_are_removed_and_reported(write: Write) -> None:
    file = write(" a ,clear", "b, clear  water", "c,clear water")
    assert tags_of(file) == {"a": {"clear"}, "b": {"clear", "water"}, "c": {"clear", "water"}}
    assert findings_of(file) == [
        "1 image name with surrounding spaces, trimmed: a",
        "1 row with stray spaces or separators in the tags, cleaned: line 3",
    ]


@pytest.mark.parametrize("header", ["Image_Name,TAGS", "image name , Labels", "tags of the image,image_name,tags"])
def test_the_header_may_vary(write: Write, header: str) -> None:
    file = write(*(["x,a,clear"] if header.count(",") == 2 else ["a,clear"]), header=header)
    assert tags_of(file) == {"a": {"clear"}}


def test_columns_beside_names_and_tags_are_ignored_and_reported(write: Write) -> None:
    file = write("0,a,clear,train", header=",image_name,tags,split")
    assert tags_of(file) == {"a": {"clear"}}
    assert findings_of(file) == [
        "1 column without a name, ignored: column 1",
        "1 column that may divide the images, ignored (train follows one that --split_column names): split",
    ]


@pytest.mark.parametrize("index", ["", "Unnamed: 0"])
def test_an_index_written_before_the_names_holds_no_names(write: Write, index: str) -> None:
    file = write("3,1.jpg,clear", "7,0.jpg,haze", header=f"{index},file,tags")
    assert tags_of(file) == {"1.jpg": {"clear"}, "0.jpg": {"haze"}}
    assert findings_of(file) == ["1 column without a name, ignored: column 1"]
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
    message = refusal(write("a,1,3", "b,0,0", header="image_name,clear,area"))
    assert message.startswith("line 2, column area: 3 is not 0, 1, true, false, yes or no; correct it, or remove")
    assert "--tags_column" in message
    message = refusal(write('a,"x\ny"', header="file,forest"))
    assert message.startswith(r"line 2, column forest: 'x\ny' is not 0, 1")


def test_an_empty_cell_is_not_a_0(write: Write) -> None:
    file = write("a,1,0", "b,1,", "c, ,1", header="image_name,clear,water")
    assert set(tags_of(file)) == {"a"}
    assert findings_of(file) == ["2 rows with an empty cell, skipped: b, c"]


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
    assert findings_of(file) == ["1 label with stray spaces in the header, trimmed: clear"]


# Spellings


def test_spellings_of_a_label_become_the_most_frequent(write: Write) -> None:
    file = write("a,clear", "b,Clear water", "c,clear", "d,CLEAR Clear", "e,Water", "f,clear Water")
    assert tags_of(file)["d"] == {"clear"}
    assert labels.read_labels(file).labels == ("Water", "clear")
    assert findings_of(file) == [
        "3 label spellings merged: CLEAR (1 row) into clear, Clear (2 rows) into clear, water (1 row) into Water"
    ]


def test_a_tie_goes_to_the_alphabetically_first_and_capitals_alone_are_kept(write: Write) -> None:
    assert labels.read_labels(write("a,clear", "b,Clear Water")).labels == ("Clear", "Water")


def test_known_spellings_win(write: Write) -> None:
    assert tags_of(write("a,Clear", "b,Clear"), known=["clear"]) == {"a": {"clear"}, "b": {"clear"}}
    assert findings_of(write("a,Clear", "b,Clear"), known=["clear"]) == [
        "1 label spelling merged: Clear (2 rows) into clear"
    ]
    in_columns = labels.read_labels(write("a,1,0", header="image_name,Clear,WATER"), known=["clear", "water"])
    assert in_columns.labels == ("clear", "water")
    assert tags_of(write("a,a", "b,A"), known=["A", "a"]) == {"a": {"a"}, "b": {"A"}}


def test_unicode_forms_of_a_label_are_one(write: Write) -> None:
    one, two = "for\u00eat", "fore\u0302t"
    file = write(f"a,{one}", f"b,{two}", f"c,{two}")
    assert labels.read_labels(file).labels == (two,)
    assert findings_of(file) == [r"1 label spelling merged: 'for\xeat' (1 row) into 'fore\u0302t'"]


# Confidence


@pytest.mark.parametrize("zero", ["0", "0.0", "0.00", " 0", "0e0", "-0", "False", "false"])
def test_a_confidence_of_0_takes_the_tag_however_it_is_written(write: Write, zero: str) -> None:
    file = write("a,ship,0.5", f"b,ship,{zero}", "c,sea,true", header="file,class,Confidence")
    assert tags_of(file) == {"a": {"ship"}, "b": set(), "c": {"sea"}}
    assert findings_of(file) == ["1 row with Confidence 0, whose tags are left out: line 3"]


@pytest.mark.parametrize("header", ["image,label,present", "image,variable,value", "image,class,Is Positive"])
@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("True", "False"), ("yes", "No"), ("1.00", "0.00")])
def test_a_row_for_each_image_and_label_says_which_it_has(write: Write, header: str, yes: str, no: str) -> None:
    rows = f"a,bare soil,{yes}", f"a,sea,{no}", f"b,bare soil,{no}", f"b,sea,{no}"
    file = write(*rows, header=header)
    found = labels.match(labels.read_labels(file).rows, ["c/a.jpg", "c/b.jpg"], "c")
    assert list(found.tags) == [{"bare soil"}, set()]


@pytest.mark.parametrize("missing", ["", "NA", " "])
def test_a_missing_cell_does_not_hide_what_a_column_says_of_the_tags(write: Write, missing: str) -> None:
    file = labels.read_labels(
        write("a,ship,1", "a,sea,0", "b,sea,0", f"c,ship,{missing}", header="image,label,present")
    )
    assert [set(row.tags) for row in file.rows] == [{"ship"}, set(), set(), {"ship"}]


def test_whether_a_label_is_there_is_no_label_itself(write: Write) -> None:
    file = write("a,ash,1", "b,oak,1", header="image,species,value")
    assert refusal(file) == (
        "column value may say which of the labels in species are there; name the column of labels by --tags_column, or "
        "say --tags_column none if each column is a label"
    )
    named, none = (read_with(file, LabelOptions(tags_columns=(column,))) for column in ("species", "none"))
    assert (named.labels, none.labels) == (("ash", "oak"), ("value",))
    assert labels.read_labels(write("a,1", "b,0", header="image,positive")).labels == ("positive",)


@pytest.mark.parametrize(
    ("column", "strange"), [*(("confidence", bad) for bad in ("low", "50%", "-1", "inf", "never")), ("present", "-1")]
)
def test_what_is_no_confidence_is_refused(write: Write, column: str, strange: str) -> None:
    message = refusal(write("a,ship,1", f"b,ship,{strange}", header=f"file,class,{column}"))
    assert message == (
        f"line 3, column {column}: {strange} is neither a number from 0 nor true, false, yes or no; write 0 where an "
        "image does not have the tag, or remove the column if each image has the tags of all its rows"
    )


def test_without_a_confidence_a_tag_stands_and_without_a_tag_nothing_is_known(write: Write) -> None:
    file = write("a,ship,", "b,,0", "c,sea,1", header="file,class,confidence")
    assert tags_of(file) == {"a": {"ship"}, "c": {"sea"}}
    assert findings_of(file) == [
        "1 row without tags, skipped: b",
        "1 row without confidence, whose tags are kept: line 2",
    ]
