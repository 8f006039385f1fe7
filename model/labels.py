"""Read label files and match their rows with images."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines import images

NAMES_SHOWN = 3


class LabelError(ValueError):
    """A label file that cannot be used; the message is one line for the user."""


class Row(NamedTuple):
    """One row of a label file: an image's name as written there, and its tags."""

    name: str
    tags: frozenset[str]


class LabelledImages(NamedTuple):
    """Images that have a row, in the order of the label file, and what was left over."""

    paths: tuple[Path, ...]
    tags: tuple[frozenset[str], ...]
    rows_without_image: tuple[str, ...]
    images_without_row: tuple[str, ...]


def read_rows(path: Path) -> list[Row]:
    """Read a label file with the columns `image_name,tags`, tags separated by spaces.

    Raises:
      LabelError: the file cannot be read, lacks a column or has no row.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            table = csv.DictReader(lines)
            columns = table.fieldnames or ()
            if not {"image_name", "tags"} <= set(columns):
                raise LabelError(f"{path}: needs the columns image_name,tags; has {','.join(columns) or 'none'}")
            rows = [Row((row["image_name"] or "").strip(), frozenset((row["tags"] or "").split())) for row in table]
    except OSError as error:
        raise LabelError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    if not rows:
        raise LabelError(f"{path}: has no row")
    return rows


def match(rows: Sequence[Row], folder: Path) -> LabelledImages:
    """Match rows with the images under a folder, by file name with or without its extension.

    Raises:
      LabelError: no row matches any image, or a name fits several images.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in images.ENDINGS and p.is_file())
    if not files:
        raise LabelError(f"{folder}: no image in this folder")
    by_name: dict[str, list[Path]] = {}
    for file in files:
        by_name.setdefault(file.name, []).append(file)
        by_name.setdefault(file.stem, []).append(file)
    found: dict[Path, frozenset[str]] = {}
    missing: list[str] = []
    for row in rows:
        candidates = by_name.get(row.name, [])
        if len(candidates) > 1:
            raise LabelError(f"{row.name}: fits several images: {some_names(map(str, candidates))}")
        if candidates:
            found[candidates[0]] = row.tags
        else:
            missing.append(row.name)
    if not found:
        raise LabelError(
            f"no row names an image of {folder}: rows such as {some_names(missing)}; "
            f"images such as {some_names(p.name for p in files)}"
        )
    unused = tuple(file.name for file in files if file not in found)
    return LabelledImages(tuple(found), tuple(found.values()), tuple(missing), unused)


def vocabulary(tags: Iterable[frozenset[str]]) -> tuple[str, ...]:
    """List every tag that occurs, in alphabetical order."""
    return tuple(sorted(frozenset().union(*tags)))


def multi_hot(tags: Sequence[frozenset[str]], labels: Sequence[str]) -> NDArray[np.float32]:
    """Mark the tags of each image: float32 [N, L], 1.0 where image n has label l, else 0.0."""
    return np.array([[label in of_image for label in labels] for of_image in tags], dtype=np.float32)


def some_names(names: Iterable[str]) -> str:
    """Join the first few names for a message."""
    every = list(names)
    return ", ".join(every[:NAMES_SHOWN]) + (", ..." if len(every) > NAMES_SHOWN else "")
