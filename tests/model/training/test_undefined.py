"""What cannot be measured on the held-out images is not given as 0."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data import dataset
from tests.model.conftest import eagerly
from tests.model.training.conftest import HEAD, training


def test_without_a_label_on_held_out_images_there_is_no_average_precision(
    examples: dataset.Examples, tmp_path: Path, tensorflow: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = training(examples, tmp_path / "run")
    few, unlabelled = run.training.take(np.arange(16)), np.zeros_like(run.validation.targets)
    run = replace(run, training=few, validation=run.validation._replace(targets=unlabelled))
    with eagerly():
        run.run([HEAD._replace(epochs=1)])
    assert math.isnan(run.history[0].validation_map)
    assert "(kept), mAP -; " in capsys.readouterr().out
    assert math.isnan(training(examples, tmp_path / "run").history[0].validation_map), "read from its file"
