"""What a user names becomes images, each of them once."""

from __future__ import annotations

import os
import string
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import storage
from pipelines.archives.packed import PackedNames
from pipelines.listing import list_images
from pipelines.records import Failure, ImageRef, Item, Span, Window
from tests.conftest import Bucket
from tests.pipelines.listing.listed import failures, names, write


def test_a_folder_is_searched_to_the_bottom_in_a_stable_order(tmp_path: Path) -> None:
    write(tmp_path, "b.jpg", "a.PNG", "deep/er/c.tiff", "deep/z.webp")

    assert names(tmp_path, str(tmp_path)) == ["a.PNG", "b.jpg", "deep/er/c.tiff", "deep/z.webp"]


def test_a_folder_gives_no_hidden_files_and_none_that_are_not_named_like_images(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "labels.csv", "._a.jpg", ".cache/b.jpg", "jpg")

    assert names(tmp_path, str(tmp_path)) == ["a.jpg"]


def test_a_link_to_itself_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "round.jpg").symlink_to(tmp_path / "round.jpg")

    assert failures(str(tmp_path)) == {f"{tmp_path}/round.jpg": "Too many levels of symbolic links"}


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    write(tmp_path, "scene.dat")

    assert names(tmp_path, f"{tmp_path}/scene.dat") == ["scene.dat"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["a1.jpg", "a2.jpg"]),
        ("a[1].jpg", ["a1.jpg"]),
        ("a?.jpg", ["a1.jpg", "a2.jpg"]),
        ("**/*.jpg", ["a1.jpg", "a2.jpg", "b/c/a4.jpg", "b/a3.jpg"]),
        ("b*", ["b/a3.jpg", "b/c/a4.jpg"]),
    ],
)
def test_patterns_match_as_in_a_shell(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    write(tmp_path, "a1.jpg", "a2.jpg", "b/a3.jpg", "b/c/a4.jpg")

    assert sorted(names(tmp_path, f"{tmp_path}/{pattern}")) == sorted(expected)


def test_a_name_that_exists_is_not_read_as_a_pattern(tmp_path: Path) -> None:
    write(tmp_path, "a[1].jpg", "a1.jpg")

    assert names(tmp_path, f"{tmp_path}/a[1].jpg") == ["a[1].jpg"]


IN_BUCKET = (
    "f/a.jpg",
    "f/b.txt",
    "f/sub/",
    "f/sub/c.jpg",
    "f/.h/d.jpg",
    "f2/e.jpg",
    "g1/f.jpg",
    "g[1]/h.jpg",
    "m//n.jpg",
)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("f", ["f/a.jpg", "f/sub/c.jpg"]),
        ("f//", ["f/a.jpg", "f/sub/c.jpg"]),
        ("f/*", ["f/a.jpg", "f/b.txt", "f/sub/c.jpg"]),
        ("f/**", ["f/a.jpg", "f/b.txt", "f/sub/c.jpg"]),
        ("f?/", ["f2/e.jpg"]),
        ("{f,f2}/*.jpg", ["f/a.jpg", "f2/e.jpg"]),
        ("g[1]", ["g[1]/h.jpg"]),
        ("g[1]/", ["g[1]/h.jpg"]),
        ("g[1]/*.jpg", ["g1/f.jpg"]),
        ("m", ["m//n.jpg"]),
        ("**/?.jpg", [name for name in IN_BUCKET if name.endswith(".jpg") and ".h" not in name]),
    ],
)
def test_patterns_match_in_a_bucket_as_here(bucket: Bucket, pattern: str, expected: list[str]) -> None:
    for name in IN_BUCKET:
        storage.write(f"{bucket.path}/{name}", b"")

    assert [item.path.removeprefix(f"{bucket.path}/") for item in list_images([f"{bucket.path}/{pattern}"])] == expected


@pytest.mark.parametrize("pattern", ["f", "f/", "?", "?/"])
def test_an_object_with_the_name_of_a_folder_hides_nothing(bucket: Bucket, tmp_path: Path, pattern: str) -> None:
    named = "f" if not pattern.endswith("/") else ""
    for name in ("f", "f/", "f/a.jpg", "f/sub", "f/sub/b.jpg", "f/c.jpg", "f/c.jpg/d.jpg"):
        storage.write(f"{bucket.path}/{name}", b"")

    listed = [item.path.removeprefix(f"{bucket.path}/") for item in list_images([f"{bucket.path}/{pattern}"])]

    assert listed == [*filter(None, [named]), "f/a.jpg", "f/c.jpg", "f/c.jpg/d.jpg", "f/sub/b.jpg"]


def test_an_archive_with_the_name_of_a_folder_hides_nothing(bucket: Bucket, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("m.jpg", b"")
    storage.write(f"{bucket.path}/x.zip", (tmp_path / "x.zip").read_bytes())
    storage.write(f"{bucket.path}/x.zip/a.jpg", b"")

    listed = [item.path.removeprefix(f"{bucket.path}/") for item in list_images([f"{bucket.path}/x.zip"])]

    assert listed == ["x.zip::m.jpg", "x.zip/a.jpg"]


def test_overlapping_inputs_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "x/a.jpg", "x/b.jpg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("x/b.jpg\nx/../x/a.jpg\n")

    assert names(tmp_path, "x", "./x/*.jpg", f"{tmp_path}/x/a.jpg", "x/", input_list="list.txt") == [
        "x/b.jpg",
        "x/a.jpg",
    ], "the list comes first: its rows may have columns"


@given(name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_name_survives(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("names")
    path = folder / f"x{name}.jpg"
    path.write_bytes(b"")
    table = folder / "list.parquet"
    pq.write_table(pa.table({"path": [path.name]}), table)

    assert [item.path for item in list_images([str(folder)])] == [str(path)]
    assert [item.path for item in list_images([str(path)])] == [str(path)]
    assert [item.path for item in list_images([], str(table))] == [str(path)]


@pytest.mark.parametrize("signs", [string.punctuation.replace("/", ""), " # % [a] {b} ~ ", "Ä é 森 🛰"])
def test_names_with_signs_survive_every_list(tmp_path: Path, signs: str) -> None:
    name = f"a{signs}.jpg"
    write(tmp_path, name)
    quoted = name.replace('"', '""')
    (tmp_path / "list.txt").write_text(f"{name}\n", encoding="utf-8")
    (tmp_path / "list.csv").write_text(f'tile,path\n7,"{quoted}"\n', encoding="utf-8")
    pq.write_table(pa.table({"path": [name]}), tmp_path / "list.parquet")

    for ending in ("txt", "csv", "parquet"):
        assert names(tmp_path, input_list=f"{tmp_path}/list.{ending}") == [name], ending


def test_lists_of_other_systems_are_read(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "list.txt").write_bytes("\ufeffa.jpg\r\n\r\nb.jpg".encode())

    assert names(tmp_path, input_list=f"{tmp_path}/list.txt") == ["a.jpg", "b.jpg"]


def test_a_folder_is_listed_once_by_its_real_path_however_many_links_lead_to_it(tmp_path: Path) -> None:
    write(tmp_path, "real/a.jpg")
    (tmp_path / "real/round").symlink_to(tmp_path / "real")
    (tmp_path / "shortcut").symlink_to(tmp_path / "real")

    assert names(tmp_path, str(tmp_path)) == ["real/a.jpg"]


def test_a_fingerprint_changes_with_the_file(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg")
    [before] = list_images([str(tmp_path)])
    os.utime(tmp_path / "a.jpg", ns=(0, 0))
    [after] = list_images([str(tmp_path)])

    assert isinstance(before, ImageRef)
    assert isinstance(after, ImageRef)
    assert before.size == after.size == 5
    assert before.fingerprint != after.fingerprint


def test_a_listing_gives_back_what_it_took_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.archives.packed._ITEMS_PER_PACK", 3)
    refs = [ImageRef(f"{number} ä.jpg", number << 40, f"print {number}") for number in range(8)]
    refs[6] = refs[6]._replace(place=Span("a.tar", 1, 2, "tar"), window=Window("6", *range(8)), item=Item("6", ""))
    failures = [Failure(f"{number}", "list", "OSError", "gone", "") for number in range(4)]

    listing = PackedNames([*refs[:5], *failures, *refs[5:]])

    assert len(listing) == 12
    assert list(listing) == [*refs[:5], *failures, *refs[5:]]
    assert list(PackedNames([])) == []


def test_a_listing_is_small() -> None:
    refs = [
        ImageRef(f"/archive/train_{number}.jpg", 15_000, f"15000-1{number**9 % 10**18:018}") for number in range(5000)
    ]

    assert sum(map(len, PackedNames(refs)._packs)) < 30 * len(refs)
