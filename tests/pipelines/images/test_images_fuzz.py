"""Hostile files: a small campaign of damaged ones, and ones that are built to cost time or memory."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.images.decoding import Decoded, decode
from pipelines.images.layout import DamagedImageError, ImageError, ImageTooLargeError, UnsupportedImageError
from tests import ROOT, icc_profiles
from tests import image_files as files
from tools import fuzz_images, image_trials
from tools.hostile_images import HOSTILE as HOSTILE_FILES
from tools.hostile_images import Hostile
from tools.image_mutations import make_case
from tools.image_seeds import draw_seeds
from tools.image_trials import try_file

PICTURE = files.picture()
PRIMARIES = ((0.4, 0.2, 0.0), (0.4, 0.7, 0.1), (0.1, 0.1, 0.7))
SOI, EOI = b"\xff\xd8", b"\xff\xd9"


def test_a_small_campaign_breaks_nothing(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = fuzz_images.main(["--count=1500", "--seed=7", f"--keep={tmp_path}"])

    printed = capfd.readouterr().out
    assert "0 of 1,500 broke the promise" in printed, printed
    assert code == 0
    assert list(tmp_path.iterdir()) == []


def test_every_seed_is_decoded_or_refused_for_what_it_is() -> None:
    refused = {}
    for seed in draw_seeds():
        try:
            decode(seed.data)
        except ImageError as error:
            refused[seed.name] = str(error)

    assert len(draw_seeds()) > 60
    assert refused == {
        "fax tiff": "TIFF compressed with the group 4 fax code is not supported: its decoder hides damage",
        "old fax tiff": "TIFF compressed with the group 3 fax code is not supported: its decoder hides damage",
    }


def test_a_file_can_be_made_again_from_its_number() -> None:
    seeds = draw_seeds()
    # A colour profile is stamped with the second in which it was made: wait for the next one.
    drawn = int(time.time())
    while int(time.time()) == drawn:
        time.sleep(0.01)

    assert seeds == draw_seeds()
    assert make_case(seeds, 1, 4711) == make_case(draw_seeds(), 1, 4711)
    assert len({make_case(seeds, 1, number).data for number in range(500)}) > 490


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (ValueError("no ImageError"), "ValueError instead of an ImageError"),
        (DamagedImageError(""), "unsuitable message"),
        (Decoded(np.zeros((2, 2, 4), np.uint8), "jpeg 3x8", ()), "pixels uint8"),
        (Decoded(np.zeros((2, 2, 3), np.uint8), "jpeg 3x8", ("made_up",)), "repairs"),
        ("slow", "takes 0.2 s"),
        ("large", "takes 2"),
        ("random", "different result when decoded again"),
    ],
    ids=str,
)
def test_the_campaign_sees_a_broken_promise(monkeypatch: pytest.MonkeyPatch, outcome: object, reason: str) -> None:
    def broken(data: bytes) -> Decoded:
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, Decoded):
            return outcome
        if outcome == "slow":
            while time.process_time() < end:
                pass
        if outcome == "large":
            np.ones(200_000_000, np.uint8)
        samples = np.random.default_rng().integers(0, 256, (8, 8, 3), np.uint8)
        return Decoded(samples, "jpeg 3x8", ())

    monkeypatch.setattr(image_trials, "MOST_SECONDS", 0.2)
    monkeypatch.setattr(image_trials, "MOST_BYTES", 100_000_000)
    end = time.process_time() + 0.22
    monkeypatch.setattr(image_trials, "decode", broken)

    assert reason in try_file(b"").broken


def test_the_signal_that_kills_a_child_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os\n"
        "from tools import image_trials\n"
        "try_file = image_trials.try_file\n"
        "def die(data, number=0, name='file'):\n"
        "    return os.abort() if number == 5 else try_file(data, number, name)\n"
        "image_trials.try_file = die\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")

    assert fuzz_images.main(["--count=20", "--workers=2"]) == 1
    printed = capfd.readouterr().out
    assert "BROKEN file 5 (" in printed
    assert "crash: exit code -6" in printed
    assert "1 of 20 broke the promise" in printed


def marker(code: int, payload: bytes) -> bytes:
    return bytes((0xFF, code)) + struct.pack(">H", len(payload) + 2) + payload


def many_scans(width: int, height: int, scans: int) -> bytes:
    """Write a progressive JPEG whose scans are empty but many."""
    frame = marker(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    table = marker(0xDB, b"\0" + bytes([1] * 64)) + marker(0xC4, b"\0" + bytes([1, *[0] * 15]) + b"\0")
    return SOI + frame + table + (marker(0xDA, b"\1\1\0\0\0\0") + b"\0\0") * scans + EOI


def in_front(data: bytes, segments: bytes) -> bytes:
    return SOI + segments + data[2:]


JPEG = files.encode(PICTURE, "jpeg", quality=95)
PNG = files.encode(PICTURE, "png")


def jpeg_tiff(declared: tuple[int, int]) -> bytes:
    """Write a TIFF of one JPEG strip, which claims other sizes than those of its JPEG."""
    height, width = declared
    head = b"II*\0" + struct.pack("<I", 8 + len(JPEG) + len(JPEG) % 2)
    at = 8 + len(JPEG) + len(JPEG) % 2
    tags = [
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, at + 2 + 9 * 12 + 4), (259, 3, 1, 7), (262, 3, 1, 6)),
        *((273, 4, 1, 8), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(JPEG))),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return head + JPEG + b"\0" * (len(JPEG) % 2) + directory + bytes(4) + struct.pack("<3H", 8, 8, 8)


def tagged_tiff(tag: int, code: str, values: Sequence[int], **options: Any) -> bytes:
    return files.tiff(PICTURE, files.RGB, tags={tag: (code, values)}, **options)


HOSTILE: dict[str, tuple[Callable[[], bytes], type[ImageError], str]] = {
    "many scans": (lambda: many_scans(64, 48, 501), ImageTooLargeError, "more than 500 scans"),
    "few scans of many pixels": (lambda: many_scans(8000, 8000, 19), ImageTooLargeError, "more than 18 scans"),
    "many segments": (lambda: in_front(JPEG, marker(0xFE, b"") * 5000), DamagedImageError, "more than 4096 segments"),
    "much filling": (lambda: in_front(JPEG, b"\xff" * 5000), DamagedImageError, "more than 4096 segments"),
    "a segment without its length": (lambda: in_front(JPEG, b"\xff\xe2\0\0"), DamagedImageError, "a segment of 0 byte"),
    "many chunks": (
        lambda: PNG[:33] + files.png_chunk(b"tEXt", b"a\0b") * 200_000 + PNG[33:],
        DamagedImageError,
        "more than 200,000 chunks",
    ),
    "a compression that hides damage": (
        lambda: tagged_tiff(259, "H", [4]),
        UnsupportedImageError,
        "group 4 fax code is not supported: its decoder hides damage",
    ),
    "many values": (lambda: tagged_tiff(273, "I", [8] * 300_000), ImageTooLargeError, "tag 273 has 300,000 values"),
    "a large tile": (
        lambda: files.tiff(PICTURE, files.RGB, tags={322: ("I", [60_000]), 323: ("I", [60_000])}),
        ImageTooLargeError,
        "its tiles of 60000 x 60000 are too large",
    ),
    "a strip of a smaller JPEG": (lambda: jpeg_tiff((480, 640)), DamagedImageError, "is not 640 x 480"),
    "a large profile": (
        lambda: tagged_tiff(34675, "B", icc_profiles.rgb(2.2, PRIMARIES) + bytes(16_000_000)),
        ImageTooLargeError,
        "ICC profile of 16,000,",
    ),
    "much metadata": (
        lambda: tagged_tiff(42112, "B", b"<Item " * 2_800_000),
        ImageTooLargeError,
        "tag 42112 has 16,800,000 bytes: the limit is 16,777,216",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_built_to_cost_much_is_refused_at_little_cost(name: str) -> None:
    build, error, reason = HOSTILE[name]
    data = build()

    with pytest.raises(error, match=reason):
        decode(data)
    trial = try_file(data)
    assert (trial.outcome, trial.broken) == (error.__name__, "")
    assert trial.seconds < 1


def test_metadata_is_read_once_however_many_items_begin_in_it() -> None:
    trial = try_file(tagged_tiff(42112, "B", b"<Item " * 2_790_000))

    assert (trial.outcome, trial.broken) == ("decoded", "")
    assert trial.seconds < 1, f"{trial.seconds} core-seconds"


@pytest.mark.parametrize("kind", HOSTILE_FILES, ids=lambda kind: f"{kind.name} {kind.format}")
def test_a_small_file_never_costs_much_more_than_its_pixels(kind: Hostile) -> None:
    trial = try_file(kind.build(kind.many // 4))

    assert trial.broken == ""
    assert trial.seconds < 2, f"{trial.seconds} core-seconds"
    assert trial.peak < 200_000_000, f"{trial.peak:,} bytes"


@pytest.mark.parametrize("kind", HOSTILE_FILES, ids=lambda kind: f"{kind.name} {kind.format}")
def test_an_expensive_file_in_small_is_as_good_as_any(kind: Hostile) -> None:
    refused = {
        "jumps": "leaves out pixels",
        "short lines": "leaves out pixels",
        "no data, arithmetic": "last pixels need no data",
        "no data, arithmetic progressive": "SOF10",
        "no data, progressive": "a scan of 0 bytes",
        "no data": "a scan of 0 bytes",
        "scans": "does not continue those before it",
    }
    if kind.name in refused:
        with pytest.raises(ImageError, match=refused[kind.name]):
            decode(kind.build(kind.few))
    else:
        assert decode(kind.build(kind.few)).pixels.size > 0


def test_a_tiff_of_a_jpeg_of_its_own_size_is_decoded() -> None:
    assert decode(jpeg_tiff(PICTURE.shape[:2])).source == "tiff 3x8"


def test_too_little_memory_is_distinguished_from_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pipelines.images.decoding.to_srgb", exhaust)

    with pytest.raises(ImageTooLargeError, match="64 x 48 pixels do not fit in memory"):
        decode(PNG)


def test_a_bomb_in_a_text_chunk_is_no_danger() -> None:
    bomb = b"key\0\0" + zlib.compress(bytes(300_000_000), 9)
    trial = try_file(PNG[:33] + files.png_chunk(b"zTXt", bomb) + PNG[33:])

    assert trial.broken == ""
