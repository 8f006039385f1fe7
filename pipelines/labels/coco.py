"""Read the annotations of COCO and of tools that export like it: an image has the categories of its objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.labels import spelling
from pipelines.labels.documents import Document
from pipelines.labels.findings import Finding, LabelError, shown
from pipelines.labels.rows import LabelFile, Row
from pipelines.labels.tables import as_text

_KEYS = ("images", "annotations", "categories")


def recognises(document: Document) -> bool:
    """Return whether a file has images, annotations and categories."""
    return isinstance(document.json, Mapping) and all(isinstance(document.json.get(key), list) for key in _KEYS)


def read(document: Document) -> LabelFile:
    """Read the categories of each image; an image without annotations has none of them.

    Raises:
      LabelError: a part of the file is missing or malformed.
    """
    assert isinstance(document.json, Mapping)
    try:
        images, annotations, categories = (document.json[key] for key in _KEYS)
        labels = {key: spelling.tidy(name) for key, name in _by_id("categories", categories, "name").items()}
        names = _by_id("images", images, "file_name")
        tags: dict[Any, set[str]] = {image: set() for image in names}
        strange = []
        for number, one in enumerate(annotations, 1):
            if one["image_id"] in tags and one["category_id"] in labels:
                tags[one["image_id"]].add(labels[one["category_id"]])
            else:
                strange.append(f"annotation {number}")
    except (KeyError, TypeError, AttributeError) as error:
        raise LabelError(
            f"has images, annotations and categories, but not as COCO writes them: {type(error).__name__} {error}",
            "export it again",
        ) from error
    if strange and len(strange) == len(annotations):
        # E.g. because some ids are texts and others numbers. Each image would look like one without labels.
        image, category = (json.dumps(annotations[0][key], ensure_ascii=False) for key in ("image_id", "category_id"))
        raise LabelError(
            f"no annotation fits the images and categories of the file: the first has image_id {shown(image)} and "
            f"category_id {shown(category)}",
            "export it again, with the same ids in all of its parts",
        )
    without = tuple(names[image] for image, of_image in tags.items() if not of_image)
    return LabelFile(
        tuple(Row(names[image], frozenset(of_image - {""})) for image, of_image in tags.items() if names[image]),
        tuple(sorted(set(labels.values()) - {""})),
        (
            Finding("images without annotations, read as no labels", without),
            Finding("annotations of unknown images or categories, skipped", tuple(strange)),
        ),
        is_closed=True,
    )


def _by_id(kind: str, records: Sequence[Mapping[str, Any]], field: str) -> dict[Any, str]:
    """Return a field of each record by the record's id."""
    found: dict[Any, str] = {}
    for record in records:
        text = as_text(record[field])
        other = found.setdefault(record["id"], text)
        if other != text:
            raise LabelError(
                f"two {kind} have the id {shown(str(record['id']))}: {shown(other)} and {shown(text)}",
                "export it again, with different ids",
            )
    return found
