"""Other decoders agree where they are right; where they are not is why there is one of our own."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.images import decode
from tests import image_files as files
from tests.pipelines.images.decoding import (
    DEEP_GRAY,
    DEEP_RGB,
    GRAY,
    PALETTE,
    RGBA,
    UNMARKED,
    assert_close,
    assert_decodes,
    assert_refused,
)

# Other decoders

ORDINARY = {
    "jpeg": files.encode(files.picture(), "jpeg", quality=90),
    "jpeg 4:4:4": files.encode(files.picture(), "jpeg", quality=90, subsampling=0),
    "jpeg of odd size": files.encode(files.picture(37, 53), "jpeg", quality=85),
    "progressive jpeg": files.encode(files.picture(), "jpeg", progressive=True),
    "gray jpeg": files.encode(files.picture(bands=1), "jpeg"),
    "rgb jpeg": files.encode(files.picture(), "jpeg", keep_rgb=True),
    "png": files.encode(files.picture(), "png"),
    "gray png": files.encode(files.picture(bands=1), "png"),
    "bitmap png": files.png(GRAY % 2, "L", bits=1),
    "palette png": files.png(GRAY, "P", chunks={b"PLTE": PALETTE.tobytes()}),
    "rgba png": files.png(RGBA, "RGBA"),
    "deep png": files.png(DEEP_RGB, "RGB"),
    "deep gray png": files.png(DEEP_GRAY, "L"),
    "bmp": files.encode(files.picture(), "bmp"),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_tensorflow_agrees_on_ordinary_files(tensorflow: Any, name: str) -> None:
    channels = 4 if name == "rgba png" else 3
    # TensorFlow's default is a faster and coarser transform than libjpeg's own.
    if "jpeg" in name:
        pixels = tensorflow.io.decode_jpeg(ORDINARY[name], channels=3, dct_method="INTEGER_ACCURATE").numpy()
    else:
        pixels = tensorflow.io.decode_image(ORDINARY[name], channels=channels).numpy()
    assert_close(decode(ORDINARY[name]).pixels, pixels[..., :3], 1)


@pytest.mark.parametrize("name", [name for name in ORDINARY if "jpeg" in name])
def test_djpeg_agrees_on_ordinary_jpegs(name: str) -> None:
    djpeg = shutil.which("djpeg")
    if djpeg is None:
        pytest.skip("djpeg is not installed: apt-get install libjpeg-turbo-progs")
    ppm = subprocess.run([djpeg, "-pnm"], input=ORDINARY[name], capture_output=True, check=True).stdout
    with Image.open(io.BytesIO(ppm)) as image:
        assert_close(decode(ORDINARY[name]).pixels, np.asarray(image.convert("RGB")), 1)


# Why there is a decoder of our own

ANALYTIC = files.tiff(files.deep(files.mosaic(bands=4)), files.RGB, tags={338: ("H", [2])})


def assert_tensorflow_sees_black(tensorflow: Any, data: bytes) -> None:
    for pixels in (tensorflow.io.decode_jpeg(data, channels=3), tensorflow.io.decode_image(data, channels=3)):
        assert not pixels.numpy().any()
    assert decode(data).pixels.any()


def assert_pillow_sees_eight_bit_rgba(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGBA"
    assert_refused(data, r"16-bit multi-band TIFF \(4 bands\)")


def test_tensorflow_decodes_unmarked_rgba_to_black(tensorflow: Any) -> None:
    assert_tensorflow_sees_black(tensorflow, files.unmarked_rgba_jpeg(files.picture()))


def test_pillow_opens_analytic_tiffs_as_eight_bit_rgba() -> None:
    assert_pillow_sees_eight_bit_rgba(ANALYTIC)


def test_tensorflow_decodes_real_chips_to_black(tensorflow: Any, planet: Path) -> None:
    assert_tensorflow_sees_black(tensorflow, (planet / "jpg" / "train_0.jpg").read_bytes())


def test_all_real_chips_decode_to_their_stored_rgb(planet: Path) -> None:
    paths = sorted((planet / "jpg").glob("*.jpg"))
    assert len(paths) == 20
    for path in paths:
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB"))
        assert_decodes(path.read_bytes(), expected, "jpeg 4x8", UNMARKED)


def test_all_real_analytic_chips_are_refused(planet: Path) -> None:
    paths = sorted((planet / "tif").glob("*.tif"))
    assert len(paths) == 6
    for path in paths:
        assert_pillow_sees_eight_bit_rgba(path.read_bytes())


def test_a_generated_chip_is_built_as_a_real_one_is(planet: Path) -> None:
    real = files.jpeg_segments((planet / "jpg" / "train_0.jpg").read_bytes())
    made = files.jpeg_segments(files.unmarked_rgba_jpeg(files.picture(256, 256)))
    kinds = [{segment.marker for segment in chip} for chip in (real, made)]
    assert kinds[0] == kinds[1]
    layouts = [next(part.payload for part in chip if part.marker == 0xC0) for chip in (real, made)]
    # Each third byte after the ids and the sampling names a quantization table, which is the encoder's choice.
    assert layouts[0][:6] == layouts[1][:6]
    assert layouts[0][6::3] == layouts[1][6::3]
    assert layouts[0][7::3] == layouts[1][7::3]
