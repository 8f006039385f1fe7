"""What is given in the wrong place, or misspelled, is answered with what was probably meant."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from pipelines.listing import EmptyInputError, InputError, list_images
from pipelines.records import Failure


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "chips").mkdir()
    for name in ("chips/a.jpg", "b.jpg", "scenes.txt", "scenes.csv.gz", "item.JSON"):
        (tmp_path / name).touch()
    with tarfile.open(tmp_path / "c.tar", "w") as archive:
        archive.add(tmp_path / "b.jpg", "in/b.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refuse(written: str | None, input_list: str | None = None) -> InputError:
    with pytest.raises(InputError) as raised:
        list(list_images([] if written is None else [written], input_list))
    return raised.value


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("chps", "did you mean {}/chips?"),
        ("Chips/a.jpg", "did you mean {}/chips/a.jpg?"),
        ("chips/A.JPG", "did you mean {}/chips/a.jpg?"),
        ("chips/other.jpg", ""),
        ("GS:/bucket/a.jpg", "did you mean GS://bucket/a.jpg?"),
        ("c.tar/in/b.jpg", "write c.tar::in/b.jpg for a member of an archive"),
        ("scenes.txt", "scenetags predict and plan take it as --input_list"),
        ("scenes.csv.gz", "scenetags predict and plan take it as --input_list"),
        ("item.JSON", "if it is a STAC document, say which --asset to tag, e.g. visual"),
        ("", "give it a path"),
    ],
)
def test_an_input_that_is_none_is_answered_with_what_was_meant(folder: Path, written: str, remedy: str) -> None:
    assert refuse(written).remedy == remedy.format(folder)


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("scene.txt", "did you mean {}/scenes.txt?"),
        ("*.txt", "give a pattern as --input"),
        ("b.jpg", "give it as --input"),
        ("c.tar", "give it as --input"),
        ("chips", "give a folder of images as --input"),
    ],
)
def test_a_list_that_is_none_is_answered_with_what_was_meant(folder: Path, path: str, remedy: str) -> None:
    assert refuse(None, path).remedy == remedy.format(folder)


def test_a_member_that_is_named_has_to_exist_and_a_pattern_may_match_none(folder: Path) -> None:
    error = refuse("c.tar::in/c.jpg")
    assert (error.message, type(error)) == ("no member of c.tar matches in/c.jpg", InputError)
    assert type(refuse("c.tar::in/*.png")) is EmptyInputError


def test_folders_and_patterns_in_a_list_are_failures_that_say_where_they_belong(folder: Path) -> None:
    (folder / "scenes.txt").write_text("chips\nchips/*.jpg\nwhat?.tif#xywh=0,0,64,64\nb.jpg\n")

    listed = list(list_images([], "scenes.txt"))

    assert [(os.path.relpath(item.path), item.error, item.message) for item in listed if isinstance(item, Failure)] == [
        ("chips", "UnlistedFolderError", "a list has no folders, give them as --input"),
        ("chips/*.jpg", "FileNotFoundError", "No such file or directory; a list has no patterns, give them as --input"),
        ("what?.tif#xywh=0,0,64,64", "FileNotFoundError", "no file, but the window of a scene: list the scene"),
    ]
    assert len(listed) == 4
