"""Images in tar and zip files are the same as in a folder."""

from __future__ import annotations

import io
import queue
import tarfile
import zipfile
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO

import pytest

from pipelines import storage
from pipelines.archives import tars
from pipelines.listing import list_images
from pipelines.reading.ahead import LookAhead
from pipelines.records import Empty, Failure, Image, ImageRef
from tests.conftest import Bucket
from tests.pipelines.archives.packing import CHIPS, KINDS, OTHERS, listed, pack, read, source
from tools.proxy import Disturbance


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_holds_the_same_images_as_a_folder(kind: str, tmp_path: Path) -> None:
    archive = pack(tmp_path / f"chips.{kind}", {**CHIPS, **OTHERS})
    passed_over: Counter[str] = Counter()

    found = list(list_images([str(archive)], passed_over=passed_over))

    assert {ref.path: read(ref) for ref in found} == {f"{archive}::{name}": data for name, data in CHIPS.items()}
    assert [ref.size for ref in found if isinstance(ref, ImageRef)] == [len(data) for data in CHIPS.values()]
    assert passed_over == {".txt": 1, "no ending": 1, "hidden": 1, "__MACOSX/": 1}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", {"a.jpg", "a::b.jpg", "[x]*?.jpg"}),
        ("*/*.jpg", {"with space/b.jpg", "森/ä🛰.jpg"}),
        ("a.jpg", {"a.jpg"}),
        ("[x]*?.jpg", {"[x]*?.jpg"}),
        ("notes.*", {"notes.txt"}),
    ],
)
def test_a_pattern_chooses_members(kind: str, pattern: str, names: set[str], tmp_path: Path) -> None:
    archive = pack(tmp_path / f"chips.{kind}", {**CHIPS, **OTHERS})

    assert (
        names
        <= {item.path.removeprefix(f"{archive}::") for item in listed(f"{archive}::{pattern}")}
        <= names
        | {
            "x.jpg",
            "../up.jpg",
        }
    )


def test_patterns_find_archives_and_lists_name_members(tmp_path: Path) -> None:
    for name in ("1.tar", "2.zip"):
        pack(tmp_path / name, CHIPS)
    (tmp_path / "list.txt").write_text("1.tar::a.jpg\n2.zip::a::b.jpg\n1.tar::gone.jpg\ngone.tar::a.jpg\n")

    assert len(listed(tmp_path / "*.*")) == 2 * len(CHIPS) + 1, "the list is a file of any name"
    found = list(list_images([], str(tmp_path / "list.txt")))
    assert [item.path for item in found] == [
        f"{tmp_path}/{name}" for name in ("1.tar::a.jpg", "2.zip::a::b.jpg", "1.tar::gone.jpg", "gone.tar::a.jpg")
    ]
    assert [getattr(item, "message", "") for item in found] == [
        *("", "", "no such member in the archive", "No such file or directory"),
    ]


def test_an_archive_is_looked_up_once_for_all_members_that_a_list_names(bucket: Bucket, tmp_path: Path) -> None:
    storage.write(f"{bucket.path}/x.tar", pack(tmp_path / "x.tar", CHIPS).read_bytes())
    (tmp_path / "list.txt").write_text("".join(f"{bucket.path}/x.tar::{name}\n" for name in CHIPS))
    requests: list[str] = []

    def count(method: str, path: str) -> Disturbance:
        requests.append(path)
        return Disturbance()

    bucket.proxy.disturb = count

    assert len(list(list_images([], str(tmp_path / "list.txt")))) == len(CHIPS)
    assert len(requests) == 3, f"once to look it up, and twice to read its directory: {requests}"


def test_a_file_whose_name_looks_like_that_of_a_member_is_itself(tmp_path: Path) -> None:
    (tmp_path / "x.tar::a.jpg").write_bytes(CHIPS["a.jpg"])

    [ref] = listed(tmp_path / "x.tar::a.jpg")

    assert isinstance(ref, ImageRef)
    assert ref.place is None


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_of_members_of_one_name_the_last_one_counts(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        pack(path, {"a.jpg": b"first", "b.jpg": b"last"})
        path.write_bytes(path.read_bytes().replace(b"b.jpg", b"a.jpg"))
    else:
        pack(path, {"a.jpg": b"first"})
        with tarfile.open(path, "a") as archive:
            member = tarfile.TarInfo("a.jpg")
            member.size = 4
            archive.addfile(member, io.BytesIO(b"last"))

    [ref] = listed(path)

    assert read(ref) == b"last"


def test_a_member_of_a_zip_without_a_name_ends_nothing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        with archive.open(zipfile.ZipInfo(""), "w") as member:
            member.write(b"nameless")
        archive.writestr("a.jpg", CHIPS["a.jpg"])

    assert [item.path for item in listed(tmp_path / "x.zip")] == [f"{tmp_path}/x.zip::a.jpg"]
    assert [item.path for item in listed(f"{tmp_path}/x.zip::*")] == [f"{tmp_path}/x.zip::a.jpg"]


def test_a_compressed_tar_is_gone_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number:03}.jpg" for number in range(200)]
    path = pack(tmp_path / "x.tar.gz", dict.fromkeys(names, CHIPS["a.jpg"]))
    refs = [ref for ref in listed(path) if isinstance(ref, ImageRef)]
    opened = []
    open_tar = tars._open

    def counted(path: str, fingerprint: str, opening: ExitStack) -> IO[bytes]:
        opened.append(path)
        return open_tar(path, fingerprint, opening)

    monkeypatch.setattr(tars, "_open", counted)
    # Sources of other tests have left streams of theirs, and this one's would stand at the end of the line.
    monkeypatch.setattr(tars.Streams, "_idle", queue.SimpleQueue())

    results: list[Image | Failure | Empty] = []
    for wave in (refs[:70], refs[70:]):
        with closing(LookAhead(source(), reads_in_flight=16)) as ahead:
            results += ahead.read(wave)

    assert all(isinstance(item, Image) for item in results)
    assert [item.ref.path for item in results if isinstance(item, Image)] == [f"{path}::{name}" for name in names]
    assert len(opened) == 1
