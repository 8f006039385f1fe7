"""The label files of well-known sets are read as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines import labels
from pipelines.labels import LabelOptions
from tests.pipelines.labels.reading import PLANET, findings_of, read_with, refusal, tags_of, write

NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
    "00000001_000.png,Cardiomegaly,0,1,058Y,M,PA,2682,2749,0.143,0.143,\n"
    "00000001_001.png,Cardiomegaly|Pleural_Thickening,1,1,058Y,M,PA,2894,2729,0.143,0.143,\n"
    "00000002_000.png,No Finding,0,2,081Y,M,PA,2500,2048,0.171,0.171,\n"
)
TABLES = {
    "Planet": PLANET,
    "NIH chest X-rays": (
        NIH,
        {
            "00000001_000.png": {"Cardiomegaly"},
            "00000001_001.png": {"Cardiomegaly", "Pleural_Thickening"},
            "00000002_000.png": {"No Finding"},
        },
    ),
    "movie posters": (
        "Id,Genre,Action,Comedy,Drama,N/A\n"
        "tt0086425,\"['Comedy', 'Drama']\",0,1,1,0\ntt0085549,\"['Drama', 'Sci-Fi']\",0,0,1,0\n",
        {"tt0086425": {"Comedy", "Drama"}, "tt0085549": {"Drama", "Sci-Fi"}},
    ),
    "movie genres by poster": (
        "imdbId,Imdb Link,Title,IMDB Score,Genre,Poster\n"
        "114709,http://www.imdb.com/title/tt114709,Toy Story (1995),8.3,Animation|Adventure|Comedy,https://a/b.jpg\n",
        {"114709": {"Animation", "Adventure", "Comedy"}},
    ),
    "Roboflow": (
        "filename, Boat, Sea Ice\n1_png.rf.0a.jpg, 1, 0\n2_png.rf.0b.jpg, 1, 1\n",
        {"1_png.rf.0a.jpg": {"Boat"}, "2_png.rf.0b.jpg": {"Boat", "Sea Ice"}},
    ),
    "CelebA, CSV": (
        "image_id,5_o_Clock_Shadow,Bald\n000001.jpg,-1,1\n000002.jpg,-1,-1\n",
        {"000001.jpg": {"Bald"}, "000002.jpg": set()},
    ),
    "PASCAL VOC, CSV": (
        "name,aeroplane,bicycle,train\n000007,-1,-1,0\n000009,-1,-1,1\n",
        {"000007": {"train"}, "000009": {"train"}},
    ),
    "PASCAL VOC 2007 of fast.ai": (
        "fname,labels,is_valid\n000005.jpg,chair,True\n000007.jpg,car person,False\n",
        {"000005.jpg": {"chair"}, "000007.jpg": {"car", "person"}},
    ),
    "UC Merced and AID": (
        "IMAGE\\LABEL\tairplane\tbare-soil\nagricultural00\t0\t1\n",
        {"agricultural00": {"bare-soil"}},
    ),
    "BigEarthNet as lists of Python": (
        "patch_id,labels,split\n"
        "S2A_1,\"['Beaches, dunes, sands', 'Coniferous forest']\",train\nS2A_2,\"['Arable land']\",test\n",
        {"S2A_1": {"Beaches, dunes, sands", "Coniferous forest"}, "S2A_2": {"Arable land"}},
    ),
    "BigEarthNet separated by |": (
        'patch,labels\nS2A_1,"Beaches, dunes, sands|Coniferous forest"\nS2A_2,Arable land|Coniferous forest\n',
        {"S2A_1": {"Beaches, dunes, sands", "Coniferous forest"}, "S2A_2": {"Arable land", "Coniferous forest"}},
    ),
    "iMet": ("id,attribute_ids\n1000483014d91860,147 616 813\n", {"1000483014d91860": {"147", "616", "813"}}),
    "Human Protein Atlas": ("Id,Target\n00070df0,16 0\n000a6c98,0\n000a9596,16\n", {"00070df0": {"16", "0"}}),
    "Label Studio": (
        "image,id,choice\n"
        '/data/upload/1/a.jpg,1,lake\n/data/upload/1/b.jpg,2,"{""choices"":[""lake"",""bare soil""]}"\n',
        {"/data/upload/1/a.jpg": {"lake"}, "/data/upload/1/b.jpg": {"lake", "bare soil"}},
    ),
    "boxes of detection": (
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,8,8,ship,0,0,1,1\n",
        {"a.jpg": {"ship"}},
    ),
    "columns of tags with numbers": (
        "image,label1,label2,label3\na.jpg,bare ground,y,\nb.jpg,x,,\nc.jpg,,,\n",
        {"a.jpg": {"bare ground", "y"}, "b.jpg": {"x"}},
    ),
    "single quotes": ("image,tags\na,'x y'\nb,'x'\n", {"a": {"x", "y"}, "b": {"x"}}),
    "Open Images": (
        "ImageID,Source,LabelName,Confidence\n0f,verification,/m/04bcr3,1\n1f,verification,/m/04bcr3,0\n",
        {"0f": {"/m/04bcr3"}, "1f": set()},
    ),
    "one-hot with a split": (
        "image,clear,water,is_valid,fold\na.jpg,1,0,1,0\nb.jpg,0,1,0,1\n",
        {"a.jpg": {"clear"}, "b.jpg": {"water"}},
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_well_known_sets_are_read_as_they_are(name: str, tmp_path: Path) -> None:
    text, expected = TABLES[name]
    found = tags_of(write(tmp_path, "labels.csv", text))
    assert {image: found[image] for image in expected} == expected


def test_what_is_left_out_of_a_table_is_said(tmp_path: Path) -> None:
    assert findings_of(write(tmp_path, "split.csv", TABLES["one-hot with a split"][0])) == [
        "2 columns that may divide the images, ignored (train follows one that --split_column names): is_valid, fold"
    ]
    assert findings_of(write(tmp_path, "voc.csv", TABLES["PASCAL VOC, CSV"][0])) == [
        "1 cell with 0 next to 1 and -1, read as present (difficult): line 2"
    ]
    text = "image,clear,age,note\na,1,40,x1\nb,0,1,x2\nc,1,30,x3\n"
    assert findings_of(write(tmp_path, "ages.csv", text)) == [
        "2 columns with values other than 0 and 1, ignored: age, note"
    ]
    assert findings_of(write(tmp_path, "x.csv", "image,clear,water\na,x,\nb,,x\n")) == [
        "2 empty cells in a file without 0, read as 0: line 2, line 3"
    ]


def test_an_unclear_minus_one_is_refused(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "chexpert.csv", "Path,Edema,Pneumonia\na.jpg,1,0\nb.jpg,-1,0\n"))
    assert message.startswith("-1 occurs next to 0 and 1, which leaves open what it means; write 0")


@pytest.mark.parametrize("columns", ["water,forest", "boat,bird"])
def test_a_frequent_minus_one_is_not_read_as_no_where_it_may_mean_unknown(columns: str, tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "partial.csv", f"image,{columns}\na,1,-1\nb,-1,-1\nc,-1,0\nd,0,-1\n"))
    assert message.startswith("-1 occurs next to 0 and 1, which leaves open what it means; write 0")


@pytest.mark.parametrize(
    ("yes", "no"),
    [("1.00", "0.00"), ("1.000000000000000000e+00", "0.000000000000000000e+00"), ("1.", "0."), ("1", "-1.00")],
)
def test_marks_may_be_written_as_any_number_that_is_one(yes: str, no: str, tmp_path: Path) -> None:
    text = f"image,clear,water\na,{yes},{no}\nb,{no},{yes}\n"
    assert tags_of(write(tmp_path, "labels.csv", text)) == {"a": {"clear"}, "b": {"water"}}


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["[1, 2]", "[1]"], [{"1", "2"}, {"1"}]),
        (["(1, 2)", "(1,)"], [{"1", "2"}, {"1"}]),
        (["[1 2]", "[3]"], [{"1", "2"}, {"3"}]),
        (["[clear, bare ground]", "[clear]"], [{"clear", "bare ground"}, {"clear"}]),
        (["{clear,water}", "{}"], [{"clear", "water"}, set()]),
        (["['a b', \"it's\"]", "[]"], [{"a b", "it's"}, set()]),
        (["['a' 'b']", "['c'\n 'd']"], [{"a", "b"}, {"c", "d"}]),
        (['["a, b", null]', "['c',]"], [{"a, b"}, {"c"}]),
        (["{'a'}", "('b', 'a')"], [{"a"}, {"a", "b"}]),
        (["['a']", "b c"], [{"a"}, {"b", "c"}]),
        (["nan", "a"], [None, {"a"}]),
        (["None", "[nan, nan]", "['nan']", "null", "NA", "a"], [None, None, None, None, None, {"a"}]),
        (["[nan, bare ground]", "a,nan"], [{"bare ground"}, {"a"}]),
        (["['a', None]", "['NA']", "NA,null", "a"], [{"a"}, None, None, {"a"}]),
        (['{a,"b c"}', "{a}"], [{"a", "b c"}, {"a"}]),
        (["[a, b c]", "a|d, e"], [{"a", "b c"}, {"a", "d, e"}]),
        (["(unclear)", "clear"], [{"(unclear)"}, {"clear"}]),
    ],
)
def test_lists_and_missing_values_in_cells(
    cells: Sequence[str], expected: Sequence[set[str] | None], tmp_path: Path
) -> None:
    rows = "".join(f'{number},"{cell.replace(chr(34), chr(34) * 2)}"\n' for number, cell in enumerate(cells))
    found = tags_of(write(tmp_path, "labels.csv", f"image_name,tags\n{rows}"))
    assert found == {str(number): tags for number, tags in enumerate(expected) if tags is not None}


@pytest.mark.parametrize(
    ("cell", "dropped"),
    [
        ("clear;nan", "nan"),
        ("clear;NA;haze", "NA"),
        ("clear nan", "nan"),
        ("['clear', 'None']", "None"),
        ("['clear', None]", "''"),
        ("[clear, null]", "null"),
        ('{""NA"",clear}', "NA"),
    ],
)
def test_missing_values_next_to_tags_are_no_tags_and_are_said(cell: str, dropped: str, tmp_path: Path) -> None:
    file = write(tmp_path, "labels.csv", f'image_name,tags\na,"{cell}"\nb,haze\n')
    read = labels.read_labels(file)
    assert set(read.labels) == {"clear", "haze"}
    assert "clear" in read.rows[0].tags
    assert f"1 missing value next to tags, left out: {dropped} (line 2)" in list(map(str, read.findings))


def test_a_list_that_is_none_is_refused_and_an_empty_one_is_said(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "labels.csv", "image_name,tags\na,\"['b', 'c]'\"\nd,\"{'e': 1, 'f': 'g'}\"\n"))
    assert message.startswith("line 3: {'e': 1, 'f': 'g'} is not a list of strings; write it as JSON, or ")
    for cell in ("{'clear': 1, 'haze': 0}", "[('clear', 1), ('haze', 0)]", "{clear=1, haze=0}", "{clear: true}"):
        message = refusal(write(tmp_path, "labels.csv", f'image_name,tags\na,"{cell}"\nb,clear\n'))
        assert message.startswith(f"line 2: {cell} is not a list of strings; ")
    message = refusal(write(tmp_path, "labels.csv", 'image_name,tags\na,"[[1, 2], [3]]"\n'))
    assert message.startswith("line 2: [[1, 2], [3]] is not a list of strings; ")
    assert findings_of(write(tmp_path, "labels.csv", "image_name,tags\na,[]\nb,['c']\n")) == [
        "1 empty list, read as no labels: line 2"
    ]


@pytest.mark.parametrize(
    "cells",
    [
        ("cloud:0.54|sea:0.3", "sea:1.0"),
        ("sea (0.5); bare soil (12%)", "sea (.25)"),
        ("sea=40%|road=60 %", "sea=0,5"),
    ],
)
def test_tags_with_numbers_behind_them_are_refused(cells: Sequence[str], tmp_path: Path) -> None:
    rows = "".join(f'{number},"{cell}"\n' for number, cell in enumerate(cells))
    file = write(tmp_path, "labels.csv", f"image_name,tags\n{rows}")
    assert "has a number behind it, as most tags have; write the names of the tags alone" in refusal(file)
    assert len(read_with(file, LabelOptions(separator="none")).rows) == 2
    # So do names of products and the like.
    plain = write(tmp_path, "plain.csv", "image_name,tags\na,zone:3|level 2.5\nb,road (2)|12:30\n")
    assert tags_of(plain) == {"a": {"zone:3", "level 2.5"}, "b": {"road (2)", "12:30"}}


@pytest.mark.parametrize(
    "cells", [("0110", "0100", "0101"), ("[0, 1, 0]", "[1, 0, 0]"), ("0 1 1", "0 0 1"), ("[0 1 0]", "[1 1 0]")]
)
def test_marks_without_names_are_refused(cells: Sequence[str], tmp_path: Path) -> None:
    rows = "".join(f'{number},"{cell}"\n' for number, cell in enumerate(cells))
    message = refusal(write(tmp_path, "labels.csv", f"image_name,labels\n{rows}"))
    assert message.startswith(("line 2: 0 1 ", "line 2: 0110 "))
    assert "looks like a 0 or 1 for each label, without their names; write a column per label" in message


@pytest.mark.parametrize(
    ("separator", "cells", "expected"),
    [
        (",", ["a b, c|d", "c|d"], [{"a b", "c|d"}, {"c|d"}]),
        ("none", ["Beaches, dunes, sands", "a|b"], [{"Beaches, dunes, sands"}, {"a|b"}]),
        ("space", ["a b", "c|d"], [{"a", "b"}, {"c|d"}]),
        ("/", ["a/ b", "b"], [{"a", "b"}, {"b"}]),
        (" - ", ["x-y - z", "z"], [{"x-y", "z"}, {"z"}]),
    ],
)
def test_the_user_decides_what_separates(
    separator: str, cells: Sequence[str], expected: Sequence[set[str]], tmp_path: Path
) -> None:
    rows = "".join(f'{number},"{cell}"\n' for number, cell in enumerate(cells))
    file = write(tmp_path, "labels.csv", f"image_name,tags\n{rows}")
    read = read_with(file, LabelOptions(separator=separator))
    assert [set(row.tags) for row in read.rows] == expected


def test_a_comma_beside_a_stronger_separator_is_refused_where_it_may_separate(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "labels.csv", 'image_name,tags\na,clear|haze\nb,"clear, water"\n'))
    assert message.startswith("tags are separated by , in line 3 (clear, water) and by | in line 2; ")
    assert message.endswith("or name what separates them by --separator")


def test_a_column_of_single_labels_is_split_only_where_it_must_hold_lists(tmp_path: Path) -> None:
    whole = write(tmp_path, "whole.csv", "file_name,label\na,Annual Crop\nb,Sea Lake\nc,Forest\n")
    assert tags_of(whole) == {"a": {"Annual Crop"}, "b": {"Sea Lake"}, "c": {"Forest"}}
    assert findings_of(whole) == ["2 multi-word labels, not split (--separator space would): Annual Crop, Sea Lake"]
    assert tags_of(write(tmp_path, "lists.csv", "image,label\na,clear water\nb,clear\nc,water\n"))["a"] == {
        "clear",
        "water",
    }


def test_several_columns_of_tags_are_joined(tmp_path: Path) -> None:
    file = write(tmp_path, "labels.csv", "primary_label,secondary_labels,filename\nx,\"['y', 'z']\",a\nx,[],b\n")
    read = read_with(file, LabelOptions(tags_columns=("primary_label", "secondary_labels")))
    assert {row.name: row.tags for row in read.rows} == {"a": {"x", "y", "z"}, "b": {"x"}}
    assert read.findings == ()


def test_doubtful_separations_are_said(tmp_path: Path) -> None:
    file = write(tmp_path, "labels.csv", "image,tags\na,x/y\nb,x\nc,y z/q\n")
    assert findings_of(file) == ["1 label made up of others, not split (--separator would): x/y"]
    rows = "".join(f"{number},traffic light person\n" for number in range(6))
    assert findings_of(write(tmp_path, "labels.csv", f"image,tags\n{rows}9,person\n")) == [
        "1 phrase whose words occur nowhere else, split (--separator none would not): traffic light"
    ]


def test_columns_are_those_that_the_user_names(tmp_path: Path) -> None:
    file = write(tmp_path, "labels.csv", "id,Photo,Species seen,fold\n1,a.jpg,ash;oak,0\n2,b.jpg,oak,1\n")
    options = LabelOptions(image_column="photo", tags_columns=("species_seen",), keep=("fold", "id"))
    read = read_with(file, options)
    assert [(row.name, set(row.tags), row.kept) for row in read.rows] == [
        ("a.jpg", {"ash", "oak"}, ("0", "1")),
        ("b.jpg", {"oak"}, ("1", "2")),
    ]
    with pytest.raises(labels.LabelError, match="--tags_column seen: no such column; the columns are id, Photo, Spec"):
        read_with(file, LabelOptions(tags_columns=("seen",)))
    with pytest.raises(labels.LabelError, match=": column site: no such column; the columns are id, Photo, Spec"):
        read_with(file, LabelOptions(keep=("site",)))
    with pytest.raises(labels.LabelError, match="--image_column and --tags_column are both Photo"):
        read_with(file, LabelOptions(image_column="Photo", tags_columns=("Photo",)))
    file = write(tmp_path, "both.csv", "file,class,clear,water\na,lake,1,1\n")
    assert tags_of(file) == {"a": {"lake"}}
    in_columns = read_with(file, LabelOptions(tags_columns=("none",)))
    assert in_columns.rows[0].tags == {"clear", "water"}


def test_a_label_may_be_called_like_a_column(tmp_path: Path) -> None:
    file = write(tmp_path, "labels.csv", "picture,path,class\na,1,0\nb,1,1\n")
    assert tags_of(file) == {"a": {"path"}, "b": {"path", "class"}}


def test_a_row_per_label_gives_the_union(tmp_path: Path) -> None:
    file = write(tmp_path, "pairs.csv", "image,label\ni0,clear\ni0,water\ni1,bare ground\ni1,clear\n")
    found = labels.match(labels.read_labels(file).rows, ["c/i0.jpg", "c/i1.jpg"], "c")
    assert list(found.tags) == [{"clear", "water"}, {"bare ground", "clear"}]
    assert list(map(str, found.findings)) == ["2 images with different tags in several rows, joined: i0.jpg, i1.jpg"]
