"""The facts about an imported model, and how they are laid out for `bundle.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.foreign.judging import Doubt
from model.foreign.scaling import Scaling
from model.foreign.settings import OutputKind
from model.quality.metrics import Scores
from model.quality.never_given import find_never_given
from model.quality.reliability import Reliability
from pipelines.inference.reference import Reference
from pipelines.labels import NAMES_SHOWN, Finding


@dataclass(frozen=True)
class Measured:
    """How good a model is on labelled images of the user.

    Attributes:
      scores: at the bundle's thresholds, of the L labels of the model, then of those that it does not know.
      judged: bool [L + U], the labels of the model of which it is known which images have them.
      reliability: how far the probabilities can be taken at their word.
      truth: bool [N, K], of the judged labels.
      probabilities: float32 [N, K], of the bundle's LiteRT file.
    """

    scores: Scores
    judged: NDArray[np.bool_]
    reliability: Reliability
    truth: NDArray[np.bool_]
    probabilities: NDArray[np.float32]

    @property
    def of_judged(self) -> Scores:
        """The scores with the labels in the columns of truth and probabilities alone."""
        return self.scores.of(self.judged)

    @property
    def never_given(self) -> dict[str, str]:
        """The judged labels that no image has as a tag, each with the reason."""
        return find_never_given(self.of_judged.labels)


@dataclass(frozen=True)
class Import:
    """Everything that a bundle and its model card report of an import.

    Attributes:
      name: of the model.
      labels: L names, in the order of the outputs.
      source: name of the file or folder.
      format: of it.
      package: that ran it.
      digest: SHA-256 of the file, or of the names and digests of the files in the folder.
      image_size: in pixels.
      resize_filter: with which images are resized to that size; that of its training is unknown.
      scaling: of the pixels.
      output_kind: what the original returns.
      are_shares: whether the probabilities of an image sum to 1.
      is_int8: whether it computes in int8.
      thresholds: float64 [L].
      thresholds_from: where these are from, for a reader.
      checked_images: number of images on which bundle and original agree.
      are_real: whether these are the user's.
      difference: the largest between probabilities of bundle and original.
      doubts: reasons to believe that it does not get what it was trained on.
      findings: problems with images and labels, and what was done about them.
      measured: None without labelled images.
      reference: what the images of the user look like; None if there are too few to tell.
    """

    name: str
    labels: tuple[str, ...]
    source: str
    format: str
    package: str
    digest: str
    image_size: int
    resize_filter: str
    scaling: Scaling
    output_kind: OutputKind
    are_shares: bool
    is_int8: bool
    thresholds: NDArray[np.float64]
    thresholds_from: str
    checked_images: int
    are_real: bool
    difference: float
    doubts: tuple[Doubt, ...]
    findings: tuple[Finding, ...]
    measured: Measured | None
    reference: Reference | None


def training_summary(facts: Import) -> dict[str, Any]:
    """Describe an import for `bundle.json`, in the place of a training."""
    return {
        "imported": {
            "source": facts.source,
            "format": facts.format,
            "sha256": facts.digest,
            "scaling": facts.scaling,
            "output_kind": facts.output_kind,
            "softmax": facts.are_shares,
            "thresholds": facts.thresholds_from,
            "checked_images": facts.checked_images,
            "checked_on": "images of the user" if facts.are_real else "chips drawn by code",
            "largest_difference": facts.difference,
            "doubts": [f"{doubt.what}; {doubt.remedy}" for doubt in facts.doubts],
            "findings": [
                {"what": finding.what, "count": len(finding.names), "names": list(finding.names[:NAMES_SHOWN])}
                for finding in facts.findings
            ],
        },
        "quantization": "int8" if facts.is_int8 else "none",
    }


def metrics_summary(facts: Import) -> dict[str, Any]:
    """Describe how good an imported model is, for `bundle.json`; empty if it was not measured."""
    if facts.measured is None:
        return {}
    summary = facts.measured.scores.to_json()
    labels = {
        label: {"threshold": float(threshold), **summary["labels"][label]}
        for label, threshold in zip(facts.labels, facts.thresholds, strict=True)
    }
    return {
        **summary,
        "reliability": facts.measured.reliability.to_json(),
        "never_given": facts.measured.never_given,
        "labels": labels,
    }
