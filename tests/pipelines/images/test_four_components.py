"""What the fourth component of a JPEG is, where the file says it and where it does not."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipelines.images import ImageError, decode
from tests import ROOT, icc_profiles
from tests import image_files as files
from tests.pipelines.images.decoding import (
    GRAY,
    MASKED,
    RGB,
    RGBA,
    UNMARKED,
    assert_close,
    assert_decodes,
    assert_refused,
    from_inks,
    from_ycc,
)


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 6), columns=st.integers(1, 6))
def test_unmarked_rgba_gives_back_the_stored_rgb(seed: int, rows: int, columns: int) -> None:
    rgb = files.mosaic(rows, columns, seed=seed)
    assert_decodes(files.unmarked_rgba_jpeg(rgb), rgb, "jpeg 4x8", UNMARKED)


def test_an_unmarked_rgba_too_large_for_one_piece_of_memory_is_read_alike() -> None:
    rgb = np.tile(files.mosaic(10, 10), (27, 27, 1))
    pillow_splits_images_above = 2**24
    assert rgb.shape[0] * rgb.shape[1] * 4 > pillow_splits_images_above
    assert_decodes(files.unmarked_rgba_jpeg(rgb), rgb, "jpeg 4x8", UNMARKED)


@pytest.mark.parametrize("alignment", ["1", "64"])
def test_an_unmarked_rgba_is_right_however_pillow_aligns_rows(alignment: str, tmp_path: Path) -> None:
    rgb = files.mosaic(5, 3)
    (tmp_path / "x.jpg").write_bytes(files.unmarked_rgba_jpeg(rgb))
    program = (
        "import pathlib, sys; from pipelines.images import decode;"
        f"sys.stdout.buffer.write(decode(pathlib.Path({str(tmp_path / 'x.jpg')!r}).read_bytes()).pixels.tobytes())"
    )
    decoded = subprocess.check_output(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PILLOW_ALIGNMENT": alignment},
    )
    assert_close(np.frombuffer(decoded, np.uint8).reshape(rgb.shape), rgb)


@pytest.mark.parametrize("ids", [b"\0\1\2\3", b"\1\2\3\4", b"RGBA", b"CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_constant_fourth_component_decides_whatever_the_ids(ids: bytes, progressive: bool) -> None:
    stored = np.dstack([RGB, np.full(GRAY.shape, 255, np.uint8)])
    data = files.four_component_jpeg(stored, ids=ids, progressive=progressive)
    assert_decodes(data, RGB, "jpeg 4x8", UNMARKED)


def test_one_flat_colour_is_still_a_picture() -> None:
    flat = np.full_like(RGB, (10, 200, 30))
    assert_decodes(files.unmarked_rgba_jpeg(flat), flat, "jpeg 4x8", UNMARKED)


Y, X = np.mgrid[0 : GRAY.shape[0], 0 : GRAY.shape[1]]
MASKS = {
    "left edge": X >= 8,
    "frame": (X >= 8) & (X < 40) & (Y >= 8) & (Y < 24),
    "corner": X + Y >= 20,
    "disc": (X - 24) ** 2 + (Y - 16) ** 2 < 200,
    "hole": (X - 24) ** 2 + (Y - 16) ** 2 > 60,
    "slanted strip": np.abs(X - Y - 8) < 12,
    "one block": (X < 8) & (Y < 8),
    "all but one pixel": (X > 0) | (Y > 0),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("quality", [90, 100])
def test_a_masked_fourth_component_is_dropped(name: str, quality: int) -> None:
    mask = (MASKS[name] * 255).astype(np.uint8)
    rgb = files.picture(GRAY.shape[0], GRAY.shape[1], seed=1)
    data = files.unmarked_rgba_jpeg(rgb, mask, quality=quality)
    assert_decodes(data, stored_components(data)[..., :3], "jpeg 4x8", MASKED)
    assert_close(decode(data).pixels, rgb, 2 if quality == 100 else 12)


@given(
    mask=st.lists(st.sampled_from([0, 255]), min_size=24, max_size=24),
    seed=st.integers(0, 2**32 - 1),
    quality=st.integers(30, 100),
)
@example(mask=[0] * 24, seed=0, quality=100)
@example(mask=[255] * 23 + [0], seed=0, quality=30)
def test_masks_of_any_shape_give_the_stored_rgb_or_nothing(mask: list[int], seed: int, quality: int) -> None:
    fourth = np.array(mask, np.uint8).reshape(4, 6).repeat(8, axis=0).repeat(8, axis=1)
    data = files.unmarked_rgba_jpeg(files.mosaic(seed=seed), fourth, quality=quality)
    try:
        decoded = decode(data)
    except ImageError as error:
        assert sum(mask) <= 2 * 255, f"refused although much is visible: {error}"  # noqa: PT017
        return
    assert decoded.repairs in (UNMARKED, MASKED)
    assert_close(decoded.pixels, stored_components(data)[..., :3])


@pytest.mark.parametrize(
    "fourth",
    [np.zeros_like(GRAY), np.full_like(GRAY, 128), GRAY, (X * 255 / X.max()).astype(np.uint8)],
    ids=["all transparent", "half", "another picture", "slope"],
)
def test_a_fourth_component_that_is_no_mask_is_not_decided(fourth: NDArray[np.uint8]) -> None:
    assert_refused(files.unmarked_rgba_jpeg(RGB, fourth), "may be black ink, opacity or another band")


def test_a_file_that_says_cmyk_is_not_taken_for_a_masked_picture() -> None:
    # A picture printed over by black, as maps are: its fourth component looks like a mask.
    ink = np.zeros(RGB.shape[:2], np.uint8)
    ink[8:24, 8:32] = 255
    stored = np.dstack([RGB, ink])
    assert_refused(files.four_component_jpeg(stored, ids=b"CMYK"), "may be black ink, opacity or another band")
    assert decode(files.four_component_jpeg(stored, icc_profile=icc_profiles.cmyk())).repairs == ("cmyk", "icc_to_srgb")


def test_black_text_on_a_flat_ground_is_no_masked_picture() -> None:
    flat = np.full_like(RGB, (0, 20, 60)) + RGB // 32
    assert_refused(files.unmarked_rgba_jpeg(flat, (MASKS["disc"] * 255).astype(np.uint8)), "may be black ink")


@given(seed=st.integers(0, 2**32 - 1))
def test_adobe_cmyk_is_stored_inverted(seed: int) -> None:
    stored = files.mosaic(bands=4, seed=seed)
    data = files.four_component_jpeg(stored, adobe=0)
    assert_decodes(data, from_inks(255 - stored), "jpeg 4x8", ["cmyk_inverted"], within=1)


@given(seed=st.integers(0, 2**32 - 1))
def test_adobe_ycck_is_inverted_cmyk_in_ycc(seed: int) -> None:
    stored = files.mosaic(bands=4, seed=seed)
    # T.872: what the first three components encode as YCbCr is RGB = 255 - CMY, of values that are inverted already.
    inks = np.dstack([from_ycc(stored), 255 - stored[..., 3]])
    assert_decodes(files.four_component_jpeg(stored, adobe=2), from_inks(inks), "jpeg 4x8", ["ycck"], within=1)


def test_ycck_that_was_converted_from_rgb_gives_that_rgb_back() -> None:
    rgb = files.picture()
    inks = 255 - rgb.astype(float)
    # Inverted inks are the RGB; in YCCK they are stored as the YCC of 255 minus themselves.
    y = inks @ [0.299, 0.587, 0.114]
    ycc = np.dstack([y, (inks[..., 2] - y) / 1.772 + 128, (inks[..., 0] - y) / 1.402 + 128])
    stored = np.dstack([np.clip(np.rint(ycc), 0, 255), np.full(y.shape, 255)]).astype(np.uint8)
    assert_close(decode(files.four_component_jpeg(stored, adobe=2)).pixels, rgb, 4)


@given(seed=st.integers(0, 2**32 - 1))
def test_cmyk_by_its_ids_is_not_inverted(seed: int) -> None:
    stored = files.mosaic(bands=4, seed=seed)
    data = files.four_component_jpeg(stored, ids=b"CMYK")
    assert_decodes(data, from_inks(stored), "jpeg 4x8", ["cmyk"], within=1)


def test_an_adobe_marker_with_an_impossible_transform_is_refused() -> None:
    assert_refused(files.four_component_jpeg(RGBA, adobe=1), "unknown Adobe transform 1")


def stored_components(data: bytes) -> NDArray[np.uint8]:
    """Read a 4-component JPEG's components by Pillow, which inverts them."""
    with Image.open(io.BytesIO(data)) as image:
        return 255 - np.asarray(image)
