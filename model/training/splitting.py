"""Decide which images are held out: as the user has chosen, or a share of them, with groups kept together."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data import duplicates, groups, split
from model.data.dataset import Examples
from model.data.sides import Side, SplitColumn, SplitError, read_sides
from model.training.settings import Settings
from pipelines import labels
from pipelines.commandline.printing import show
from pipelines.inference.bundle import Bundle
from pipelines.labels import Finding, LabelledImages, some_names


class Rows(NamedTuple):
    """The rows of all label files, whose `kept` values say how to split.

    Attributes:
      rows: with a side first, if the user has chosen who is held out, and a group last, if there is a column of groups.
      labels: of all files.
      unjudged: those that the file of the images to hold out does not have: nobody knows which of these have them.
      findings: problems of the files.
    """

    rows: tuple[labels.Row, ...]
    labels: tuple[str, ...]
    unjudged: tuple[str, ...]
    findings: tuple[Finding, ...]


class Assignment(NamedTuple):
    """What is known of the split before an image is read.

    Attributes:
      sides: of each image; None if a share of them is to be drawn.
      groups: of each image, an empty string for none; None if there are no groups.
    """

    sides: tuple[Side, ...] | None
    groups: tuple[str, ...] | None

    def take(self, images: Iterable[int]) -> Assignment:
        """Return the assignment of some of the images."""
        images = list(images)
        return Assignment(
            self.sides and tuple(self.sides[image] for image in images),
            self.groups and tuple(self.groups[image] for image in images),
        )


class Images(NamedTuple):
    """The images of examples.

    Attributes:
      names: of the N images, for findings.
      digests: of their pixels.
      learnt: bool [N], whether the bundle in --weights has learnt from them.
    """

    names: Sequence[str]
    digests: Sequence[str]
    learnt: NDArray[np.bool_]


def flags(settings: Settings) -> dict[str, str]:
    """Return how the user divides the images, by flag; of files only their names."""
    given = {
        "split_column": settings.split_column,
        "validation_labels": posixpath.basename(settings.validation_labels),
        "group_column": settings.group_column,
        "group_pattern": settings.group_pattern,
    }
    return {flag: value for flag, value in given.items() if value}


def read_rows(settings: Settings, images: Sequence[str]) -> Rows:
    """Read the label files with the columns that say how to split; `images` are the paths of all images.

    Raises:
      LabelError: a file cannot be used.
      SplitError: an image is in files of both sides.
    """
    keep = tuple(filter(None, (SplitColumn.parse(settings.split_column).name, settings.group_column)))
    source = settings.labels._replace(options=settings.labels.options._replace(keep=keep)) if keep else settings.labels
    known = settings.weights.labels if isinstance(settings.weights, Bundle) else ()
    file = labels.read_labels(source, known, images)
    rows, every, findings = file
    unjudged: tuple[str, ...] = ()
    if settings.validation_labels:
        held_out = labels.read_labels(source._replace(paths=(settings.validation_labels,)), file.labels, images)
        _refuse_common_images(file.rows, held_out.rows)
        marked = ((row, side) for side, part in (("train", file), ("validation", held_out)) for row in part.rows)
        rows = tuple(row._replace(kept=(side, *row.kept)) for row, side in marked)
        every, findings = tuple(sorted({*every, *held_out.labels})), (*findings, *held_out.findings)
        unjudged = tuple(label for label in file.labels if label not in held_out.labels)
    return Rows(rows, every, unjudged, findings)


def _refuse_common_images(rows: Sequence[labels.Row], held_out: Sequence[labels.Row]) -> None:
    """Refuse rows of the same name in both label files; images of other names that are one are found when matched."""
    if common := sorted({row.name for row in rows} & {row.name for row in held_out}):
        raise SplitError(
            f"images in both --labels and --validation_labels: {some_names(common)}", "remove them from one of the two"
        )


def assign(settings: Settings, matched: LabelledImages) -> tuple[Assignment, list[Finding]]:
    """Find out on which side each image is to be, and which belong together; report those without either.

    Raises:
      SplitError: the user's choice cannot be followed.
    """
    names = [posixpath.basename(path.replace("\\", "/")) for path in matched.paths]
    sides, belong = None, None
    findings = []
    if settings.split_column or settings.validation_labels:
        cells = [kept[0] for kept in matched.kept]
        sides = tuple(read_sides(SplitColumn.parse(settings.split_column), cells))
        unused = tuple(name for name, side in zip(names, sides, strict=True) if side == "left out")
        findings.append(Finding(f"images left out by --split_column {settings.split_column}", unused))
    if settings.group_column:
        belong = tuple("" if labels.is_missing(kept[-1]) else kept[-1].strip() for kept in matched.kept)
    elif settings.group_pattern:
        below = [path.removeprefix(settings.images).lstrip("/\\") for path in matched.paths]
        belong = tuple(groups.from_pattern(below, re.compile(settings.group_pattern)))
        if not any(belong):
            raise SplitError(
                f"--group_pattern {settings.group_pattern} matches no image, such as {some_names(below)}",
                "it is searched in paths below --images; see https://docs.python.org/3/library/re.html",
            )
    if belong is not None:
        alone = tuple(name for name, group in zip(names, belong, strict=True) if not group)
        findings.append(Finding("images without a group, each a group of its own", alone))
    if sides is not None and belong is not None:
        _refuse_common_groups(sides, belong)
    return Assignment(sides, belong), [finding for finding in findings if finding.names]


def divide(
    settings: Settings, assignment: Assignment, examples: Examples, images: Images
) -> tuple[split.Split, list[Finding]]:
    """Divide the examples, and find pictures that are on both sides all the same.

    If a share is drawn, identical images stay together, and what the network has learnt before is not held out.

    Args:
      settings: of the training.
      assignment: of the examples.
      examples: that can be read.
      images: of the examples.

    Raises:
      SplitError: a side is empty, or the network has learnt images that the user wants to hold out.
    """
    findings: list[Finding] = []
    if assignment.sides is None:
        numbers = groups.number(images.digests, assignment.groups or [""] * len(images.names))
        divided, findings = _train_on_learnt(_draw(settings, numbers, examples), numbers, images)
    else:
        sides = np.array(assignment.sides)
        divided = split.Split(np.flatnonzero(sides == "train"), np.flatnonzero(sides == "held out"))
        if not all(map(len, divided)):
            raise SplitError("one side of the split has no readable image", "correct the split or the images")
        learnt = divided.validation[images.learnt[divided.validation]]
        if len(learnt):
            raise _learnt_error(learnt, "", divided.validation, images)
    if assignment.groups is not None:
        show(f"{len(examples.rows)} images in {groups.number(assignment.groups).max() + 1} groups")
    return divided, [*findings, *_find_copies(examples, divided, images)]


def _draw(settings: Settings, numbers: NDArray[np.int64], examples: Examples) -> split.Split:
    if numbers.max() == 0:
        raise SplitError("all images are in the same group, or identical", "no image can be held out; check the groups")
    return split.stratified(examples.targets, settings.validation_fraction or 0, settings.seed, numbers)


def _train_on_learnt(
    divided: split.Split, numbers: NDArray[np.int64], images: Images
) -> tuple[split.Split, list[Finding]]:
    """Move held-out images to the other side that the network has learnt before, and those of the same group.

    Raises:
      SplitError: none is left.
    """
    held_out = divided.validation
    is_learnt = np.isin(numbers[held_out], numbers[images.learnt])
    if is_learnt.all():
        others = "" if images.learnt[held_out].all() else ", or others of their group,"
        raise _learnt_error(held_out, others, held_out, images)
    moved = held_out[is_learnt]
    names = tuple(images.names[image] for image in moved)
    what = "held-out images that the bundle in --weights has learnt, or others of their group: trained on instead"
    divided = split.Split(np.sort(np.append(divided.train, moved)), held_out[~is_learnt])
    return divided, [Finding(what, names)] if names else []


def _learnt_error(learnt: NDArray[np.int64], others: str, held_out: NDArray[np.int64], images: Images) -> SplitError:
    return SplitError(
        f"{len(learnt):,} of {len(held_out):,} held-out images{others} were learnt by the bundle in --weights: "
        f"{some_names(images.names[image] for image in learnt)}",
        "hold out others (--validation_labels, --split_column), or start from a bundle that was trained with the same "
        "images, --seed or split, and --final_epochs 0",
    )


def _refuse_common_groups(sides: Sequence[Side], belong: Sequence[str]) -> None:
    on = {side: {group for group, at in zip(belong, sides, strict=True) if at == side and group} for side in set(sides)}
    if common := sorted(on["train"] & on["held out"]):
        raise SplitError(
            f"groups on both sides of the split: {some_names(common)} ({len(common)} in total)",
            "correct the split, or leave it out to have one drawn that keeps groups together",
        )


def _find_copies(examples: Examples, divided: split.Split, images: Images) -> Iterator[Finding]:
    """Report held-out images that the network learns from, too: figures measured on them flatter."""
    train, held_out = divided
    names, digests = images.names, images.digests
    trained = {digests[image]: image for image in train}
    copies = {image: trained[digests[image]] for image in held_out if digests[image] in trained}
    rest = np.array([image for image in held_out if image not in copies], np.int64)
    similar = duplicates.nearest(examples.take(rest), examples.take(train)) if len(rest) else []
    near = {image: train[other] for image, other in zip(rest, similar, strict=True) if other is not None}
    for what, found in (("identical to one", copies), ("nearly identical to one", near)):
        if found:
            pairs = tuple(f"{names[image]} ({names[other]})" for image, other in found.items())
            yield Finding(f"held-out images {what} that is trained on", pairs)
