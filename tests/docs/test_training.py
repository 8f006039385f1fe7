"""Every block of docs/training.md: its commands train, predict and measure, and print what the page says they print.

The images and the network are small: the page is about commands, files and flags.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipelines import cli
from pipelines.inference.bundle import load_bundle
from tests import ROOT, outputs
from tests.image_files import picture, unmarked_rgba_jpeg
from tests.model.small import small_networks

markdown_it = pytest.importorskip(
    "markdown_it", reason="markdown-it-py is not installed: pip install 'scenetags[test]'"
)

TEXT = (ROOT / "docs" / "training.md").read_text()

SMALL = ["--image_size", "32", "--head_epochs", "1", "--finetune_epochs", "1", "--final_epochs", "2"]

FEWER = {"[:4000]": "[:8]", "[4000:]": "[8:]", "--count 400": "--count 24"}
"""What is replaced in the commands, as there are fewer images."""

TAGS = ("clear", "agriculture clear", "clear road water", "artisinal_mine water")
CHIPS = 24

STAND_IN = """#!/bin/sh
{ for word in "${0##*/}" "$@"; do printf '%s\\1' "$word"; done; echo; } >>"$TAKEN_DOWN"
"""


class Block(NamedTuple):
    """A block of code: its language, none for what commands print, and its text."""

    language: str
    text: str


class Told(NamedTuple):
    """What a command of scenetags was given, and what it printed."""

    words: Sequence[str]
    printed: str


def blocks(text: str) -> list[Block]:
    """Find all blocks of a page, also those that are indented or stand in a list."""
    tokens = markdown_it.MarkdownIt("commonmark").parse(text)
    return [Block(token.info, token.content) for token in tokens if token.type in ("fence", "code_block")]


def untold(text: str) -> list[Block]:
    """Select the blocks that are neither commands, all of which run, nor what these print."""
    return [block for block in blocks(text) if block.language not in ("sh", "")]


def write_chips(folder: Path, names: Sequence[str]) -> None:
    """Draw pictures that are in no other folder, as a bundle may not be measured on those that it has learnt."""
    folder.mkdir()
    for seed, name in enumerate(names, start=CHIPS * sum(path.is_dir() for path in folder.parent.iterdir())):
        (folder / f"{name}.jpg").write_bytes(unmarked_rgba_jpeg(picture(48, 48, seed=seed)))


def write_files(folder: Path) -> None:
    """Write what the page's reader has: the archive, unpacked, and images of their own."""
    planet = [f"train_{number}" for number in range(CHIPS)]
    tags = [TAGS[number % len(TAGS)] for number in range(CHIPS)]
    write_chips(folder / "train-jpg", planet)
    rows = [f"{name},{of}\n" for name, of in zip(planet, tags, strict=True)]
    (folder / "train_v2.csv").write_text("image_name,tags\n" + "".join(rows))

    photos = [f"photo {number}" for number in range(12)]
    write_chips(folder / "photos", photos)
    rows = [f"{number},{name},{('heron/reed bed', 'heron')[number % 2]}\n" for number, name in enumerate(photos)]
    (folder / "sightings.csv").write_text("Day,Photo,Seen here\n" + "".join(rows))

    chips = [f"scene_{number // 4}_{number}" for number in range(20)]
    write_chips(folder / "chips", chips)
    rows = [f"{name},{tags[number]},{number // 4}\n" for number, name in enumerate(chips)]
    (folder / "labels.csv").write_text("name,tags,fold\n" + "".join(rows))
    rows = [f"{name},{('', 'cloudy ')[number % 2]}{tags[number]}\n" for number, name in enumerate(chips)]
    (folder / "more.csv").write_text("name,tags\n" + "".join(rows))


def take_down(script: str, folder: Path) -> list[list[str]]:
    """Run a script in a folder, of whose commands pip and scenetags are only taken down, and return those."""
    programs = folder.with_name("programs")
    programs.mkdir()
    for name in ("pip", "scenetags"):
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    taken_down = folder.with_name("taken_down")
    environment = {"PATH": f"{programs}{os.pathsep}{Path(sys.executable).parent}", "TAKEN_DOWN": str(taken_down)}
    done = subprocess.run(
        ["/bin/sh", "-eu"], input=script, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [line.split("\1")[:-1] for line in taken_down.read_text().splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training") / "work"
    folder.mkdir()
    write_files(folder)
    return folder


@pytest.fixture(scope="module")
def commands(folder: Path) -> list[list[str]]:
    """Run all blocks of commands in one shell, from the first to the last."""
    script = "\n".join(block.text for block in blocks(TEXT) if block.language == "sh")
    for found, smaller in FEWER.items():
        assert found in script
        script = script.replace(found, smaller)
    return take_down(script, folder)


@pytest.fixture(scope="module")
def told(commands: list[list[str]], folder: Path, tensorflow: Any) -> list[Told]:
    """Run the commands of scenetags here, one after another."""
    return list(run(commands, folder))


def run(commands: Sequence[Sequence[str]], folder: Path) -> Iterator[Told]:
    with pytest.MonkeyPatch.context() as patch, small_networks():
        patch.chdir(folder)
        for program, *words in commands:
            if program == "scenetags":
                smaller = [*words, *SMALL] if words[0] == "train" else words
                yield Told(words, printed_by(smaller))


def printed_by(words: Sequence[str]) -> str:
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        exit_code = cli.main(list(words))
    assert exit_code == 0, f"{shlex.join(words)}: {err.getvalue()}"
    return out.getvalue()


def lines(text: str) -> set[str]:
    """Give the lines of a text without their numbers, spaces and digests, in which runs differ.

    And without the time that is left in a phase: the phases of the tests have one epoch.
    """
    plain = re.sub(r"\b[0-9a-f]{12}\b|\d+(\.\d+)?", "#", text).replace(" (kept)", "")
    plain = plain.replace(", at most #:# left in this phase", "")
    return {" ".join(line.split()) for line in plain.splitlines() if line.strip()}


def of(told: Sequence[Told], command: str) -> list[Told]:
    return [one for one in told if one.words[0] == command]


def everything(told: Sequence[Told]) -> str:
    return "".join(one.printed for one in told)


def test_every_block_is_run_or_shown() -> None:
    assert not untold(TEXT)
    assert untold("1. do\n\n   ```bash\n   scenetags train\n   ```\n\n```sh\nls\n```\n") == [
        Block("bash", "scenetags train\n")
    ], "a block that nobody would run is noticed, wherever it is"
    assert not re.search(r"^ {4,}scenetags|^>|^\t", TEXT, re.MULTILINE), "commands stand in blocks of their own"


def test_every_command_of_the_page_is_run(told: list[Told]) -> None:
    written = "".join(block.text for block in blocks(TEXT) if block.language == "sh")
    assert len(told) == len(re.findall(r"^scenetags ", written, re.MULTILINE)) >= 8
    assert {"train", "predict", "evaluate"} == {one.words[0] for one in told}


def test_each_training_gives_its_bundle(told: list[Told], folder: Path) -> None:
    for one in of(told, "train"):
        bundle = load_bundle(str(folder / one.words[one.words.index("--output") + 1]))
        assert bundle.training["train_images"] > bundle.training["validation_images"] > 0


def test_flags_do_what_the_page_says_of_them(told: list[Told], folder: Path) -> None:
    assert load_bundle(str(folder / "bundles/sightings")).labels == ("heron", "reed bed")
    assert load_bundle(str(folder / "bundles/fold0")).training["validation_images"] == 4
    assert load_bundle(str(folder / "bundles/apart")).training["validation_images"] % 4 == 0, "a scene is divided"
    [continued] = [one for one in of(told, "train") if "more.csv" in one.words]
    assert "5 of 6 labels start from the bundle; new: cloudy" in continued.printed


def test_held_out_images_are_tagged_and_measured(told: list[Told], folder: Path) -> None:
    held_out = (folder / "held_out.csv").read_text().splitlines()[1:]
    tagged = {Path(row["path"]).stem for row in outputs.rows(folder / "held_out")}
    assert tagged == {row.partition(",")[0] for row in held_out}
    measured = of(told, "evaluate")[0]
    assert measured.printed.startswith(f"{len(held_out)} images measured")


def test_what_the_page_shows_is_printed(told: list[Told], folder: Path) -> None:
    small, *shown, never_given = [block for block in blocks(TEXT) if not block.language]
    assert lines(small.text) <= lines(told[0].printed.replace(f"{folder}/", ""))
    reasons, given = (set(re.findall(r"never given, ([^:]+):", text)) for text in (never_given.text, everything(told)))
    assert "fewer than 10 images to train on" in reasons & given
    assert reasons - given <= {"no image measured"}, "every label of these images is measured"
    for block, command in zip(shown, ("train", "evaluate"), strict=True):
        printed = "".join(one.printed for one in of(told, command)).replace(f"{folder}/", "")
        assert lines(block.text) <= lines(printed), "no command prints this any more"


def test_what_pip_is_asked_for_is_there(commands: list[list[str]]) -> None:
    assert [words for words in commands if words[0] == "pip"] == [["pip", "install", ".[train]"]]
    assert '"train": [' in (ROOT / "setup.py").read_text()
