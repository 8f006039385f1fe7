"""The layouts of label files that are no tables: each recognises its files, and reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pipelines.labels import by_name, coco, voc, voc_objects
from pipelines.labels.documents import Document
from pipelines.labels.rows import LabelFile


class Layout(NamedTuple):
    """A layout of files without columns.

    Attributes:
      name: as messages call it.
      recognises: says whether a file has it.
      read: reads such a file.
    """

    name: str
    recognises: Callable[[Document], bool]
    read: Callable[[Document], LabelFile]


LAYOUTS = (
    Layout("the annotations of COCO", coco.recognises, coco.read),
    Layout("a JSON object with the tags of each image", by_name.recognises, by_name.read),
    Layout("a file of PASCAL VOC for one class", voc.recognises, voc.read),
    Layout("an annotation of PASCAL VOC", voc_objects.recognises, voc_objects.read),
)
"""In the order in which they are tried; any other file is a table."""


def find_layout(document: Document) -> Layout | None:
    """Recognise the layout of a file; None of a table."""
    return next((layout for layout in LAYOUTS if layout.recognises(document)), None)
