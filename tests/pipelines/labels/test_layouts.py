"""The label files of well-known sets are read as they are."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import labels, storage
from pipelines.labels import LabelFile, LabelOptions, LabelSource
from tests.conftest import Bucket
from tests.pipelines.labels.reading import findings_of, refusal, tags_of

NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
    "00000001_000.png,Cardiomegaly,0,1,058Y,M,PA,2682,2749,0.143,0.143,\n"
    "00000001_001.png,Cardiomegaly|Pleural_Thickening,1,1,058Y,M,PA,2894,2729,0.143,0.143,\n"
    "00000002_000.png,No Finding,0,2,081Y,M,PA,2500,2048,0.171,0.171,\n"
)
TABLES = {
    "Planet": ("image_name,tags\ntrain_0,haze primary\n", {"train_0": {"haze", "primary"}}),
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


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def read_with(file: Path, options: LabelOptions) -> LabelFile:
    return labels.read_labels(LabelSource((str(file),), options))


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_well_known_sets_are_read_as_they_are(name: str, tmp_path: Path) -> None:
    text, expected = TABLES[name]
    found = tags_of(write(tmp_path, "labels.csv", text))
    assert {image: found[image] for image in expected} == expected


def test_what_is_left_out_of_a_table_is_said(tmp_path: Path) -> None:
    assert findings_of(write(tmp_path, "split.csv", TABLES["one-hot with a split"][0])) == [
        "2 columns ignored by name: is_valid, fold"
    ]
    assert findings_of(write(tmp_path, "voc.csv", TABLES["PASCAL VOC, CSV"][0])) == [
        "1 cell with 0 next to 1 and -1, read as a difficult yes: line 2"
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
        (["[nan, bare ground]", "a,nan"], [{"bare ground"}, {"a", "nan"}]),
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


def test_a_list_that_is_none_is_refused_and_an_empty_one_is_said(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "labels.csv", "image_name,tags\na,\"['b', 'c]'\"\nd,\"{'e': 1, 'f': 'g'}\"\n"))
    assert message.startswith("line 3: {'e': 1, 'f': 'g'} is not a list of texts; write it as JSON, or ")
    message = refusal(write(tmp_path, "labels.csv", 'image_name,tags\na,"[[1, 2], [3]]"\n'))
    assert message.startswith("line 2: [[1, 2], [3]] is not a list of texts; ")
    assert findings_of(write(tmp_path, "labels.csv", "image_name,tags\na,[]\nb,['c']\n")) == [
        "1 empty list, read as no labels: line 2"
    ]


@pytest.mark.parametrize("cells", [("[0, 1, 0]", "[1, 0, 0]"), ("0 1 1", "0 0 1"), ("[0 1 0]", "[1 1 0]")])
def test_marks_without_names_are_refused(cells: Sequence[str], tmp_path: Path) -> None:
    rows = "".join(f'{number},"{cell}"\n' for number, cell in enumerate(cells))
    message = refusal(write(tmp_path, "labels.csv", f"image_name,labels\n{rows}"))
    assert message.startswith("line 2: 0 1 ")
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
        "1 phrase whose words stand nowhere else, split (--separator none would not): traffic light"
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
    with pytest.raises(labels.LabelError, match="--image_column and --tags_column are both Photo"):
        read_with(file, LabelOptions(image_column="Photo", tags_columns=("Photo",)))
    file = write(tmp_path, "both.csv", "file,class,clear,water\na,lake,1,1\n")
    assert tags_of(file) == {"a": {"lake"}}
    in_columns = read_with(file, LabelOptions(tags_columns=("none",)))
    assert in_columns.rows[0].tags == {"clear", "water"}


def test_a_label_may_be_called_like_a_column(tmp_path: Path) -> None:
    file = write(tmp_path, "labels.csv", "picture,path,class\na,1,0\nb,1,1\n")
    assert tags_of(file) == {"a": {"path"}, "b": {"path", "class"}}


def coco(folder: Path) -> Path:
    content = {
        "info": {},
        "images": [{"id": 9, "file_name": "000000000009.jpg"}, {"id": 25, "file_name": "000000000025.jpg"}],
        "annotations": [{"id": number, "image_id": 9, "category_id": kind} for number, kind in enumerate((51, 51, 1))],
        "categories": [{"id": 1, "name": "person"}, {"id": 51, "name": "bowl"}, {"id": 2, "name": "bicycle"}],
    }
    return write(folder, "instances_val2017.json", json.dumps(content))


def test_the_annotations_of_coco(tmp_path: Path) -> None:
    file = coco(tmp_path)
    assert tags_of(file) == {"000000000009.jpg": {"person", "bowl"}, "000000000025.jpg": set()}
    assert labels.read_labels(file).labels == ("bicycle", "bowl", "person")
    assert findings_of(file) == ["1 image without annotations, read as no labels: 000000000025.jpg"]
    with pytest.raises(labels.LabelError, match="is the annotations of COCO, which has no columns; leave out --image"):
        read_with(file, LabelOptions(image_column="file_name"))
    broken = write(tmp_path, "broken.json", '{"images": [{"id": 1}], "annotations": [], "categories": []}')
    assert refusal(broken).startswith("has images, annotations and categories, but not as COCO writes them: KeyError")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "labels.jsonl",
            '{"file_name": "a.jpg", "labels": ["clear", "water"]}\n\n{"file_name": "b.jpg", "labels": []}\n',
        ),
        ("labels.json", '[{"file_name": "a.jpg", "labels": ["clear", "water"]}, {"file_name": "b.jpg", "labels": []}]'),
        ("labels.json", '{"a.jpg": ["clear", "water"], "b.jpg": []}'),
        (
            "labels.jsonl",
            '{"image": "a.jpg", "clear": true, "water": 1}\n{"image": "b.jpg", "clear": false, "water": 0.0}\n',
        ),
        ("labels.json", '{"a.jpg": {"clear": 1, "water": 1}, "b.jpg": {"clear": 0, "water": 0}}'),
        (
            "labels.json",
            '{"version": 1, "data": [{"image": "a.jpg", "tags": ["clear", "water"]}, {"image": "b.jpg", "tags": []}]}',
        ),
        ("labels.json", '{"a.jpg": "clear water", "b.jpg": "[]"}'),
    ],
)
def test_json(name: str, text: str, tmp_path: Path) -> None:
    assert tags_of(write(tmp_path, name, text)) == {"a.jpg": {"clear", "water"}, "b.jpg": set()}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("labels.jsonl", '{"image": "a"}\n{"image"\n', 'line 2 is not JSON: {"image"; write one JSON object per line'),
        ("labels.json", "[1, 2]", "object 1 is not a JSON object: 1; write an object per image"),
        ("labels.json", "[", "not JSON: Expecting value"),
        ("labels.json", "[]", "the file is empty"),
        ("labels.parquet", "PAR1 no more", "damaged or not a Parquet file; write it again"),
        ("labels.csv.gz", "no gzip", "is not a whole .gz file; write it again"),
        ("labels.csv.zip", "no zip", "is not a .zip file that can be unpacked: File is not a zip file; unpack"),
    ],
)
def test_files_that_are_damaged_are_one_clear_line(name: str, text: str, message: str, tmp_path: Path) -> None:
    assert refusal(write(tmp_path, name, text)).startswith(message)


def test_parquet_as_bigearthnet_writes_it(tmp_path: Path) -> None:
    table = pa.table(
        {
            "patch_id": ["S2A_1", "S2A_2", "S2A_3"],
            "labels": [["Beaches, dunes, sands", "Arable land"], ["Arable land"], None],
            "split": ["train", "test", "test"],
            "contains_seasonal_snow": [False, True, False],
        }
    )
    pq.write_table(table, tmp_path / "metadata.parquet")
    assert tags_of(tmp_path / "metadata.parquet") == {
        "S2A_1": {"Beaches, dunes, sands", "Arable land"},
        "S2A_2": {"Arable land"},
    }
    assert "1 row without tags, skipped: S2A_3" in findings_of(tmp_path / "metadata.parquet")


def test_parquet_with_images_inside(tmp_path: Path) -> None:
    images = [{"bytes": b"a picture", "path": "a.jpg"}, {"bytes": b"another", "path": "b.jpg"}]
    pq.write_table(pa.table({"image": images, "thumbnail": [b"1", b"2"], "label": [3, None]}), tmp_path / "0.parquet")
    assert tags_of(tmp_path / "0.parquet") == {"a.jpg": {"3"}}


def test_packed_files(tmp_path: Path) -> None:
    text, expected = TABLES["Planet"]
    with zipfile.ZipFile(tmp_path / "train_v2.csv.zip", "w") as archive:
        archive.writestr("train_v2.csv", text)
        archive.writestr("__MACOSX/._train_v2.csv", "no text")
    (tmp_path / "train_v2.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert tags_of(tmp_path / "train_v2.csv.zip") == tags_of(tmp_path / "train_v2.csv.gz") == expected
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", text)
        archive.writestr("b.csv", text)
    assert refusal(tmp_path / "two.zip").startswith("the archive holds 2 label files; unpack it")


def test_attributes_as_celeba_writes_them_in_text(tmp_path: Path) -> None:
    text = "2\n5_o_Clock_Shadow Bald Wavy_Hair \n000001.jpg -1  1  1\n000002.jpg -1 -1 -1\n"
    assert tags_of(write(tmp_path, "list_attr_celeba.txt", text)) == {
        "000001.jpg": {"Bald", "Wavy_Hair"},
        "000002.jpg": set(),
    }


def test_a_folder_of_files_of_pascal_voc(tmp_path: Path) -> None:
    write(tmp_path, "aeroplane_train.txt", "000012 -1\n000017  1\n")
    write(tmp_path, "tvmonitor_train.txt", "000012  0\n000017  1\n")
    write(tmp_path, "train.txt", "000012\n000017\n")
    read = labels.read_labels(tmp_path)
    assert read.labels == ("aeroplane", "tvmonitor")
    found = labels.match(read.rows, ["JPEGImages/000012.jpg", "JPEGImages/000017.jpg"], "JPEGImages")
    assert list(found.tags) == [{"tvmonitor"}, {"aeroplane", "tvmonitor"}]
    assert list(map(str, read.findings)) == [
        "1 cell with 0 next to 1 and -1, read as a difficult yes: 000012",
        "1 text file without labels in the folder, passed over: train.txt",
    ]


def test_a_folder_of_annotations_of_pascal_voc(tmp_path: Path) -> None:
    boxes = "".join(f"<object><name>{name}</name><bndbox/></object>" for name in ("dog", "person", "person"))
    write(tmp_path, "000001.xml", f"<annotation><folder>x</folder><filename>000001.jpg</filename>{boxes}</annotation>")
    write(tmp_path, "000002.xml", "<annotation><size/></annotation>")
    write(tmp_path, "000002.tif.aux.xml", "<PAMDataset/>")
    assert tags_of(tmp_path) == {"000001.jpg": {"dog", "person"}, "000002": set()}
    assert findings_of(tmp_path) == ["1 image without annotations, read as no labels: 000002"]
    assert refusal(tmp_path / "000002.tif.aux.xml").startswith("is XML about PAMDataset, not an annotation of PASCAL")
    assert refusal(write(tmp_path, "x.xml", "<annotation>")).startswith("is not XML: no element found")
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 20}">' for n in range(9))
    bomb = f'<!DOCTYPE a [<!ENTITY e0 "{"x" * 99}">{entities}]><annotation><filename>&e9;</filename></annotation>'
    assert refusal(write(tmp_path, "bomb.xml", bomb)).startswith("is not XML: limit on input amplification")


def test_a_folder_of_files_as_mlrsnet_has_them(tmp_path: Path) -> None:
    for number, name in enumerate(("airplane", "airport", "wind_turbine")):
        write(tmp_path, f"{name}.csv", f"image,airplane,bare soil\n{name}_00001.jpg,{number % 2},1\n")
    write(tmp_path, ".hidden.csv", "no labels")
    expected = {
        "airplane_00001.jpg": {"bare soil"},
        "airport_00001.jpg": {"airplane", "bare soil"},
        "wind_turbine_00001.jpg": {"bare soil"},
    }
    read = labels.read_labels(tmp_path)
    assert {row.name: row.tags for row in read.rows} == expected
    assert read.findings == ()
    write(tmp_path, "more.csv", "image,airplane,crane\nmore_00001.jpg,0,2\nb,0,1\n")
    with pytest.raises(labels.LabelError, match=r"more\.csv: line 2, column crane: 2 is not 0, 1"):
        labels.read_labels(LabelSource((str(tmp_path / "airport.csv"), str(tmp_path / "more.csv"))))
    write(tmp_path, "more.csv", "image,airplane,crane\nmore_00001.jpg,0,1\n")
    (tmp_path / "one.csv").write_text('image_name,tags\na,"bare ground, water"\n')
    (tmp_path / "two.csv").write_text("image_name,tags\nb,bare ground\n")
    read = labels.read_labels(LabelSource((str(tmp_path / "one.csv"), str(tmp_path / "two.csv"))))
    assert {row.name: row.tags for row in read.rows} == {"a": {"bare ground", "water"}, "b": {"bare ground"}}
    findings = labels.read_labels(LabelSource((str(tmp_path / "airport.csv"), str(tmp_path / "more.csv")))).findings
    assert list(map(str, findings)) == [
        "2 labels that only some of the files have, absent in the others: bare soil, crane"
    ]


def test_labels_in_buckets(bucket: Bucket) -> None:
    text, expected = TABLES["Planet"]
    storage.write(f"{bucket.path}/labels/train_v2.csv.gz", gzip.compress(text.encode()))
    for path in (f"{bucket.path}/labels/", f"{bucket.path}/labels/train_v2.csv.gz"):
        assert tags_of(path) == expected
    with pytest.raises(labels.LabelError, match=r"none\.csv: .*"):
        labels.read_labels(f"{bucket.path}/none.csv")
    with pytest.raises(labels.LabelError, match=r"none: no label files in this folder"):
        labels.read_labels(f"{bucket.path}/none")


def test_folders_may_be_the_labels() -> None:
    images = ["/c/train/forest/1.jpg", "/c/train/lake/1.jpg", "/c/val/forest/2.jpg", "/c/3.jpg"]
    read = labels.read_labels("folders", images=images)
    assert {row.name: row.tags for row in read.rows} == dict(
        zip(images, ({"forest"}, {"lake"}, {"forest"}), strict=False)
    )
    assert list(map(str, read.findings)) == ["1 image outside the folders of labels, skipped: /c/3.jpg"]
    with pytest.raises(labels.LabelError, match="all images are in the same folder; name a folder with"):
        labels.read_labels("folders", images=["c/a.jpg", "c/b.jpg"])
    with pytest.raises(labels.LabelError, match="train, val are no labels; put the images"):
        labels.read_labels("folders", images=["c/train/a.jpg", "c/val/b.jpg"])
    with pytest.raises(labels.LabelError, match="folders excludes other labels"):
        labels.read_labels(LabelSource(("folders", "labels.csv")), images=images)


def test_a_row_per_label_gives_the_union(tmp_path: Path) -> None:
    file = write(tmp_path, "pairs.csv", "image,label\ni0,clear\ni0,water\ni1,bare ground\ni1,clear\n")
    found = labels.match(labels.read_labels(file).rows, ["c/i0.jpg", "c/i1.jpg"], "c")
    assert list(found.tags) == [{"clear", "water"}, {"bare ground", "clear"}]
    assert list(map(str, found.findings)) == ["2 images with different tags in several rows, joined: i0.jpg, i1.jpg"]
