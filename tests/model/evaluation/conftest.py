"""Predictions on a few chips, and the command that measures them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from model import evaluate
from pipelines import predict
from tests.bundles import LABELS
from tests.image_files import picture, unmarked_rgba_jpeg
from tests.outputs import rows

IMAGES = 8


class Chips(NamedTuple):
    """An output of predict, with one image at which it failed."""

    output: Path
    tags: dict[str, set[str]]
    probabilities: dict[str, dict[str, float]]


class Told(NamedTuple):
    """What a command said."""

    exit_code: int
    out: str
    err: str


Evaluate = Callable[..., Told]


@pytest.fixture(scope="session")
def chips(tmp_path_factory: pytest.TempPathFactory, bundle_path: str) -> Chips:
    folder = tmp_path_factory.mktemp("evaluated")
    (folder / "chips").mkdir()
    for number in range(IMAGES):
        # Reds, greens and blues of different strength, so that tags and probabilities differ.
        pixels = picture(seed=number)
        pixels[..., number % 3] //= 1 + number // 2
        (folder / "chips" / f"chip_{number}.jpg").write_bytes(unmarked_rgba_jpeg(pixels))
    (folder / "chips" / "broken.jpg").write_bytes(b"no image")
    flags = [f"--input={folder / 'chips'}", f"--model={bundle_path}", f"--output={folder / 'out'}"]
    assert predict.main([*flags, "--max_failure_rate=1", "--progress=off"]) == 0
    by_name = {Path(row["path"]).stem: row for row in rows(folder / "out")}
    assert len(by_name) == IMAGES
    return Chips(
        output=folder / "out",
        tags={name: set(row["tags"]) for name, row in by_name.items()},
        probabilities={name: {label: row[f"p_{label}"] for label in LABELS} for name, row in by_name.items()},
    )


@pytest.fixture
def run(chips: Chips, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """Run the command on the output and on a label file of these rows, unless the flags say otherwise."""

    def run(*rows: str, flags: tuple[str, ...] = (), predictions: Path = chips.output) -> Told:
        label_file = tmp_path / "labels.csv"
        label_file.write_text("\n".join(["image_name,tags", *rows]) + "\n")
        capsys.readouterr()
        exit_code = evaluate.main([f"--predictions={predictions}", f"--labels={label_file}", *flags])
        return Told(exit_code, *capsys.readouterr())

    return run


def as_predicted(chips: Chips) -> list[str]:
    """Make the rows of a label file that says what the model says, of the images that have tags."""
    return [f"{name},{' '.join(sorted(tags))}" for name, tags in chips.tags.items() if tags]


def f2(truth: set[str], predicted: set[str]) -> float:
    return 5 * len(truth & predicted) / (4 * len(truth) + len(predicted))


def copied(chips: Chips, folder: Path) -> Path:
    """Copy the predictions into another output, for tests that do them harm; return their one file."""
    [file] = (chips.output / "predictions").iterdir()
    (folder / "predictions").mkdir(parents=True)
    return Path(shutil.copy(file, folder / "predictions"))
