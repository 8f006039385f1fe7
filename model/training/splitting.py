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
from model.data.sides import Side, SplitColumn, SplitError, is_called_held_out, read_sides
from model.training.settings import Settings
from pipelines import labels
from pipelines.commandline.printing import show
from pipelines.errors import quantity
from pipelines.inference.bundle import Bundle
from pipelines.labels import Finding, LabelledImages, some_names


class Rows(NamedTuple):
    """The rows of all label files, whose `kept` values say how to split.

    Attributes:
      rows: with a side first, if the user has chosen who is held out, and a group last, if there is a column of groups.
      labels: of all files.
      unjudged: those that nobody has judged the images to hold out by.
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

    def named(self, chosen: NDArray[np.int64]) -> tuple[str, ...]:
        """Return the names of some of the images, by their indices."""
        return tuple(self.names[image] for image in chosen)


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
    rows, every, findings = file.rows, file.labels, file.findings
    unjudged: tuple[str, ...] = ()
    if settings.validation_labels:
        held_out = labels.read_labels(source._replace(paths=(settings.validation_labels,)), file.labels, images)
        _refuse_common_images(file.rows, held_out.rows)
        marked = ((row, side) for side, part in (("train", file), ("validation", held_out)) for row in part.rows)
        rows = tuple(row._replace(kept=(side, *row.kept)) for row, side in marked)
        every, findings = tuple(sorted({*every, *held_out.labels})), (*findings, *held_out.findings)
        unjudged = _unjudged(file, held_out)
    return Rows(rows, every, unjudged, findings)


def _unjudged(file: labels.LabelFile, held_out: labels.LabelFile) -> tuple[str, ...]:
    """Return the labels that are in no column of a file of images to hold out.

    Of a file that gives each image its tags, an image does not have the others. But if it has none of the labels, it is
    about something else.
    """
    lacking = tuple(label for label in file.labels if label not in held_out.labels)
    return lacking if held_out.is_closed or len(lacking) == len(file.labels) else ()


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
        if settings.split_column:
            named = zip(names, sides, cells, strict=True)
            trained = tuple(name for name, side, cell in named if side == "train" and is_called_held_out(cell))
            what = f"images marked val or the like, trained on because of --split_column {settings.split_column}"
            findings.append(Finding(what, trained))
    if settings.group_column:
        belong = tuple("" if labels.is_missing(kept[-1]) else kept[-1].strip() for kept in matched.kept)
    elif settings.group_pattern:
        below = [path.removeprefix(settings.images).lstrip("/\\") for path in matched.paths]
        belong = tuple(groups.from_pattern(below, re.compile(settings.group_pattern)))
        if not any(belong):
            raise SplitError(
                f"--group_pattern {settings.group_pattern} is in none of the paths below --images: {some_names(below)}",
                "correct the pattern; see https://docs.python.org/3/library/re.html for its syntax",
            )
    if belong is not None:
        alone = tuple(name for name, group in zip(names, belong, strict=True) if not group)
        findings.append(Finding("images without a group, each treated as a group of its own", alone))
    if sides is not None and belong is not None:
        _refuse_common_groups(sides, belong)
    return Assignment(sides, belong), [finding for finding in findings if finding.names]


class Division(NamedTuple):
    """The examples, divided.

    Attributes:
      split: in two sides.
      left_out: int64 [K], on neither side, as the network has learnt before what the user wants to hold out.
      findings: what was found, and pictures that are on both sides all the same.
    """

    split: split.Split
    left_out: NDArray[np.int64]
    findings: tuple[Finding, ...]


def divide(settings: Settings, assignment: Assignment, examples: Examples, images: Images) -> Division:
    """Divide the examples; nothing is held out that the network has learnt before.

    If a share is drawn, identical images stay together, and what was learnt before is trained on.

    Args:
      settings: of the training.
      assignment: of the examples.
      examples: that can be read.
      images: of the examples.

    Raises:
      SplitError: a side is empty, or the network has learnt all images that could be held out.
    """
    numbers = groups.number(images.digests, assignment.groups or [""] * len(images.names))
    learnt = np.isin(numbers, numbers[images.learnt])
    if assignment.sides is None:
        divided, findings = _draw(settings, numbers, examples, images, learnt)
    else:
        sides = np.array(assignment.sides)
        divided, findings = _follow(sides, images, learnt)
    if assignment.groups is not None:
        number = int(groups.number(assignment.groups).max()) + 1
        show(f"{quantity(len(examples.rows), 'image')} in {quantity(number, 'group')}")
    left_out = np.setdiff1d(np.arange(len(numbers)), np.concatenate(divided))
    copies = _find_copies(examples, divided, images)
    return Division(divided, left_out, (*(one for one in findings if one.names), *copies))


def _draw(
    settings: Settings, numbers: NDArray[np.int64], examples: Examples, images: Images, learnt: NDArray[np.bool_]
) -> tuple[split.Split, list[Finding]]:
    """Draw the share to hold out; that of the same seed without such images, if it has none of those learnt before.

    Raises:
      SplitError: there is nothing to hold out.
    """
    if numbers.max() == 0:
        raise SplitError("all images are identical or in one group, so none can be held out", "check the groups")
    if learnt.all():
        raise _learnt_error(np.arange(len(learnt)), "images", images)

    def draw(trained: NDArray[np.int64]) -> split.Split:
        fraction = settings.validation_fraction or 0
        return split.stratified(examples.targets, fraction, settings.seed, numbers, trained)

    # With the images, labels and seed of the bundle this holds out what the bundle has held out.
    divided = draw(np.zeros(0, np.int64))
    if not learnt[divided.validation].any():
        return divided, []
    divided = draw(np.unique(numbers[learnt]))
    known = np.flatnonzero(learnt)
    what = f"images that the bundle in --weights has already learnt{_others(known, images)}, not held out"
    findings = [Finding(what, images.named(known))]
    if learnt[divided.train].all():
        what = "images that the bundle in --weights has not learnt yet, all held out"
        remedy = "a smaller --validation_fraction leaves some to train on"
        findings.append(Finding(f"{what} ({remedy})", images.named(divided.validation)))
    return divided, findings


def _follow(sides: NDArray[np.str_], images: Images, learnt: NDArray[np.bool_]) -> tuple[split.Split, list[Finding]]:
    """Divide as the user has said, but leave out what was learnt before of the images to hold out.

    Raises:
      SplitError: a side is empty then.
    """
    train, held_out = np.flatnonzero(sides == "train"), np.flatnonzero(sides == "held out")
    if not (len(train) and len(held_out)):
        raise SplitError("one side of the split has no readable images", "correct the split, or replace the images")
    if learnt[held_out].all():
        raise _learnt_error(held_out, "images to hold out", images)
    known = held_out[learnt[held_out]]
    what = f"images to hold out that the bundle in --weights has already learnt{_others(known, images)}, left out"
    return split.Split(train, held_out[~learnt[held_out]]), [Finding(what, images.named(known))]


def _learnt_error(known: NDArray[np.int64], what: str, images: Images) -> SplitError:
    some = some_names(images.named(known))
    return SplitError(
        f"the bundle in --weights has already learnt all {len(known):,} {what}{_others(known, images)}: {some}",
        "hold out other images (--validation_labels, --split_column), or start from a bundle that was trained with the "
        "same images, the same --seed or split, and --final_epochs 0",
    )


def _others(known: NDArray[np.int64], images: Images) -> str:
    """Say that some images are known only by others of their group, if they are."""
    return "" if images.learnt[known].all() else " (or others in their group)"


def _refuse_common_groups(sides: Sequence[Side], belong: Sequence[str]) -> None:
    on = {side: {group for group, at in zip(belong, sides, strict=True) if at == side and group} for side in set(sides)}
    if common := sorted(on["train"] & on["held out"]):
        raise SplitError(
            f"groups on both sides of the split: {some_names(common)} ({len(common)} in total)",
            "correct the split, or omit it: a split is then drawn that keeps groups together",
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
    for what, found in (("identical", copies), ("nearly identical", near)):
        if found:
            pairs = tuple(f"{names[image]} ({names[other]})" for image, other in found.items())
            yield Finding(f"held-out images {what} to a training image", pairs)
