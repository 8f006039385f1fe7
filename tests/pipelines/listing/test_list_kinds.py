"""Lists of every kind name the same images: in any encoding, compressed, as a table or a folder of tables, or piped."""

from __future__ import annotations

import codecs
import gzip
import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import storage
from pipelines.listing import InputError, list_images
from pipelines.records import Failure
from tests.conftest import Bucket

NAMES = ["a.jpg", "ä b.jpg", '"c".jpg']


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).touch()
    return tmp_path


def listed(path: Path | str, column: str = "path") -> list[str]:
    found = list(list_images([], str(path), path_column=column))
    assert not any(isinstance(item, Failure) for item in found), found
    return [os.path.basename(item.path) for item in found]


def texts(column: str = "path") -> Iterator[tuple[str, str]]:
    """Write the names as a list of each kind of text."""
    yield "txt", "".join(f"{name}\n" for name in NAMES)
    quoted = ['"' + name.replace('"', '""') + '"' for name in NAMES]
    for ending, delimiter in (("csv", ","), ("tsv", "\t")):
        rows = [delimiter.join(("1", name, "x")) for name in quoted]
        yield ending, "\r\n".join([delimiter.join(("n", column, "note")), *rows])
    for ending in ("jsonl", "ndjson"):
        yield ending, "".join(json.dumps({"n": 1, column: name}) + "\n" for name in NAMES)


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, "zstd", asbytes=True)
    return packed


ENCODED: Mapping[str, Callable[[str], bytes]] = {
    "utf-8": lambda text: text.encode(),
    "utf-8 with a mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "utf-16": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "utf-16 of the other order": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
}
PACKED: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstd,
    # As programs write that append, or pack in pieces at a time.
    ".GZ": lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),
    ".ZST": lambda data: zstd(data[:9]) + zstd(data[9:]),
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_a_list_of_any_text_may_have_any_encoding_and_packing(folder: Path, encoding: str) -> None:
    for ending, text in texts():
        for packing, pack in PACKED.items():
            path = folder / f"list.{ending}{packing}"
            path.write_bytes(pack(ENCODED[encoding](text)))
            assert listed(path) == NAMES, path


def test_the_column_of_paths_may_have_any_name(folder: Path) -> None:
    pq.write_table(pa.table({"path": ["no"] * 3, "an image": NAMES}), folder / "list.parquet")
    assert listed(folder / "list.parquet", "an image") == NAMES
    for ending, text in texts("an image"):
        if ending == "txt":
            continue
        (folder / f"list.{ending}").write_text(text)
        assert listed(folder / f"list.{ending}", "an image") == NAMES


@pytest.mark.parametrize("values", [[1, 2], [["a.jpg"]], [{"path": "a.jpg"}]])
def test_a_column_of_anything_but_texts_is_refused(folder: Path, values: list[object]) -> None:
    pq.write_table(pa.table({"path": values}), folder / "list.parquet")
    with pytest.raises(InputError, match=r"has a column 'path' of .*, not of text; name another with --path_column$"):
        listed(folder / "list.parquet")


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
def test_texts_of_any_type_are_names(folder: Path, kind: pa.DataType) -> None:
    pq.write_table(pa.table({"path": pa.array(NAMES).cast(kind)}), folder / "list.parquet")
    assert listed(folder / "list.parquet") == NAMES


def test_a_name_of_bytes_that_are_not_utf_8_is_a_failure_of_its_own(folder: Path) -> None:
    names = pa.array([b"a.jpg", b"\xff.jpg", None], pa.binary())
    pq.write_table(pa.table({"path": names}), folder / "list.parquet")

    good, *failures = list_images([], str(folder / "list.parquet"))

    assert os.path.basename(good.path) == "a.jpg"
    assert [failure.error for failure in failures if isinstance(failure, Failure)] == [
        "UnicodeEncodeError",
        "NoNameError",
    ]


def test_a_list_in_the_home_folder_may_be_named_by_a_tilde(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    (folder / "list.txt").write_text("a.jpg\n")
    assert listed("~/list.txt") == ["a.jpg"]


@pytest.mark.parametrize("ending", ["txt", "txt.gz"])
def test_a_list_of_lines_has_no_column(folder: Path, ending: str) -> None:
    path = folder / f"list.{ending}"
    path.write_bytes((gzip.compress if ending == "txt.gz" else bytes)(b"a.jpg"))
    with pytest.raises(InputError, match=rf"{ending} has lines, not columns; omit --path_column$"):
        listed(path, "image")


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("list.csv", gzip.compress(b"path\na.jpg\n"), "looks like a gzip file, but its name does not end in .gz; "),
        ("list.txt", pa.compress(b"a.jpg", "zstd", asbytes=True), "looks like a Zstandard file, but"),
        (
            "list.jsonl",
            b"PAR1" + bytes(99),
            "looks like a Parquet file, but its name does not end in .parquet; rename it",
        ),
    ],
    ids=["gzip", "zstd", "parquet"],
)
def test_a_list_is_not_read_as_the_text_that_it_is_not(folder: Path, name: str, data: bytes, reason: str) -> None:
    (folder / name).write_bytes(data)
    with pytest.raises(InputError, match=reason):
        list(list_images([], str(folder / name)))


def test_a_text_in_utf_32_is_not_read_as_utf_16(folder: Path) -> None:
    for encoding in ("utf-32-le", "utf-32-be"):
        (folder / "list.txt").write_bytes(f"\ufeff{NAMES[0]}".encode(encoding))
        with pytest.raises(InputError, match=r"neither UTF-8 nor UTF-16 with a byte order mark; save it as UTF-8$"):
            listed(folder / "list.txt")


@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_a_packed_list_that_is_cut_off_is_refused(folder: Path, packing: str) -> None:
    # Of lines that hardly compress, so that many of them are in the part that is left.
    data = "".join(f"{number**9}.jpg\n" for number in range(5000)).encode()
    packed = PACKED[packing](data)
    for length in (len(packed) // 2, len(packed) - 1):
        (folder / f"list.txt{packing}").write_bytes(packed[:length])
        with pytest.raises(InputError, match="cannot read"):
            list(list_images([], f"{folder}/list.txt{packing}"))
    (folder / f"list.txt{packing}").write_bytes(b"a.jpg\n")
    with pytest.raises(InputError, match="cannot read"):
        list(list_images([], f"{folder}/list.txt{packing}"))


def spark(folder: Path) -> None:
    """Write a folder of tables as Spark does, in partitions."""
    parts = {"part-00000-x.snappy.parquet": NAMES[:1], "n=1/part-00000-y.parquet": NAMES[1:], "empty.parquet": []}
    for name, names in parts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"path": pa.array(names, pa.string())}), folder / name)
    for name in ("_SUCCESS", "._SUCCESS.crc", ".part-00000-x.snappy.parquet.crc", "_metadata", "notes.md"):
        (folder / name).touch()


@pytest.mark.parametrize("name", ["scenes", "scenes.parquet", "scenes/"])
def test_a_folder_of_tables_is_a_list(folder: Path, name: str) -> None:
    spark(folder / name)
    passed_over: Counter[str] = Counter()

    found = [os.path.basename(item.path) for item in list_images([], f"{folder}/{name}", passed_over)]

    assert sorted(found) == sorted(NAMES)
    assert passed_over == {".md": 1, "hidden": 2}


def test_a_folder_of_tables_may_lie_in_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    spark(tmp_path / "scenes")
    for path in (tmp_path / "scenes").rglob("*"):
        if path.is_file():
            storage.write(f"{bucket.path}/scenes.parquet/{path.relative_to(tmp_path / 'scenes')}", path.read_bytes())
    storage.write(f"{bucket.path}/scenes.parquet", b"")
    for name in NAMES:
        storage.write(f"{bucket.path}/{name}", b"")

    assert sorted(listed(f"{bucket.path}/scenes.parquet")) == sorted(NAMES)

    storage.write(f"{bucket.path}/scenes.parquet", b"something")
    with pytest.raises(InputError, match="is both a file and a folder; add a slash to the name of the folder"):
        listed(f"{bucket.path}/scenes.parquet")


def test_rows_without_a_path_in_a_folder_of_tables_are_told_apart(folder: Path) -> None:
    for name in ("1", "2"):
        (folder / "scenes").mkdir(exist_ok=True)
        pq.write_table(pa.table({"path": ["a.jpg", None]}), folder / f"scenes/{name}.parquet")

    failures = [item for item in list_images([], f"{folder}/scenes") if isinstance(item, Failure)]

    assert [(failure.path, failure.error) for failure in failures] == [
        (f"row 2 in {name}.parquet of {folder}/scenes", "NoNameError") for name in ("1", "2")
    ]


def test_what_is_wrong_with_a_file_in_a_folder_of_tables_is_said_with_its_name(folder: Path) -> None:
    (folder / "scenes").mkdir()
    pq.write_table(pa.table({"path": ["a.jpg"]}), folder / "scenes/1.parquet")
    pq.write_table(pa.table({"file": ["a.jpg"]}), folder / "scenes/2.parquet")
    with pytest.raises(InputError, match=r"scenes: 2\.parquet has no column 'path', but 'file'; name the one"):
        listed(folder / "scenes")
    (folder / "scenes/2.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"scenes: 2\.parquet: Parquet file size is 0 bytes"):
        listed(folder / "scenes")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["_temporary/0/part.parquet", "part.parquet"], "scenes is not complete: it holds _temporary; write it again"),
        (["notes.md"], "scenes is a folder without .parquet files"),
    ],
)
def test_a_folder_that_is_no_complete_list_is_refused(folder: Path, names: list[str], reason: str) -> None:
    for name in names:
        (folder / "scenes" / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"path": ["a.jpg"]}), folder / "scenes" / name)

    with pytest.raises(InputError, match=reason):
        listed(folder / "scenes")


@pytest.mark.parametrize("text", ["{0}\n{1}", "\ufeff{0}\r\n{1}\r\n"])
def test_standard_input_is_a_list(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(folder)
    reading, writing = os.pipe()
    # One byte comes alone, as from a slow program.
    data = text.format(*NAMES[:2]).encode()
    os.write(writing, data)
    os.close(writing)
    kept = os.dup(0)
    os.dup2(reading, 0)
    try:
        assert listed("-") == NAMES[:2]
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reading)


def test_an_archive_in_a_list_stands_for_its_members(folder: Path) -> None:
    with tarfile.open(folder / "x.tar", "w") as archive:
        for name in ("a.jpg", "notes.txt"):
            archive.add(folder / "a.jpg", name)
    with tarfile.open(folder / "none.tar", "w") as archive:
        archive.add(folder / "a.jpg", "notes.txt")
    (folder / "list.txt").write_text("x.tar\nx.tar::a.jpg\nnone.tar\na.jpg\ncut.tar\ngone.tar\n")
    (folder / "cut.tar").write_bytes((folder / "x.tar").read_bytes()[:1600])
    passed_over: Counter[str] = Counter()

    found = list(list_images([], f"{folder}/list.txt", passed_over))

    assert [item.path.removeprefix(f"{folder}/") for item in found] == [
        *("x.tar::a.jpg", "none.tar", "a.jpg", "cut.tar::a.jpg", "cut.tar", "gone.tar")
    ]
    failures = {item.path.removeprefix(f"{folder}/"): item for item in found if isinstance(item, Failure)}
    assert failures["none.tar"].message == "no images in the archive"
    assert failures["cut.tar"].error == "DamagedArchiveError"
    assert failures["gone.tar"].error == "FileNotFoundError"
    assert passed_over == {".txt": 2}


def test_an_archive_in_a_list_that_cannot_be_read_may_hide_images(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Iterator[None]:
        raise PermissionError(13, "Permission denied")

    (folder / "x.tar").touch()
    (folder / "list.txt").write_text("x.tar\na.jpg\n")
    monkeypatch.setattr("pipelines.archives.list_tar", refuse)

    failure, image = list_images([], f"{folder}/list.txt")

    assert isinstance(failure, Failure)
    assert (failure.error, failure.message) == ("UnlistedFolderError", "Permission denied")
    assert image.path == f"{folder}/a.jpg"
