"""Different inputs have different paths in rows, and each keeps the one that it has."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines import archives, storage
from pipelines.archives.members import member_path
from pipelines.credentials import url_without_secrets
from pipelines.listing import list_images
from pipelines.listing.masking import MaskedNames
from pipelines.records import Failure, ImageRef, Listed
from tests.conftest import Bucket
from tests.pipelines.archives.packing import CHIPS, pack

CHIP = CHIPS["a.jpg"]

# Pieces of names that have been, or could be, taken for one another.
PIECES = (
    *(b"a", b"A", b"\xff", rb"\udcff", rb"\xff", b"\\", b"x.tar::", b"::", b":", b" ", b"%41", b"?id=1", b"#1"),
    *("\u00e9".encode(), "e\u0301".encode(), b"\r", b"\n", b"gs:", b"~", b"{a,b}", b"[a]", b"*"),
)
NAMES = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map(lambda pieces: b"n" + b"".join(pieces) + b".jpg")


def paths(listed: Iterable[Listed]) -> list[str]:
    return [item.path for item in listed]


def from_list(folder: Path, *lines: str) -> list[Listed]:
    (folder / "list.txt").write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    return list(list_images([], str(folder / "list.txt")))


@given(st.sets(NAMES, min_size=1, max_size=8))
@example({b"\xff.jpg", rb"\xff.jpg", rb"\udcff.jpg", rb"\\udcff.jpg", b"\\udcff\xff.jpg", b"\xff\xff.jpg"})
def test_as_many_paths_are_listed_as_there_are_names(names: set[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).touch()

        listed = paths(list_images([folder]))
        again = paths(list_images([f"{folder}/./"]))

        assert len(set(listed)) == len(listed) == len(names), f"{sorted(names)} became {listed}"
        assert again == listed
        assert all(path.encode() for path in listed)
        ordinary = [os.fsdecode(name) for name in names if _is_utf8(name) and b"x.tar::" not in name]
        assert {f"{folder}/{name}" for name in ordinary} <= set(listed)


TEXTS = st.text("a\\/.:\udcff", max_size=4)
FILES = st.builds(lambda *parts: "".join(parts), TEXTS, st.sampled_from(["", ".tar", ".tar::", "x.tar::y.tar"]), TEXTS)


@given(st.sets(st.tuples(st.sampled_from(["/", "gs://b/"]), FILES, st.none() | FILES), min_size=2, max_size=20))
@example({("/", "x.tar::y.tar::m", None), ("/", "x.tar::y.tar", "m"), ("/", "x.tar", "y.tar::m")})
@example({("/", "./x.tar::m", None), ("/", "x.tar::m", None), ("/", "x.tar", "m")})
def test_no_file_is_written_like_another_one_or_like_a_member(names: set[tuple[str, str, str | None]]) -> None:
    inputs = set()
    for root, file, member in names:
        path = storage.normalize(f"{root}f{file}")
        inputs.add((path, None if member is None or not archives.is_archive(path) else member))

    written = {
        storage.escaped(
            archives.name_file(path)
            if member is None
            else member_path(ImageRef(archives.name_file(path), 0, ""), member)
        )
        for path, member in inputs
    }

    assert len(written) == len(inputs), f"{inputs} became {written}"


def test_a_file_and_a_member_of_the_same_name_are_two_images(tmp_path: Path) -> None:
    pack(tmp_path / "x.tar", {"m.jpg": CHIP})
    (tmp_path / "x.tar::m.jpg").write_bytes(CHIP + b" ")

    member, file = list_images([f"{tmp_path}/x.tar", str(tmp_path)])

    assert isinstance(member, ImageRef)
    assert isinstance(file, ImageRef)
    assert member.path == f"{tmp_path}/x.tar::m.jpg"
    assert file.path == f"/.{tmp_path}/x.tar::m.jpg"
    assert storage.read(file.path) == CHIP + b" "
    for name in (file.path, f"{tmp_path}/x.tar::m.jpg"):
        assert from_list(tmp_path, name) == list(list_images([name])) == [file], "a name that exists is taken literally"


def test_an_object_and_a_member_of_the_same_name_are_two_images(bucket: Bucket, tmp_path: Path) -> None:
    storage.write(f"{bucket.path}/x.tar", pack(tmp_path / "x.tar", {"m.jpg": CHIP}).read_bytes())
    storage.write(f"{bucket.path}/x.tar::m.jpg", CHIP + b" ")
    storage.write(f"{bucket.path}/x.tar::n.jpg", CHIP)

    member, file, other = list_images([f"{bucket.path}/x.tar", bucket.path])

    assert isinstance(member, ImageRef)
    assert member.place
    assert member.path == f"{bucket.path}/x.tar::m.jpg"
    assert file.path == f"{bucket.path}/x.tar::m.jpg".replace("://", "://./")
    assert storage.read(file.path) == CHIP + b" "
    assert list(list_images([file.path])) == [file]
    assert list(list_images([f"{bucket.path}/x.tar::n.jpg"])) == [other]
    assert from_list(tmp_path, f"{bucket.path}/x.tar::n.jpg") == [other]


def test_objects_whose_names_differ_as_paths_do_not_are_different(bucket: Bucket, tmp_path: Path) -> None:
    names = ["a.jpg", "./a.jpg", "b//a.jpg", "b/a.jpg", "b/../a.jpg", "%61.jpg", "a#1.jpg", "a?id=1.jpg", "A.jpg"]
    for name in names:
        storage.write(f"{bucket.path}/{name}", name.encode())

    for listed in (list_images([bucket.path]), from_list(tmp_path, *(f"{bucket.path}/{name}" for name in names))):
        assert {path: storage.read(path).decode() for path in paths(listed)} == {
            f"{bucket.path}/{name}": name for name in names
        }


def test_an_object_is_not_taken_for_one_with_a_slash_behind_its_name(bucket: Bucket, tmp_path: Path) -> None:
    storage.write(f"{bucket.path}/a.jpg", CHIP)

    image, *missing = from_list(tmp_path, *(f"{bucket.path}/a.jpg{slashes}" for slashes in ("", "/", "//")))

    assert isinstance(image, ImageRef)
    assert all(isinstance(item, Failure) for item in missing)
    assert paths(missing) == [f"{bucket.path}/a.jpg/", f"{bucket.path}/a.jpg//"]


def test_a_list_names_members_exactly(tmp_path: Path) -> None:
    names = ["a.jpg", "./a.jpg", "b/../a.jpg", "b//a.jpg", "b/a.jpg", "../a.jpg", "/a.jpg"]
    pack(tmp_path / "x.tar", {name: name.encode() for name in names})
    (tmp_path / "a.jpg").touch()

    listed = from_list(tmp_path, *(f"x.tar::{name}" for name in names))

    assert paths(listed) == [f"{tmp_path}/x.tar::{name}" for name in names]
    assert all(isinstance(item, ImageRef) and item.place for item in listed)


def test_names_of_a_list_that_are_not_utf8_can_be_written_wherever_they_lead(tmp_path: Path) -> None:
    pack(tmp_path / "x.tar", {"a.jpg": CHIP, "\udcff.jpg": CHIP, r"\udcff.jpg": CHIP})
    names = ["gone.tar::\udcff.jpg", "x.tar::\udcff.jpg", r"x.tar::\udcff.jpg", "\udcff.tar::a", "ftp://h/\udcff.jpg"]

    listed = paths(from_list(tmp_path, *names, r"ftp://h/\udcff.jpg", r"ftp:///h/\udcff.jpg"))

    assert len(set(listed)) == len(listed) == 7
    assert all(path.encode() for path in listed)
    assert listed[2] == rf"{tmp_path}/x.tar::\udcff.jpg"


def test_urls_that_differ_are_told_apart_without_their_secrets(tmp_path: Path) -> None:
    urls = [
        *("https://host/x.jpg?id=1", "https://host/x.jpg?id=2", "https://host/x.jpg", "https://host/x.jpg?"),
        *("https://host/x.jpg?id=1&sig=hunter1", "https://host/x.jpg?id=1&sig=hunter2"),
        *("https://host/x.jpg?id=1&sig=...", "https://host/x.jpg?id=1&sig=...2"),
        *("https://me:hunter2@host/x.jpg", "https://you:hunter3@host/x.jpg", "s3://key:hun/ter4@bucket/x.jpg"),
        *("https://host/p?to=https%3A%2F%2Fh%3Fsig%3Dhunter5", "https://host/p?to=https%3A%2F%2Fh%3Fsig%3D..."),
        *("https://host/a;token=hunter6/x.jpg", "https://host/a;token=hunter6/y.jpg", "file:///x.jpg"),
    ]

    listed = from_list(tmp_path, *urls, *urls)

    assert len(listed) == len(urls), "each once, although each is named twice"
    assert "hunter" not in str(listed)
    assert paths(listed)[:4] == urls[:4]
    assert paths(listed)[4:8] == [f"https://host/x.jpg?id=1&sig=...{number}" for number in ("", 2, 3, 4)]


QUERIES = st.lists(
    st.sampled_from(
        [
            "?sig=",
            "&token=",
            ";key=",
            "#",
            "?",
            "&",
            "a",
            "b",
            "...",
            "...2",
            "=",
            "%3Fsig%3D",
            "%3fsig%3d",
            "me:p@",
            " ",
        ]
    ),
    max_size=6,
).map("".join)


@given(st.sets(QUERIES, max_size=20))
@example({"?sig=a", "?sig=b", "?sig=...", "?sig=...2"})
@example({"?a=%3Fsig%3Da", "?a=%3fsig%3db", "?a=%3Fsig%3D...", "?a=%3Fsig%3D...2"})
def test_masks_tell_all_urls_apart(queries: set[str]) -> None:
    masked, names = MaskedNames(), [f"https://h/{query}" for query in sorted(queries)]

    rows = [masked.mask(Failure(name, "list", "", "", "")).path for name in (*names, *names)]

    assert len(set(rows)) == len(names), dict(zip(names, rows, strict=False))
    assert rows[: len(names)] == rows[len(names) :], "a name that is listed twice is one input"


@pytest.mark.parametrize("name", ["/data/token=abc/x.jpg", "gs://b/token=abc/x.jpg", "/data/a?sig=1&token=2.jpg"])
def test_folders_named_like_settings_keep_their_names(name: str) -> None:
    assert url_without_secrets(name) == name


def test_a_folder_above_a_link_is_the_one_above_its_target(tmp_path: Path) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "far" / "away")
    (tmp_path / "same").symlink_to(tmp_path / "here")
    (tmp_path / "here" / "x.jpg").touch()
    (tmp_path / "far" / "x.jpg").touch()

    assert paths(
        from_list(tmp_path, "here/link/../x.jpg", "here/x.jpg", "same/gone/../x.jpg", "same/../here/x.jpg")
    ) == [
        *(f"{tmp_path}/far/x.jpg", f"{tmp_path}/here/x.jpg", f"{tmp_path}/same/x.jpg"),
    ]


def test_two_slashes_at_the_root_are_one(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").touch()

    assert paths(list_images([f"/{tmp_path}/x.jpg", f"{tmp_path}/x.jpg"])) == [f"{tmp_path}/x.jpg"]


def test_a_match_named_like_a_home_folder_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("~").mkdir()
    Path("~/x.jpg").touch()

    assert paths(list_images(["*"])) == [f"{tmp_path}/~/x.jpg"]


def test_a_list_that_names_no_bucket_has_a_row_that_says_so(tmp_path: Path) -> None:
    [nothing, also] = from_list(tmp_path, "gs://", "gs:///")

    assert isinstance(nothing, Failure)
    assert "names no bucket" in nothing.message
    assert also.path == "gs:///"


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
