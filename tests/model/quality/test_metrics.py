"""Every measure agrees with scikit-learn wherever both are defined."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from model.quality import metrics

Bools = NDArray[np.bool_]
Case = tuple[Bools, Bools, NDArray[np.float32]]


@pytest.fixture(scope="module")
def sklearn() -> Any:
    return pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed: pip install 'scenetags[test]'")


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw truth, tags and probabilities of a few images and at least two labels, as scikit-learn wants them.

    Labels without positives, images without tags and equal probabilities are all among them.
    """
    shape = draw(st.tuples(st.integers(1, 12), st.integers(2, 5)))
    bools = arrays.arrays(np.bool_, shape)
    probabilities = arrays.arrays(np.float32, shape, elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]))
    return draw(bools), draw(bools), draw(probabilities)


@given(case=cases(), beta=st.sampled_from([0.5, 1.0, 2.0]))
def test_fbeta_over_samples_agrees_with_scikit_learn(sklearn: Any, case: Case, beta: float) -> None:
    truth, predicted, _ = case
    expected = sklearn.fbeta_score(truth, predicted, beta=beta, average="samples", zero_division=1)
    assert metrics.fbeta_over_samples(truth, predicted, beta) == pytest.approx(expected, abs=1e-12)


def test_f2_forgives_a_false_tag_sooner_than_a_missed_one() -> None:
    truth = np.array([[True, True, False]])
    assert metrics.fbeta_over_samples(truth, np.array([[True, True, True]])) == pytest.approx(10 / 11)
    assert metrics.fbeta_over_samples(truth, np.array([[True, False, False]])) == pytest.approx(5 / 9)


def test_an_image_without_tags_predicted_to_have_none_scores_1() -> None:
    nothing = np.zeros((1, 3), bool)
    assert metrics.fbeta_over_samples(nothing, nothing) == 1
    assert metrics.fbeta_over_samples(nothing, ~nothing) == 0


@given(case=cases())
def test_micro_f1_agrees_with_scikit_learn(sklearn: Any, case: Case) -> None:
    truth, predicted, _ = case
    if truth.any() or predicted.any():
        expected = sklearn.f1_score(truth, predicted, average="micro")
        assert metrics.micro_f1(truth, predicted) == pytest.approx(expected, abs=1e-12)
    else:
        assert metrics.micro_f1(truth, predicted) is None


@given(case=cases())
def test_macro_f1_agrees_with_scikit_learn_on_the_labels_that_occur(sklearn: Any, case: Case) -> None:
    truth, predicted, _ = case
    occurring = np.flatnonzero(truth.any(axis=0))
    if len(occurring):
        expected = sklearn.f1_score(truth, predicted, labels=occurring, average="macro", zero_division=0)
        assert metrics.macro_f1(truth, predicted) == pytest.approx(expected, abs=1e-12)
    else:
        assert metrics.macro_f1(truth, predicted) is None


@given(case=cases())
def test_average_precision_agrees_with_scikit_learn_with_equal_probabilities_too(sklearn: Any, case: Case) -> None:
    truth, _, probabilities = case
    for column in range(truth.shape[1]):
        found = metrics.average_precision(truth[:, column], probabilities[:, column])
        if truth[:, column].any():
            expected = sklearn.average_precision_score(truth[:, column], probabilities[:, column])
            assert found == pytest.approx(expected, abs=1e-12)
        else:
            assert found is None


@given(case=cases())
def test_labels_are_measured_as_scikit_learn_does(sklearn: Any, case: Case) -> None:
    truth, predicted, probabilities = case
    names = [f"label {column}" for column in range(truth.shape[1])]
    precisions, recalls, _, supports = sklearn.precision_recall_fscore_support(
        truth, predicted, zero_division=np.nan, average=None
    )
    scores = metrics.measure(names, truth, predicted, probabilities)
    assert [of_label.label for of_label in scores.labels] == names
    assert [of_label.support for of_label in scores.labels] == supports.tolist()
    assert [of_label.predicted for of_label in scores.labels] == predicted.sum(axis=0).tolist()
    for of_label, precision, recall in zip(scores.labels, precisions, recalls, strict=True):
        assert of_label.precision == (None if np.isnan(precision) else pytest.approx(precision))
        assert of_label.recall == (None if np.isnan(recall) else pytest.approx(recall))


@given(case=cases())
def test_mean_average_precision_is_over_the_labels_that_occur(sklearn: Any, case: Case) -> None:
    truth, predicted, probabilities = case
    found = metrics.measure(["a"] * truth.shape[1], truth, predicted, probabilities).mean_average_precision
    occurs = truth.any(axis=0)
    if occurs.any():
        expected = sklearn.average_precision_score(truth[:, occurs], probabilities[:, occurs], average="macro")
        assert found == pytest.approx(expected, abs=1e-12)
    else:
        assert found is None


def test_a_label_without_probabilities_has_no_average_precision() -> None:
    truth = np.array([[True, True], [False, True]])
    probabilities = np.array([[0.9, np.nan], [0.1, np.nan]], np.float32)
    scores = metrics.measure(["known", "unknown"], truth, np.zeros_like(truth), probabilities)
    assert [of_label.average_precision for of_label in scores.labels] == [1.0, None]
    assert scores.mean_average_precision == 1.0
    assert [of_label.recall for of_label in scores.labels] == [0.0, 0.0]


@given(case=cases())
def test_scores_are_json_without_nan(case: Case) -> None:
    truth, predicted, probabilities = case
    names = [f"label {column}" for column in range(truth.shape[1])]
    scores = metrics.measure(names, truth, predicted, probabilities)
    described = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    assert list(described["labels"]) == names
    assert described["images"] == len(truth)
    assert described["f2_over_samples"] == scores.fbeta_over_samples
    assert described["labels"]["label 1"]["recall"] == scores.labels[1].recall


def test_a_report_is_aligned_and_fits_into_100_columns() -> None:
    truth = np.array([[True, False, False], [True, True, False]])
    probabilities = np.array([[0.9, 0.2, 0.1], [0.4, 0.8, 0.1]], np.float32)
    names = ["clear", "a name\nof two lines " + "x" * 60, "never"]
    lines = list(metrics.report(metrics.measure(names, truth, probabilities > 0.5, probabilities)))
    assert max(map(len, lines)) <= 100
    assert len({len(line) for line in lines[5:]}) == 1
    assert lines[6].split() == ["clear", "2", "1", "1.000", "0.500", "1.000"]
    assert lines[7].startswith("a name of two lines xxx")
    assert lines[8].split() == ["never", "0", "0", "-", "-", "-"]
