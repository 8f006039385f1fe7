"""Name the JSON of annotation tools and of image sets that has no table of tags, and say what to give instead.

Read as tables, they would be refused for a column that nobody has heard of, or give names that are none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from pipelines.labels.columns import IMAGE_COLUMNS, TAGS_COLUMNS, kind_of
from pipelines.labels.documents import Document
from pipelines.labels.findings import LabelError

_AS_CSV = "write a CSV file with image_name,tags"
_AS_COCO = f"export it as COCO's JSON, or {_AS_CSV}"


class _Format(NamedTuple):
    """A format of which the whole file, an object in its list or a line of it has certain parts.

    Attributes:
      name: of the format.
      nested: names of parts that are objects or lists of objects.
      plain: names of other parts.
      remedy: what to do instead.
    """

    name: str
    nested: frozenset[str]
    plain: frozenset[str]
    remedy: str


def _format(name: str, nested: str, plain: str = "", remedy: str = _AS_COCO) -> _Format:
    return _Format(name, frozenset(nested.split()), frozenset(plain.split()), remedy)


_FORMATS = (
    _format("the JSON of a patch of BigEarthNet", "coordinates", "labels projection", "use its metadata.parquet"),
    _format("an export of LabelMe", "shapes", "imagePath", f"convert it to COCO's JSON or PASCAL VOC, or {_AS_CSV}"),
    _format("a project of VGG Image Annotator", "_via_img_metadata"),
    _format("an export of VGG Image Annotator", "regions file_attributes", "filename"),
    _format("a project of VGG Image Annotator", "config attribute file view"),
    _format("Label Studio's JSON", "annotations data", remedy="export it as JSON-MIN or CSV"),
    _format("Label Studio's JSON", "completions data", remedy="export it as JSON-MIN or CSV"),
    _format("an export of CreateML", "annotations", "image"),
    _format("GeoJSON", "features", "type", _AS_CSV),
    _format("an export of xBD", "features metadata", remedy=_AS_CSV),
    _format("an export of SuperAnnotate", "metadata instances"),
    _format("an export of Supervisely", "tags objects size"),
    _format("an export of Datumaro", "categories items"),
    _format("an export of Labelbox", "data_row projects"),
    _format("a project of VoTT", "assets", remedy=f"export it as CSV or PASCAL VOC, or {_AS_CSV}"),
    _format("an export of VoTT", "asset regions", remedy=f"export it as CSV or PASCAL VOC, or {_AS_CSV}"),
    _format("labels of FiftyOne", "labels", "classes"),
    _format("COCO's JSON without categories", "images annotations", remedy="export it with its categories"),
)


def refuse_tools(document: Document) -> None:
    """Refuse the JSON of a tool.

    Raises:
      LabelError: it is such a file.
    """
    for one in _samples(document):
        if _names_tags(one):
            return
        for known in _FORMATS:
            parts = [one.get(part) for part in known.nested]
            # In a row of a table, an empty list may as well be one of no tags.
            if known.plain <= one.keys() and all(map(_is_nested, parts)) and (one is document.json or any(parts)):
                raise LabelError(f"is {known.name}, which is not read", known.remedy)


def _names_tags(one: Mapping[str, object]) -> bool:
    """Return whether an object names an image and its tags, whatever else a program has written next to them."""
    kinds = {kind_of(name): value for name, value in one.items()}
    names = (kinds.get(kind) for kind in IMAGE_COLUMNS)
    tags = (kinds.get(kind) for kind in TAGS_COLUMNS)
    return any(isinstance(name, str) for name in names) and any(map(_are_texts, tags))


def _are_texts(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _samples(document: Document) -> list[Mapping[str, object]]:
    """Return the objects of a JSON file by which its format shows: the whole or the first, and the first within it."""
    content = document.json
    if content is None and document.is_json:
        content = _line(document.text)
    one = content[0] if isinstance(content, list) and content else content
    first = next(iter(one.values()), None) if isinstance(one, Mapping) else None
    return [sample for sample in (one, first) if isinstance(sample, Mapping)]


def _line(text: str) -> object:
    try:
        return json.loads(next(line for line in text.splitlines() if line.strip()))
    except (ValueError, RecursionError, StopIteration):
        return None


def _is_nested(value: object) -> bool:
    """Return whether a value is an object, or a list of nothing else."""
    return isinstance(value, Mapping) or (isinstance(value, list) and all(isinstance(one, Mapping) for one in value))
