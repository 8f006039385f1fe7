"""What a plan says of bfloat16: rates, prices, and the tags that it would change."""

from __future__ import annotations

import json
from dataclasses import astuple
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pipelines import plan
from pipelines.inference import precision
from pipelines.inference.processor import bfloat16_units
from pipelines.inference.rules import NO_RULES, Rules
from pipelines.planning import planner
from pipelines.planning.machines import find_machine
from pipelines.planning.precisions import Changes, Rate, compare, describe, weigh
from pipelines.records import ImageRef, Prediction
from tests.pipelines.conftest import WriteChips

LABELS, THRESHOLDS = ("a", "b"), (0.5, 0.25)


def predicted(path: str, *probabilities: float) -> Prediction:
    return Prediction(ImageRef(path, 1, ""), 8, 8, "png 3x8", (), np.array(probabilities, np.float32))


def test_tags_that_bfloat16_changes_are_counted_image_by_image() -> None:
    exact = [predicted("1", 0.4, 0.3), predicted("2", 0.5, 0.2), predicted("3", 0.9, 0.9), predicted("alone", 1, 1)]
    rounded = [predicted("3", 0.8, 0.9), predicted("1", 0.5, 0.2), predicted("2", 0.5, 0.25)]

    changes = compare(exact, rounded, LABELS, THRESHOLDS, NO_RULES)

    assert changes
    assert astuple(changes)[:5] == (3, 2, 4, 2, 1)
    assert changes.mean == pytest.approx(0.35 / 6)
    assert changes.largest == pytest.approx(0.1)
    assert compare(exact, [], LABELS, THRESHOLDS, NO_RULES) is None


def test_tags_that_the_rules_of_the_output_remove_are_no_changes() -> None:
    exact, rounded = [predicted("1", 0.9, 0.2)], [predicted("1", 0.9, 0.3)]

    for rules, changed in ((NO_RULES, 1), (Rules((LABELS,), ()), 0)):
        changes = compare(exact, rounded, LABELS, THRESHOLDS, rules)
        assert changes
        assert changes.changed_images == changed, rules


@pytest.mark.parametrize(
    ("gain", "changed", "is_whole", "recommended", "reason"),
    [
        (1.5, 4, False, "bfloat16", "recommended: --precision bfloat16, unless these tags"),
        (
            1.5,
            5,
            False,
            "float32",
            "float32, unless time matters more: bfloat16 would change the tags of 2% to 11%",
        ),
        (
            1.5,
            15,
            False,
            "float32",
            "float32, unless time matters more: bfloat16 would change the tags of 9% to 23%",
        ),
        (1.5, 16, False, "float32", "recommended: float32, since bfloat16 changes too much"),
        (1.5, 10, True, "bfloat16", "recommended: --precision bfloat16, unless these tags"),
        (1.5, 11, True, "float32", "recommended: float32, since bfloat16 changes too much"),
        (1.1, 0, False, "float32", "recommended: float32, since bfloat16 saves too little"),
    ],
)
def test_bfloat16_is_recommended_if_it_saves_much_and_surely_changes_little(
    gain: float, changed: int, is_whole: bool, recommended: str, reason: str
) -> None:
    rates = Rate(200, 0.1, "n2-highcpu-16"), Rate(200 * gain, 0.1 / gain, "c3-highcpu-8")
    weighed = weigh("AMX matrix units", *rates, Changes(100, changed, 300, 5, 6, 0.01, 0.3), is_whole)
    assert weighed.recommended == recommended
    lines = "\n".join(describe(weighed, "AMX matrix units", lacks_openvino=False))
    assert reason in lines
    assert f"{changed} of 100 images would get different tags: 5 added and 6 removed, of 300 tags" in lines


def test_machines_with_units_are_named_with_their_prices() -> None:
    *_, line = describe(None, "", lacks_openvino=False)
    for name in ("c3-highcpu-8", "c4-highcpu-8"):
        assert f"{name} (${find_machine(name).dollars_per_hour:.2f})" in line
    assert "m7i.2xlarge ($" in line
    assert list(describe(None, "AMX matrix units", lacks_openvino=False)) == []


def test_a_plan_says_how_to_install_what_bfloat16_lacks(
    chips: WriteChips, bundle_path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_is_openvino_installed", lambda: False)
    for module in (precision, planner):
        monkeypatch.setattr(module, "bfloat16_units", lambda: "AMX matrix units")
    folder: Path = chips(["0.jpg"])

    assert plan.main(["--input", str(folder), "--model", bundle_path, "--precision", "auto"]) == 0

    line = "in bfloat16, with this processor's AMX matrix units, the model takes half to two thirds of the time"
    assert f"\n{line}\n  run pip install 'scenetags[openvino]'\n" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "other"), [("n2-highcpu-16", "c3-highcpu-8"), ("c4-highcpu-32", "c4-highcpu-32")])
def test_a_price_in_bfloat16_is_that_of_a_machine_with_units_for_it(name: str, other: str) -> None:
    assert find_machine(name).for_bfloat16 == find_machine(other)


@pytest.mark.skipif(not bfloat16_units() or not find_spec("openvino"), reason="bfloat16 cannot be measured here")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_plan_measures_both_precisions_where_it_can(
    chips: WriteChips, bundle_path: str, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    folder: Path = chips([f"{number}.jpg" for number in range(5)])
    flags = ["--input", str(folder), "--model", bundle_path, "--precision", precision, "--json", "-"]

    assert plan.main(flags) == 0

    planned = json.loads(capsys.readouterr().out)
    both = planned["precisions"]
    assert planned["precision"] == precision
    assert both["changes"]["images"] == 5
    assert 0 < both["changes"]["mean"] <= both["changes"]["largest"] < 0.05
    assert both["float32"]["machine"] == "n2-highcpu-16"
    assert both["bfloat16"]["machine"] == "c3-highcpu-8"
    assert both[precision]["images_per_second"] == planned["here"]["speed"]["images_per_second"]
    assert planned["cloud"]["machine"]["name"] == both[precision]["machine"]


def test_a_plan_on_a_processor_without_units_measures_float32_alone(
    chips: WriteChips, bundle_path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "bfloat16_units", lambda: "")
    folder: Path = chips(["0.jpg"])

    assert plan.main(["--input", str(folder), "--model", bundle_path, "--json", "-"]) == 0

    assert json.loads(capsys.readouterr().out)["precisions"] is None
