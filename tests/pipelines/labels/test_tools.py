"""The JSON of annotation tools is named, with what to give instead: it is no table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.labels import LabelOptions
from tests.pipelines.labels.reading import read_with, refusal, tags_of, write

CSV = "write a CSV file with image_name,tags"
COCO = f"export it as COCO's JSON, or {CSV}"
BOX = {"shape_attributes": {"name": "rect"}, "region_attributes": {"class": "ship"}}
OF_VIA = {"filename": "a.jpg", "size": 123, "regions": [BOX], "file_attributes": {}}
CHOSEN = {"value": {"choices": ["clear", "water"]}, "from_name": "tags", "to_name": "image", "type": "choices"}
TOOLS: list[tuple[str, Any, str]] = [
    (
        "the JSON of a patch of BigEarthNet",
        {"labels": ["Sea and ocean"], "coordinates": {"ulx": 300000}, "projection": "PROJCS[]", "tile_source": "S2A"},
        "use its metadata.parquet",
    ),
    (
        "an export of LabelMe",
        {"version": "5.0.1", "flags": {}, "shapes": [{"label": "ship", "points": [[1, 2]]}], "imagePath": "a.jpg"},
        f"convert it to COCO's JSON or PASCAL VOC, or {CSV}",
    ),
    ("a project of VGG Image Annotator", {"_via_settings": {}, "_via_img_metadata": {"a.jpg123": OF_VIA}}, COCO),
    ("an export of VGG Image Annotator", {"a.jpg123": OF_VIA, "b.jpg7": {**OF_VIA, "regions": []}}, COCO),
    (
        "Label Studio's JSON",
        [{"id": 1, "annotations": [{"id": 1, "result": [CHOSEN]}], "data": {"image": "/data/upload/a.jpg"}}],
        "export it as JSON-MIN or CSV",
    ),
    ("an export of CreateML", [{"image": "a.jpg", "annotations": [{"label": "ship", "coordinates": {}}]}], COCO),
    ("GeoJSON", {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": None}]}, CSV),
    ("COCO's JSON without categories", {"images": [{"id": 1}], "annotations": []}, "export it with its categories"),
]


@pytest.mark.parametrize(("name", "content", "remedy"), TOOLS)
@pytest.mark.parametrize("are_lines", [False, True])
def test_the_json_of_a_tool_is_named_with_what_to_give_instead(
    name: str, content: Any, remedy: str, are_lines: bool, tmp_path: Path
) -> None:
    if are_lines:
        lines = content if isinstance(content, list) else [content]
        text = "".join(f"{json.dumps(line)}\n" for line in lines * 2)
        file = write(tmp_path, "labels.jsonl", text)
    else:
        file = write(tmp_path, "labels.json", json.dumps(content, indent=1))
    assert refusal(file) == f"is {name}, which is not read; {remedy}"


def test_a_table_with_names_like_those_of_tools_is_read(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"image": "a.jpg", "annotations": ["ship", "sea"]},
        {"image": "b.jpg", "annotations": ["sea"]},
    ]
    named = LabelOptions(tags_columns=("annotations",))
    read = read_with(write(tmp_path, "named.json", json.dumps(rows)), named)
    assert [row.tags for row in read.rows] == [{"ship", "sea"}, {"sea"}]
    rows = [{"filename": "a.jpg", "labels": ["x"], "projection": "EPSG:4326", "coordinates": [1, 2]}]
    assert tags_of(write(tmp_path, "place.json", json.dumps(rows))) == {"a.jpg": {"x"}}
    rows = [{"filename": "a.jpg", "tags": ["x"], "regions": [{"x": 1}], "file_attributes": 3}]
    assert tags_of(write(tmp_path, "regions.json", json.dumps(rows))) == {"a.jpg": {"x"}}
    rows = [
        {"filename": name, "tags": tags, "type": "train", "features": []} for name, tags in (("a", []), ("b", ["x"]))
    ]
    assert tags_of(write(tmp_path, "features.json", json.dumps(rows))) == {"a": set(), "b": {"x"}}
    rows = [{"filename": "a", "labels": [], "classes": 3}, {"filename": "b", "labels": ["x"], "classes": 1}]
    assert tags_of(write(tmp_path, "empty.json", json.dumps(rows))) == {"a": set(), "b": {"x"}}
    further: list[dict[str, Any]] = [
        {"type": "scene", "features": []},
        {"annotations": [], "data": {}},
        {"regions": {}},
    ]
    for others in further:
        rows = [{"filename": "a.jpg", "tags": ["x"], "file_attributes": {}, **others}]
        assert tags_of(write(tmp_path, "others.json", json.dumps(rows))) == {"a.jpg": {"x"}}
