"""The directory of a zip is read as others read it, and what is wrong with one entry costs no other."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.archives.members import DamagedArchiveError
from pipelines.archives.zip_directory import ZipDirectory
from pipelines.listing import list_images
from pipelines.records import Failure, ImageRef
from tests.pipelines.archives.packing import CHIPS, listed, pack, read

ENTRY, END = b"PK\x01\x02", b"PK\x05\x06"


def entries(data: bytes) -> Sequence[tuple[object, ...]]:
    return [
        (entry.name, entry.flags, entry.method, entry.checksum, entry.packed, entry.size, entry.start)
        for entry in ZipDirectory(io.BytesIO(data), len(data))
    ]


def change(path: Path, place: int, data: bytes) -> Path:
    whole = bytearray(path.read_bytes())
    whole[place : place + len(data)] = data
    path.write_bytes(whole)
    return path


# Without the marks of a zip: `zipfile` ignores members of another one in front.
UNMARKED = st.binary(max_size=40).filter(lambda data: b"PK" not in data)
NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), max_size=20)


@given(
    members=st.lists(st.tuples(NAMES, st.binary(max_size=40)), max_size=8),
    before=UNMARKED,
    comment=UNMARKED,
    compression=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_directory_is_read_as_by_python(
    members: list[tuple[str, bytes]], before: bytes, comment: bytes, compression: int
) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.comment = comment
        for name, content in members:
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=len(content) > 20) as member:
                member.write(content)
    data = before + file.getvalue()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            expected = [
                (i.filename, i.flag_bits, i.compress_type, i.CRC, i.compress_size, i.file_size, i.header_offset)
                for i in archive.infolist()
            ]
    except zipfile.BadZipFile:
        with pytest.raises(DamagedArchiveError):
            entries(data)
        return

    assert entries(data) == expected


def test_a_zeroed_name_is_a_failure_of_the_archive(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", {"a.jpg": CHIPS["a.jpg"], "b.jpg": CHIPS["a.jpg"]})
    data = path.read_bytes()
    at = data.rindex(b"b.jpg")
    path.write_bytes(data[:at] + bytes(5) + data[at + 5 :])

    image, failure = listed(path)

    assert image.path == f"{path}::a.jpg"
    assert isinstance(failure, Failure)
    assert (failure.path, failure.message) == (str(path), "the archive's directory has zeros in member names: 1")


def test_numbers_beyond_4_gb_and_65535_entries_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(5):
            archive.writestr(f"{number}.jpg", bytes(150))
    with zipfile.ZipFile(file) as archive:
        places = [info.header_offset for info in archive.infolist()]

    assert b"PK\x06\x06" in file.getvalue()
    assert [entry[-3:] for entry in entries(file.getvalue())] == [(150, 150, place) for place in places]


def test_a_name_that_is_not_utf8_costs_its_own_member_alone(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", {"a.jpg": CHIPS["a.jpg"], "ä.jpg": CHIPS["a.jpg"], "b.jpg": CHIPS["a.jpg"]})
    data = path.read_bytes()
    change(path, data.rindex("ä.jpg".encode()), b"\xff")

    first, failure, last = listed(path)

    assert read(first) == read(last) == CHIPS["a.jpg"]
    assert isinstance(failure, Failure)
    assert failure.message == "the name is not UTF-8"
    assert failure.path == rf"/{path}::\udcff\udca4.jpg"


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        (6, 99, ""),
        (8, 1, "the member is encrypted"),
        (8, 0x40, "the member is encrypted"),
        (20, 0xFFFFFFFF, "the archive's directory does not say where this member is"),
        (20, 10**6, "the archive ends before this member does"),
        (42, 10**6, "the archive's directory does not say where this member is"),
    ],
)
def test_a_strange_entry_costs_its_own_member_alone(tmp_path: Path, field: int, value: int, reason: str) -> None:
    path = pack(tmp_path / "x.zip", dict.fromkeys(("a.jpg", "b.jpg", "c.jpg"), CHIPS["a.jpg"]))
    place = path.read_bytes().rindex(b"b.jpg") - 46
    change(path, place + field, struct.pack("<I" if field > 10 else "<H", value))

    found = listed(path)

    assert [item.path for item in found] == [f"{path}::{name}.jpg" for name in "abc"]
    assert [getattr(item, "message", "") for item in found] == ["", reason, ""]


def test_damage_in_a_directory_costs_what_follows_and_is_a_failure(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", dict.fromkeys(("a.jpg", "b.jpg", "c.jpg"), CHIPS["a.jpg"]))
    change(path, path.read_bytes().rindex(b"b.jpg") - 46, b"X")

    whole, failure = listed(path)

    assert read(whole) == CHIPS["a.jpg"]
    assert isinstance(failure, Failure)
    assert (failure.path, failure.error) == (str(path), "DamagedArchiveError")
    # A folder comes first.
    assert failure.message == "the archive's directory is damaged after entry 2; the rest is lost"


@pytest.mark.parametrize("entries", [0, 2, 65_534])
def test_a_directory_with_more_or_fewer_entries_than_it_says_is_a_failure(tmp_path: Path, entries: int) -> None:
    path = pack(tmp_path / "x.zip", {"a.jpg": CHIPS["a.jpg"], "b.jpg": CHIPS["a.jpg"]})
    change(path, path.read_bytes().rindex(END) + 8, struct.pack("<HH", entries, entries))

    *members, failure = listed(path)

    assert len(members) == 2
    assert isinstance(failure, Failure)
    assert failure.message.endswith(f"its directory has 3 entries, but its end record says {entries:,}")


@pytest.mark.parametrize(("size", "claimed"), [(4, 0xFFFFFFFF), (4, 0x7FFFFFFF), (8, 2**60)])
def test_a_directory_larger_than_its_file_is_refused_unread(tmp_path: Path, size: int, claimed: int) -> None:
    path = tmp_path / "x.zip"
    end = struct.pack("<4s4H2LH", END, 0, 0, 1, 1, claimed if size == 4 else 0xFFFFFFFF, 0, 0)
    if size == 8:
        record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2**60, 2**60, claimed, 0)
        end = record + struct.pack("<4sLQL", b"PK\x06\x07", 0, 1000, 1) + end
    path.write_bytes(bytes(1000) + end)

    tracemalloc.start()
    [failure] = listed(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(failure, Failure)
    assert failure.message == "the archive is damaged: its directory is larger than the archive"
    assert peak < 1_000_000


def test_members_that_share_their_data_are_refused_but_one(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.jpg", "b.jpg"):
            archive.writestr(name, CHIPS["a.jpg"])
    data = path.read_bytes()
    place, end = data.index(ENTRY), data.index(END)
    entry = data[place : data.index(ENTRY, place + 4)]
    names = [f"{number}.jpg" for number in range(9)]
    directory = b"".join(entry.replace(b"a.jpg", name.encode()) for name in names) + data[place:end]
    tail = struct.pack("<4s4H2LH", END, 0, 0, 11, 11, len(directory), place, 0)
    path.write_bytes(data[:place] + directory + tail)

    found = listed(path)

    images = [item.path for item in found if isinstance(item, ImageRef)]
    refused = {item.message for item in found if isinstance(item, Failure)}
    assert len(found) == 11
    assert images == [f"{path}::a.jpg", f"{path}::b.jpg"]
    assert refused == {"the member's data overlaps another's, as in a zip bomb"}


def test_members_that_are_passed_over_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(4000):
            archive.writestr(zipfile.ZipInfo(f"{number:04}.{'jpg' if number < 400 else 'xml'}"), b"")

    tracemalloc.start()
    count = sum(1 for _ in list_images([str(path)]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert count == 400
    assert peak < 1_200_000, f"{peak:,}"
