"""Read JSON objects that give each image its tags: `{"a.jpg": ["clear", "water"]}`."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.images.formats import ENDINGS
from pipelines.labels.documents import Document
from pipelines.labels.findings import Finding
from pipelines.labels.rows import LabelFile, Row
from pipelines.labels.tables import Line, as_cell
from pipelines.labels.tags import read_tags


def recognises(document: Document) -> bool:
    """Return whether every value is a list of texts or numbers, or every key an image with a text."""
    content = document.json
    if not isinstance(content, Mapping) or not content:
        return False
    if all(isinstance(tags, str) for tags in content.values()):
        return all(name.lower().endswith(ENDINGS) for name in content)
    return all(isinstance(tags, list) and not any(map(_is_nested, tags)) for tags in content.values())


def read(document: Document) -> LabelFile:
    """Read the tags of each image."""
    assert isinstance(document.json, Mapping)
    lines = [Line(name, [as_cell(tags)]) for name, tags in document.json.items()]
    tags, findings = read_tags(lines, 0)
    return LabelFile(
        tuple(Row(line.place, found) for line, found in zip(lines, tags, strict=True) if found is not None),
        tuple(sorted(frozenset().union(*(found or () for found in tags)))),
        (
            *findings,
            Finding(
                "rows without tags, skipped",
                tuple(line.place for line, found in zip(lines, tags, strict=True) if found is None),
            ),
        ),
    )


def _is_nested(value: object) -> bool:
    return isinstance(value, (list, dict))
