"""Read label files, match their rows with images, and report what is wrong with either."""

from pipelines.labels.findings import NAMES_SHOWN, Finding, LabelError, shown, some_names
from pipelines.labels.match import LabelledImages, find_images, match, multi_hot, unmeasured, vocabulary
from pipelines.labels.missing import is_missing
from pipelines.labels.reading import FOLDERS, read_labels
from pipelines.labels.rows import LabelFile, LabelOptions, LabelSource, Row

__all__ = [
    "FOLDERS",
    "NAMES_SHOWN",
    "Finding",
    "LabelError",
    "LabelFile",
    "LabelOptions",
    "LabelSource",
    "LabelledImages",
    "Row",
    "find_images",
    "is_missing",
    "match",
    "multi_hot",
    "read_labels",
    "shown",
    "some_names",
    "unmeasured",
    "vocabulary",
]
