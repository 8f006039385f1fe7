"""What bfloat16 would save, and which tags it would change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.errors import quantity
from pipelines.inference.engines import INSTALL_OPENVINO
from pipelines.inference.intervals import Interval, wilson_interval
from pipelines.inference.rules import Rules
from pipelines.inference.tagging import choose_labels
from pipelines.planning import machines
from pipelines.records import Prediction

_WORTH_IT = 1.2
"""What gains less is not worth a single tag."""
_MOST_CHANGED = 0.1
"""The largest share of images with different tags for which bfloat16 is recommended: surely at most one in ten."""


@dataclass(frozen=True)
class Rate:
    """A run in one precision.

    Attributes:
      images_per_second: on this machine.
      dollars_per_million: images, on cloud workers, start-up excluded.
      machine: type of these workers.
    """

    images_per_second: float
    dollars_per_million: float
    machine: str


@dataclass(frozen=True)
class Changes:
    """What bfloat16 changes in a sample.

    Attributes:
      images: number of images in the sample.
      changed_images: number of those with different tags.
      tags: number of tags in float32.
      added: number of tags in bfloat16 alone.
      removed: number of tags in float32 alone.
      mean: difference of a probability.
      largest: difference of a probability.
    """

    images: int
    changed_images: int
    tags: int
    added: int
    removed: int
    mean: float
    largest: float


@dataclass(frozen=True)
class Precisions:
    """A run in both precisions.

    Attributes:
      units: of this processor, for bfloat16.
      float32: a run in it.
      bfloat16: a run in it.
      changes: in the sample.
      changed_share: of all images, those with different tags.
      recommended: one of `inference.PRECISIONS`.
    """

    units: str
    float32: Rate
    bfloat16: Rate
    changes: Changes
    changed_share: Interval
    recommended: str


def compare(
    exact: Sequence[Prediction],
    rounded: Sequence[Prediction],
    labels: Sequence[str],
    thresholds: Sequence[float],
    rules: Rules,
) -> Changes | None:
    """Compare the predictions of the same images in float32 and in bfloat16; None if there are none."""
    by_path = {prediction.ref.path: prediction.probabilities for prediction in rounded}
    pairs = [
        (prediction.probabilities, by_path[prediction.ref.path])
        for prediction in exact
        if prediction.ref.path in by_path
    ]
    if not pairs:
        return None
    before, after = (np.stack(probabilities) for probabilities in zip(*pairs, strict=True))
    tagged, retagged = (choose_labels(probabilities, labels, thresholds, rules) for probabilities in (before, after))
    differences = np.abs(after - before)
    return Changes(
        len(pairs),
        int((tagged != retagged).any(axis=1).sum()),
        int(tagged.sum()),
        int((retagged & ~tagged).sum()),
        int((tagged & ~retagged).sum()),
        float(differences.mean()),
        float(differences.max()),
    )


def weigh(units: str, float32: Rate, bfloat16: Rate, changes: Changes, is_whole: bool) -> Precisions:
    """Recommend a precision: bfloat16 if it saves much and surely changes little.

    Args:
      units: of this processor, for bfloat16.
      float32: a run in it.
      bfloat16: a run in it.
      changes: in the sample.
      is_whole: whether the sample holds all images.
    """
    gains = bfloat16.images_per_second >= _WORTH_IT * float32.images_per_second
    share = changes.changed_images / changes.images
    changed = Interval(share, share) if is_whole else wilson_interval(changes.changed_images, changes.images)
    keeps = changed.high <= _MOST_CHANGED
    return Precisions(units, float32, bfloat16, changes, changed, "bfloat16" if gains and keeps else "float32")


def describe(precisions: Precisions | None, units: str, lacks_openvino: bool, held: str = "") -> Iterator[str]:
    """Format both precisions as lines of text.

    Args:
      precisions: None if bfloat16 was not measured.
      units: of this processor, for bfloat16; empty if it has none.
      lacks_openvino: whether that is all that bfloat16 lacks here.
      held: precision of the rows that the output holds; empty if it holds none.
    """
    if precisions is None:
        if lacks_openvino:
            yield f"in bfloat16, with this processor's {units}, the model takes half to two thirds of the time"
            yield f"  {INSTALL_OPENVINO}"
        if not units:
            yield "bfloat16, about half the model's time, needs a processor with units for it:"
            yield f"  {machines.describe_with_matrix_units()}"
        return
    rates = (("float32", precisions.float32), ("bfloat16", precisions.bfloat16))
    changes = precisions.changes
    gain = precisions.bfloat16.images_per_second / precisions.float32.images_per_second
    yield f"in bfloat16, with this processor's {precisions.units}: {gain:.2f} times as fast"
    for name, rate in rates:
        yield (
            f"  {name:9} {rate.images_per_second:7.1f} images/s here; "
            f"${rate.dollars_per_million:.2f} per million images on {rate.machine}"
        )
    yield (
        f"  {changes.changed_images:,} of {quantity(changes.images, 'image')} would get different tags: "
        f"{changes.added:,} added and {changes.removed:,} removed, of {quantity(changes.tags, 'tag')}"
    )
    yield f"  probabilities differ by {changes.mean:.4f} on average, and by {changes.largest:.4f} at most"
    share = precisions.changed_share
    if precisions.recommended == "bfloat16":
        yield "  recommended: --precision bfloat16, unless these tags matter more than the time"
    elif gain < _WORTH_IT:
        yield "  recommended: float32, since bfloat16 saves too little"
    elif share.low > _MOST_CHANGED:
        yield "  recommended: float32, since bfloat16 changes too much"
    else:
        yield (
            f"  recommended: float32, unless time matters more: bfloat16 would change the tags of {share.low:.0%} to "
            f"{share.high:.0%} of all images (95 % confidence)"
        )
    if held and held != precisions.recommended:
        yield f"  the output holds rows in {held}: {precisions.recommended} needs another --output, or --overwrite"
    yield f"  machines with matrix units for it: {machines.describe_with_matrix_units()}"
