"""Images together are distinguished from those that a model was trained on, and in which respect they differ."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.images.appearance import MEASURES
from pipelines.inference import shift
from pipelines.inference.reference import Reference
from pipelines.inference.shift import LEAST_IMAGES, Seen, compare
from tests.pipelines.inference.real_chips import appearances, changed
from tests.pipelines.inference.test_reference import drawn, gathered


def seen(measured: np.ndarray) -> Seen:
    return Seen(len(measured), tuple(map(float, measured.sum(axis=0))))


@pytest.fixture
def of_chips(planet: Path) -> Reference:
    return gathered(appearances(planet)[:240])


def test_random_selections_of_real_chips_of_the_same_set_raise_no_alarm(planet: Path, of_chips: Reference) -> None:
    others, rng = appearances(planet)[240:], np.random.default_rng(0)
    found = [compare(of_chips, seen(others[rng.choice(len(others), 60, replace=False)])) for _ in range(30)]
    assert {one.verdict for one in found} == {"alike"}
    assert max(one.distance / one.limit for one in found) < 0.3, "they are nowhere near the limit"
    assert compare(of_chips, seen(changed(planet, "turned"))).verdict == "alike"


@pytest.mark.parametrize(
    ("change", "respect"),
    [
        ("red and blue exchanged", "red and blue look exchanged"),
        ("red and green exchanged", "red and green look exchanged"),
        ("bands rotated", "red, green and blue look in another order"),
        ("inverted", "the colours look inverted"),
        ("dark", "darker"),
        ("bright", "brighter"),
        ("gray", "paler, or gray"),
        ("blurred", "smoother from pixel to pixel"),
        ("magnified", "smoother from pixel to pixel"),
        ("compressed", "flat in parts"),
        ("half black", "flat in parts"),
    ],
)
def test_real_chips_that_were_changed_raise_an_alarm(
    planet: Path, of_chips: Reference, change: str, respect: str
) -> None:
    found = compare(of_chips, seen(changed(planet, change)))
    assert found.verdict == "unlike"
    assert any(respect in named for named in found.respects), found
    assert found.distance > 1.8 * found.limit, "it is far beyond the limit"
    half = compare(of_chips, seen(changed(planet, change)[:LEAST_IMAGES]))
    assert half.verdict == "unlike", "half as many are enough"


def test_few_images_and_bundles_without_statistics_tell_nothing() -> None:
    reference = gathered(drawn(200))
    assert compare(reference, seen(drawn(LEAST_IMAGES - 1) + 1000)).verdict == "unknown"
    assert compare(reference, Seen()).verdict == "unknown"
    assert compare(None, seen(drawn(100))).verdict == "unknown"
    assert compare(reference, seen(drawn(LEAST_IMAGES) + 1000)).verdict == "unlike"


def test_what_is_seen_adds_up_whatever_the_order() -> None:
    measured = drawn(90)
    parts = [seen(measured[:20]), Seen(), seen(measured[20:21]), seen(measured[21:])]
    for order in (parts, parts[::-1]):
        whole = Seen()
        for part in order:
            whole = whole.and_also(part)
        assert whole.images == 90
        assert whole.sums == pytest.approx(seen(measured).sums)


def test_a_comparison_is_written_with_what_another_can_be_added_to() -> None:
    some = seen(drawn(50))
    written = json.loads(json.dumps(shift.describe(gathered(drawn(200)), some)))
    assert written["verdict"] in ("alike", "unlike")
    assert shift.read_seen(written) == some
    assert shift.read_seen({}) == Seen()
    of_others = dict.fromkeys(MEASURES[1:], 1.0)
    assert shift.read_seen({**written, "sums": of_others}) == Seen(), "sums of another version are not added to ours"


@pytest.mark.parametrize(
    "change",
    [
        {"images": float("inf")},
        {"images": -40},
        {"images": 10**400},
        {"images": "40"},
        {"images": None},
        {"sums": dict.fromkeys(MEASURES, float("nan"))},
        {"sums": dict.fromkeys(MEASURES, 10**400)},
        {"sums": dict.fromkeys(MEASURES, "1")},
    ],
)
def test_sums_that_no_images_have_are_refused(change: dict[str, Any]) -> None:
    written = shift.describe(gathered(drawn(200)), seen(drawn(50)))
    with pytest.raises(ValueError, match="sums"):
        shift.read_seen({**written, **change})


def test_respects_in_which_training_images_do_not_vary_are_named() -> None:
    reference = gathered(np.repeat(drawn(1), 200, axis=0))
    covariances = tuple(map(tuple, -1e-9 * np.eye(len(MEASURES))))
    found = compare(replace(reference, covariances=covariances), seen(drawn(40, seed=1) + 9))
    assert found.verdict == "unlike"
    assert "standard deviations" in found.respects[0]
