"""Take the names of folders for labels: `chips/forest/1.jpg` shows forest."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from pipelines.labels import spelling
from pipelines.labels.findings import Finding, LabelError, some_names
from pipelines.labels.names import components_of
from pipelines.labels.rows import LabelFile, Row

_SPLIT = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))
_NO_LABELS = _SPLIT | {"images", "img", "jpg"}


def read(images: Sequence[str]) -> LabelFile:
    """Give each image the name of its folder; those directly in the folder of all images, or of a side, have none.

    Raises:
      LabelError: all images are in the same folder, or the names of the folders are no labels.
    """
    located = [components_of(image) for image in images]
    levels = zip(*(components[:-1] for components in located), strict=False)
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    above = {components[:depth] for components in located for depth in range(shared + 1, len(components) - 1)}
    sides = {folder for folder in above if folder[-1].casefold() in _SPLIT}
    rows = [
        Row(image, frozenset([spelling.tidy(components[-2])]))
        for image, components in zip(images, located, strict=True)
        # An image next to the folders of labels, as in `train/1.jpg` and `train/forest/2.jpg`, has none.
        if len(components) > shared + 1 and components[:-1] not in sides
    ]
    labels = sorted({tag for row in rows for tag in row.tags})
    if not labels:
        raise LabelError("--labels folders: all images are in the same folder", "name a folder with a folder per label")
    if _NO_LABELS.issuperset(label.casefold() for label in labels):
        raise LabelError(
            f"--labels folders: {some_names(labels)} are not labels", "put the images into a folder per label"
        )
    split = tuple(sorted({folder[-1] for folder in sides}))
    # Images outside these folders have no row, and are reported as such.
    findings = (Finding("folders called like sides of a split, not told apart", split),)
    return LabelFile(tuple(rows), tuple(labels), findings)
