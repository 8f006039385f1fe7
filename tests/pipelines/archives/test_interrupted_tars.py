"""Zeros, damage and further archives inside of a tar hide no member in silence."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.archives import tar_headers
from pipelines.records import Failure, ImageRef
from tests.pipelines.archives.packing import CHIPS, listed, pack, read

BLOCK = 512
NAMES = [f"{number:02}.jpg" for number in range(20)]
FILES = {name: CHIPS["a.jpg"][: 400 + 137 * number] for number, name in enumerate(NAMES)}


def members(path: Path) -> list[str]:
    return [item.path.partition("::")[2] for item in listed(path) if isinstance(item, ImageRef)]


def places(path: Path) -> list[str]:
    """Return the messages of failures of the archive itself."""
    return [item.message for item in listed(path) if isinstance(item, Failure) and item.path == str(path)]


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    return pack(tmp_path / "x.tar", FILES)


def start_of(path: Path, name: str) -> int:
    [ref] = [item for item in listed(path) if item.path.endswith(f"::{name}")]
    assert isinstance(ref, ImageRef)
    assert ref.place
    return ref.place.start


@pytest.mark.parametrize("lost", ["00.jpg", "09.jpg", "19.jpg"])
def test_a_zeroed_header_costs_its_own_member_and_is_a_failure(lost: str, tar: Path) -> None:
    at = start_of(tar, lost) - BLOCK
    data = bytearray(tar.read_bytes())
    data[at : at + BLOCK] = bytes(BLOCK)
    tar.write_bytes(data)

    assert members(tar) == [name for name in NAMES if name != lost]
    [place] = places(tar)
    assert f"byte {at:,}" in place


def test_a_zeroed_first_block_costs_no_other(tar: Path) -> None:
    tar.write_bytes(bytes(BLOCK) + tar.read_bytes()[BLOCK:])

    assert members(tar) == NAMES, "the first block is that of a folder"
    assert len(places(tar)) == 1


def test_a_zeroed_page_costs_what_lies_in_it(tar: Path) -> None:
    data = bytearray(tar.read_bytes())
    data[8192:12288] = bytes(4096)
    tar.write_bytes(data)

    # Whose data was zeroed is listed all the same: a tar has no checksums, and decoding finds that out.
    assert len(members(tar)) >= len(NAMES) - 4096 // (2 * BLOCK)
    assert len(places(tar)) >= 1


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_tars_one_behind_another_are_all_read(kind: str, tar: Path, tmp_path: Path) -> None:
    second = pack(tmp_path / "second.tar", {"last.jpg": CHIPS["a.jpg"]})
    path = tmp_path / f"both.{kind}"
    parts = [tar.read_bytes(), second.read_bytes()]
    path.write_bytes(b"".join(map(gzip.compress, parts) if kind == "tar.gz" else parts))

    assert members(path) == [*NAMES, "last.jpg"]
    [place] = places(path)
    assert "ends at byte" in place
    assert "but more members follow at byte" in place
    assert read(listed(path)[len(NAMES)]) == CHIPS["a.jpg"]


def test_what_follows_the_end_and_is_no_tar_is_a_failure(tar: Path) -> None:
    tar.write_bytes(tar.read_bytes() + b"what is this?" * 100)

    assert members(tar) == NAMES
    assert len(places(tar)) == 1


def test_zeros_that_fill_up_a_tape_are_its_end(tar: Path) -> None:
    tar.write_bytes(tar.read_bytes() + bytes(1_000_000))

    assert members(tar) == NAMES
    assert places(tar) == []


@pytest.mark.parametrize("harm", ["zeroed", "dropped", "doubled"])
def test_whatever_happens_to_a_block_no_member_is_lost_in_silence(harm: str, tar: Path) -> None:
    rng, whole = random.Random(7), tar.read_bytes()
    path = tar.with_name("harmed.tar")
    for number in range(150):
        at = BLOCK * rng.randrange(len(whole) // BLOCK)
        # Several blocks that are dropped may be whole members, and zeros up to the end are the end: no reader can tell.
        length = BLOCK * (rng.choice((1, 1, 2, 8)) if harm != "dropped" else 1)
        if harm == "zeroed" and not any(whole[at + length :]):
            continue
        piece = whole[at : at + length]
        changed = {"zeroed": bytes(len(piece)), "dropped": b"", "doubled": 2 * piece}[harm]
        path.write_bytes(whole[:at] + changed + whole[at + length :])
        lost = set(NAMES) - {item.path.partition("::")[2] for item in listed(path)}
        assert not lost or places(path), (
            f"{harm} {length} bytes at {at} of trial {number}: {sorted(lost)} lost in silence"
        )


def test_all_damaged_places_are_one_failure_that_counts_them(tar: Path) -> None:
    data = bytearray(tar.read_bytes())
    starts = [start_of(tar, name) - BLOCK for name in ("03.jpg", "07.jpg", "11.jpg")]
    for start in starts:
        data[start] ^= 0xFF
    tar.write_bytes(data)

    assert len(members(tar)) == len(NAMES) - 3
    [place] = places(tar)
    assert f"byte {starts[0]:,}" in place
    assert place.endswith("(2 more such places)")


@pytest.mark.parametrize("last", ["notes.txt", "last.jpg"])
@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_tar_cut_off_in_a_file_that_is_no_image_is_a_failure_too(kind: str, last: str, tmp_path: Path) -> None:
    path = pack(tmp_path / f"x.{kind}", {"a.jpg": CHIPS["a.jpg"], last: random.Random(1).randbytes(60_000)})
    path.write_bytes(path.read_bytes()[:-40_000])

    assert len(places(path)) == 1


def long_names(path: Path, form: int) -> tuple[Path, list[str], list[int]]:
    """Write a tar of long names; return it, the names, and the byte at which each one's extended header begins."""
    names = [f"{'folder/' * 20}{number}.jpg" for number in range(6)]
    starts = []
    with tarfile.open(path, "w", format=form) as archive:
        for name in names:
            starts.append(archive.offset)
            member = tarfile.TarInfo(name)
            member.size = len(CHIPS["a.jpg"])
            archive.addfile(member, io.BytesIO(CHIPS["a.jpg"]))
    return path, names, starts


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("harm", ["zeroed", "scribbled", "dropped", "doubled"])
@pytest.mark.parametrize("block", [0, 1, 2], ids=["extended header", "long name", "header"])
def test_a_member_with_a_damaged_long_name_is_a_failure_and_costs_no_other(
    form: int, harm: str, block: int, tmp_path: Path
) -> None:
    path, names, starts = long_names(tmp_path / "x.tar", form)
    data, at = path.read_bytes(), starts[2] + block * BLOCK
    piece = data[at : at + BLOCK]
    harmed = {"zeroed": bytes(BLOCK), "scribbled": b"\xfe" * 20 + piece[20:], "dropped": b"", "doubled": 2 * piece}
    path.write_bytes(data[:at] + harmed[harm] + data[at + BLOCK :])

    found = set(members(path))

    assert found - {names[2]} == {*names} - {names[2]}, "a shorter name is not its own"
    assert found == {*names} or any(isinstance(item, Failure) for item in listed(path))


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_what_is_legitimate_is_no_failure(kind: str, tar: Path, tmp_path: Path) -> None:
    """Headers for all members behind the last one (`git archive`), headers of a megabyte, padding of a tape."""
    with tarfile.open(tar, "a", format=tarfile.PAX_FORMAT) as archive:
        attributes = tarfile.TarInfo("attributes.jpg")
        attributes.pax_headers = {f"SCHILY.xattr.user.{number}": "x" * 50_000 for number in range(20)}
        archive.addfile(attributes)
        end = archive.offset
    shared = tarfile.TarInfo.create_pax_global_header({"comment": "0" * 40})
    path = tmp_path / f"y.{kind}"
    data = tar.read_bytes()[:end] + shared + bytes(10_240)
    pad = {"tar": bytes(512), "tar.xz": bytes(4096)}.get(kind, bytes(999))
    compressors: dict[str, Callable[[bytes], bytes]] = {
        "tar.gz": gzip.compress,
        "tar.bz2": bz2.compress,
        "tar.xz": lzma.compress,
    }
    path.write_bytes((compressors[kind](data) if kind in compressors else data) + pad)

    assert members(path) == [*NAMES, "attributes.jpg"]
    assert places(path) == []


def test_a_name_that_no_path_can_be_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("a.jpg", "ü" * 500_000 + ".jpg", "b.jpg"):
            archive.addfile(tarfile.TarInfo(name))

    found = listed(path)

    assert members(path) == ["a.jpg", "b.jpg"]
    assert len(places(path)) == 1
    assert max(len(item.path) for item in found) < 10_000


def test_a_million_damaged_headers_are_passed_in_time_that_grows_with_their_number(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 20
    path = pack(tmp_path / "x.tar", {"a.jpg": CHIPS["a.jpg"]})
    path.write_bytes(path.read_bytes() + header.tobuf() * 20_000)
    read = []

    class Counting(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            read.append(size)
            return super().read(size)

    with Counting(path) as file:
        assert sum(isinstance(item, tar_headers.Gap) for item in tar_headers.find_members(file)) > 0
    assert len(read) < 30_000
    assert members(path) == ["a.jpg"]


@pytest.mark.parametrize("magic", [b"ustar  \0", b"ustar\x0000"])
def test_times_of_an_incremental_archive_are_no_part_of_a_name(magic: bytes, tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", {"a.jpg": CHIPS["a.jpg"]})
    data = bytearray(path.read_bytes())
    header = memoryview(data)[BLOCK : 2 * BLOCK]
    header[257:265], header[345:356] = magic, b"15302106770"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    header.release()
    path.write_bytes(data)

    assert members(path) == ["a.jpg" if magic.endswith(b" \0") else "15302106770/a.jpg"]
