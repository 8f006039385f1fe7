"""Inputs that name nothing are refused, and names of which there is no image are failures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.listing import InputError, anchor, list_images
from tests.conftest import Bucket
from tests.pipelines.listing.listed import failures, write


def test_what_a_list_names_and_does_not_exist_is_a_failure(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg")
    (tmp_path / "list.txt").write_text("a.jpg\ngone.jpg\nftp://bucket/b.jpg\n")

    found = failures(input_list=f"{tmp_path}/list.txt")

    assert found[f"{tmp_path}/gone.jpg"] == "No such file or directory"
    assert "ftp:// is not supported; use a local path, gs:// or s3://" in found["ftp://bucket/b.jpg"]


def test_what_is_named_like_an_image_and_is_no_file_is_a_failure(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone.jpg")

    found = failures(str(tmp_path))

    assert found == {
        f"{tmp_path}/pipe.jpg": "not a regular file",
        f"{tmp_path}/broken.jpg": "No such file or directory",
    }


def test_a_name_that_is_not_utf8_is_a_failure_that_can_be_written(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.jpg", "wb"):
        pass

    [(path, message)] = failures(str(tmp_path)).items()

    assert path.encode(), path
    assert message == "the name is not UTF-8"


def test_a_name_that_no_bucket_can_hold_is_a_failure(bucket: Bucket, tmp_path: Path) -> None:
    root = bucket.path[: bucket.path.rindex("/")]
    names = [root, f"{root}/", f"{root}-/x.jpg", f"{bucket.path}/\udcff.jpg"]
    (tmp_path / "list.txt").write_bytes("\n".join(names).encode(errors="surrogateescape"))

    found = failures(input_list=f"{tmp_path}/list.txt")

    written = bucket.path.replace("://", ":///")
    assert list(found) == [root, f"{root}-/x.jpg", rf"{written}/\udcff.jpg"]
    with pytest.raises(InputError, match=f"cannot list {root}-/x.jpg: "):
        list(list_images([f"{root}-/x.jpg"]))


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        (["gone"], "no file or folder matches gone"),
        (["*.gif"], "no file or folder matches *.gif"),
        (["empty"], "no images in empty"),
        (["a.jpg", "gone"], "no file or folder matches gone"),
        (["{1..20000}.jpg"], "{1..20000}.jpg: its braces expand to more than 10,000 patterns"),
        (["ftp://bucket/x"], "ftp://bucket/x: ftp:// is not supported; use a local path, gs:// or s3://"),
    ],
)
def test_an_input_that_names_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: list[str], reason: str
) -> None:
    write(tmp_path, "a.jpg", "empty/readme.txt")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InputError) as refused:
        list(list_images(inputs))

    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "list.csv",
            b"file,size\na.jpg,1\n",
            "has no column 'path', but 'file', 'size'; name the one",
        ),
        ("list.csv", b"", "list.csv lists no images"),
        ("list.parquet", b"not parquet", "cannot read "),
        ("list.txt", b"\n\n", "lists no images"),
        (
            "list.json",
            b"[]",
            "is not a list of images; give a .txt, .csv, .tsv, .jsonl (each also .gz or .zst) or .pa",
        ),
        ("gone.txt", None, "No such file or directory"),
        ("gone.csv", None, "cannot read"),
        ("gone.parquet", None, "cannot read"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError) as refused:
        list(list_images([], f"{tmp_path}/{name}"))

    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("folder", ["w", "w[1]", "w*"])
@pytest.mark.parametrize("pattern", ["a[1].jpg", "a{1,2}.jpg", "*.jpg", "{a1,a2}.jpg", ".", "sub", "sub/../a1.jpg"])
def test_a_relative_input_names_the_same_images_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, pattern: str
) -> None:
    for name in ("a[1].jpg", "a1.jpg", "a2.jpg", "a{1,2}.jpg", "sub/b.jpg"):
        (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).touch()
    monkeypatch.chdir(tmp_path / folder)
    here, anchored = [item.path for item in list_images([pattern])], anchor(pattern)
    monkeypatch.chdir(tmp_path)

    assert [item.path for item in list_images([anchored])] == here


def test_a_pattern_in_a_folder_with_braces_is_not_sent_to_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "{a,b}").mkdir()
    (tmp_path / "{a,b}/c.jpg").touch()
    monkeypatch.chdir(tmp_path / "{a,b}")

    assert anchor("c.jpg") == f"{tmp_path}/{{a,b}}/c.jpg"
    with pytest.raises(InputError, match=r"whose braces would be expanded; cd to another folder$"):
        anchor("*.jpg")
