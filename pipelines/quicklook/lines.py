"""Describe a tagged image in lines of text."""

from __future__ import annotations

import shutil

import numpy as np

from pipelines.inference.bundle import Bundle
from pipelines.inference.reference import STRANGE
from pipelines.inference.scale import describe_oversized, is_oversized
from pipelines.inference.tagging import choose_tags
from pipelines.quicklook.picture import Panel
from pipelines.records import Image, Prediction

SHOWN_PROBABILITY = 0.02
"""Labels below it are left out, unless they are tags."""

_MOST_SHOWN = 0.999
"""Novelty above which the line says no more than that."""


def make_panel(image: Image, prediction: Prediction, bundle: Bundle) -> Panel:
    """Return an image with its labels, the likeliest first."""
    [tags] = choose_tags(prediction.probabilities[np.newaxis], bundle.labels, bundle.thresholds)
    order = np.argsort(-prediction.probabilities, kind="stable")
    probabilities = {bundle.labels[index]: float(prediction.probabilities[index]) for index in order}
    return Panel(image.ref.path, image.pixels, probabilities, tags, image.ref.window)


def describe(panel: Panel, prediction: Prediction, bundle: Bundle, tile: int) -> list[str]:
    """Write an image's tags and its likelier labels in lines of text, with a bar each.

    Args:
      panel: the image with its labels.
      prediction: of the image.
      bundle: with which it was tagged.
      tile: side of the windows into which scenes were cut; 0 if they were not.
    """
    repairs = f", repaired: {', '.join(prediction.repairs)}" if prediction.repairs else ""
    shown = {
        label: probability
        for label, probability in panel.probabilities.items()
        if probability >= SHOWN_PROBABILITY or label in panel.tags
    }
    name_width = max(map(len, shown), default=0)
    bar_width = max(10, min(40, shutil.get_terminal_size().columns - name_width - 12))
    lines = [
        f"  {'*' if label in panel.tags else ' '} {label:{name_width}} {probability:6.1%} "
        f"{'█' * round(probability * bar_width)}"
        for label, probability in shown.items()
    ]
    return [
        panel.title,
        f"  {prediction.width} x {prediction.height}, {prediction.source}{repairs}",
        f"  tags (*): {', '.join(panel.tags) or 'none'}",
        *_describe_scale(prediction, bundle, tile),
        *_describe_novelty(prediction, bundle),
        *lines,
        "",
    ]


def _describe_scale(prediction: Prediction, bundle: Bundle, tile: int) -> list[str]:
    """Say that an image is far too large for the model, if it is."""
    if not is_oversized(prediction.width, prediction.height, bundle):
        return []
    return [f"  caution: {describe_oversized(bundle, tile)}"]


def _describe_novelty(prediction: Prediction, bundle: Bundle) -> list[str]:
    """Write how strange an image is to the model, if it is known."""
    if bundle.reference is None or prediction.appearance is None:
        return []
    [novelty] = bundle.reference.novelty(prediction.appearance[np.newaxis])
    # Never all of them: that is more than the statistics of a few hundred images can tell.
    share = f"{novelty:.1%}" if novelty <= _MOST_SHOWN else f"over {_MOST_SHOWN:.1%}"
    warning = ": the model has hardly seen such images" if novelty > STRANGE else ""
    return [f"  stranger than {share} of the training images{warning}"]
