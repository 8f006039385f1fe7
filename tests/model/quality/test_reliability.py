"""Probabilities are compared with how often they come true, by the definitions of the measures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.quality import reliability

ONE_LABEL = st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=1, max_size=40)


def columns(pairs: list[tuple[bool, float]]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    truth, probabilities = zip(*pairs, strict=True)
    return np.array(truth)[:, None], np.array(probabilities, np.float32)[:, None]


@given(ONE_LABEL)
@settings(max_examples=40)
def test_measures_are_those_of_their_definitions(pairs: list[tuple[bool, float]]) -> None:
    truth, probabilities = columns(pairs)
    found = reliability.measure(truth, probabilities)
    of_bin: dict[int, list[tuple[bool, float]]] = {}
    for pair in pairs:
        of_bin.setdefault(min(int(pair[1] * 15), 14), []).append(pair)
    gaps = [abs(sum(p for _, p in bin_) - sum(t for t, _ in bin_)) for bin_ in of_bin.values()]
    assert found.expected_calibration_error == pytest.approx(sum(gaps) / len(pairs))
    assert found.brier_score == pytest.approx(np.mean([(p - t) ** 2 for t, p in pairs]))
    assert [(of.count, of.lowest) for of in found.bins] == [(len(of_bin[at]), at / 15) for at in sorted(of_bin)]
    for of in found.bins:
        lowest, highest = of.range
        assert -1e-9 <= lowest <= of.share + 1e-9
        assert of.share - 1e-9 <= highest <= 1 + 1e-9
    json.dumps(found.to_json(), allow_nan=False)


def test_probabilities_that_come_true_as_often_as_they_say_have_no_error() -> None:
    truth = np.repeat([[True], [False]], [3, 7], axis=0)
    for said, error in ((0.3, 0.0), (0.8, 0.5)):
        measured = reliability.measure(truth, np.full((10, 1), said, np.float32))
        assert measured.expected_calibration_error == pytest.approx(error, abs=1e-6)


def test_a_label_that_the_model_does_not_know_is_left_out() -> None:
    truth, probabilities = columns([(True, 0.9), (False, 0.2)])
    unknown = np.full_like(probabilities, np.nan)
    assert reliability.measure(np.hstack([truth, ~truth]), np.hstack([probabilities, unknown])) == reliability.measure(
        truth, probabilities
    )


def test_the_report_has_a_line_per_measure_and_bin() -> None:
    truth, probabilities = columns([(True, 0.99), (False, 0.01), (True, 0.02), (True, 1.0)])
    lines = list(reliability.report(reliability.measure(truth, probabilities)))
    assert lines[-2].split() == ["0.00", "to", "0.07", "2", "0.015", "0.500"]
    assert lines[-1].split() == ["0.93", "to", "1.00", "2", "0.995", "1.000"]
    assert lines[0].split()[:-1] == ["expected", "calibration", "error"]
    assert len({len(line) for line in lines[4:]}) == 1
