"""At last, a network learns the held-out images too, unless it would then tag them worse."""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.data import dataset
from model.quality.history import Epoch
from model.training import fitting, phases
from model.training.workspace import Workspace
from tests.model.conftest import eagerly
from tests.model.training.conftest import FINETUNING, HEAD, training


def indifferent(probabilities: NDArray[np.float32]) -> float:
    """Find all probabilities equally good."""
    return 0.5


def test_what_goes_on_with_all_images_resumes_and_ends_as_if_it_had_not_been_interrupted(
    examples: dataset.Examples, uninterrupted: fitting.Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_all = phases.final(2, "fine-tuning")._replace(learning_rate=1e-2)
    cut = Path(shutil.copytree(uninterrupted.workspace.folder, tmp_path / "cut"))
    commit = Workspace.commit

    def commit_until(epoch: int) -> Any:
        def commit_or_stop(self: Workspace, model: Any, done: list[Epoch], *kept: Any) -> None:
            commit(self, model, done, *kept)
            if done[-1].epoch == epoch:
                raise KeyboardInterrupt

        return commit_or_stop

    with eagerly():
        best = uninterrupted.run([HEAD, FINETUNING])
        measured = uninterrupted.model.get_weights()
        assert uninterrupted.learn_all(on_all, indifferent)
        for epoch in (6, 7):
            monkeypatch.setattr(Workspace, "commit", commit_until(epoch))
            run = training(examples, cut)
            run.run([HEAD, FINETUNING])
            with pytest.raises(KeyboardInterrupt):
                run.learn_all(on_all, indifferent)
        monkeypatch.setattr(Workspace, "commit", commit)
        last = training(examples, cut)
        assert last.run([HEAD, FINETUNING]) == best
        for weight, before in zip(last.model.get_weights(), measured, strict=True):
            np.testing.assert_array_equal(weight, before)
        assert last.learn_all(on_all, indifferent)
    assert [(epoch.phase, epoch.epoch) for epoch in last.history[5:]] == [("all images", 6), ("all images", 7)]
    assert all(math.isnan(epoch.validation_fbeta) for epoch in last.history[5:])
    for weight, expected in zip(last.model.get_weights(), uninterrupted.model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-6)
    assert any(not np.array_equal(a, b) for a, b in zip(last.model.get_weights(), measured, strict=True))


def test_a_network_that_has_learnt_all_images_must_tag_those_that_were_held_out_no_worse(
    uninterrupted: fitting.Training,
) -> None:
    scores = iter((0.8, 0.7, 0.8, 0.8))
    with eagerly():
        best = uninterrupted.run([HEAD, FINETUNING])
        measured = uninterrupted.model.get_weights()
        on_all = phases.final(2, best.phase)._replace(learning_rate=1e-2)
        assert not uninterrupted.learn_all(on_all, lambda _: next(scores))
        for weight, expected in zip(uninterrupted.model.get_weights(), measured, strict=True):
            np.testing.assert_array_equal(weight, expected)
        assert uninterrupted.learn_all(on_all, lambda _: next(scores)), "its epochs are done; they are judged again"


def test_after_the_head_only_the_head_learns_all_images(uninterrupted: fitting.Training) -> None:
    assert phases.final(2, "fine-tuning").layers == phases.final(2, "from scratch").layers == "all but statistics"
    on_all = phases.final(2, "head")
    with eagerly():
        uninterrupted.run([HEAD])
        before = uninterrupted.model.get_layer("backbone").get_weights()
        uninterrupted.learn_all(on_all, indifferent)
    for weight, expected in zip(uninterrupted.model.get_layer("backbone").get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_a_network_that_learns_nothing_from_all_images_or_has_no_time_to_stays_as_measured(
    uninterrupted: fitting.Training,
) -> None:
    uninterrupted.run([HEAD, FINETUNING])
    measured = uninterrupted.model.get_weights()
    late = replace(uninterrupted, ends_at=time.monotonic() + 2.5 * uninterrupted.history[-1].seconds)
    assert not late.learn_all(phases.final(3, "fine-tuning"), indifferent)
    assert len(late.history) == 5
    with eagerly():
        assert not uninterrupted.learn_all(phases.final(1, "fine-tuning")._replace(learning_rate=math.nan), indifferent)
    for weight, expected in zip(uninterrupted.model.get_weights(), measured, strict=True):
        np.testing.assert_array_equal(weight, expected)
