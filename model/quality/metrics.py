"""Measure multi-label predictions; NumPy alone, so that the base install can evaluate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.quality.fbeta import BETA, title, with_keys

# Longer label names are cut in reports, so that lines fit into 100 columns.
_LABEL_WIDTH = 40


@dataclass(frozen=True)
class LabelScores:
    """How well one label is predicted.

    Attributes:
      label: its name.
      support: number of images that have it.
      predicted: number of images predicted to have it.
      precision: share of the predicted images that have it, 0 to 1; None if none was predicted.
      recall: share of the images with it that were predicted, 0 to 1; None if no image has it.
      average_precision: see `average_precision`.
      highest_probability: of any image, 0 to 1; None if the model does not know the label.
    """

    label: str
    support: int
    predicted: int
    precision: float | None
    recall: float | None
    average_precision: float | None
    highest_probability: float | None


@dataclass(frozen=True)
class Scores:
    """How well a set of images is tagged; each measure is 0 to 1, or None if undefined.

    Attributes:
      images: number of images measured.
      beta: of F-beta.
      fbeta_over_samples: see `fbeta_over_samples`.
      micro_f1: see `micro_f1`.
      macro_f1: see `macro_f1`.
      mean_average_precision: see `mean_average_precision`.
      labels: the scores of each label.
    """

    images: int
    beta: float
    fbeta_over_samples: float
    micro_f1: float | None
    macro_f1: float | None
    mean_average_precision: float | None
    labels: tuple[LabelScores, ...]

    def of(self, chosen: NDArray[np.bool_]) -> Scores:
        """Return the scores with some of the labels alone, bool [L]."""
        return replace(self, labels=tuple(compress(self.labels, chosen)))

    def to_json(self) -> dict[str, Any]:
        """Return the scores for JSON: undefined values are null, never NaN; `labels` are keyed by name."""
        described = with_keys(asdict(self), self.beta)
        described["labels"] = {of_label.pop("label"): of_label for of_label in described["labels"]}
        return described


def measure(
    labels: Sequence[str],
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
    beta: float = BETA,
    judged: NDArray[np.bool_] | None = None,
) -> Scores:
    """Measure tags and probabilities against the truth.

    A label of which nobody knows which images have it counts in no measure; how often it was predicted is reported.

    Args:
      labels: L names.
      truth: bool [N, L], N at least 1; False for labels that are not judged.
      predicted: bool [N, L].
      probabilities: float32 [N, L], 0 to 1; a column of NaN for a label that the model does not know.
      beta: of F-beta.
      judged: bool [L], the labels of which it is known which images have them; None for all.
    """
    counts = predicted.sum(axis=0).tolist()
    predicted = predicted if judged is None else predicted & judged
    of_labels = tuple(
        replace(
            _measure_label(label, truth[:, column], predicted[:, column], probabilities[:, column]),
            predicted=counts[column],
        )
        for column, label in enumerate(labels)
    )
    return Scores(
        images=len(truth),
        beta=beta,
        fbeta_over_samples=fbeta_over_samples(truth, predicted, beta),
        micro_f1=micro_f1(truth, predicted),
        macro_f1=macro_f1(truth, predicted),
        mean_average_precision=mean_average_precision(truth, probabilities),
        labels=of_labels,
    )


def fbeta_over_samples(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], beta: float = BETA) -> float:
    """Average the F-beta scores of the images, in [0, 1]: recall weighs beta^2 times as much as precision.

    Both arrays are bool [N, L], N at least 1. An image without tags, predicted to have none, scores 1.
    """
    weight = beta**2
    hits = (truth & predicted).sum(axis=1)
    tags = weight * truth.sum(axis=1) + predicted.sum(axis=1)
    scores = np.divide((1 + weight) * hits, tags, out=np.ones(len(truth)), where=tags > 0)
    return float(scores.mean())


def micro_f1(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float | None:
    """Compute the F1 score, in [0, 1], of all tags of all images together.

    Both arrays are bool [N, L]. None if there are no tags at all, neither true nor predicted.
    """
    tags = int(truth.sum()) + int(predicted.sum())
    return float(2 * (truth & predicted).sum() / tags) if tags else None


def macro_f1(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float | None:
    """Average the F1 scores of the labels, in [0, 1], over those that occur in the truth.

    Both arrays are bool [N, L]. A label that no image has cannot be measured: counting it as 0 or 1 would distort the
    average. None if no label occurs.
    """
    occurs = truth.any(axis=0)
    if not occurs.any():
        return None
    truth, predicted = truth[:, occurs], predicted[:, occurs]
    return float(np.mean(2 * (truth & predicted).sum(axis=0) / (truth.sum(axis=0) + predicted.sum(axis=0))))


def binary_crossentropy(truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> float:
    """Average the binary cross-entropy over images and labels, in nats, as Keras does in training.

    Takes bool [N, L] and float32 [N, L].
    """
    given_to_truth = np.where(truth, probabilities, 1 - probabilities)
    return float(-np.log(np.clip(given_to_truth, 1e-7, 1)).mean())


class Curve(NamedTuple):
    """Precision and recall at each distinct probability from the highest down; float64 [K] each, 0 to 1."""

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]


def precision_recall(truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> Curve:
    """Compute the precision-recall curve of a label.

    It has one step per distinct probability, as in scikit-learn: the order of equal ones means nothing.

    Takes truth bool [N] and probabilities float32 [N]. The first point, at recall 0, starts the first step.
    """
    order = np.argsort(-probabilities, kind="stable")
    last_of_equals = np.flatnonzero(np.append(np.diff(probabilities[order]) != 0, True))
    hits = np.cumsum(truth[order])[last_of_equals]
    recall = hits / max(1, hits[-1])
    precision = hits / (last_of_equals + 1)
    return Curve(np.append(0.0, recall), np.append(precision[0], precision))


def average_precision(truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> float | None:
    """Compute the average precision of one label: the area under the steps of its precision-recall curve, in [0, 1].

    Args:
      truth: bool [N].
      probabilities: float32 [N].

    Returns:
      None if no image has the label, or if the probabilities are NaN.
    """
    if not truth.any() or np.isnan(probabilities).any():
        return None
    curve = precision_recall(truth, probabilities)
    return float(np.sum(np.diff(curve.recall) * curve.precision[1:]))


def mean_average_precision(truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> float | None:
    """Average the average precisions of the labels that have one, in [0, 1]; None if none has.

    Takes truth bool [N, L] and probabilities float32 [N, L].
    """
    columns = [average_precision(truth[:, label], probabilities[:, label]) for label in range(truth.shape[1])]
    defined = [precision for precision in columns if precision is not None]
    return float(np.mean(defined)) if defined else None


def report(scores: Scores) -> Iterator[str]:
    """Lay out scores in readable form: one line per measure, then a table of the labels, at most 100 columns wide."""
    for name, value in (
        (f"{title(scores.beta)} over samples", scores.fbeta_over_samples),
        ("F1 micro", scores.micro_f1),
        ("F1 macro", scores.macro_f1),
        ("mean average precision", scores.mean_average_precision),
    ):
        yield f"{name:22}  {_number(value)}"
    yield ""
    names = [_shortened(of_label.label) for of_label in scores.labels]
    width = max(map(len, ["label", *names]))
    yield f"{'label':{width}}  support  predicted  precision  recall  average precision"
    for name, of_label in zip(names, scores.labels, strict=True):
        yield (
            f"{name:{width}}  {of_label.support:7,}  {of_label.predicted:9,}  {_number(of_label.precision):>9}  "
            f"{_number(of_label.recall):>6}  {_number(of_label.average_precision):>17}"
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _shortened(label: str) -> str:
    on_one_line = " ".join(label.split())
    return on_one_line if len(on_one_line) <= _LABEL_WIDTH else on_one_line[: _LABEL_WIDTH - 1] + "…"


def _measure_label(
    label: str, truth: NDArray[np.bool_], predicted: NDArray[np.bool_], probabilities: NDArray[np.float32]
) -> LabelScores:
    hits, support, chosen = int((truth & predicted).sum()), int(truth.sum()), int(predicted.sum())
    return LabelScores(
        label=label,
        support=support,
        predicted=chosen,
        precision=hits / chosen if chosen else None,
        recall=hits / support if support else None,
        average_precision=average_precision(truth, probabilities),
        highest_probability=None if np.isnan(probabilities).any() else float(probabilities.max()),
    )
