"""Reading within limits."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pipelines import storage
from pipelines.commandline.flags import parse_predict
from pipelines.images import DecodeSettings, Resized, decode_resized
from pipelines.images.limits import Limits
from pipelines.reading.ahead import LookAhead
from pipelines.reading.fetched import Read, Refusal
from pipelines.reading.source import ImageSource
from pipelines.records import Failure, Image, ImageRef
from tests.image_files import encode, picture
from tests.pipelines.reading.single import read_single

DECODING = DecodeSettings(32, "bilinear", 5000)


@pytest.fixture
def ref(tmp_path: Path) -> ImageRef:
    path = tmp_path / "a.png"
    path.write_bytes(encode(picture(48, 64), "png"))
    return ImageRef(str(path), path.stat().st_size, "print")


def read(ref: ImageRef, **limits: int) -> Read:
    with closing(ImageSource(DECODING, Limits(**limits))) as source:  # type: ignore[arg-type]
        return read_single(source, ref)


def test_an_image_is_read_and_brought_to_the_models_size(ref: ImageRef) -> None:
    image = read(ref)

    assert isinstance(image, Resized)
    assert (image.width, image.height, image.source, image.pixels.shape) == (64, 48, "png 3x8", (32, 32, 3))


def test_an_image_beyond_a_limit_is_refused(ref: ImageRef, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(encode(picture(80, 80), "png"))

    refused = read(ref, max_bytes=100)
    assert refused == Refusal(
        "read", "FileTooLargeError", f"{ref.size:,} bytes: exceeds the limit of 100 (predict --max_bytes)"
    )
    refused = read(ImageRef(str(large), 1, "print"))
    assert isinstance(refused, Refusal)
    assert (refused.stage, refused.error) == ("decode", "ImageTooLargeError")
    assert refused.message == "80 x 80 pixels: exceeds the limit of 5,000 (predict --max_pixels)"


def test_a_failure_that_may_pass_says_so(ref: ImageRef, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str, max_bytes: int) -> bytes:
        raise storage.TransientError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(storage, "read", fail)

    message = "Input/output error (temporary; rerun the same command to retry)"
    assert read(ref) == Refusal("read", "TransientError", message)


def test_one_that_will_not_pass_does_not(ref: ImageRef) -> None:
    refused = read(ref._replace(path=f"{ref.path}.gone"))

    assert refused == Refusal("read", "FileNotFoundError", "No such file or directory")


def test_an_image_that_a_pipe_has_replaced_since_it_was_listed_is_a_failure(ref: ImageRef, in_time: None) -> None:
    os.remove(ref.path)
    os.mkfifo(ref.path)

    assert read(ref) == Refusal("read", "OSError", "not a regular file")


def test_a_file_that_does_not_fit_in_memory_affects_no_other(ref: ImageRef) -> None:
    path = Path(ref.path)
    # Of more bytes than any machine has memory for; they take no room on the disk.
    size = 2**43
    with path.open("r+b") as file:
        file.truncate(size)

    refused = read(ref._replace(size=size), max_bytes=2 * size)

    assert refused == Refusal("read", "MemoryError", f"{size:,} bytes do not fit in memory")


def test_what_was_read_ahead_is_an_image_or_a_failure(ref: ImageRef) -> None:
    gone = ref._replace(path=f"{ref.path}.gone")
    with closing(LookAhead(ImageSource(DECODING, Limits()), 2)) as ahead:
        image, failure = ahead.read([ref, gone])

    assert isinstance(image, Image)
    assert image.ref == ref
    assert failure == Failure(gone.path, "read", "FileNotFoundError", "No such file or directory", "print")


@pytest.mark.parametrize("name", ["max_bytes", "max_pixels", "max_seconds"])
def test_a_limit_that_nothing_meets_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be more than 0, not 0"):
        Limits(**{name: 0})  # type: ignore[arg-type]


def test_the_help_tells_the_true_limits(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_predict(["--help"])

    printed = capsys.readouterr().out
    for limit in (Limits.max_bytes, Limits.max_pixels, Limits.max_seconds):
        assert f"(default {limit:g})" in printed.replace(f"{limit:.0f}", f"{limit:g}"), limit


def test_a_large_jpeg_2000_is_decoded_where_it_keeps_no_thread_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its decoder does not release Python's lock: signals, and renewals of locks, would wait for it."""
    data = encode(picture(48, 64), "jpeg2000")
    expected = decode_resized(data, DECODING)
    path = tmp_path / "a.jp2"
    path.write_bytes(data)
    monkeypatch.setattr("pipelines.images.head._SOON_DECODED", 48 * 64 - 1)
    monkeypatch.setattr("pipelines.reading.source.decode_resized", None)
    image = read(ImageRef(str(path), path.stat().st_size, "print"))
    assert isinstance(image, Resized)
    assert image[:4] == expected[:4]
    assert np.array_equal(image.pixels, expected.pixels)
