"""Inputs without images: one of several is told, all of them are an error unless that is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import storage
from pipelines.listing import EmptyInputError, InputError, list_images
from tests.conftest import Bucket


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("chips/a.jpg", "empty/readme.txt", "empty.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("chips/a.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize(
    ("inputs", "input_list", "told"),
    [
        (["chips", "empty"], None, ["no images in empty"]),
        (["empty", "chips", "empty/*.jpg"], None, ["no images in empty", "no file or folder matches empty/*.jpg"]),
        (["{empty,chips}/"], None, ["no images in empty/"]),
        (["empty"], "list.txt", ["no images in empty"]),
        (["chips"], "empty.txt", ["empty.txt lists no images"]),
    ],
)
def test_one_empty_input_among_several_is_told(
    here: Path, inputs: list[str], input_list: str | None, told: list[str], allowed: bool
) -> None:
    said: list[str] = []

    [image] = list_images(inputs, input_list, tell=said.append, allow_empty=allowed)

    assert image.path == f"{here}/chips/a.jpg"
    assert sorted(line.partition(" (")[0] for line in said) == sorted(told)


@pytest.mark.parametrize(
    ("inputs", "input_list", "reason"),
    [
        (["empty"], None, "no images in empty (looked for files ending in "),
        (["empty", "empty/*.jpg"], None, ", nor in the 2 inputs together; if that is intended, add --allow_empty"),
        ([], "empty.txt", "empty.txt lists no images; if that is intended, add --allow_empty"),
        (
            ["chips/[1].jpg"],
            None,
            "matches chips/[1].jpg; [1] is one of these characters; write [[]1] if it is part of",
        ),
    ],
)
def test_without_an_image_in_any_input_it_is_an_error_unless_that_is_allowed(
    here: Path, inputs: list[str], input_list: str | None, reason: str
) -> None:
    said: list[str] = []
    with pytest.raises(EmptyInputError) as refused:
        list(list_images(inputs, input_list, tell=said.append, allow_empty=False))
    assert reason in str(refused.value)
    assert said == []

    assert list(list_images(inputs, input_list, tell=said.append, allow_empty=True)) == []
    assert len(said) == len(inputs) + bool(input_list)


@pytest.mark.parametrize("inputs", [["gone"], ["chips", "gone"], ["gone/*.jpg"], ["{chips,gone}/"]])
def test_an_input_that_does_not_exist_is_an_error_whatever_is_allowed(here: Path, inputs: list[str]) -> None:
    with pytest.raises(InputError, match="no file or folder matches"):
        list(list_images(inputs, allow_empty=True))


def test_a_list_that_does_not_exist_is_an_error_whatever_is_allowed(here: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read gone\.txt"):
        list(list_images(["chips"], "gone.txt", allow_empty=True))


def test_an_empty_folder_of_a_bucket_is_one_without_images(bucket: Bucket, here: Path) -> None:
    storage.write(f"{bucket.path}/empty/readme.txt", b"")

    for pattern in ("empty", "gone/", "*.jpg"):
        assert list(list_images([f"{bucket.path}/{pattern}"], allow_empty=True)) == []
    with pytest.raises(InputError, match="cannot list"):
        list(list_images([f"{bucket.path.partition('://')[0]}://no-such-bucket/x"], allow_empty=True))
