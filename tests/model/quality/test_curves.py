"""Curves are small PNGs that show every label worth showing, whatever the training was like."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.quality import curves, measuring, metrics, reliability
from model.quality.history import Epoch
from tests.model.quality import facts as model_facts

pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'scenetags[train]'")

NAN = float("nan")


def epoch(number: int, phase: str = "head", loss: float = 0.3) -> Epoch:
    return Epoch(phase, number, 0.001, loss, loss + 0.1, 0.8, 0.6, 1.0)


def shape(png: bytes) -> tuple[int, int]:
    assert len(png) < 150_000
    with Image.open(io.BytesIO(png)) as picture:
        picture.load()
        return picture.size


def colours(png: bytes) -> set[tuple[int, ...]]:
    with Image.open(io.BytesIO(png)) as picture:
        return set(map(tuple, np.asarray(picture.convert("RGB")).reshape(-1, 3).tolist()))


def scored(truth: NDArray[np.bool_], probabilities: NDArray[np.float32], names: list[str] | None = None) -> bytes:
    labels = names or [f"label {column}" for column in range(truth.shape[1])]
    scores = metrics.measure(labels, truth, probabilities >= 0.5, probabilities)
    return curves.draw_precision_recall(scores, truth, probabilities)


def some_probabilities(images: int, labels: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((images, labels), dtype=np.float32)


@pytest.mark.parametrize(
    "history",
    [
        [epoch(1)],
        [epoch(1, loss=NAN), epoch(2, loss=float("inf")), epoch(3)],
        [epoch(1), epoch(2), epoch(3, "fine-tuning", loss=NAN)],
        [epoch(number, "from scratch", loss=1 / number) for number in range(1, 101)],
        [epoch(1), epoch(2)._replace(validation_map=NAN), epoch(3, "fine-tuning $x_1$")],
    ],
)
def test_every_kind_of_training_has_curves(history: list[Epoch]) -> None:
    assert shape(curves.draw_training(history, history[-1].epoch))[0] > 800


def test_the_epoch_that_was_kept_is_marked() -> None:
    history = [epoch(number) for number in range(1, 5)]
    assert curves.draw_training(history, 2) != curves.draw_training(history, 3)


def test_the_same_figure_is_the_same_bytes_wherever_it_is_drawn(tmp_path: Path) -> None:
    drawn = curves.draw_training(model_facts.HISTORY, 4)
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nfont.size: 30\naxes.facecolor: red\n")
    code = (
        "import sys; from model.quality import curves; from tests.model.quality import facts as model_facts; "
        "sys.stdout.buffer.write(curves.draw_training(model_facts.HISTORY, 4))"
    )
    environment = os.environ | {"MATPLOTLIBRC": str(tmp_path), "SOURCE_DATE_EPOCH": "1"}
    again = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout
    assert again == drawn


def test_drawing_leaves_the_settings_of_matplotlib_as_they_were() -> None:
    code = (
        "import matplotlib, sys; from model.quality import curves; from tests.model.quality.facts import HISTORY; "
        # Not by their own methods, which load pyplot to name the backend.
        "settings = lambda: repr(sorted(dict.items(matplotlib.rcParams))); before = settings(); "
        "curves.draw_training(HISTORY, 4); assert settings() == before; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_labels_with_few_images_have_no_curve() -> None:
    truth = np.zeros((20, 4), bool)
    for column, positives in enumerate((4, 5, 0, 12)):
        truth[:positives, column] = True
    probabilities = some_probabilities(20, 4)
    scores = metrics.measure(["four", "five", "none", "twelve"], truth, probabilities >= 0.5, probabilities)
    assert [of_label.label for of_label in curves.labels_with_curve(scores)] == ["twelve", "five"]


def test_a_picture_of_many_labels_stays_small() -> None:
    truth = some_probabilities(300, 200) < 0.3
    assert max(shape(scored(truth, some_probabilities(300, 200)))) < 1500


@pytest.mark.parametrize("labels", [1, 2, 6, 7])
def test_every_number_of_labels_fits(labels: int) -> None:
    truth = some_probabilities(40, labels) < 0.3
    assert min(shape(scored(truth, np.flip(some_probabilities(40, labels))))) > 100


def test_held_out_images_without_any_tag_have_empty_curves() -> None:
    assert min(shape(scored(np.zeros((3, 2), bool), np.full((3, 2), 0.1, np.float32)))) > 100


def test_names_that_a_font_or_a_formula_trips_over_are_drawn(recwarn: pytest.WarningsRecorder) -> None:
    truth = some_probabilities(40, 4) < 0.5
    shape(scored(truth, some_probabilities(40, 4), ["$x_", "雨林", "a\nb", "m" * 200]))
    assert not recwarn.list


def test_the_point_of_the_threshold_is_on_the_curve() -> None:
    told = model_facts.facts()
    truth, probabilities = told.data.validation_targets > 0.5, told.probabilities
    for of_label in measuring.measure(told).scores.labels:
        column = told.labels.index(of_label.label)
        curve = metrics.precision_recall(truth[:, column], probabilities[:, column])
        if of_label.support and of_label.predicted:
            assert (of_label.recall, of_label.precision) in set(zip(*map(np.ndarray.tolist, curve), strict=True))


def test_the_area_under_a_curve_is_its_average_precision() -> None:
    truth, probabilities = some_probabilities(50, 3)[:, 0] < 0.4, some_probabilities(50, 3)[:, 1].round(1)
    curve = metrics.precision_recall(truth, probabilities)
    area = float(np.sum(np.diff(curve.recall) * curve.precision[1:]))
    assert area == pytest.approx(metrics.average_precision(truth, probabilities))


def test_points_are_drawn_only_where_something_is_tagged() -> None:
    truth = np.ones((6, 1), bool)
    nothing, everything = np.full((6, 1), 0.1, np.float32), np.full((6, 1), 0.9, np.float32)
    vermilion = (0xD5, 0x5E, 0x00)
    assert vermilion in colours(scored(truth, everything))
    assert vermilion not in colours(scored(truth, nothing))


@pytest.mark.parametrize("images", [1, 30])
def test_probabilities_before_and_after_calibration_are_drawn(images: int) -> None:
    truth, probabilities = some_probabilities(images, 3) < 0.3, some_probabilities(images, 3) ** 2
    before = reliability.measure(truth, probabilities)
    after = reliability.measure(truth, np.full_like(probabilities, 0.3))
    drawn = curves.draw_reliability(after, before)
    assert min(shape(drawn)) > 400
    assert drawn not in (curves.draw_reliability(before, after), curves.draw_reliability(after))
