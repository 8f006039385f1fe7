"""Match the rows of a label file with images, and turn their tags into numbers."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import quantity
from pipelines.images.formats import ENDINGS
from pipelines.images.hidden import hides, is_mask, is_picture_of_bundle
from pipelines.labels.findings import Finding, LabelError, shown, some_names
from pipelines.labels.names import components_of, find, find_elsewhere
from pipelines.labels.rows import LabelFile, Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FEW = 0.1
"""Share of images whose rows may contradict one another."""


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
    image's extension. Case counts, unless nothing matches otherwise and no other row names the image. Among several
    images, the one whose path relative to the images' common folder is the row's name takes precedence. A path of
    another machine, absolute or from `..`, matches without the folders that are missing here. `where` names the images'
    place in messages.

    Several rows of an image are joined: it has the tags of all. But rows of one column per label contradict one another
    if they differ: a few such images are left out.

    Raises:
      LabelError: there are no images, no row matches any, a row matches several, paths of another machine cannot be
        told apart here, the rows of more than a few images contradict one another, or rows of an image differ in what
        is kept.
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
    fitting = find(written, located, shared)
    elsewhere = find_elsewhere(rows, written, fitting, located, shared)
    _refuse_several(rows, fitting, names, where)
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
    _refuse_contradictions([names[image] for image in given if image not in agreed], len(given))
    _refuse_different_kept({names[image]: of_image for image, of_image in agreed.items()})
    findings = (
        Finding("rows with folders of another machine, matched by the end of the path", elsewhere),
        *_describe_joining(names, given, agreed),
        Finding("rows of the label file without an image, skipped", tuple(missing)),
        Finding(
            "images that the labels do not list, skipped",
            tuple(name for image, name in enumerate(names) if image not in given),
        ),
    )
    return LabelledImages(
        tuple(paths[image] for image in agreed),
        tuple(frozenset().union(*(row.tags for row in of_image)) for of_image in agreed.values()),
        tuple(finding for finding in findings if finding.names),
        tuple(of_image[0].kept for of_image in agreed.values()),
    )


def find_images(folder: Path) -> list[Path]:
    """List the images under a folder by their extensions, in a stable order.

    Hidden files and folders, those of a system, masks of scenes, and the curves of bundles are skipped as in
    prediction: a thumbnail has the name of its image. Links are followed, and each folder is listed once.

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
                Path(here, name)
                for name in files
                if _is_image(name)
                and not is_picture_of_bundle(name, files)
                and os.path.isfile(os.path.join(here, name))
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


def _refuse_several(rows: Sequence[Row], fitting: Sequence[Collection[int]], names: Sequence[str], where: str) -> None:
    several = [(row.name, fits) for row, fits in zip(rows, fitting, strict=True) if len(fits) > 1]
    if several:
        name, fits = several[0]
        raise LabelError(
            f"{shown(name)} matches several images in {shown(where)}: {some_names(names[image] for image in fits)} "
            f"({quantity(len(several), 'such row')} in total)",
            "choose a folder with one image per row, or write paths relative to that folder into the label file",
        )


def _describe_joining(
    names: Sequence[str], given: Mapping[int, Sequence[Row]], agreed: Mapping[int, Sequence[Row]]
) -> Iterator[Finding]:
    """Say what became of images with several rows, which are `given`, and `agreed` unless they contradict."""
    joined = {image for image, of_image in agreed.items() if len({row.tags for row in of_image}) > 1}
    duplicate = tuple(names[image] for image in agreed if image not in joined for _ in given[image][1:])
    yield Finding("duplicate rows, counted once", duplicate)
    different = tuple(names[image] for image in agreed if image in joined)
    yield Finding("images with different tags in several rows, joined", different)
    contradictory = tuple(names[image] for image in given if image not in agreed)
    yield Finding("images with contradictory rows, skipped", contradictory)


def _is_contradictory(rows: Sequence[Row]) -> bool:
    """Return whether rows of one image differ, though one of them claims to name all its tags."""
    return any(row.exhaustive for row in rows) and len({row.tags for row in rows}) > 1


def _refuse_contradictions(contradictory: Sequence[str], images: int) -> None:
    """Refuse files that contradict themselves on more than a few images: something else is wrong with them."""
    if len(contradictory) > _FEW * images:
        raise LabelError(
            f"the rows contradict one another on {len(contradictory):,} of {quantity(images, 'image')}: "
            f"{some_names(contradictory)}",
            "keep the right row of each image",
        )


def _refuse_different_kept(rows: Mapping[str, Sequence[Row]]) -> None:
    differing = [name for name, of_image in rows.items() if len({row.kept for row in of_image}) > 1]
    if differing:
        raise LabelError(
            f"rows of an image name different sides of a split, or different groups: {some_names(differing)}",
            "make all rows of an image agree; --labels and --validation_labels must have different images",
        )


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not hides(name) and not is_mask(name)


def _fail(error: OSError) -> None:
    raise error
