"""A zip is not taken for another one within it, before it or after it, and no image of it is lost in silence."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.records import Failure, ImageRef
from tests.pipelines.archives.packing import CHIPS, listed, read

ENTRY, END = b"PK\x01\x02", b"PK\x05\x06"


def packed(files: Mapping[str, bytes], comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = comment
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


def images(prefix: str, number: int) -> dict[str, bytes]:
    return {f"{prefix}{index}.jpg": CHIPS["a.jpg"] for index in range(number)}


def names(path: Path, data: bytes) -> tuple[list[str], str]:
    """Return the names of the images listed in a zip, and the message of the failure of the zip itself."""
    path.write_bytes(data)
    found, messages = listed(path), list[str]()
    for item in found:
        if isinstance(item, Failure):
            assert (item.path, item.error) == (str(path), "DamagedArchiveError")
            messages.append(item.message)
        else:
            assert read(item) == CHIPS["a.jpg"], item.path
    return [item.path.partition("::")[2] for item in found if isinstance(item, ImageRef)], "".join(messages)


INNER = packed(images("inner", 5))
DOCUMENT = packed({"[Content_Types].xml": b"x", "word/document.xml": b"y"})
STUB = b"MZ" + random.Random(1).randbytes(1_500_000) + b"PK\x03\x04\0\0\0\0\0\0PK\x01\x02PK\x05\x06"


@pytest.mark.parametrize("stub", [b"", STUB], ids=["plain", "self-extracting"])
@pytest.mark.parametrize("inner", [INNER, DOCUMENT, INNER + packed(images("second", 2))], ids=["zip", "docx", "joined"])
@pytest.mark.parametrize("more", [500, 0, None], ids=["in the next member", "exactly behind it", "zeros behind it"])
def test_a_zip_cut_behind_a_zip_among_its_members_is_a_failure_and_lists_no_image_of_that_one(
    tmp_path: Path, stub: bytes, inner: bytes, more: int | None
) -> None:
    data = stub + packed({**images("a", 20), "inner.zip": inner, "z.jpg": CHIPS["a.jpg"]})
    end = data.index(inner) + len(inner)
    cut = data[:end] + bytes(2000) if more is None else data[: end + more]

    found, message = names(tmp_path / "x.zip", cut)

    assert found == []
    assert message.startswith("the archive is truncated or damaged: its last directory is that of a zip from byte ")


@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_zips_one_behind_another_are_all_read(tmp_path: Path, comment: bytes) -> None:
    first, second, third = packed(images("a", 20), comment), packed({}), packed(images("c", 5), comment)
    expected = [*images("a", 20), *images("c", 5)]

    assert names(tmp_path / "x.zip", first + second + third) == (expected, "")
    assert names(tmp_path / "x.zip", STUB + first + bytes(100) + third) == (expected, "")

    # Python's offsets count from the beginning of the file.
    (tmp_path / "x.zip").write_bytes(first + third)
    with zipfile.ZipFile(tmp_path / "x.zip", "a") as archive:
        archive.writestr("more.jpg", CHIPS["a.jpg"])
    assert names(tmp_path / "x.zip", (tmp_path / "x.zip").read_bytes()) == ([*expected, "more.jpg"], "")


def test_a_zip_behind_a_truncated_one_is_a_failure(tmp_path: Path) -> None:
    first, second = packed(images("a", 20)), packed(images("b", 5))

    for cut in (1, 22, 60, len(first) // 2, len(first) - 5):
        found, message = names(tmp_path / "x.zip", first[:-cut] + second)
        assert found == [], cut
        assert f"a zip from byte {len(first) - cut:,} on" in message


@pytest.mark.parametrize("before", [b"", packed(images("b", 5)), STUB], ids=["nothing", "zip", "program"])
def test_bytes_that_are_missing_in_a_zip_are_a_failure(tmp_path: Path, before: bytes) -> None:
    whole = packed(images("a", 20))

    # In the first member, in another, and in the directory.
    for place in (0, len(whole) // 2, whole.index(ENTRY) + 100):
        found, message = names(tmp_path / "x.zip", before + whole[:place] + whole[place + 10 :])
        assert found == [], place
        assert message.startswith("the archive is truncated or damaged: "), place


def test_more_zips_in_one_file_than_anyone_joins_are_a_failure(tmp_path: Path) -> None:
    found, message = names(tmp_path / "x.zip", packed(images("a", 1)) + packed({}) * 5_000)

    assert (found, message) == ([], "the archive consists of more than 1,000 zips")


def test_a_program_before_a_zip_is_no_damage(tmp_path: Path) -> None:
    adjusted = io.BytesIO(STUB)
    adjusted.seek(0, io.SEEK_END)
    with zipfile.ZipFile(adjusted, "a") as archive:
        for name, data in images("a", 3).items():
            archive.writestr(name, data)

    assert names(tmp_path / "x.zip", STUB + packed(images("a", 3))) == ([*images("a", 3)], "")
    assert names(tmp_path / "x.zip", adjusted.getvalue()) == ([*images("a", 3)], "")


def test_what_follows_a_zip_is_a_failure_unless_it_is_its_comment_or_zeros(tmp_path: Path) -> None:
    whole = packed(images("a", 3), b"PK\x05\x06, and what else a comment may hold")
    expected = [*images("a", 3)]

    assert names(tmp_path / "x.zip", whole) == (expected, "")
    assert names(tmp_path / "x.zip", whole + bytes(5_000)) == (expected, "")
    for harmed in (packed(images("a", 3)) + b"\n", packed(images("a", 3), b"comment")[:-1]):
        found, message = names(tmp_path / "x.zip", harmed)
        assert found == expected
        assert message.startswith("the archive is damaged after its directory, which ends at byte ")


MEMBERS = st.lists(st.sampled_from(["image", "zip", "docx"]), min_size=1, max_size=6).filter(
    lambda kinds: "image" in kinds
)


@given(
    kinds=MEMBERS,
    compression=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    harm=st.sampled_from(["cut", "drop", "zero"]),
    where=st.tuples(st.floats(0, 1), st.booleans(), st.floats(0, 1)),
)
def test_whatever_happens_to_a_zip_no_image_is_lost_in_silence_or_taken_from_a_zip_within(
    tmp_path_factory: pytest.TempPathFactory,
    kinds: list[str],
    compression: int,
    harm: str,
    where: tuple[float, bool, float],
) -> None:
    contents = {
        "image": ("jpg", bytes(range(200))),
        "zip": ("zip", packed({"inner.jpg": b"x"})),
        "docx": ("docx", DOCUMENT),
    }
    file, ends = io.BytesIO(), list[int]()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, kind in enumerate(kinds):
            ending, data = contents[kind]
            archive.writestr(f"{number}.{ending}", data, compression if kind == "image" else zipfile.ZIP_STORED)
            ends.append(file.tell())
    whole = file.getvalue()
    expected = {f"{number}.jpg" for number, kind in enumerate(kinds) if kind == "image"}

    place, at_member, size = where
    begin = ends[int(place * (len(ends) - 1))] if at_member else int(place * len(whole))
    # Longer than an entry, so that more than a name is zeroed.
    end = min(len(whole), begin + 64 + int(size * len(whole)))
    harmed = {
        "cut": whole[:begin],
        "drop": whole[:begin] + whole[end:],
        "zero": whole[:begin] + bytes(end - begin) + whole[end:],
    }[harm]
    path = tmp_path_factory.getbasetemp() / "harmed.zip"
    path.write_bytes(harmed)

    rows = listed(path)

    found = {row.path.partition("::")[2] for row in rows} - {""}
    assert found <= expected
    assert found == expected or any(isinstance(row, Failure) and row.path == str(path) for row in rows)
