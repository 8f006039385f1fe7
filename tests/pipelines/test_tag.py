"""`scenetags tag`, `scenetags` itself, and what they print."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines import cli, tag
from pipelines.inference import precision
from pipelines.quicklook import picture
from tests.bundles import copy_with_reference
from tests.image_files import picture as draw_picture
from tests.image_files import unmarked_rgba_jpeg
from tests.scene_files import write_scene


@pytest.fixture
def chip(tmp_path: Path) -> Path:
    path = tmp_path / "chip #1.jpg"
    path.write_bytes(unmarked_rgba_jpeg(draw_picture()))
    return path


def test_tags_and_probabilities_are_shown(chip: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tag.main([str(chip), "--model", bundle_path]) == 0

    printed = capsys.readouterr().out
    assert f"{chip}\n  64 x 48, jpeg 4x8, repaired: unmarked_rgba_jpeg\n  tags (*): " in printed
    assert "%" in printed


def test_no_image_is_called_stranger_than_all_training_images(
    bundle_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "black.png")
    model = copy_with_reference(bundle_path, tmp_path / "model")
    assert tag.main([str(tmp_path / "black.png"), "--model", str(model)]) == 0
    strange = "  stranger than over 99.9% of the training images: the model has hardly seen such images\n"
    assert strange in capsys.readouterr().out


def test_auto_without_openvino_says_what_bfloat16_needs(
    chip: Path, bundle_path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_is_openvino_installed", lambda: False)
    monkeypatch.setattr(precision, "bfloat16_units", lambda: "AMX matrix units")
    assert tag.main([str(chip), "--model", bundle_path, "--precision=auto"]) == 0
    told = "scenetags tag: --precision auto computes in float32; bfloat16 needs OpenVINO: run pip install"
    assert capsys.readouterr().err.startswith(told)


@pytest.mark.parametrize("kind", ["tar", "gztar", "zip"])
def test_members_of_archives_are_tagged(
    chip: Path, kind: str, bundle_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = shutil.make_archive(str(tmp_path / "chips"), kind, chip.parent, chip.name)

    assert tag.main([archive, "--model", bundle_path]) == 0

    assert f"{archive}::{chip.name}\n  64 x 48, jpeg 4x8" in capsys.readouterr().out


def test_a_picture_shows_the_image_beside_its_bars(chip: Path, bundle_path: str, tmp_path: Path) -> None:
    drawn = tmp_path / "look.png"

    assert tag.main([str(chip), str(chip.parent), "--model", bundle_path, "--picture", str(drawn)]) == 0

    with Image.open(drawn) as image:
        colours = np.asarray(image).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 100, "the chip is in the picture"


def test_what_was_looked_for_in_a_scene_is_told_as_flags_that_show_it_alike(
    tmp_path: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.tile(np.arange(4096, dtype="uint16").reshape(64, 64), (3, 1, 1)) + 1
    scene = str(write_scene(tmp_path / "scene.tif", values, tile=32))
    command = [scene, "--tile=32", "--model", bundle_path, "--bands=3,2,1"]
    assert tag.main([*command, "--stretch=p0:p100"]) == 0
    told, _, *printed = capsys.readouterr().out.splitlines()
    flags = "--bands=3,2,1 --stretch=1:4096,1:4096,1:4096"
    assert told == f"{scene}: shown with {flags}"
    assert tag.main([*command[:-1], *flags.split()]) == 0
    assert capsys.readouterr().out.splitlines() == printed


def test_a_picture_shows_a_scene_with_the_tags_of_its_windows(
    bundle_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.zeros((3, 64, 128), np.uint8)
    values[0, :, :64], values[2, :32, 64:] = 250, 250
    scene, drawn = write_scene(tmp_path / "scene.tif", values, photometric="RGB", nodata=0), tmp_path / "look.png"

    assert tag.main([str(scene), "--tile=32", "--model", bundle_path, "--picture", str(drawn)]) == 0

    printed = capsys.readouterr().out
    boxes = [(0, 0), (32, 0), (64, 0), (96, 0), (0, 32), (32, 32)]
    shown = [line for line in printed.splitlines() if line.startswith("/")]
    assert shown == [f"{scene}#xywh={column},{row},32,32" for column, row in boxes]
    assert "left out: 2 with less data than --min_valid" in printed
    with Image.open(drawn) as image:
        # Below the title, windows of 512 pixels. Their tags are at their upper left.
        pixels = np.asarray(image.convert("RGB"))[24 + 34 :, 24:]
    centres = [[tuple(pixels[512 * row + 400, 512 * column + 400].tolist()) for column in range(4)] for row in range(2)]
    red, blue, paper = (250, 0, 0), (0, 0, 250), (255, 255, 255)
    assert centres == [[red, red, blue, blue], [red, red, paper, paper]]


def test_bars_are_as_long_as_their_probabilities(tmp_path: Path) -> None:
    panel = picture.Panel("x.jpg", np.zeros((8, 8, 3), np.uint8), {"a": 1.0, "b": 0.5, "c": 0.0}, ("a", "b"))
    picture.draw([panel], str(tmp_path / "x.png"))

    with Image.open(tmp_path / "x.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    green = (pixels == (0x2F, 0x7D, 0x4F)).all(axis=2).sum(axis=1)
    lengths = sorted(set(green[green > 0]))
    assert len(lengths) == 2
    assert lengths[1] == pytest.approx(2 * lengths[0], abs=2)


def test_one_bad_image_does_not_hide_the_others(
    chip: Path, bundle_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")

    assert tag.main([str(chip), str(tmp_path / "empty.jpg"), "--model", bundle_path]) == 1

    printed = capsys.readouterr()
    assert "tags (*): " in printed.out
    assert f"{tmp_path}/empty.jpg\n  failed to decode: empty file" in printed.err


def test_a_picture_of_nothing_is_missed(bundle_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = write_scene(tmp_path / "scene.tif", np.zeros((3, 64, 64), np.uint8), photometric="RGB", nodata=0)
    drawn = tmp_path / "look.png"
    assert tag.main([str(scene), "--tile=32", "--model", bundle_path, "--picture", str(drawn)]) == 0
    assert f"--picture {drawn} was not drawn: nothing was tagged" in capsys.readouterr().err
    assert not drawn.exists()


def test_a_picture_never_replaces_an_image(chip: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    image = chip.rename(chip.with_suffix(".png"))
    before = image.read_bytes()

    assert tag.main([str(image), "--model", bundle_path, "--picture", str(image)]) == 2

    assert "would replace one of the images" in capsys.readouterr().err
    assert image.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["gone.jpg", "--model", "BUNDLE"], "no file or folder matches gone.jpg"),
        (["CHIP", "--model", "gone"], "bundle.json cannot be read"),
        (["CHIP"], "the following arguments are required: --model"),
        (["CHIP", "--model", "BUNDLE", "--picture", "x.abc"], "--picture x.abc is not a .png file"),
        (["CHIP", "--model", "BUNDLE", "--picture", "CHIP"], "is not a .png file"),
        (
            ["CHIP", "--model", "BUNDLE", "--picture", "/no/x.png"],
            "--picture /no/x.png: the folder does not exist; create it first",
        ),
    ],
)
def test_wrong_usage_is_one_clear_line(
    chip: Path, bundle_path: str, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    named = {"CHIP": str(chip), "BUNDLE": bundle_path}

    assert tag.main([named.get(argument, argument) for argument in arguments]) == 2

    printed = capsys.readouterr().err
    assert printed.startswith("scenetags tag: ")
    assert reason in printed
    assert printed.count("\n") == 1


def test_the_command_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert [name for name in cli.COMMANDS if f"  {name} " not in printed] == []
    assert cli.main(["Predikt"]) == 2
    assert capsys.readouterr().err == "scenetags: unknown command Predikt; did you mean predict?\n"
    assert cli.main(["classify"]) == 2
    known = capsys.readouterr().err
    assert known == f"scenetags: unknown command classify; use one of {', '.join(cli.COMMANDS)}\n"
    assert "predict, plan, tag" in known


@pytest.mark.parametrize(
    ("module", "not_imported"),
    [
        ("pipelines.cli", {"apache_beam", "tensorflow", "ai_edge_litert", "pyarrow", "numpy"}),
        ("pipelines.predict", {"apache_beam", "tensorflow", "ai_edge_litert", "pyarrow", "numpy"}),
        ("pipelines.plan", {"apache_beam", "tensorflow", "ai_edge_litert", "pyarrow", "numpy"}),
        ("pipelines.planning", {"apache_beam", "tensorflow", "ai_edge_litert", "model"}),
        ("pipelines.tag", {"apache_beam", "tensorflow", "ai_edge_litert", "pyarrow", "numpy"}),
        ("pipelines.retag", {"apache_beam", "tensorflow", "ai_edge_litert", "pyarrow", "numpy"}),
        ("pipelines.compare", {"apache_beam", "duckdb", "tensorflow", "ai_edge_litert", "pyarrow", "numpy"}),
        ("pipelines.images", {"apache_beam", "tensorflow", "ai_edge_litert"}),
        ("pipelines.inference.bundle", {"apache_beam", "tensorflow", "ai_edge_litert"}),
        ("pipelines.runners.jobs", {"tensorflow", "ai_edge_litert", "model"}),
    ],
)
def test_modules_import_only_what_they_need(module: str, not_imported: set[str]) -> None:
    script = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()

    assert not not_imported & set(loaded)
