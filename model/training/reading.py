"""Read what to train on: labels, their images, and which of these are held out."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data import dataset, duplicates
from model.data.learnt import NOTHING, Learnt, pair, read_learnt
from model.data.listing import list_images
from model.data.sides import SplitError
from model.quality import cautions
from model.training.settings import Settings
from model.training.splitting import Assignment, Images, assign, divide, read_rows
from model.training.workspace import Workspace
from pipelines import labels
from pipelines.commandline.parser import UsageError
from pipelines.commandline.printing import show
from pipelines.errors import quantity
from pipelines.inference.bundle import Bundle


class Data(NamedTuple):
    """The labelled images of a training.

    Attributes:
      labels: every label that a readable image has.
      training: the examples to learn from.
      validation: the examples held out.
      repairs: number of images per repair of `images.decode`.
      side: the median of the images' shorter sides, in pixels, before they were resized.
      learnt: the images that the network has learnt from when it is measured, before this training included.
      held_out_digests: uint64 [M, 2], of the examples held out.
      unjudged: labels of which nobody knows which held-out images have them.
      findings: problems of the label file and the images.
    """

    labels: tuple[str, ...]
    training: dataset.Examples
    validation: dataset.Examples
    repairs: dict[str, int]
    side: int
    learnt: Learnt
    held_out_digests: NDArray[np.uint64]
    unjudged: tuple[str, ...]
    findings: tuple[labels.Finding, ...]

    @property
    def judged(self) -> NDArray[np.bool_]:
        """The other labels, bool [L]."""
        return ~np.isin(self.labels, self.unjudged)


class Found(NamedTuple):
    """The images that have labels.

    Attributes:
      files: the path of each image with its version, in the order of the label file.
      tags: of each.
      assignment: on which sides of the split they are to be.
      unjudged: labels of which nobody knows which held-out images have them.
      findings: problems of the label file and the images.
    """

    files: dict[str, str]
    tags: tuple[frozenset[str], ...]
    assignment: Assignment
    unjudged: tuple[str, ...]
    findings: tuple[labels.Finding, ...]


def find(settings: Settings) -> Found:
    """Match the rows of the label file with images, and print what is wrong with either.

    Raises:
      LabelError: a label file cannot be used.
      SplitError: the images cannot be divided as the user has said.
      DatasetError: there are too few images or labels.
      UsageError: the held-out images cannot be learnt at last, as the user has said.
    """
    images = list_images(settings.images)
    file = read_rows(settings, list(images))
    matched = labels.match(file.rows, list(images), settings.images)
    assignment, of_split = assign(settings, matched)
    used = [image for image, side in enumerate(assignment.sides or [""] * len(matched.paths)) if side != "left out"]
    tags = tuple(matched.tags[image] for image in used)
    findings = [*file.findings, *matched.findings, *of_split]
    unused = set(file.labels) - set(labels.vocabulary(tags))
    if unused:
        findings.append(labels.Finding("labels without images, dropped", tuple(sorted(unused))))
    unjudged = tuple(label for label in file.unjudged if label not in unused)
    if unjudged:
        findings.append(labels.Finding("labels missing from --validation_labels, not measured", unjudged))
    _report(findings)
    _check_enough(settings, tags)
    _refuse_to_learn_unjudged(settings, unjudged)
    files = {matched.paths[image]: images[matched.paths[image]] for image in used}
    return Found(files, tags, assignment.take(used), unjudged, tuple(findings))


def _refuse_to_learn_unjudged(settings: Settings, unjudged: Sequence[str]) -> None:
    """Refuse to train on held-out images at last that nobody has judged by all labels: it would teach their absence."""
    if unjudged and settings.final_epochs:
        raise UsageError(
            f"--final_epochs {settings.final_epochs}: the held-out images cannot be trained on, because "
            f"--validation_labels does not say which of them have {labels.some_names(unjudged)}",
            "add what is missing to that file, or omit --final_epochs",
        )


def _check_enough(settings: Settings, tags: Sequence[frozenset[str]]) -> None:
    vocabulary = labels.vocabulary(tags)
    if not vocabulary or len(tags) < 2:
        raise dataset.DatasetError(
            f"{settings.labels}: usable images: {len(tags)}, labels: {len(vocabulary)}",
            "training needs at least two images and one label",
        )


def read(found: Found, settings: Settings, workspace: Workspace) -> Data:
    """Decode the images and hold some out.

    Raises:
      DatasetError: the images cannot be used.
      SplitError: they cannot be divided as the user has said.
      BundleError: what the bundle in --weights has learnt cannot be read.
    """
    decoded = dataset.decode(
        found.files, settings.image_size, workspace.images, settings.rendering, settings.resize_filter
    )
    for repair, count in decoded.repairs.items():
        show(f"{count} of {quantity(len(found.files), 'image')} repaired: {repair}")
    findings = found.findings
    if decoded.unreadable:
        names = tuple(f"{os.path.basename(bad.path)} ({bad.reason})" for bad in decoded.unreadable)
        unreadable = labels.Finding("unreadable images, skipped", names)
        _report([unreadable])
        findings = (*findings, unreadable)
    tags = [found.tags[index] for index in decoded.readable]
    _check_enough(settings, tags)
    vocabulary = labels.vocabulary(tags)
    findings = _drop("unreadable images", set(labels.vocabulary(found.tags)) - set(vocabulary), findings)
    examples = dataset.Examples(decoded.pixels, decoded.readable, labels.multi_hot(tags, vocabulary))
    paths = [list(found.files)[index] for index in decoded.readable]
    of_pixels = duplicates.digests(examples)
    digests = pair(decoded.digests[decoded.readable], of_pixels)
    before = read_learnt(settings.weights) if isinstance(settings.weights, Bundle) else NOTHING
    images = Images(list(map(os.path.basename, paths)), of_pixels, before.has(digests))
    if pairs := duplicates.contradictory(of_pixels, examples.targets):
        named = tuple(f"{images.names[image]} ({images.names[other]})" for image, other in pairs)
        differing = labels.Finding("images identical to another one that has other tags, kept", named)
        _report([differing])
        findings = (*findings, differing)
    divided, left_out, of_split = divide(settings, found.assignment.take(decoded.readable), examples, images)
    _report(of_split)
    findings = (*findings, *of_split)
    if len(left_out):
        listed = workspace.write_left_out(paths[image] for image in left_out)
        show(f"the images left out are listed in {listed}")
        used = labels.vocabulary(tags[image] for image in np.concatenate(divided))
        findings = _drop("images left out", set(vocabulary) - set(used), findings)
        vocabulary = used
        examples = examples._replace(targets=labels.multi_hot(tags, vocabulary))
    training, held_out = examples.take(divided.train), examples.take(divided.validation)
    unjudged = tuple(label for label in found.unjudged if label in vocabulary)
    if unjudged and not training.targets[:, [label not in unjudged for label in vocabulary]].any():
        raise SplitError(
            f"{settings.validation_labels} has none of the labels to train on: {labels.some_names(unjudged)}",
            "hold out images that were labelled with them",
        )
    train, held_out_count = quantity(len(divided.train), "image"), len(divided.validation)
    show(f"{train} to train on, {held_out_count} held out, {quantity(len(vocabulary), 'label')}")
    told = cautions.of_split(vocabulary, training.targets, held_out.targets, settings.validation_fraction)
    show(*(f"caution: {caution}" for caution in (*cautions.of_start(before.is_complete), *told)))
    return Data(
        labels=vocabulary,
        training=training,
        validation=held_out,
        repairs=decoded.repairs,
        side=decoded.side,
        learnt=before.with_images(digests[divided.train]),
        held_out_digests=digests[divided.validation],
        unjudged=unjudged,
        findings=findings,
    )


def _drop(by: str, lost: Collection[str], findings: tuple[labels.Finding, ...]) -> tuple[labels.Finding, ...]:
    """Report labels that are dropped, if there are any, and return all findings."""
    if not lost:
        return findings
    dropped = labels.Finding(f"labels found only on {by}, dropped", tuple(sorted(lost)))
    _report([dropped])
    return (*findings, dropped)


def _report(findings: Iterable[labels.Finding]) -> None:
    """Print findings, one per line."""
    for finding in findings:
        show(str(finding))
