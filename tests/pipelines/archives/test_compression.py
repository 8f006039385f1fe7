"""What compressed files unpack to, whatever is wrong with them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import zlib
from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.archives import compression
from pipelines.archives.compression import open_compressed
from pipelines.archives.members import BROKEN, ArchiveBombError, DamagedArchiveError, UntrustedArchiveError
from pipelines.records import Failure, ImageRef
from tests.pipelines.archives.packing import CHIPS, listed, pack

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".tar.gz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}
KINDS = sorted(COMPRESS)
NOISE = random.Random(0).randbytes(400_000)
PACKED = {kind: compress(NOISE) for kind, compress in COMPRESS.items()}


def unpack(data: bytes, kind: str, size: float = inf) -> bytes:
    return open_compressed(io.BytesIO(data), kind, size).read()


@pytest.mark.parametrize("kind", KINDS)
@given(parts=st.lists(st.binary(max_size=3000), min_size=1, max_size=4), zeros=st.integers(0, 2000))
def test_joined_streams_unpack_to_all_their_content(kind: str, parts: list[bytes], zeros: int) -> None:
    packed = b"".join(COMPRESS[kind](part) + bytes(zeros // 4 * 4) for part in parts)

    assert unpack(packed, kind) == b"".join(parts)


@pytest.mark.parametrize("reached", range(1, 12))
def test_a_gzip_header_that_spans_two_reads_is_a_header(reached: int) -> None:
    last = gzip.compress(b"last") + bytes(compression._CHUNK)
    first = next(
        packed
        for size in range(compression._CHUNK, 0, -1)
        if len(packed := gzip.compress(NOISE[:size], compresslevel=0)) == compression._CHUNK - reached
    )

    assert unpack(first + last, ".tar.gz").endswith(b"last")


@given(
    places=st.lists(st.tuples(st.integers(0, 400_000), st.integers(0, 5000)), max_size=8), kind=st.sampled_from(KINDS)
)
def test_any_place_is_read_in_any_order(places: list[tuple[int, int]], kind: str) -> None:
    stream = open_compressed(io.BytesIO(PACKED[kind]), kind, inf)

    for start, length in places:
        assert stream.seek(start) == start
        assert stream.read(length) == NOISE[start : start + length]


@pytest.mark.parametrize("flags", range(32))
def test_a_gzip_header_may_hold_names_and_comments(flags: int) -> None:
    head = bytearray(gzip.compress(b"")[:10])
    head[3] = flags
    head += b"\x03\x00abc" if flags & 4 else b""
    head += b"name\0" if flags & 8 else b""
    head += b"comment\0" if flags & 16 else b""
    head += b"\0\0" if flags & 2 else b""

    assert unpack(bytes(head) + gzip.compress(NOISE)[10:], ".tar.gz") == NOISE


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_or_a_changed_byte_is_never_unnoticed(kind: str) -> None:
    rng, packed = random.Random(3), COMPRESS[kind](NOISE[:3000])
    for _ in range(200):
        at = rng.randrange(len(packed))
        for harmed in (packed[:at], packed[:at] + bytes([packed[at] ^ 1 << rng.randrange(8)]) + packed[at + 1 :]):
            try:
                unpacked = unpack(harmed, kind)
            except BROKEN:
                continue
            # Nothing but an empty file, or a bit of a header that says nothing of the content.
            assert unpacked == NOISE[:3000] or not harmed, f"byte {at}"


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_the_compressed_data_is_not_taken_for_padding(kind: str) -> None:
    with pytest.raises(DamagedArchiveError, match="the bytes after the compressed data are damaged or not compressed"):
        unpack(COMPRESS[kind](NOISE) + b"x" + COMPRESS[kind](NOISE), kind)


@pytest.mark.parametrize("kind", [".tar.gz", ".tar.xz"])
def test_damage_after_bytes_were_returned_makes_them_untrusted(kind: str) -> None:
    packed = bytearray(COMPRESS[kind](NOISE))
    packed[len(packed) // 2] ^= 0xFF

    with pytest.raises(UntrustedArchiveError):
        unpack(bytes(packed), kind)


def test_an_archive_that_unpacks_to_far_more_than_images_would_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "_ALWAYS_UNPACKED", 1_000_000)
    path = pack(
        tmp_path / "x.tar.gz", {"a.jpg": CHIPS["a.jpg"], "zeros.jpg": bytes(50_000_000), "z.jpg": CHIPS["a.jpg"]}
    )

    image, *failures = listed(path)

    assert isinstance(image, ImageRef)
    assert [(item.path, item.error) for item in failures if isinstance(item, Failure)] == [
        (f"{path}::zeros.jpg", "DamagedArchiveError"),
        (str(path), ArchiveBombError.__name__),
    ]


def test_an_xz_header_may_not_ask_for_gigabytes() -> None:
    packed = bytearray(lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}]))
    packed[16] = 36  # in the header of the block: 2 to the power of 30
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")

    with pytest.raises(lzma.LZMAError, match="Memory usage limit"):
        unpack(bytes(packed), ".tar.xz")


def test_a_compressed_tar_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tars one behind another, which a reader that looks back would unpack as often."""
    tar = pack(tmp_path / "x.tar", {"a.jpg": CHIPS["a.jpg"]}).read_bytes()
    path = tmp_path / "joined.tar.gz"
    path.write_bytes(gzip.compress(tar * 50))
    rewound: list[object] = []

    class Counted(compression._Unpacked):
        def _rewind(self) -> None:
            rewound.append(self)
            super()._rewind()

    monkeypatch.setattr(compression, "_Unpacked", Counted)

    assert len(listed(path)) == 2
    assert len(rewound) == 1
