"""Objects that their store marks as compressed, with or without reason, in both kinds of buckets."""

from __future__ import annotations

import gzip
import io
import os
import random
import tarfile
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import storage
from pipelines.archives.members import damaged
from pipelines.storage import gzipped, stores
from pipelines.storage.buckets import _split
from tests.conftest import Bucket
from tools.proxy import Disturbance

LARGE = random.Random(1).randbytes(3_000_000)
COMPRESSIBLE = b"".join(bytes(2**20 - 1) + bytes([number]) for number in range(3))


def upload(path: str, data: bytes) -> None:
    """Write an object that is marked as compressed."""
    objects: Any = stores.bucket_store(path)._objects
    bucket, key = _split(path)
    if path.startswith("gs://"):
        blob = objects._client.bucket(bucket).blob(key)
        blob.content_encoding = "gzip"
        blob.upload_from_string(data, "image/jpeg")
    else:
        objects._client.put_object(Bucket=bucket, Key=key, Body=data, ContentEncoding="gzip")


@pytest.mark.parametrize("data", [LARGE, COMPRESSIBLE], ids=["random", "compressible"])
@pytest.mark.parametrize(
    "stored", [gzip.compress, bytes, lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])]
)
def test_what_is_marked_is_unpacked_if_it_is_compressed(
    bucket: Bucket, stored: Callable[[bytes], bytes], data: bytes
) -> None:
    path = f"{bucket.path}/x"
    upload(path, stored(data))

    assert storage.read(path, len(data) + 1000) == data
    for start, length in ((0, 65_536), (0, 2), (5, 10), (1_000_000, 1_500_000), (2_999_999, 10)):
        assert storage.read_range(path, start, length) == data[start : start + length]
    with storage.open_to_read(path) as file:
        assert file.seek(-3, os.SEEK_END) == len(data) - 3
        assert file.read() == data[-3:]
        file.seek(7)
        assert file.read(5) == data[7:12]


def test_a_range_behind_the_end_is_of_a_file_that_has_changed(bucket: Bucket) -> None:
    upload(path := f"{bucket.path}/x", b"\xff\xd8 an image")

    with pytest.raises(storage.ChangedFileError):
        storage.read_range(path, 1_000, 10)


def test_an_image_that_is_marked_wrongly_costs_one_request(bucket: Bucket) -> None:
    upload(f"{bucket.path}/x", b"\xff\xd8 an image")
    requests: list[str] = []

    def note(method: str, path: str) -> Disturbance:
        requests.append(path)
        return Disturbance()

    bucket.proxy.disturb = note

    assert storage.read(f"{bucket.path}/x") == b"\xff\xd8 an image"
    assert len(requests) == 1, requests


def test_a_file_that_is_named_as_compressed_is_read_as_it_is_stored(bucket: Bucket) -> None:
    data = gzip.compress(LARGE)
    for name in ("x.tar.gz", "x.TGZ", "x.csv.gz"):
        upload(path := f"{bucket.path}/{name}", data)

        assert storage.read(path) == data
        assert storage.read_range(path, 3, 5) == data[3:8]
        with storage.open_to_read(path) as file:
            assert file.read(9) == data[:9]


def test_an_object_that_unpacks_to_more_than_the_limit_is_not_unpacked(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{bucket.path}/x"
    upload(path, gzip.compress(bytes(50_000_000)))

    assert storage.read_range(path, 0, 100) == bytes(100)
    with pytest.raises(storage.FileTooLargeError, match="exceeds the limit of 1,000,000 bytes"):
        storage.read(path, 1_000_000)
    monkeypatch.setattr(gzipped, "_MOST_ON_DISK", 5_000_000)
    with pytest.raises(storage.FileTooLargeError, match="5,000,000 bytes; store it without Content-Encoding: gzip"):
        storage.read_range(path, 10, 1)


def test_a_small_object_that_unpacks_to_a_large_one_is_unpacked_to_disk(bucket: Bucket) -> None:
    """Otherwise an archive or a list of a megabyte would take a gigabyte of memory."""
    path = f"{bucket.path}/x.tar"
    upload(path, gzip.compress(bytes(50_000_000)))

    tracemalloc.start()
    with storage.open_to_read(path) as file:
        assert file.seek(0, os.SEEK_END) == 50_000_000
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert most < 20_000_000


def test_an_object_that_is_replaced_while_it_is_unpacked_is_refused(bucket: Bucket) -> None:
    upload(path := f"{bucket.path}/x", gzip.compress(LARGE))
    asked = 0

    def replace(method: str, request: str) -> Disturbance:
        nonlocal asked
        asked += 1
        # It was read to see that it is compressed; now all of it is asked for.
        if asked == 3:
            upload(path, gzip.compress(LARGE[::-1]))
        return Disturbance()

    bucket.proxy.disturb = replace

    with pytest.raises(storage.ChangedFileError):
        storage.read_range(path, 1_000_000, 10)


def test_an_archive_that_is_replaced_while_it_is_read_is_refused(bucket: Bucket) -> None:
    upload(path := f"{bucket.path}/x.zip", LARGE)

    with storage.open_to_read(path) as file:
        assert file.read(10) == LARGE[:10]
        upload(path, LARGE[::-1])
        file.seek(2_000_000)
        with pytest.raises(storage.ChangedFileError):
            file.read()


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda data: data[: len(data) // 2], "truncated: its Content-Encoding is gzip"),
        (lambda data: data[:5000] + bytes(20) + data[5020:], "damaged: its Content-Encoding is gzip, but "),
    ],
)
def test_a_compressed_object_that_is_damaged_is_no_error_that_passes(
    bucket: Bucket, harm: Callable[[bytes], bytes], reason: str
) -> None:
    upload(path := f"{bucket.path}/x", harm(gzip.compress(LARGE)))

    with pytest.raises(OSError, match=reason) as refused:
        storage.read(path)
    assert not isinstance(refused.value, storage.TransientError)


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=4), st.integers(1, 500), st.integers(0, 9))
def test_whatever_is_compressed_in_whatever_pieces_is_unpacked(parts: list[bytes], size: int, zeros: int) -> None:
    data = b"".join(map(gzip.compress, parts)) + bytes(zeros)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]

    assert b"".join(gzipped._inflate(pieces)) == b"".join(parts)
    with gzipped.unpack_to_disk(pieces) as file:
        assert file.read() == b"".join(parts)


def packed(kind: str, data: bytes = LARGE) -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            for number in range(3):
                archive.writestr(f"{number}.jpg", data[number : number + 900_000])
    else:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for number in range(3):
                member = tarfile.TarInfo(f"{number}.jpg")
                member.size = 900_000
                archive.addfile(member, io.BytesIO(data[number : number + 900_000]))
    return file.getvalue()


def test_a_full_disk_is_not_taken_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "w+b"))  # noqa: SIM115

    with pytest.raises(storage.FileTooLargeError, match="has room for; set TMPDIR to another folder") as refused:
        gzipped.unpack_to_disk([gzip.compress(LARGE)])
    assert damaged(refused.value) is refused.value


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_whose_compression_breaks_off_is_told_so(bucket: Bucket, kind: str) -> None:
    from pipelines.listing import list_images

    upload(path := f"{bucket.path}/x.{kind}", gzip.compress(packed(kind))[:-9])

    [failure] = list_images([path], None)
    assert getattr(failure, "message", "") == (
        "the archive is damaged: truncated: its Content-Encoding is gzip, and it ends too early"
    )


@pytest.mark.parametrize("data", [LARGE, COMPRESSIBLE], ids=["random", "compressible"])
@pytest.mark.parametrize("stored", [gzip.compress, bytes])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_of_an_archive_that_is_marked_are_read(
    bucket: Bucket, kind: str, stored: Callable[[bytes], bytes], data: bytes
) -> None:
    from pipelines import archives
    from pipelines.listing import list_images

    path = f"{bucket.path}/x.{kind}"
    upload(path, stored(packed(kind, data)))

    found = list(list_images([path], None))
    assert [getattr(ref, "path", "").rpartition("::")[2] for ref in found] == ["0.jpg", "1.jpg", "2.jpg"]
    for number, ref in enumerate(found):
        assert archives.read_member(ref, lambda head, size: None) == data[number : number + 900_000]  # type: ignore[arg-type]
