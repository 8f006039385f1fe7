"""Read what to train on: labels, their images, and which of these are held out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from model.data import dataset, split
from model.data.listing import list_images
from model.quality import cautions
from model.training.settings import Settings
from model.training.workspace import Workspace
from pipelines import labels
from pipelines.commandline.printing import show


class Data(NamedTuple):
    """The labelled images of a training.

    Attributes:
      labels: every label that a readable image has.
      training: the examples to learn from.
      validation: the examples held out.
      repairs: number of images per repair of `images.decode`.
      findings: problems of the label file and the images.
    """

    labels: tuple[str, ...]
    training: dataset.Examples
    validation: dataset.Examples
    repairs: dict[str, int]
    findings: tuple[labels.Finding, ...]


class Found(NamedTuple):
    """The images that have labels.

    Attributes:
      files: the path of each image with its version, in the order of the label file.
      tags: of each.
      findings: problems of the label file and the images.
    """

    files: dict[str, str]
    tags: tuple[frozenset[str], ...]
    findings: tuple[labels.Finding, ...]


def find(settings: Settings) -> Found:
    """Match the rows of the label file with images, and print what is wrong with either.

    Raises:
      LabelError: the label file cannot be used.
      DatasetError: there are too few images or labels.
    """
    images = list_images(settings.images)
    file = labels.read_labels(settings.labels, images=list(images))
    matched = labels.match(file.rows, list(images), settings.images)
    findings = [*file.findings, *matched.findings]
    unused = set(file.labels) - set(labels.vocabulary(matched.tags))
    if unused:
        findings.append(labels.Finding("labels without images, dropped", tuple(sorted(unused))))
    _report(findings)
    _check_enough(settings, matched.tags)
    return Found({path: images[path] for path in matched.paths}, matched.tags, tuple(findings))


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
    """
    decoded = dataset.decode(found.files, settings.image_size, workspace.images, settings.rendering)
    for repair, count in decoded.repairs.items():
        show(f"{count} of {len(found.files)} images repaired: {repair}")
    findings = found.findings
    if decoded.unreadable:
        names = tuple(f"{os.path.basename(bad.path)} ({bad.reason})" for bad in decoded.unreadable)
        unreadable = labels.Finding("unreadable images, skipped", names)
        _report([unreadable])
        findings = (*findings, unreadable)
    tags = [found.tags[index] for index in decoded.readable]
    _check_enough(settings, tags)
    vocabulary = labels.vocabulary(tags)
    examples = dataset.Examples(decoded.pixels, decoded.readable, labels.multi_hot(tags, vocabulary))
    drawn = split.stratified(examples.targets, settings.validation_fraction, settings.seed)
    training, held_out = examples.take(drawn.train), examples.take(drawn.validation)
    show(f"{len(drawn.train)} images to train on, {len(drawn.validation)} held out, {len(vocabulary)} labels")
    told = cautions.of_split(vocabulary, training.targets, held_out.targets, settings.validation_fraction)
    show(*(f"caution: {caution}" for caution in told))
    return Data(vocabulary, training, held_out, decoded.repairs, findings)


def _report(findings: Iterable[labels.Finding]) -> None:
    """Print findings, one per line."""
    for finding in findings:
        show(str(finding))
