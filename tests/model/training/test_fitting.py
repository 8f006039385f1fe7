"""Phases keep the best weights, end in time, and resume where they were interrupted."""

from __future__ import annotations

import errno
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data import dataset
from model.quality import metrics, thresholds
from model.quality.history import Epoch, HistoryError
from model.training import fitting, losses, optimizer
from model.training.opening import open_workspace
from model.training.workspace import Workspace, WorkspaceError
from tests.model.conftest import eagerly
from tests.model.training.conftest import FINETUNING, HEAD, training


def test_a_training_that_resumes_ends_as_if_it_had_not_been_interrupted(
    examples: dataset.Examples,
    uninterrupted: fitting.Training,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class PowerCutError(Exception):
        pass

    commit = Workspace.commit

    def commit_until(epoch: int, after: bool) -> Any:
        def commit_or_fail(self: Workspace, model: Any, done: list[Epoch], *kept: Any) -> None:
            if done[-1].epoch == epoch and not after:
                raise PowerCutError
            commit(self, model, done, *kept)
            if done[-1].epoch == epoch:
                raise PowerCutError

        return commit_or_fail

    for epoch, after in ((1, True), (2, False), (2, True), (4, False), (4, True)):
        monkeypatch.setattr(Workspace, "commit", commit_until(epoch, after))
        with pytest.raises(PowerCutError):
            training(examples, tmp_path / "cut").run([HEAD, FINETUNING])
    monkeypatch.setattr(Workspace, "commit", commit)
    last = training(examples, tmp_path / "cut")
    assert [epoch.epoch for epoch in last.history] == [1, 2, 3, 4]
    last.run([HEAD, FINETUNING])

    def without_time(history: list[Epoch]) -> list[Any]:
        return [pytest.approx(epoch[1:-1], rel=1e-3, abs=1e-9) for epoch in history]

    assert [epoch[1:-1] for epoch in last.history] == without_time(uninterrupted.history)
    assert [epoch.phase for epoch in last.history] == ["head", "head", "fine-tuning", "fine-tuning", "fine-tuning"]
    pixels = examples.pixels[:8]
    np.testing.assert_allclose(
        last.model.predict(pixels, verbose=0), uninterrupted.model.predict(pixels, verbose=0), atol=1e-3
    )


def test_a_training_ends_before_the_epoch_that_would_be_late(examples: dataset.Examples, tmp_path: Path) -> None:
    late = replace(training(examples, tmp_path / "late"), ends_at=time.monotonic() - 1)
    with eagerly():
        best = late.run([HEAD, FINETUNING])
    assert [epoch.epoch for epoch in late.history] == [1]
    assert best == late.history[0]
    in_time = replace(late, ends_at=time.monotonic() + 2.5 * late.history[0].seconds)
    assert not in_time.is_out_of_time(HEAD)
    assert in_time.is_out_of_time(FINETUNING), "its first epoch may take three times as long"


def test_loss_and_beta_are_those_that_were_asked_for(
    examples: dataset.Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    of = losses.of

    def watch(name: losses.Loss, targets: Any) -> Any:
        asked.append(name)
        return of(name, targets)

    monkeypatch.setattr(losses, "of", watch)
    run = training(examples, tmp_path / "run")
    few = run.training.take(np.arange(16))
    run = replace(run, training=few, loss="asymmetric", beta=0.5, workspace=replace(run.workspace, beta=0.5))
    with eagerly():
        run.run([HEAD._replace(epochs=1)])
    assert asked == ["asymmetric"] * 2, "to train and to measure"
    truth, found = run.validation.targets > 0.5, fitting.predict(run.model, run.validation, 16)
    tags = found >= thresholds.best_flat(truth, found, 0.5)
    assert run.history[0].validation_fbeta == pytest.approx(metrics.fbeta_over_samples(truth, tags, 0.5))
    assert "validation_f0_5" in (tmp_path / "run" / "history.csv").read_text()


def test_a_gpu_without_enough_memory_is_one_line_and_leaves_the_images(
    examples: dataset.Examples, tmp_path: Path, tensorflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = training(examples, tmp_path / "run")
    run.workspace.images.mkdir()

    def fill_memory(*_: Any, **__: Any) -> None:
        raise tensorflow.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(type(run.model), "fit", fill_memory)
    with pytest.raises(fitting.OutOfMemoryError) as told:
        run.run([HEAD])
    assert str(told.value) == (
        "head: batches of 16 images of 32 px do not fit into the memory of the GPU; run the same command with "
        "--batch_size 8"
    )
    assert run.workspace.images.exists()


def test_a_disk_that_is_full_for_tensorboard_is_not_a_gpu_without_memory(
    uninterrupted: fitting.Training, tensorflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the epochs done so far would be discarded, so that another batch size can start over."""
    before = uninterrupted.workspace.read_history()

    def fill_disk(*_: Any, **__: Any) -> None:
        node = "{{function_node __wrapped__CreateSummaryFileWriter_device_/job:localhost/device:CPU:0}}"
        told = (
            f"{node} run/events.v2; No space left on device\n\tFailed to flush 1 events. [Op:CreateSummaryFileWriter]"
        )
        raise tensorflow.errors.ResourceExhaustedError(None, None, told)

    monkeypatch.setattr(type(uninterrupted.model), "fit", fill_disk)
    with pytest.raises(OSError, match="No space left on device") as told:
        uninterrupted.run([FINETUNING._replace(epochs=9)])
    assert (told.value.errno, told.value.filename) == (errno.ENOSPC, str(uninterrupted.workspace.tensorboard))
    assert uninterrupted.workspace.read_history() == before


def test_logs_that_cannot_be_written_are_an_error_of_the_system(examples: dataset.Examples, tmp_path: Path) -> None:
    run = training(examples, tmp_path / "run")
    run.workspace.tensorboard.write_bytes(b"")  # in the place of the folder
    with pytest.raises(OSError, match="not a directory") as told:
        run.run([HEAD])
    assert told.value.filename == str(run.workspace.tensorboard)


def test_the_model_ends_with_the_weights_of_the_best_epoch(
    examples: dataset.Examples, tmp_path: Path, tensorflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever comes after the second epoch is worse: fine-tuning must not end below the head.
    scores = iter([0.2, 0.6, 0.5, 0.4, 0.3])
    monkeypatch.setattr(metrics, "fbeta_over_samples", lambda truth, predicted, beta: next(scores))
    kept: dict[int, Any] = {}
    run = training(examples, tmp_path / "run")
    commit = Workspace.commit

    def watch(self: Workspace, model: Any, done: list[Epoch], *others: Any) -> None:
        kept[done[-1].epoch] = model.get_weights()
        commit(self, model, done, *others)

    monkeypatch.setattr(Workspace, "commit", watch)
    assert run.run([HEAD, FINETUNING]).epoch == 2
    for weight, expected in zip(run.model.get_weights(), kept[2], strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert any(not np.array_equal(a, b) for a, b in zip(kept[2], kept[5], strict=True))


def test_fine_tuning_is_measured_and_kept_with_averaged_weights_and_goes_on_with_its_own(
    examples: dataset.Examples, tmp_path: Path, tensorflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An epoch of a single step, so that the weights of all steps are seen.
    run = replace(training(examples, tmp_path / "run"), batch_size=len(examples.rows))
    phase = FINETUNING._replace(epochs=8)
    own, averages = [], []
    commit = Workspace.commit

    def watch(self: Workspace, model: Any, done: list[Epoch], best: Epoch | None, averaged: Any) -> None:
        own.append(model.get_weights())
        averages.append(averaged)
        commit(self, model, done, best, averaged)

    monkeypatch.setattr(Workspace, "commit", watch)
    with eagerly():
        best = run.run([phase])
    expected = own[0]
    for step, weights in enumerate(own):
        share = 1 / (optimizer.AVERAGED * 8) if step else 1
        expected = [share * new + (1 - share) * old for new, old in zip(weights, expected, strict=True)]
        for average, weight in zip(averages[step], expected, strict=True):
            np.testing.assert_allclose(average, weight, atol=1e-6)
    assert any(np.abs(average - weight).max() > 1e-4 for average, weight in zip(averages[-1], own[-1], strict=True))
    for weight, kept in zip(run.model.get_weights(), averages[best.epoch - 1], strict=True):
        np.testing.assert_array_equal(weight, kept)
    measured = metrics.binary_crossentropy(
        run.validation.targets > 0.5, fitting.predict(run.model, run.validation, run.batch_size)
    )
    assert best.validation_loss == pytest.approx(measured, rel=1e-5)


def test_a_training_that_diverges_is_one_line(examples: dataset.Examples, tmp_path: Path, tensorflow: Any) -> None:
    with pytest.raises(fitting.DivergedError, match="training diverged: no epoch had a finite loss"):
        training(examples, tmp_path).run([HEAD._replace(learning_rate=math.nan)])


def test_epochs_are_in_history_and_tensorboard(uninterrupted: fitting.Training) -> None:
    workspace = uninterrupted.workspace
    assert workspace.read_history() == tuple(uninterrupted.history)
    assert [len(list(folder.glob("events.*"))) for folder in sorted(workspace.tensorboard.iterdir())] == [2, 2]
    workspace.clear()
    assert sorted(path.name for path in workspace.folder.iterdir()) == ["history.csv", "tensorboard"]


def test_another_training_does_not_take_over_an_unfinished_one(uninterrupted: fitting.Training, tmp_path: Path) -> None:
    digests = "a" * 64, "b" * 64
    with (
        pytest.raises(
            WorkspaceError, match=r"unfinished training with different settings \(seed was 0, is 1, images changed\)"
        ),
        open_workspace(tmp_path / "whole", {"seed": "1", "images": digests[0]}),
    ):
        pass
    assert len(uninterrupted.workspace.read_history()) == 5
    uninterrupted.workspace.clear()
    with open_workspace(tmp_path / "whole", {"seed": "1"}):
        assert uninterrupted.workspace.read_history() == (), "a finished one is out of the way"


@pytest.mark.parametrize("damage", ["settings", "weights", "weights missing", "history"])
def test_what_is_damaged_is_one_line(
    damage: str, examples: dataset.Examples, uninterrupted: fitting.Training, tmp_path: Path
) -> None:
    folder = uninterrupted.workspace.folder
    best = next((folder / "checkpoint").glob("best-*"))
    if damage == "settings":
        (folder / "settings.json").write_text("[1]")
    elif damage == "weights":
        best.write_bytes(best.read_bytes()[:1000])
    elif damage == "weights missing":
        best.unlink()
    else:
        (folder / "history.csv").write_text("phase,epoch\nhead,one\n")
    with pytest.raises((WorkspaceError, HistoryError), match=r"(delete .*|remove it) to start over"):
        training(examples, folder).run([HEAD, FINETUNING])


def test_a_full_disk_is_an_error_of_the_system(
    uninterrupted: fitting.Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = uninterrupted.workspace.read_history()
    monkeypatch.setattr(np, "savez", fail_for_want_of_space)
    with pytest.raises(OSError, match="No space left") as told:
        uninterrupted.workspace.commit(uninterrupted.model, [*before, before[-1]._replace(epoch=6)], before[-1], [])
    assert told.value.filename == str(uninterrupted.workspace.folder / "checkpoint" / "epoch-6.npz")
    assert uninterrupted.workspace.read_history() == before


def fail_for_want_of_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_labels_that_nobody_judged_in_the_held_out_images_choose_no_epoch(
    examples: dataset.Examples, tmp_path: Path
) -> None:
    unknown = np.where(np.arange(3) == 1, 0, examples.targets)
    held_out = {"known": examples.targets, "unknown": unknown.astype(np.float32)}
    judged = np.array([True, False, True])
    scores = {}
    for name, targets in held_out.items():
        run = training(examples, tmp_path / name)
        run = replace(run, validation=run.validation._replace(targets=targets[40:]), judged=judged, loss="weighted")
        with eagerly():
            run.run([HEAD])
        scores[name] = [epoch[3:-1] for epoch in run.history]
    assert scores["unknown"] == scores["known"]
