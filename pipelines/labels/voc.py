"""Read the files of PASCAL VOC, one per class: `aeroplane_train.txt`, with lines `000012 -1`."""

from __future__ import annotations

import re

from pipelines.labels.documents import Document
from pipelines.labels.findings import Finding, LabelError, shown
from pipelines.labels.marks import VOC
from pipelines.labels.rows import LabelFile, Row

_NAME = re.compile(r"(.+)_(train|val|trainval|test)\.txt", re.IGNORECASE)
_LINE = re.compile(r"\s*(\S+)[ \t]+(-1|0|1)\s*")


def recognises(document: Document) -> bool:
    """Return whether the file is called after a class, and its lines are names and marks."""
    return (
        _NAME.fullmatch(document.name) is not None
        and any(lines := [line for line in document.text.splitlines() if line.strip()])
        and all(map(_LINE.fullmatch, lines))
    )


def read(document: Document) -> LabelFile:
    """Read which images have the class: 1 yes, 0 yes but difficult to see, -1 no.

    Raises:
      LabelError: it has 0, but is not of PASCAL VOC, so that 0 may as well mean no.
    """
    found = _NAME.fullmatch(document.name)
    assert found is not None
    lines = [line for line in map(_LINE.fullmatch, document.text.splitlines()) if line]
    difficult = tuple(line[1] for line in lines if line[2] == "0")
    if difficult and not (found[1].casefold() in VOC and any(line[2] == "-1" for line in lines)):
        raise LabelError(
            f"has 0 for {shown(difficult[0])}, which means yes in PASCAL VOC, and may mean no here",
            "write 1 where an image has the label, and -1 where it does not",
        )
    return LabelFile(
        tuple(Row(line[1], frozenset([found[1]] * (line[2] != "-1"))) for line in lines),
        (found[1],),
        (Finding("cells with 0 next to 1 and -1, read as present (difficult)", difficult),),
        is_closed=True,
    )
