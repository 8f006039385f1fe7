"""Match the rows of a label file with images, and turn their tags into numbers."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.images.formats import ENDINGS
from pipelines.images.hidden import hides
from pipelines.labels.findings import Finding, LabelError, shown, some_names
from pipelines.labels.rows import LabelFile, Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Components = tuple[str, ...]

# An absolute path, also of Windows, an address in a bucket, or a path from the folder of a notebook.
_ELSEWHERE = re.compile(r"\s*(?:[/\\~]|\.\.[/\\]|[A-Za-z]:[/\\]|[a-z0-9]+://)")


class LabelledImages(NamedTuple):
    """Images that have a row, in the order of the label file.

    Attributes:
      paths: of the images.
      tags: of each image.
      findings: what was skipped or joined.
      kept: of each image, the values of the columns that are kept.
    """

    paths: tuple[str, ...]
    tags: tuple[frozenset[str], ...]
    findings: tuple[Finding, ...]
    kept: tuple[tuple[str, ...], ...] = ()


def match(rows: Sequence[Row], paths: Sequence[str], where: str) -> LabelledImages:
    """Match rows with images, which may be files or objects in a bucket.

    A row matches an image if the image's path ends in the row's name, compared by whole components, with or without the
    image's extension. Case counts, unless nothing matches otherwise. Among several images, the one whose path relative
    to the images' common folder is the row's name takes precedence. A path of another machine, absolute or from `..`,
    matches without the folders that are missing here. `where` names the images' place in messages.

    Several rows of an image are joined: it has the tags of all. But rows of one column per label contradict one another
    if they differ, and such images are left out.

    Raises:
      LabelError: there are no images, no row matches any, a row matches several, paths of another machine cannot be
        told apart here, the rows of every image contradict one another, or rows of an image differ in what is kept.
    """
    if not paths:
        raise LabelError(f"{shown(where)}: no images there")
    paths = list(dict.fromkeys(paths))
    located = [components_of(path if "://" in path else os.path.abspath(path)) for path in paths]
    folders = zip(*(components[:-1] for components in located), strict=False)
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, folders))
    # File names need not be UTF-8, but findings are written to files that are.
    names = ["/".join(components[shared:]).encode(errors="backslashreplace").decode() for components in located]
    written = [components_of(row.name) for row in rows]
    fitting = _find(written, located, shared)
    elsewhere = _find_elsewhere(rows, written, fitting, located, shared)
    several = [(row.name, fits) for row, fits in zip(rows, fitting, strict=True) if len(fits) > 1]
    if several:
        name, fits = several[0]
        such = "1 such row" if len(several) == 1 else f"{len(several)} such rows"
        raise LabelError(
            f"{shown(name)} matches several images in {shown(where)}: {some_names(names[image] for image in fits)} "
            f"({such} in total)",
            "choose a folder with one image per row, or write paths relative to that folder into the label file",
        )
    missing = [row.name for row, fits in zip(rows, fitting, strict=True) if not fits]
    given: dict[int, list[Row]] = {}
    for row, fits in zip(rows, fitting, strict=True):
        for image in fits:
            given.setdefault(image, []).append(row)
    if not given:
        # If rows name folders, it is the folders that do not match.
        examples = paths if any(len(components_of(name)) > 1 for name in missing) else names
        raise LabelError(
            f"no row names an image in {shown(where)}: rows such as {some_names(missing)}; "
            f"images such as {some_names(examples)}",
            "rows must hold file names, or the ends of paths",
        )
    agreed = {image: of_image for image, of_image in given.items() if not _is_contradictory(of_image)}
    joined = [image for image, of_image in agreed.items() if len({row.tags for row in of_image}) > 1]
    findings: tuple[Finding, ...] = (
        Finding("rows with folders of another machine, matched by the end of the path", elsewhere),
        Finding(
            "duplicate rows, counted once",
            tuple(names[image] for image in agreed.keys() - joined for _ in given[image][1:]),
        ),
        Finding("images with different tags in several rows, joined", tuple(names[image] for image in joined)),
        Finding(
            "images with contradictory rows, skipped",
            tuple(names[image] for image in given if image not in agreed),
        ),
        Finding("rows without an image, skipped", tuple(missing)),
        Finding("images without a row, skipped", tuple(name for image, name in enumerate(names) if image not in given)),
    )
    findings = tuple(finding for finding in findings if finding.names)
    if not agreed:
        raise LabelError(f"no usable image in {shown(where)}: {'; '.join(map(str, findings))}")
    differing = [names[image] for image, of_image in agreed.items() if len({row.kept for row in of_image}) > 1]
    if differing:
        raise LabelError(
            f"rows of an image differ in the columns that say how to split: {some_names(differing)}",
            "make them agree in all rows of an image",
        )
    return LabelledImages(
        tuple(paths[image] for image in agreed),
        tuple(frozenset().union(*(row.tags for row in of_image)) for of_image in agreed.values()),
        findings,
        tuple(of_image[0].kept for of_image in agreed.values()),
    )


def find_images(folder: Path) -> list[Path]:
    """List the images under a folder by their extensions, in a stable order.

    Hidden files and folders, and those of a system, are skipped as in prediction: a thumbnail has the name of its
    image. Links are followed, and each folder is listed once.

    Raises:
      LabelError: there are no images, or a folder cannot be listed.
    """
    found: list[Path] = []
    seen: set[str] = set()
    try:
        for here, folders, files in os.walk(folder, followlinks=True, onerror=_fail):
            if (place := os.path.realpath(here)) in seen:
                folders.clear()
                continue
            seen.add(place)
            folders[:] = sorted(name for name in folders if not hides(name))
            found += [
                Path(here, name) for name in files if _is_image(name) and os.path.isfile(os.path.join(here, name))
            ]
    except OSError as error:
        raise LabelError(f"{shown(str(error.filename))}: {error.strerror}") from error
    if not found:
        raise LabelError(f"{shown(str(folder))}: no images in this folder (extensions: {' '.join(ENDINGS)})")
    return sorted(found)


def vocabulary(tags: Iterable[frozenset[str]]) -> tuple[str, ...]:
    """Return every tag that occurs, in alphabetical order."""
    return tuple(sorted(frozenset().union(*tags)))


def unmeasured(labels: Sequence[str], file: LabelFile) -> Finding:
    """Find labels of a model that label files do not have, so that nobody knows which images should have them.

    Raises:
      LabelError: they have none of these labels.
    """
    known = set(file.labels)
    lacking = tuple(label for label in labels if label not in known)
    if len(lacking) == len(labels):
        raise LabelError(
            f"the labels have none of those of the model: they are {some_names(file.labels)}, and the model's are "
            f"{some_names(labels)}",
            "choose label files of the same kind",
        )
    return Finding("labels of the model that the label file does not have, not measured", lacking)


def multi_hot(tags: Sequence[frozenset[str]], labels: Sequence[str]) -> NDArray[np.float32]:
    """Encode the tags of each image as float32 [N, L]: 1.0 if image n has label l, else 0.0; other tags are ignored."""
    import numpy as np

    column = {label: index for index, label in enumerate(labels)}
    marks = np.zeros((len(tags), len(labels)), np.float32)
    for row, of_image in enumerate(tags):
        marks[row, [column[tag] for tag in of_image if tag in column]] = 1
    return marks


def _is_contradictory(rows: Sequence[Row]) -> bool:
    """Return whether rows of one image differ, though one of them claims to name all its tags."""
    return any(row.exhaustive for row in rows) and len({row.tags for row in rows}) > 1


def _find_elsewhere(
    rows: Sequence[Row],
    written: Sequence[Components],
    fitting: list[list[int]],
    paths: Sequence[Components],
    shared: int,
) -> tuple[str, ...]:
    """Find images of rows whose folders are those of another machine, and return the names of these rows.

    Of all such rows that begin with the same folder, the same number of folders is left out, as few as possible: if
    each row lost as many as it takes to find any image, `/data/train/a.jpg` would find `val/a.jpg`.

    Raises:
      LabelError: different paths become the same.
    """
    roots: dict[str, list[int]] = {}
    for row, fits in enumerate(fitting):
        if not fits and len(written[row]) > 1 and _ELSEWHERE.match(rows[row].name):
            roots.setdefault(written[row][0], []).append(row)
    found = []
    for left in roots.values():
        for count in range(1, max(len(written[row]) for row in left)):
            ends = _find([written[row][count:] for row in left], paths, shared)
            if any(ends):
                _refuse_same([rows[row].name for row in left], [written[row] for row in left], ends)
                for row, fits in zip(left, ends, strict=True):
                    fitting[row] = fits
                    found += [rows[row].name] * bool(fits)
                break
    return tuple(found)


def _refuse_same(names: Sequence[str], written: Sequence[Components], ends: Sequence[list[int]]) -> None:
    first: dict[int, int] = {}
    for row, fits in enumerate(ends):
        for image in fits:
            other = first.setdefault(image, row)
            if written[other] != written[row]:
                raise LabelError(
                    f"{shown(names[other])} and {shown(names[row])} both end like one image here",
                    "choose the folder above as the place of the images, or shorten the paths in the label file",
                )


def _find(rows: Sequence[Components], paths: Sequence[Components], shared: int) -> list[list[int]]:
    """Find the images that each row matches, by the strictest comparison under which it matches any."""
    found: list[list[int]] = [[] for _ in rows]
    for any_case in (False, True):
        for with_ending in (True, False):
            left = [row for row, fits in enumerate(found) if rows[row] and not fits]
            # Only ends of paths that are as long as some row's name: all ends of all paths would take many times the
            # memory, and a search among images of one name is quadratic if every folder has an image of that name.
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


def components_of(path: str) -> Components:
    """Split a path of any operating system into names that compare equal if they look the same."""
    # A member is named ARCHIVE::MEMBER, and an archive counts as a folder.
    separated = path.replace("\\", "/").replace("::", "/")
    plain = posixpath.normpath(unicodedata.normalize("NFC", separated))
    return tuple(name for name in map(str.strip, plain.split("/")) if name not in ("", ".", ".."))


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not hides(name)


def _fail(error: OSError) -> None:
    raise error
