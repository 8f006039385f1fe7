"""Whatever is wrong with an archive is a failure of what it concerns, and of nothing else."""

from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipelines import storage
from pipelines.archives.members import DamagedArchiveError
from pipelines.images.limits import SMALL_FILE
from pipelines.listing import InputError, list_images
from pipelines.reading.fetched import Refusal
from pipelines.records import Failure, ImageRef
from pipelines.storage import patience
from tests.conftest import Bucket
from tests.pipelines.archives.packing import CHIPS, KINDS, listed, pack, read, source
from tests.pipelines.reading.single import read_single
from tools.proxy import Disturbance


def test_a_listed_member_that_a_damaged_archive_has_lost_is_a_failure_that_says_so(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", CHIPS)
    second = listed(path)[1]
    assert isinstance(second, ImageRef)
    assert second.place
    path.write_bytes(path.read_bytes()[: second.place.start - 100])
    (tmp_path / "list.txt").write_text("x.tar::a.jpg\nx.tar::C.JPG\n")

    whole, lost = list_images([], str(tmp_path / "list.txt"))

    assert isinstance(whole, ImageRef)
    assert isinstance(lost, Failure)
    assert lost.path == f"{path}::C.JPG"
    assert "is truncated at byte" in lost.message


def test_a_truncated_tar_gives_its_whole_members_and_a_failure_that_names_the_place(tmp_path: Path) -> None:
    whole = pack(tmp_path / "whole.tar", CHIPS).read_bytes()
    members = [(ref.path.partition("::")[2], ref.place) for ref in listed(tmp_path / "whole.tar")]  # type: ignore[union-attr]
    end = max(span.start + span.length for _, span in members if span)
    cut = tmp_path / "cut.tar"

    for length in [*range(512, end, 1021), *(span.start for _, span in members if span), end, end + 100]:
        cut.write_bytes(whole[:length])
        found = listed(cut)
        intact = [name for name, span in members if span and span.start + span.length <= length]
        cut_off = [name for name, span in members if span and span.start <= length < span.start + span.length]
        broken = found[-1]
        assert [ref.path.partition("::")[2] for ref in found if isinstance(ref, ImageRef)] == intact, length
        assert [item.path.partition("::")[2] for item in found if isinstance(item, Failure)] == [*cut_off, ""], length
        assert isinstance(broken, Failure)
        assert "is truncated at byte" in broken.message, f"cut at {length}: {broken}"
        assert all(read(ref) for ref in found if isinstance(ref, ImageRef))


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_bucket_that_breaks_off_is_not_taken_for_an_archive_that_does(
    kind: str, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chips = {f"{number}.jpg": os.urandom(60_000) for number in range(50)}
    archive = f"{bucket.path}/x.{kind}"
    storage.write(archive, pack(tmp_path / f"x.{kind}", chips).read_bytes())
    (tmp_path / "list.txt").write_text(f"{archive}::1.jpg")
    monkeypatch.setattr(patience, "SECONDS", 0.0)
    ranges: list[str] = []

    def disturb(method: str, path: str) -> Disturbance:
        if "alt=media" in path or (bucket.path.startswith("s3") and method == "GET"):
            ranges.append(path)
        return Disturbance(503 if len(ranges) > (kind == "tar") else None)

    bucket.proxy.disturb = disturb

    with pytest.raises(InputError, match=rf"cannot list {archive}: .*503"):
        listed(archive)
    [failure] = list_images([], str(tmp_path / "list.txt"))
    assert isinstance(failure, Failure)
    assert failure.error == "TransientError"


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz"])
def test_a_truncated_compressed_tar_loses_nothing_in_silence(kind: str, tmp_path: Path) -> None:
    whole = pack(tmp_path / f"whole.{kind}", CHIPS).read_bytes()
    cut = tmp_path / f"cut.{kind}"

    for length in range(10, len(whole) - 1, len(whole) // 23):
        cut.write_bytes(whole[:length])
        found = listed(cut)
        whole_members = [item for item in found if isinstance(item, ImageRef)]
        names = [item.path.partition("::")[2] for item in found]
        assert names == [*list(CHIPS)[: len(names) - 1], ""], f"cut at {length}: {found}"
        assert len(whole_members) >= len(found) - 2, f"cut at {length}: {found}"
        for ref in whole_members:
            assert read(ref) == CHIPS[ref.path.partition("::")[2]]


def test_a_wrong_checksum_of_a_whole_archive_is_the_failure_of_every_member(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar.gz", CHIPS)
    damaged = bytearray(path.read_bytes())
    damaged[-8] ^= 0xFF
    path.write_bytes(damaged)

    found = listed(path)

    assert [item.path for item in found] == [f"{path}::{name}" for name in CHIPS]
    assert {item.error for item in found if isinstance(item, Failure)} == {"UntrustedArchiveError"}


def test_damage_in_the_middle_of_a_tar_is_not_taken_for_its_end(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", CHIPS)
    second = listed(path)[1]
    assert isinstance(second, ImageRef)
    assert second.place
    damaged = bytearray(path.read_bytes())
    damaged[second.place.start - 512] ^= 0xFF
    path.write_bytes(damaged)

    *members, failure = listed(path)

    assert [member.path for member in members] == [f"{path}::{name}" for name in CHIPS if name != "with space/b.jpg"]
    assert isinstance(failure, Failure)
    assert failure.path == str(path)
    assert f"is damaged at byte {second.place.start - 512:,}; members before it and from byte" in failure.message


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_archive_is_one_failure(kind: str, tmp_path: Path) -> None:
    for content in (b"PK", b"", b"no archive" * 100):
        (tmp_path / f"x.{kind}").write_bytes(content)
        [failure] = listed(tmp_path / f"x.{kind}")
        assert isinstance(failure, Failure)
        assert failure.path == f"{tmp_path}/x.{kind}"


def test_a_zip_that_is_cut_off_is_one_failure(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", CHIPS)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])

    [failure] = listed(path)

    assert isinstance(failure, Failure)
    assert (failure.path, failure.error) == (str(path), "DamagedArchiveError")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_member_of_a_zip_is_one_failure(compression: int, tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", CHIPS, compression)
    second = listed(path)[1]
    assert isinstance(second, ImageRef)
    assert second.place
    damaged = bytearray(path.read_bytes())
    damaged[second.place.start + 500] ^= 0xFF
    path.write_bytes(damaged)

    results = {ref.path: read_single(source(), ref) for ref in listed(path) if isinstance(ref, ImageRef)}

    wrong = {path: result for path, result in results.items() if isinstance(result, Refusal)}
    assert {path: refusal[:2] for path, refusal in wrong.items()} == {second.path: ("read", "DamagedArchiveError")}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("size", [SMALL_FILE, SMALL_FILE + 1, 3 * SMALL_FILE])
def test_a_large_member_of_a_zip_is_read_whole_or_refused(size: int, compression: int, tmp_path: Path) -> None:
    # What does not deflate, and then what deflates a thousandfold.
    content = os.urandom(size // 2) + bytes(size - size // 2)
    path = pack(tmp_path / "x.zip", {"a.jpg": content, "b.jpg": content}, compression)
    first, second = listed(path)
    assert isinstance(first, ImageRef)
    assert isinstance(second, ImageRef)
    assert first.place
    assert second.place
    assert (read(first), read(second)) == (content, content)

    empty = bytearray(path.read_bytes())
    empty[second.place.start + 35 : second.place.start + 37] = b"\x03\0"
    path.write_bytes(empty)
    with pytest.raises(DamagedArchiveError, match=r"does not unpack to|checksum"):
        read(second)

    damaged = bytearray(empty)
    damaged[second.place.start + 100_000] ^= 0xFF
    path.write_bytes(damaged)
    assert read(first) == content
    with pytest.raises(DamagedArchiveError):
        read(second)
    path.write_bytes(damaged[: second.place.start + 100_000])
    with pytest.raises(DamagedArchiveError, match="shrank"):
        read(second)
    with pytest.raises(DamagedArchiveError, match=r"does not unpack to|checksum"):
        read(first._replace(size=size - 1, place=first.place._replace(length=first.place.length - 1)))


def test_what_is_no_plain_file_in_an_archive_is_a_failure(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in (
            ("link.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("fifo.jpg", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_BZIP2) as zipped:
        zipped.writestr("bzip2.jpg", CHIPS["a.jpg"])

    found = listed(tmp_path / "x.tar", tmp_path / "x.zip")

    assert [item.message for item in found if isinstance(item, Failure)] == [
        "a link, not a regular file",
        "a link, not a regular file",
        "not a regular file",
        "compression method 12 is not supported, only deflate (8)",
    ]
