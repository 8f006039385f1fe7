"""Archives that would fill the memory, or that claim what no file can have, are refused at no cost."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import time
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pipelines.images.limits import Limits
from pipelines.reading.fetched import Refusal
from pipelines.records import Failure, ImageRef
from tests.pipelines.archives.packing import CHIPS, listed, pack, read, source
from tests.pipelines.reading.single import read_single


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("honest.jpg", "w") as member:
            for _ in range(300):
                member.write(bytes(1_000_000))
        archive.writestr("liar.jpg", bytes(50_000_000))
    # The size in the directory, made smaller than what comes out.
    data = path.read_bytes()
    place = data.rindex(b"PK\x01\x02")
    path.write_bytes(data[: place + 24] + struct.pack("<I", 1000) + data[place + 28 :])

    honest, liar = listed(path)
    assert isinstance(honest, ImageRef)
    assert isinstance(liar, ImageRef)
    refused = read_single(source(10**8), honest)
    assert isinstance(refused, Refusal)
    assert refused.message == "300,000,000 bytes: exceeds the limit of 100,000,000 (predict --max_bytes)"
    refused = read_single(source(10**8), liar)
    assert isinstance(refused, Refusal)
    assert refused.message == "the member does not unpack to 1,000 bytes, as the archive's directory says"


def test_a_member_of_10_gb_is_a_failure_that_costs_nothing(tmp_path: Path) -> None:
    path, huge = tmp_path / "x.tar", 10 * 2**30
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("huge.jpg")
        member.size = huge
        # A hole in the file, which takes no disk.
        file: Any = archive.fileobj
        file.write(member.tobuf())
        file.seek(huge, os.SEEK_CUR)
        archive.offset = file.tell()
        member = tarfile.TarInfo("small.jpg")
        member.size = len(CHIPS["a.jpg"])
        archive.addfile(member, io.BytesIO(CHIPS["a.jpg"]))

    # What other processes take does not count.
    began = time.process_time()
    large, small = listed(path)
    assert isinstance(large, ImageRef)
    refused = read_single(source(Limits.max_bytes), large)

    assert isinstance(refused, Refusal)
    assert refused.error == "FileTooLargeError"
    assert read(small) == CHIPS["a.jpg"]
    assert time.process_time() - began < 2, "it was read"


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
@pytest.mark.parametrize("header", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_is_no_name_but_a_bomb_is_refused_unread(kind: str, header: bytes, tmp_path: Path) -> None:
    path, huge = pack(tmp_path / "x.tar", {"a.jpg": CHIPS["a.jpg"]}), 100_000_000
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("bomb")
        member.type, member.size = header, huge
        assert archive.fileobj
        archive.fileobj.write(member.tobuf() + bytes(huge))
    if kind == "tar.gz":
        path = path.with_suffix(".tar.gz")
        path.write_bytes(gzip.compress((tmp_path / "x.tar").read_bytes(), 1))

    tracemalloc.start()
    found = listed(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(found[-1], Failure)
    assert peak < 20_000_000


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("size", [2**70, 2**63, -1, -600])
def test_a_size_that_no_file_can_have_is_damage(kind: bytes, size: int, tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", {"a.jpg": CHIPS["a.jpg"]})
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("b.jpg")
        member.type, member.size = kind, size
        assert archive.fileobj
        archive.fileobj.write(member.tobuf(tarfile.GNU_FORMAT))

    found = listed(path)

    assert isinstance(found[-1], Failure), found


def test_headers_for_headers_without_end_are_damage(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", {})
    header = tarfile.TarInfo("x")
    header.type = tarfile.GNUTYPE_LONGNAME
    path.write_bytes(header.tobuf() * 2000)

    [failure] = listed(path)

    assert isinstance(failure, Failure)
