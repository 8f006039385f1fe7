"""Labels in JSON, Parquet, XML and text, packed, in folders of files and in buckets."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import labels, storage
from pipelines.labels import LabelOptions, LabelSource
from tests.conftest import Bucket
from tests.pipelines.labels.reading import PLANET, findings_of, read_with, refusal, tags_of, write


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
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": {"en": "ship"}}]}
    nested = write(tmp_path, "nested.json", json.dumps(content))
    assert "TypeError {'en': 'ship'} is neither text nor a number; export it again" in refusal(nested)


def test_annotations_of_coco_with_ids_of_another_kind_are_refused(tmp_path: Path) -> None:
    content = json.loads(coco(tmp_path).read_text())
    for annotation in content["annotations"]:
        annotation["image_id"] = str(annotation["image_id"])
    message = refusal(write(tmp_path, "texts.json", json.dumps(content)))
    assert message.startswith(
        'no annotation fits the images and categories of the file: the first has image_id "9" and'
    )


@pytest.mark.parametrize(("kind", "field"), [("images", "file_name"), ("categories", "name")])
def test_two_records_of_coco_with_one_id_are_refused(tmp_path: Path, kind: str, field: str) -> None:
    content = json.loads(coco(tmp_path).read_text())
    content[kind].append({**content[kind][0], field: "other"})
    first = content[kind][0]
    expected = f"two {kind} have the id {first['id']}: {first[field]} and other"
    assert expected in refusal(write(tmp_path, "twice.json", json.dumps(content)))
    content[kind][-1] = first
    assert tags_of(write(tmp_path, "same.json", json.dumps(content))) == tags_of(coco(tmp_path))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.json", '{"a.jpg": ["clear"],\n "a.jpg": ["water"]}'),
        ("labels.jsonl", '{"image": "b.jpg", "tags": "clear"}\n{"image": "a.jpg", "a.jpg": "", "a.jpg": ""}'),
    ],
)
def test_a_name_that_occurs_twice_in_an_object_is_refused(tmp_path: Path, name: str, text: str) -> None:
    assert "the name 'a.jpg' occurs twice" in refusal(write(tmp_path, name, text))


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
        ("labels.parquet", "PAR1 no more", "damaged or not a Parquet file; export it again"),
        ("labels.json", "{}", "has no columns; use image_name,tags, or "),
        ("labels.json", "[{}]", "has no columns; use image_name,tags, or "),
        ("labels.jsonl", "{}", "has no columns; use image_name,tags, or "),
        ("labels.csv.gz", "no gzip", "is not a whole .gz file; export it again"),
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


def test_times_that_python_does_not_have_do_no_harm_in_parquet(tmp_path: Path) -> None:
    infinity = pa.array([2**63 - 1], pa.timestamp("us"))
    pq.write_table(pa.table({"image_name": ["a"], "tags": ["clear"], "valid_until": infinity}), tmp_path / "x.parquet")
    assert tags_of(tmp_path / "x.parquet") == {"a": {"clear"}}


def test_parquet_with_images_inside(tmp_path: Path) -> None:
    images = [{"bytes": b"a picture", "path": "a.jpg"}, {"bytes": b"another", "path": "b.jpg"}]
    pq.write_table(pa.table({"image": images, "thumbnail": [b"1", b"2"], "label": [3, None]}), tmp_path / "0.parquet")
    assert tags_of(tmp_path / "0.parquet") == {"a.jpg": {"3"}}


@pytest.mark.parametrize(
    "tags",
    [
        [{"name": "clear"}],
        {"clear": 1, "haze": 0},
        {"name": "clear"},
        [["clear"], ["haze"]],
        ["clear", {"name": "haze"}],
    ],
)
def test_tags_in_objects_or_nested_lists_are_refused(tags: object, tmp_path: Path) -> None:
    rows = [{"file_name": "b.jpg", "labels": ["haze"]}, {"file_name": "a.jpg", "labels": tags}]
    file = write(tmp_path, "metadata.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    assert refusal(file) == (
        f"line 2, column labels: {tags} is not a string or a list of strings; write the names of the tags alone, or "
        "name another column by --tags_column"
    )


def test_maps_structs_and_bytes_are_no_tags_in_parquet_and_lists_no_names(tmp_path: Path) -> None:
    names, file = pa.array(["a", "b"]), tmp_path / "0.parquet"
    marks = [[("clear", 1), ("haze", 0)], [("clear", 0)]]
    for tags in (
        pa.array(marks, pa.map_(pa.string(), pa.int8())),
        pa.array([[{"name": "clear"}], []]),
        pa.array([{"name": "clear"}, None]),
        pa.array([[b"clear"], [b"haze"]]),
    ):
        pq.write_table(pa.table({"image": names, "tags": tags}), file)
        assert refusal(file).startswith(
            f"row 1, column tags: {tags.to_pylist()[0]} is not a string or a list of strings;"
        )
    pq.write_table(pa.table({"image": [["a"], ["b"]], "tags": names}), file)
    assert refusal(file).startswith(
        "row 1, column image: ['a'] is not a string; write the name of the image alone, or "
    )


def test_objects_beside_the_tags_do_no_harm_and_choices_of_label_studio_are_read(tmp_path: Path) -> None:
    rows = [
        {"image": "a", "choice": {"choices": ["lake", "bare soil"]}, "objects": {"bbox": [[0, 1]], "area": [2]}},
        {"image": "b", "choice": "lake", "objects": None},
    ]
    file = write(tmp_path, "labels.json", json.dumps(rows))
    assert tags_of(file) == {"a": {"lake", "bare soil"}, "b": {"lake"}}


def test_packed_files(tmp_path: Path) -> None:
    text, expected = PLANET
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
    write(tmp_path, "tvmonitor_train.txt", "000012  0\n000017  1\n000023 -1\n")
    write(tmp_path, "train.txt", "000012\n000017\n000023\n")
    read = labels.read_labels(tmp_path)
    assert read.labels == ("aeroplane", "tvmonitor")
    found = labels.match(read.rows, ["JPEGImages/000012.jpg", "JPEGImages/000017.jpg"], "JPEGImages")
    assert list(found.tags) == [{"tvmonitor"}, {"aeroplane", "tvmonitor"}]
    assert list(map(str, read.findings)) == [
        "1 cell with 0 next to 1 and -1, read as present (difficult): 000012",
        "1 text file without labels in the folder, passed over: train.txt",
    ]


@pytest.mark.parametrize("name", ["forest", "car"])
def test_a_file_per_class_with_0_and_1_is_not_taken_for_one_of_pascal_voc(name: str, tmp_path: Path) -> None:
    message = refusal(write(tmp_path, f"{name}_train.txt", "a1 1\na2 0\n"))
    assert message.startswith("has 0 for a2, which means yes in PASCAL VOC, and may mean no here; write 1 where")


def test_a_0_in_a_file_per_class_of_another_set_than_pascal_voc_is_refused(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, "forest_train.txt", "a1 1\na2 0\na3 -1\n")).startswith("has 0 for a2, which means")


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
    text, expected = PLANET
    storage.write(f"{bucket.path}/labels/train_v2.csv.gz", gzip.compress(text.encode()))
    for path in (f"{bucket.path}/labels/", f"{bucket.path}/labels/train_v2.csv.gz"):
        assert tags_of(path) == expected
    with pytest.raises(labels.LabelError, match=r"none\.csv: .*"):
        labels.read_labels(f"{bucket.path}/none.csv")
    with pytest.raises(labels.LabelError, match=r"none: no label files in this folder"):
        labels.read_labels(f"{bucket.path}/none")


def test_folders_of_a_split_above_those_of_labels_are_said() -> None:
    images = [f"c/{side}/{label}/{label}.jpg" for side in ("Train", "test", "2020") for label in ("sea", "lake")]
    read = labels.read_labels("folders", images=images)
    assert read.labels == ("lake", "sea")
    assert list(map(str, read.findings)) == ["2 folders called like sides of a split, not told apart: Train, test"]
    # One alone holds all images, and is what the user has chosen.
    assert labels.read_labels("folders", images=images[:2]).findings == ()


def test_folders_may_be_the_labels() -> None:
    images = ["/c/train/forest/1.jpg", "/c/train/lake/1.jpg", "/c/val/forest/2.jpg", "/c/3.jpg"]
    read = labels.read_labels("folders", images=images)
    assert {row.name: row.tags for row in read.rows} == dict(
        zip(images, ({"forest"}, {"lake"}, {"forest"}), strict=False)
    )
    told = "2 folders called like sides of a split, not told apart: train, val"
    assert list(map(str, read.findings)) == [told]
    # An image outside of them is named once.
    matched = labels.match(read.rows, images, "c")
    assert list(map(str, matched.findings)) == ["1 image that the labels do not list, skipped: 3.jpg"]
    # Next to them, too; a label may be called like a side.
    beside = labels.read_labels("folders", images=[*images, "/c/train/4.jpg"])
    assert (beside.labels, list(map(str, beside.findings))) == (("forest", "lake"), [told])
    assert labels.read_labels("folders", images=["c/train/1.jpg", "c/car/2.jpg"]).labels == ("car", "train")
    with pytest.raises(labels.LabelError, match="all images are in the same folder; name a folder with"):
        labels.read_labels("folders", images=["c/a.jpg", "c/b.jpg"])
    with pytest.raises(labels.LabelError, match="train, val are not labels; put the images"):
        labels.read_labels("folders", images=["c/train/a.jpg", "c/val/b.jpg"])
    with pytest.raises(labels.LabelError, match="folders excludes other labels"):
        labels.read_labels(LabelSource(("folders", "labels.csv")), images=images)
