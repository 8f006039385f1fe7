"""Read the annotations of PASCAL VOC, an XML file per image: it has the classes of its objects."""

from __future__ import annotations

import posixpath
from xml.etree import ElementTree

from pipelines.labels import spelling
from pipelines.labels.documents import Document
from pipelines.labels.findings import Finding, LabelError
from pipelines.labels.rows import LabelFile, Row

_ROOT = "annotation"


def recognises(document: Document) -> bool:
    """Return whether a file is XML."""
    return document.name.lower().endswith(".xml")


def read(document: Document) -> LabelFile:
    """Read the classes of the objects of one image; an image without objects has none.

    Raises:
      LabelError: it is not such a file.
    """
    try:
        # Expat refuses entities that unfold to more than the file warrants.
        root = ElementTree.fromstring(document.data)
    except ElementTree.ParseError as error:
        raise LabelError(f"is not XML: {error}", "export it again") from error
    if root.tag != _ROOT:
        raise LabelError(f"is XML about {root.tag}, not an annotation of PASCAL VOC", "leave it out")
    stem = posixpath.splitext(document.name)[0]
    name = (root.findtext("filename") or stem).strip()
    tags = frozenset(filter(None, (spelling.tidy(one.findtext("name") or "") for one in root.iter("object"))))
    without = () if tags else (name,)
    return LabelFile(
        (Row(name, tags),), tuple(sorted(tags)), (Finding("images without annotations, read as no labels", without),)
    )
