"""What label files say: rows with tags, and what a user says of the columns."""

from __future__ import annotations

from typing import NamedTuple

from pipelines.labels.findings import Finding


class LabelOptions(NamedTuple):
    """What the user says of label files; what is empty is recognised from the files.

    Attributes:
      image_column: that holds the names of images.
      tags_columns: that hold tags; `none` alone if each column is a label.
      separator: between the tags in a cell; `space` for white space, `none` if each cell is one tag.
      keep: columns that are no labels, whose values the rows keep.
    """

    image_column: str = ""
    tags_columns: tuple[str, ...] = ()
    separator: str = ""
    keep: tuple[str, ...] = ()


NO_OPTIONS = LabelOptions()


class LabelSource(NamedTuple):
    """Where labels are, and what the user says of them.

    Attributes:
      paths: of label files, or of folders of them, local or in buckets; `folders` alone for the folders of the images.
      options: what the user says of the columns.
    """

    paths: tuple[str, ...]
    options: LabelOptions = NO_OPTIONS

    def __str__(self) -> str:
        """Name the files as the user did."""
        return ", ".join(self.paths)


class Row(NamedTuple):
    """One row of a label file.

    Attributes:
      name: name or path of an image, as written there.
      tags: that the row gives it.
      exhaustive: whether it has no others, as with one column per label; otherwise further rows of the image add to it.
      kept: values of the columns that are kept, in the order of `LabelOptions.keep`.
    """

    name: str
    tags: frozenset[str]
    exhaustive: bool = False
    kept: tuple[str, ...] = ()


class LabelFile(NamedTuple):
    """The content of one label file or of several.

    Attributes:
      rows: in the order of the files; an image may occur more than once.
      labels: all labels in alphabetical order, including those that no row has.
      findings: what was skipped, ignored or merged.
      is_closed: whether it lists the labels by which the images were judged, as columns do: nobody knows which of them
        have others. Where each image has a list of tags, it does not have the others.
    """

    rows: tuple[Row, ...]
    labels: tuple[str, ...]
    findings: tuple[Finding, ...]
    is_closed: bool = False
