"""What cannot be trained is refused in one clear line, and leaves nothing behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from model import train
from tests.model.conftest import CHIPS, SMALL, flags

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (["--images", "nowhere"], "--images: no folder at nowhere"),
        (["--labels", "nothing.csv"], "--labels: no file at nothing.csv"),
        (["--validation_labels", "nothing.csv"], "--validation_labels: no file at nothing.csv"),
        (["--weights", "tests"], "no bundle at"),
        (["--batch_size", "0"], "--batch_size 0: not a whole number from 1 to"),
        (["--image_size", "31"], "--image_size 31: not a whole number from 32 to 2,048"),
        (["--image_size", "99999999"], "--image_size 99999999: not a whole number from 32 to 2,048"),
        (["--validation_fraction", "1.5"], "--validation_fraction 1.5: not a number from 0.01 to 0.9"),
        (["--weights", "missing.h5"], "--weights: missing.h5 is not imagenet, none, an existing file or a b"),
        (["--alpha", "0.6"], "--alpha: there are no ImageNet weights for 0.6; use one of 0.35, "),
        (["--stretch", "p2:p98"], "--stretch of percentiles is for scenes that --tile cuts: a chip's own"),
        (["--weights", "none", "--finetune_epochs", "0"], "nothing to train"),
        (["--loss", "focal"], "--loss: invalid choice: 'focal' (choose from"),
        (["--beta", "0"], "--beta 0: not a number from 0.1 to 10"),
        (
            ["--quantize", "int8", "--final_epochs", "1"],
            "--final_epochs and --quantize int8 cannot be combined: the file",
        ),
        (["--quantize", "int4"], "--quantize: invalid choice: 'int4' (choose from"),
        (
            ["--output", "gs://bucket/bundle"],
            "--output: gs://bucket/bundle is not a local folder; write to one, then copy",
        ),
        (["--output", "file://other/bundle"], "file://other/bundle names a file of another machine"),
        (
            ["--epochs", "3"],
            "unknown argument --epochs; did you mean --head_epochs, --finetune_epochs or --final_epoch",
        ),
    ],
)
def test_wrong_usage_is_one_line(
    wrong: list[str], named: str, training_chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([*flags(training_chips, tmp_path / "bundle"), *wrong]) == 2
    told = capsys.readouterr().err
    assert named in told
    assert told.count("\n") == 1
    assert not (tmp_path / "bundle").exists()


def test_what_fails_before_anything_can_be_resumed_leaves_no_folder(
    training_chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.h5").write_text("no weights")
    no_weights = [*flags(training_chips, tmp_path / "bundle"), "--weights", str(tmp_path / "text.h5")]
    assert train.main(no_weights) == 2
    told = capsys.readouterr()
    assert "text.h5: not MobileNetV2 weights without top" in told.err
    assert "images to train on" not in told.out, "weights are checked before images are decoded"

    (tmp_path / "jpg").mkdir()
    for chip in (training_chips / "jpg").iterdir():
        (tmp_path / "jpg" / chip.name).write_text("no image")
    shutil.copy(training_chips / "labels.csv", tmp_path)
    assert train.main([*flags(tmp_path, tmp_path / "bundle"), *SMALL]) == 2
    assert f"none of {CHIPS} images can be decoded" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jpg", "labels.csv", "text.h5"]


def test_an_existing_folder_is_not_overwritten(
    training_chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert train.main(flags(training_chips, tmp_path)) == 2
    assert "already exists; remove it or choose another --output" in capsys.readouterr().err
