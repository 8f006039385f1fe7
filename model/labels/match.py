"""Match the rows of a label file with images, and turn their tags into numbers."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.labels.file import LabelFile as LabelFile
from model.labels.file import Row as Row
from model.labels.file import read_labels as read_labels
from model.labels.findings import NAMES_SHOWN as NAMES_SHOWN
from model.labels.findings import Finding as Finding
from model.labels.findings import LabelError as LabelError
from model.labels.findings import shown
from model.labels.findings import some_names as some_names
from pipelines.images.formats import ENDINGS

Components = tuple[str, ...]


class LabelledImages(NamedTuple):
    """Images that have a row, in the order of the label file, with their tags, and what was left out."""

    paths: tuple[str, ...]
    tags: tuple[frozenset[str], ...]
    findings: tuple[Finding, ...]


def match(rows: Sequence[Row], paths: Sequence[str], where: str) -> LabelledImages:
    """Match rows with images, which may be files or objects in a bucket.

    A row fits an image whose path ends in the row's name, whole components compared, with or without the ending of the
    image. Capitals count unless nothing fits otherwise. Of several images, the one whose path from the folder that all
    images share is the row's name takes precedence. `where` names the place of the images in messages.

    Raises:
      LabelError: there is no image, no row fits any, a row fits several, or the rows of every image contradict.
    """
    if not paths:
        raise LabelError(f"{shown(where)}: no image there")
    paths = list(dict.fromkeys(paths))
    located = [_components(path if "://" in path else os.path.abspath(path)) for path in paths]
    folders = zip(*(components[:-1] for components in located), strict=False)
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, folders))
    # Names of files need not be UTF-8, and what is found is written down.
    names = ["/".join(components[shared:]).encode(errors="backslashreplace").decode() for components in located]
    fitting = _find([_components(row.name) for row in rows], located, shared)
    several = [(row.name, fits) for row, fits in zip(rows, fitting, strict=True) if len(fits) > 1]
    if several:
        name, fits = several[0]
        raise LabelError(
            f"{shown(name)} fits several images of {shown(where)}: {some_names(names[image] for image in fits)} "
            f"({len(several)} such rows in all); name a folder that holds one image a row, or write paths from that "
            "folder into the label file"
        )
    missing = [row.name for row, fits in zip(rows, fitting, strict=True) if not fits]
    given: dict[int, list[frozenset[str]]] = {}
    for row, fits in zip(rows, fitting, strict=True):
        for image in fits:
            given.setdefault(image, []).append(row.tags)
    if not given:
        # Where rows name folders, these are what does not fit.
        examples = paths if any(len(_components(name)) > 1 for name in missing) else names
        raise LabelError(
            f"no row names an image of {shown(where)}: rows such as {some_names(missing)}; "
            f"images such as {some_names(examples)}"
        )
    agreed = {image: tags[0] for image, tags in given.items() if len(set(tags)) == 1}
    findings: tuple[Finding, ...] = (
        Finding("duplicate rows, counted once", tuple(names[image] for image in agreed for _ in given[image][1:])),
        Finding(
            "images whose rows contradict one another, left out",
            tuple(names[image] for image in given if image not in agreed),
        ),
        Finding("rows without an image, left out", tuple(missing)),
        Finding(
            "images without a row, left out", tuple(name for image, name in enumerate(names) if image not in given)
        ),
    )
    findings = tuple(finding for finding in findings if finding.names)
    if not agreed:
        raise LabelError(f"no image of {shown(where)} is left: {'; '.join(map(str, findings))}")
    return LabelledImages(tuple(paths[image] for image in agreed), tuple(agreed.values()), findings)


def find_images(folder: Path) -> list[Path]:
    """List the images under a folder by the endings of their names, in a stable order; hidden ones are left out.

    Links are followed, each folder is listed once.

    Raises:
      LabelError: there is no image, or a folder cannot be listed.
    """
    found: list[Path] = []
    seen: set[str] = set()
    try:
        for here, folders, files in os.walk(folder, followlinks=True, onerror=_fail):
            if (place := os.path.realpath(here)) in seen:
                folders.clear()
                continue
            seen.add(place)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [
                Path(here, name) for name in files if _is_image(name) and os.path.isfile(os.path.join(here, name))
            ]
    except OSError as error:
        raise LabelError(f"{shown(str(error.filename))}: {error.strerror}") from error
    if not found:
        raise LabelError(f"{shown(str(folder))}: no image in this folder (endings: {' '.join(ENDINGS)})")
    return sorted(found)


def vocabulary(tags: Iterable[frozenset[str]]) -> tuple[str, ...]:
    """List every tag that occurs, in alphabetical order."""
    return tuple(sorted(frozenset().union(*tags)))


def multi_hot(tags: Sequence[frozenset[str]], labels: Sequence[str]) -> NDArray[np.float32]:
    """Mark the tags of each image: float32 [N, L], 1.0 where image n has label l, else 0.0; other tags have no mark."""
    column = {label: index for index, label in enumerate(labels)}
    marks = np.zeros((len(tags), len(labels)), np.float32)
    for row, of_image in enumerate(tags):
        marks[row, [column[tag] for tag in of_image if tag in column]] = 1
    return marks


def _find(rows: Sequence[Components], paths: Sequence[Components], shared: int) -> list[list[int]]:
    """Find the images that each row fits, by the narrowest reading under which it fits any."""
    found: list[list[int]] = [[] for _ in rows]
    for any_case in (False, True):
        for with_ending in (True, False):
            left = [row for row, fits in enumerate(found) if rows[row] and not fits]
            # Only ends of paths as long as a row's name: all ends of all paths would take many times the memory, and
            # a search among images of one name would be quadratic where every folder calls its image the same.
            ends: dict[Components, list[int]] = {}
            for length in {len(rows[row]) for row in left}:
                for image, path in enumerate(paths):
                    if len(path) >= length:
                        ends.setdefault(_read_as(path[-length:], any_case, with_ending), []).append(image)
            for row in left:
                fits = ends.get(_read_as(rows[row], any_case, with_ending=True), [])
                length = len(rows[row])
                whole = [image for image in fits if len(paths[image]) in (length, length + shared)]
                found[row] = whole if len(whole) == 1 else fits
    return found


def _read_as(components: Components, any_case: bool, with_ending: bool) -> Components:
    *folders, name = components if not any_case else [component.casefold() for component in components]
    return (*folders, name if with_ending else posixpath.splitext(name)[0].rstrip())


def _components(path: str) -> Components:
    """Split a path, of whatever system, into names that compare equal where they look the same."""
    # A member is named ARCHIVE::MEMBER, and an archive is as good as a folder.
    separated = path.replace("\\", "/").replace("::", "/")
    plain = posixpath.normpath(unicodedata.normalize("NFC", separated))
    return tuple(name for name in map(str.strip, plain.split("/")) if name not in ("", ".", ".."))


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def _fail(error: OSError) -> None:
    raise error
