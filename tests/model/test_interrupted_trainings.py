"""A training that is interrupted or killed resumes, and only with the settings that it was begun with."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model import train
from model.data.learnt import Learnt
from model.export import bundle as export
from model.quality import calibration
from model.quality.facts import Facts
from model.quality.history import read_csv
from model.training import network, session, settings
from tests import ROOT
from tests.bundles import IMAGE_SIZE
from tests.model.conftest import CHIPS, SMALL, Unfinished, flags
from tests.model.small import small_networks

pytestmark = pytest.mark.usefixtures("tensorflow")

TRAIN_UNTIL_KILLED = """
import os, signal, sys

from model import train
from model.training import network
from tests.model.small import small_networks

seed = network.seed_dropout

def begin(model, number, epoch):
    if epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    seed(model, number, epoch)

network.seed_dropout = begin
with small_networks():
    train.main(sys.argv[1:])
"""
"""Trains, and is killed when its third epoch begins."""


def test_a_killed_training_resumes_and_is_measured_before_it_learns_the_held_out_images(
    training_chips: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[NDArray[np.float32]] = []
    fit = calibration.fit

    def watch(truth: NDArray[np.bool_], probabilities: NDArray[np.float32], judged: Any) -> calibration.Calibration:
        measured.append(probabilities)
        return fit(truth, probabilities, judged)

    weights = tmp_path / "base.weights.h5"
    with small_networks():
        untrained = network.build(np.full(3, 0.5, np.float32), image_size=IMAGE_SIZE, alpha=0.35, weights=None)
    untrained.get_layer("backbone").save_weights(weights)
    epochs = ["--weights", str(weights), "--head_epochs", "1", "--finetune_epochs", "3"]
    command = [*flags(training_chips, tmp_path / "bundle"), *SMALL, *epochs]
    training = [sys.executable, "-c", TRAIN_UNTIL_KILLED, *command]
    assert subprocess.run(training, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode == -signal.SIGKILL
    history = tmp_path / "bundle.training" / "history.csv"
    assert [epoch.phase for epoch in read_csv(history)] == ["head", "fine-tuning"]
    assert not (tmp_path / "bundle").exists()
    exported: list[Facts] = []
    recorded: list[Learnt] = []

    def end(model: Any, output: Path, learnt: Facts, held_out: Any, calibration: Any, record: Learnt) -> None:
        exported.append(learnt)
        recorded.append(record)
        raise KeyboardInterrupt

    # What an export gives after a training has resumed is in `trained`.
    monkeypatch.setattr(export, "export", end)
    monkeypatch.setattr(calibration, "fit", watch)
    with small_networks():
        assert train.main(command) == 130
    assert "resuming after epoch 2 of an interrupted training" in capsys.readouterr().out
    assert [epoch.phase for epoch in read_csv(history)] == ["head", *["fine-tuning"] * 3, "all images"]
    learnt = exported[0]
    assert learnt.training.kept_epoch in range(1, 5)
    assert learnt.training.final_epochs == 1
    np.testing.assert_allclose(learnt.probabilities, learnt.calibration.correction.apply(measured[0]))
    assert len(recorded[0].digests) == 2 * CHIPS, "of file and pixels of each image, as all are learnt in the end"


def test_who_interrupts_the_last_figures_has_a_bundle(
    training_chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(wanted: settings.Settings) -> None:
        raise KeyboardInterrupt

    def interrupt_at_the_end(wanted: settings.Settings) -> None:
        (wanted.output / "bundle.json").touch()
        raise KeyboardInterrupt

    # A folder may be there before, if it is empty.
    (tmp_path / "bundle").mkdir()

    for work, rest in (
        (interrupt, "run the same command again to resume after the last finished epoch"),
        (interrupt_at_the_end, f"the bundle in {tmp_path}/bundle is complete"),
    ):
        monkeypatch.setattr(session, "train", work)
        assert train.main(flags(training_chips, tmp_path / "bundle")) == 130
        assert capsys.readouterr().err == f"\nscenetags train: interrupted; {rest}\n"


def test_an_unfinished_training_is_not_taken_over_by_another(
    unfinished: Unfinished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "run the same command again to resume after the last finished epoch" in unfinished.told
    shutil.copytree(unfinished.workspace, tmp_path / "bundle.training")
    other = ["--seed", "7", "--loss", "weighted", "--beta", "1"]
    assert train.main([*unfinished.flags, "--output", str(tmp_path / "bundle"), *other]) == 2
    different = "(seed was 0, is 7, loss was bce, is weighted, beta was 2.0, is 1.0)"
    assert f"unfinished training with different settings {different}" in capsys.readouterr().err


def test_rows_in_another_order_are_told_apart_from_other_images_and_labels(
    unfinished: Unfinished, training_chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *lines = (training_chips / "labels.csv").read_text().splitlines()
    (tmp_path / "labels.csv").write_text("\n".join([header, *reversed(lines)]))
    shutil.copytree(unfinished.workspace, tmp_path / "bundle.training")
    other = [*unfinished.flags, "--output", str(tmp_path / "bundle")]
    other[other.index("--labels") + 1] = str(tmp_path / "labels.csv")
    assert train.main(other) == 2
    assert "unfinished training with different settings (order of the rows changed)" in capsys.readouterr().err
