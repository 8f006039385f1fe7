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
from pipelines.listing import InputError, anchor, list_images
from pipelines.records import Failure, ImageRef, Item, Span, Window
from tests.conftest import Bucket


def write(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def names(folder: Path, *inputs: str, input_list: str | None = None) -> list[str]:
    listed = list(list_images(inputs, input_list))
    failed = [item for item in listed if isinstance(item, Failure)]
    assert not failed, f"could not be listed: {failed}"
    return [os.path.relpath(item.path, folder) for item in listed]


def failures(*inputs: str, input_list: str | None = None) -> dict[str, str]:
    return {item.path: item.message for item in list_images(inputs, input_list) if isinstance(item, Failure)}


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
        "x/a.jpg",
        "x/b.jpg",
    ]


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
