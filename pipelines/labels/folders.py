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
    """Give each image the name of its folder; those directly in the folder of all images have none.

    Raises:
      LabelError: all images are in the same folder, or the names of the folders are no labels.
    """
    located = [components_of(image) for image in images]
    levels = zip(*(components[:-1] for components in located), strict=False)
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    rows = [
        Row(image, frozenset([spelling.tidy(components[-2])]))
        for image, components in zip(images, located, strict=True)
        if len(components) > shared + 1
    ]
    labels = sorted({tag for row in rows for tag in row.tags})
    if not labels:
        raise LabelError("--labels folders: all images are in the same folder", "name a folder with a folder per label")
    if _NO_LABELS.issuperset(label.casefold() for label in labels):
        raise LabelError(
            f"--labels folders: {some_names(labels)} are not labels", "put the images into a folder per label"
        )
    above = {folder for components in located for folder in components[shared:-2]}
    split = tuple(sorted(folder for folder in above if folder.casefold() in _SPLIT))
    outside = tuple(image for image, of_image in zip(images, located, strict=True) if len(of_image) <= shared + 1)
    findings = (
        Finding("images outside the folders of labels, skipped", outside),
        Finding("folders called like sides of a split, not told apart", split),
    )
    return LabelFile(tuple(rows), tuple(labels), findings)
