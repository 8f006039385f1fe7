"""What a bundle tells of its quality is measured, and is JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.export import quantization
from model.quality import measuring, metrics, summaries
from model.quality.facts import Facts, Quantization
from model.quality.history import Epoch
from tests.model.quality import facts as model_facts

HISTORY_COLUMNS = [
    *("phase", "epoch", "learning_rate", "loss", "validation_loss", "validation_f2", "validation_map", "seconds"),
]


@pytest.fixture(scope="module")
def told() -> Facts:
    return model_facts.facts()


def trained(told: Facts, *history: Epoch) -> Facts:
    training = dataclasses.replace(told.training, history=history, kept_epoch=history[-1].epoch)
    return dataclasses.replace(told, training=training)


def test_quality_is_measured_at_the_thresholds_of_the_bundle(told: Facts) -> None:
    quality = measuring.measure(told)
    truth, probabilities = told.data.validation_targets > 0.5, told.probabilities
    assert quality.scores.fbeta_over_samples == metrics.fbeta_over_samples(truth, probabilities >= told.thresholds.each)
    assert quality.fbeta_at_half == metrics.fbeta_over_samples(truth, probabilities >= 0.5)
    assert quality.scores.fbeta_over_samples != quality.fbeta_at_half
    every_flat = [metrics.fbeta_over_samples(truth, probabilities >= flat) for flat in np.arange(1, 100) / 100]
    assert quality.fbeta_at_best_flat == max(every_flat)


def test_a_probability_that_is_its_threshold_in_float32_is_a_tag(told: Facts) -> None:
    # 0.7 as float64 is above 0.7 as float32, in which tags are chosen.
    probabilities = np.full_like(told.probabilities, 0.7)
    thresholds = told.thresholds._replace(each=np.full(len(told.labels), 0.7))
    quality = measuring.measure(dataclasses.replace(told, probabilities=probabilities, thresholds=thresholds))
    assert all(of_label.predicted == len(probabilities) for of_label in quality.scores.labels)


def test_labels_that_nobody_judged_are_in_no_figure(told: Facts) -> None:
    def quality(probabilities: NDArray[np.float32], **data: Any) -> measuring.Quality:
        changed = dataclasses.replace(told.data, **data)
        before = Quantization(3, probabilities, told.thresholds)
        return measuring.measure(
            dataclasses.replace(told, data=changed, probabilities=probabilities, quantization=before)
        )

    unjudged = "_under_score_"
    column = told.labels.index(unjudged)
    targets, always = told.data.validation_targets.copy(), told.probabilities.copy()
    targets[:, column], always[:, column] = 0, 0.99
    found = quality(always, validation_targets=targets, unjudged=(unjudged,))
    never = quality(np.where(np.arange(6) == column, 0, always), validation_targets=targets, unjudged=(unjudged,))
    assert found.scores.labels[column].predicted == len(targets)
    assert dataclasses.replace(found, scores=never.scores) == never
    assert dataclasses.replace(found.scores, labels=never.scores.labels) == never.scores
    assert unjudged not in never.never_given
    assert found.scores.fbeta_over_samples > quality(always, validation_targets=targets).scores.fbeta_over_samples


def test_the_frequencies_are_those_of_training(told: Facts) -> None:
    # In training every image has the first label alone, so that only that one is predicted.
    train = np.zeros_like(told.data.train_targets)
    train[:, 0] = 1
    data = dataclasses.replace(told.data, train_targets=train)
    truth = told.data.validation_targets > 0.5
    only_first = np.zeros_like(truth)
    only_first[:, 0] = True
    quality = measuring.measure(dataclasses.replace(told, data=data))
    assert quality.fbeta_of_frequencies == metrics.fbeta_over_samples(truth, only_first)


def test_the_frozen_head_is_the_epoch_that_would_be_kept(told: Facts) -> None:
    assert measuring.measure(told).fbeta_of_frozen_head == 0.82
    best, *others = model_facts.HISTORY
    of_head = [best._replace(validation_fbeta=0.83), best._replace(epoch=2, validation_fbeta=0.82)]
    measured = measuring.measure(trained(told, *of_head, *others[1:]))
    assert measured.fbeta_of_frozen_head == 0.82, "the best of several is better by chance"


def test_a_training_of_one_phase_has_no_frozen_head_to_compare_with(told: Facts) -> None:
    assert measuring.measure(trained(told, *model_facts.HISTORY[:2])).fbeta_of_frozen_head is None
    from_scratch = model_facts.HISTORY[3]._replace(phase="from scratch")
    assert measuring.measure(trained(told, from_scratch)).fbeta_of_frozen_head is None


def test_summaries_are_json_with_null_for_what_is_not_defined(told: Facts) -> None:
    quality = measuring.measure(told)
    training = json.loads(json.dumps(summaries.training_summary(told), allow_nan=False))
    measured = json.loads(json.dumps(summaries.metrics_summary(told, quality), allow_nan=False))
    assert training["history"][2]["loss"] is None
    assert training["history"][3] == dict(zip(HISTORY_COLUMNS, model_facts.HISTORY[3], strict=True))
    assert (training["loss"], training["beta"], measured["beta"]) == ("bce", 2, 2)
    assert training["seconds"] == 300
    assert training["train_images"] == 40
    assert training["findings"] == [
        {"what": "images that the labels do not list, skipped", "count": 4, "names": ["_x", "*y", "z"]}
    ]
    assert measured["labels"]["rare"]["recall"] is None
    assert measured["labels"]["rare"]["train_images"] == 1
    assert measured["labels"]["a|b"]["threshold"] == told.thresholds.each[1]
    assert measured["f2_over_samples"] == quality.scores.fbeta_over_samples
    assert measured["f2_of_frozen_head"] == 0.82
    assert measured["cost_of_int8"] is None
    assert training["quantization"] == "none"


def test_every_score_of_another_beta_is_measured_and_named_by_it(told: Facts) -> None:
    told = dataclasses.replace(told, training=dataclasses.replace(told.training, beta=0.5))
    told = quantization.of_quantized(told, np.sqrt(told.probabilities), 200)
    training, measured = summaries.training_summary(told), summaries.metrics_summary(told, measuring.measure(told))
    assert "f2" not in json.dumps([training, measured])
    assert training["history"][3]["validation_f0_5"] == 0.85
    truth, probabilities = told.data.validation_targets > 0.5, told.probabilities

    def f0_5(tags: NDArray[np.bool_]) -> float:
        return metrics.fbeta_over_samples(truth, tags, 0.5)

    assert measured["f0_5_over_samples"] == f0_5(probabilities >= told.thresholds.each)
    assert measured["f0_5_at_half"] == f0_5(probabilities >= 0.5)
    flat = [f0_5(probabilities >= value) for value in np.arange(1, 100) / 100]
    assert measured["f0_5_at_best_flat"] == max(flat)
    frequencies = told.data.train_targets.mean(axis=0)
    of_frequencies = [f0_5(np.broadcast_to(frequencies >= value, truth.shape)) for value in frequencies]
    assert measured["f0_5_of_frequencies"] == max(of_frequencies)
    before = told.quantization
    assert before is not None
    tags = before.float32_probabilities >= before.float32_thresholds.each
    assert measured["cost_of_int8"]["float32_f0_5_over_samples"] == f0_5(tags)


def test_file_names_are_reported_without_their_folders(told: Facts) -> None:
    assert "secret" not in json.dumps(summaries.training_summary(told))


@pytest.mark.parametrize(("weights", "name"), [(None, "none"), ("imagenet", "imagenet")])
def test_weights_are_named_as_their_flag_is_given(told: Facts, weights: str | None, name: str) -> None:
    network = dataclasses.replace(told.network, weights=weights)
    assert summaries.training_summary(dataclasses.replace(told, network=network))["weights"] == name
