"""Measure a trained network on the images that were held out, next to simpler baselines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.quality import cautions, metrics, reliability, thresholds
from model.quality.best_epoch import best_epoch, standard_error
from model.quality.facts import Facts, Quantization
from model.quality.history import HEAD
from model.quality.metrics import Scores
from model.quality.never_given import find_never_given
from model.quality.reliability import Reliability
from model.quality.thresholds import Thresholds


@dataclass(frozen=True)
class CostOfInt8:
    """The cost of quantization on the held-out images; thresholds are tuned separately before and after.

    Attributes:
      float32_fbeta_over_samples: F-beta of the network before quantization.
      float32_mean_average_precision: likewise; None if no label occurs.
      mean_difference: mean absolute change of the probabilities.
      largest_difference: largest absolute change of a probability.
    """

    float32_fbeta_over_samples: float
    float32_mean_average_precision: float | None
    mean_difference: float
    largest_difference: float


@dataclass(frozen=True)
class Quality:
    """How good a model is on the held-out images, compared with simpler baselines; F-beta is over samples, 0 to 1.

    Attributes:
      scores: at the bundle's thresholds.
      uncalibrated: how far the probabilities could be taken at their word before calibration.
      calibrated: the same after it, cross-fitted: each image has a correction fitted without it.
      best_flat_threshold: the single threshold for all labels that is best on these very images.
      fbeta_at_best_flat: F-beta at that threshold.
      fbeta_at_half: F-beta at 0.5 for all labels.
      fbeta_of_frequencies: F-beta of predicting the training frequency of each label for every image, at its best
          flat threshold.
      fbeta_of_frozen_head: F-beta of the head on the frozen network, at its best flat threshold, after the epoch that
          would be kept if the training ended with it; None if there was no such phase, or no other.
      cost_of_int8: None if the exported model computes in float32.
      never_given: the labels that no held-out image has as a tag, each with the reason.
      cautions: what the model or these figures cannot be relied on for, a sentence each, the most important first.
    """

    scores: Scores
    uncalibrated: Reliability
    calibrated: Reliability
    best_flat_threshold: float
    fbeta_at_best_flat: float
    fbeta_at_half: float
    fbeta_of_frequencies: float
    fbeta_of_frozen_head: float | None
    cost_of_int8: CostOfInt8 | None
    never_given: dict[str, str]
    cautions: tuple[str, ...]


def measure(facts: Facts) -> Quality:
    """Measure a model on its held-out images."""
    truth, probabilities = facts.data.validation_targets > 0.5, facts.probabilities
    frequencies = np.broadcast_to(facts.data.train_targets.mean(axis=0), truth.shape)
    uncalibrated = facts.calibration.uncalibrated(probabilities)
    calibrated = facts.calibration.cross_fitted(probabilities)
    tags = _tags(probabilities, facts.thresholds)
    phases = {epoch.phase for epoch in facts.training.history}
    head = best_epoch([epoch for epoch in facts.training.history if epoch.phase == HEAD], standard_error(len(truth)))
    data, beta, judged = facts.data, facts.training.beta, facts.judged
    scores = metrics.measure(facts.labels, truth, tags, probabilities, beta, judged)
    cost = _cost(facts, facts.quantization) if facts.quantization else None
    truth, probabilities, frequencies = truth[:, judged], probabilities[:, judged], frequencies[:, judged]
    flat = thresholds.best_flat(truth, probabilities, beta)
    flat_of_frequencies = thresholds.best_flat(truth, frequencies, beta)
    fbeta_of_frequencies = metrics.fbeta_over_samples(truth, frequencies >= flat_of_frequencies, beta)
    return Quality(
        scores=scores,
        uncalibrated=reliability.measure(truth, uncalibrated[:, judged]),
        calibrated=reliability.measure(truth, calibrated[:, judged]),
        best_flat_threshold=flat,
        fbeta_at_best_flat=metrics.fbeta_over_samples(truth, probabilities >= flat, beta),
        fbeta_at_half=metrics.fbeta_over_samples(truth, probabilities >= 0.5, beta),
        fbeta_of_frequencies=fbeta_of_frequencies,
        fbeta_of_frozen_head=head.validation_fbeta if head and len(phases) > 1 else None,
        cost_of_int8=cost,
        never_given=find_never_given(scores.of(judged).labels, data.train_support[judged].tolist()),
        cautions=(
            *cautions.of_start(data.is_start_known),
            *cautions.of_split(facts.labels, data.train_targets, data.validation_targets, data.validation_fraction),
            *cautions.of_network(scores.fbeta_over_samples, fbeta_of_frequencies, beta),
        ),
    )


def _tags(probabilities: NDArray[np.float32], thresholds: Thresholds) -> NDArray[np.bool_]:
    # As float32 like the probabilities, because prediction compares them in the same way.
    return np.asarray(probabilities >= thresholds.each.astype(np.float32))


def _cost(facts: Facts, before: Quantization) -> CostOfInt8:
    truth, beta = facts.data.validation_targets > 0.5, facts.training.beta
    differences = np.abs(facts.probabilities - before.float32_probabilities)
    tags = _tags(before.float32_probabilities, before.float32_thresholds) & facts.judged
    return CostOfInt8(
        float32_fbeta_over_samples=metrics.fbeta_over_samples(truth, tags, beta),
        float32_mean_average_precision=metrics.mean_average_precision(truth, before.float32_probabilities),
        mean_difference=float(differences.mean()),
        largest_difference=float(differences.max()),
    )
