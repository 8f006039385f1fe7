"""The layouts of label files: each recognises its files, and reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pipelines.labels import by_name, coco, grid, voc
from pipelines.labels.documents import Document
from pipelines.labels.findings import LabelError
from pipelines.labels.rows import NO_OPTIONS, LabelFile, LabelOptions


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
)
"""In the order in which they are tried; any other file is a table."""


def read_document(document: Document, options: LabelOptions) -> LabelFile:
    """Read a label file of any layout.

    Raises:
      LabelError: it cannot be understood, or has no columns to which the options could refer.
    """
    layout = next((layout for layout in LAYOUTS if layout.recognises(document)), None)
    if layout is None:
        return grid.read(document, options)
    if options != NO_OPTIONS:
        raise LabelError(
            f"is {layout.name}, which has no columns",
            "leave out --image_column, --tags_column, --separator and whatever else names a column",
        )
    return layout.read(document)
