"""Read label files, match their rows with images, and report what is wrong with either."""

from pipelines.labels.file import LabelFile, Row, read_labels
from pipelines.labels.findings import NAMES_SHOWN, Finding, LabelError, some_names
from pipelines.labels.match import LabelledImages, find_images, match, multi_hot, vocabulary

__all__ = [
    "NAMES_SHOWN",
    "Finding",
    "LabelError",
    "LabelFile",
    "LabelledImages",
    "Row",
    "find_images",
    "match",
    "multi_hot",
    "read_labels",
    "some_names",
    "vocabulary",
]
