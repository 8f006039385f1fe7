"""The flags that say where labels are and how they are written, for every command that compares with labels."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pipelines.commandline.parser import Once, UsageError

if TYPE_CHECKING:
    from pipelines.labels import LabelSource

_HELP = """\
Label files are CSV with a header, Parquet, JSON or JSON lines, also as .gz or .zip: a column of image names, and a
column of tags or one column per label. The annotations of COCO and PASCAL VOC are read as they are. Columns are found
by their usual names; docs/training.md lists the layouts that are understood.
"""


def add_labels(parser: argparse.ArgumentParser, help: str, required: bool = True) -> None:
    """Add the flags to a parser.

    Args:
      parser: of the command.
      help: what the labels are for.
      required: whether the command does nothing without labels.
    """
    group = parser.add_argument_group("labels", _HELP)
    group.add_argument(
        "--labels",
        action="append",
        required=required,
        metavar="FILE",
        help=f"{help}: a label file, a folder of them, or `folders` to use the name of each image's folder as its "
        "label; repeatable",
    )
    group.add_argument(
        "--image_column",
        action=Once,
        metavar="NAME",
        help="column that holds the names or paths of images (default: found by its name, otherwise the first)",
    )
    group.add_argument(
        "--tags_column",
        action="append",
        metavar="NAME",
        help="column that holds tags; repeatable. none: each column is a label (default: found by its name)",
    )
    group.add_argument(
        "--separator",
        action=Once,
        metavar="TEXT",
        help="what separates the tags in a cell: a string, the word space, or none if each cell is one tag (default: ; "
        "or | if any cell has it, otherwise a comma, otherwise spaces; lists in brackets are always read as such)",
    )


def read_label_source(flags: argparse.Namespace) -> LabelSource | None:
    """Take the flags out of what was parsed; None if there are no labels.

    Raises:
      UsageError: a flag says how labels are written, and there are none.
    """
    # Imported here: `--help` needs none of it.
    from pipelines.labels import LabelOptions, LabelSource

    paths, *columns = (vars(flags).pop(flag) or "" for flag in ("labels", "image_column", "tags_column", "separator"))
    options = LabelOptions(image_column=columns[0], tags_columns=tuple(columns[1]), separator=columns[2])
    if paths:
        return LabelSource(tuple(paths), options)
    if any(columns):
        raise UsageError("--image_column, --tags_column and --separator are about --labels", "name the label file")
    return None
