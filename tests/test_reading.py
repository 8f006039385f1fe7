"""Reading within limits."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path

import pytest

from pipelines import storage
from pipelines.decoding import DecodeSettings, decode_resized
from pipelines.flags import parse_predict
from pipelines.reading import Limits, read_image
from pipelines.records import Failure, Image, ImageRef
from tests.image_files import encode, picture

DECODE = partial(decode_resized, settings=DecodeSettings(32, "bilinear", 5000))


@pytest.fixture
def ref(tmp_path: Path) -> ImageRef:
    path = tmp_path / "a.png"
    path.write_bytes(encode(picture(48, 64), "png"))
    return ImageRef(str(path), path.stat().st_size, "print")


def test_an_image_is_read_and_brought_to_the_models_size(ref: ImageRef) -> None:
    image = read_image(ref, DECODE)

    assert isinstance(image, Image)
    assert (image.width, image.height, image.source, image.pixels.shape) == (64, 48, "png 3x8", (32, 32, 3))


def test_an_image_beyond_a_limit_is_a_failure(ref: ImageRef, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(encode(picture(80, 80), "png"))

    assert read_image(ref, DECODE, max_bytes=100) == Failure(
        ref.path,
        "read",
        "FileTooLargeError",
        f"{ref.size:,} bytes: more than the 100 that are read",
        "print",
    )
    failure = read_image(ImageRef(str(large), 1, "print"), DECODE)
    assert isinstance(failure, Failure)
    assert (failure.stage, failure.error) == ("decode", "ImageTooLargeError")
    assert failure.message == "80 x 80 pixels: more than the 5,000 that are decoded"


def test_a_failure_that_may_pass_says_so(ref: ImageRef, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str, max_bytes: int) -> bytes:
        raise storage.TransientError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(storage, "read", fail)
    failure = read_image(ref, DECODE)
    assert isinstance(failure, Failure)
    assert (failure.error, failure.message) == (
        "TransientError",
        "Input/output error: the same command again may succeed",
    )


def test_one_that_will_not_pass_does_not(ref: ImageRef) -> None:
    failure = read_image(ref._replace(path=f"{ref.path}.gone"), DECODE)

    assert isinstance(failure, Failure)
    assert (failure.error, failure.message) == ("FileNotFoundError", "No such file or directory")


def test_a_file_for_which_there_is_no_memory_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    # Of more bytes than any machine has memory for; they take no room on the disk.
    size = 2**43
    with path.open("wb") as file:
        file.truncate(size)

    failure = read_image(ImageRef(str(path), size, "print"), DECODE, max_bytes=2 * size)

    assert failure == Failure(
        str(path), "read", "MemoryError", f"{size:,} bytes: more than there is memory for", "print"
    )


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
