"""Rasters: bands of any number, depth and layout, shown as the user says."""

from __future__ import annotations

import io
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from pipelines.images import decode
from pipelines.images.rendering import Rendering, rendering_of
from pipelines.images.tiff import rendering as tiff_rendering
from tests import icc_profiles
from tests import image_files as files
from tests.pipelines.images.decoding import assert_refused
from tests.pipelines.images.raster_files import (
    BGR,
    FORMATS,
    PROFILE,
    SAMPLE_FORMAT,
    STRETCH,
    assert_shown,
    named,
    scene,
    shown,
)
from tests.pipelines.images.test_tiff_layouts import CODES, PREDICTED, TILE_HEIGHT, TILE_WIDTH, Tags, write
from tests.pipelines.images.tiff_files import (
    BITS,
    COMPRESSION,
    HEIGHT,
    NO_DATA,
    PLANES,
    PREDICTOR,
    SAMPLES,
    STRIP_ROWS,
    WIDTH,
)


@pytest.mark.parametrize("seed", range(60))
def test_bands_of_any_layout_have_the_values_that_were_stored(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(seed)
    # As few rows at a time as of a large image.
    monkeypatch.setattr(tiff_rendering, "STRIP_PIXELS", int(random.choice([1, 1000, 1_000_000])))
    dtype = [np.uint16, np.int16, np.float32][int(random.integers(3))]
    bands = int(random.choice([3, 4, 8]))
    height, width = random.integers(1, 50, 2).tolist()
    samples = scene(bands, dtype, height, width, seed)
    order, compression = str(random.choice(["<", ">"])), int(random.choice(list(CODES)))
    predictors = [1, 1, 2, 3 if dtype == np.float32 else 2]
    predictor = int(random.choice(predictors)) if compression in PREDICTED else 1
    tiled, planar = bool(random.random() < 0.5), bool(random.random() < 0.5)
    rows, columns = (16 * random.integers(1, 4, 2)).tolist() if tiled else (int(random.integers(1, height + 9)), width)

    def code(piece: NDArray[Any]) -> bytes:
        if tiled:
            piece = np.pad(piece, ((0, rows - piece.shape[0]), (0, columns - piece.shape[1]), (0, 0)))
        if predictor == 2:
            bits = piece.view(f"u{piece.dtype.itemsize}")
            piece = np.concatenate([bits[:, :1], np.diff(bits, axis=1)], axis=1)
        if predictor == 3:
            # Adobe's technical note 3: the highest bytes of all samples of a row, then the next ones, as differences.
            raw = piece.astype(">f4").tobytes()
            size = piece[0].size
            by_significance = [
                raw[row * size * 4 :][: size * 4][place::4] for row in range(len(piece)) for place in range(4)
            ]
            of_bands = np.frombuffer(b"".join(by_significance), np.uint8).reshape(len(piece), -1, piece.shape[2])
            return CODES[compression](np.diff(of_bands, axis=1, prepend=np.uint8(0)).tobytes())
        return CODES[compression](piece.astype(piece.dtype.newbyteorder(order)).tobytes())  # type: ignore[arg-type]

    pieces = [
        code(samples[top : top + rows, left : left + columns, of_piece])
        for of_piece in ([slice(band, band + 1) for band in range(bands)] if planar else [slice(0, bands)])
        for top in range(0, height, rows)
        for left in range(0, width, columns)
    ]
    tags: Tags = {
        WIDTH: ("I", [width]),
        HEIGHT: ("I", [height]),
        BITS: ("H", [samples.dtype.itemsize * 8] * bands),
        SAMPLES: ("H", [bands]),
        COMPRESSION: ("H", [compression]),
        PLANES: ("H", [2 if planar else 1]),
        PREDICTOR: ("H", [predictor]),
        SAMPLE_FORMAT: ("H", [FORMATS[samples.dtype.kind]] * bands),
        **({TILE_WIDTH: ("I", [columns]), TILE_HEIGHT: ("I", [rows])} if tiled else {STRIP_ROWS: ("I", [rows])}),
    }
    photometric = int(random.choice([files.RGB, files.BLACK_IS_ZERO]))
    data, _ = write(pieces, tags, photometric, order=order, big=bool(random.random() < 0.5), as_tiles=tiled)

    left_out = ["extra_band_dropped"] if bands > 3 else []
    assert_shown(data, samples, BGR, ["bands_321", *left_out, "stretched"])


@pytest.mark.parametrize("compression", [1, 32773])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_predictor_counts_only_in_codes_that_know_of_one(dtype: Any, compression: int) -> None:
    samples = scene(3, dtype)
    tags: Tags = {
        **{WIDTH: ("I", [47]), HEIGHT: ("I", [33]), BITS: ("H", [samples.dtype.itemsize * 8] * 3)},
        **{SAMPLES: ("H", [3]), COMPRESSION: ("H", [compression]), PREDICTOR: ("H", [2]), STRIP_ROWS: ("I", [33])},
        SAMPLE_FORMAT: ("H", [FORMATS[samples.dtype.kind]] * 3),
    }
    data, _ = write([CODES[compression](samples.tobytes())], tags, files.RGB, order="<", big=False, as_tiles=False)

    decoded = decode(data, rendering=BGR)
    expected = samples[..., ::-1] if dtype == np.uint8 else shown(samples, BGR)
    assert np.abs(decoded.pixels - expected.astype(float)).max() <= 0.51


@pytest.mark.parametrize(("dtype", "predictor"), [(np.uint16, 3), (np.uint8, 3), (np.uint16, 5), (np.float32, 5)])
def test_a_predictor_that_is_undefined_is_refused(dtype: Any, predictor: int) -> None:
    samples = scene(3, dtype)
    tags: Tags = {
        **{WIDTH: ("I", [47]), HEIGHT: ("I", [33]), BITS: ("H", [samples.dtype.itemsize * 8] * 3)},
        **{SAMPLES: ("H", [3]), COMPRESSION: ("H", [8]), PREDICTOR: ("H", [predictor]), STRIP_ROWS: ("I", [33])},
        SAMPLE_FORMAT: ("H", [FORMATS[samples.dtype.kind]] * 3),
    }
    data, _ = write([zlib.compress(samples.tobytes())], tags, files.RGB, order="<", big=False, as_tiles=False)

    assert_refused(data, "cannot be decoded as TIFF", rendering=BGR)


def test_bits_beyond_those_of_the_bands_do_not_count() -> None:
    samples = scene(3, np.uint8)
    data = files.tiff(samples, files.RGB, tags={BITS: ("H", [8, 8, 8, 16])})

    assert np.array_equal(decode(data, rendering=BGR).pixels, samples[..., ::-1])


@pytest.mark.parametrize("planar", [False, True])
def test_bands_of_8_bits_are_levels_already(planar: bool) -> None:
    samples = scene(5, np.uint8)
    data = files.tiff(samples, files.BLACK_IS_ZERO, planar=planar)

    assert_refused(data, "5-band TIFF")
    decoded = decode(data, rendering=Rendering((5, 1, 3), STRETCH))
    assert np.array_equal(decoded.pixels, samples[..., [4, 0, 2]])
    assert decoded.repairs == ("bands_513", "extra_band_dropped")


def test_bands_that_the_file_names_need_only_a_stretch() -> None:
    samples = scene(4)
    data = named(samples, "Blue", "Green", "Red", "NIR")

    repairs = ["bands_321", "extra_band_dropped", "stretched"]
    decoded = decode(data, rendering=Rendering(stretch=STRETCH))
    assert decoded.repairs == tuple(repairs)
    assert_shown(data, samples, BGR, repairs)


def test_a_single_band_is_gray_between_the_ends_of_the_only_range() -> None:
    samples = scene(1)
    data = files.tiff(samples, files.BLACK_IS_ZERO)
    one_range = Rendering(stretch=((0, 5000),) * 3)

    assert_refused(data, "it is unknown how bright white is")
    decoded = decode(data, rendering=one_range)
    assert np.abs(decoded.pixels - np.clip(samples * (255 / 5000), 0, 255)).max() <= 0.51
    assert decoded.repairs == ("stretched", "grayscale")
    assert_refused(data, "one band, but --stretch says three ranges", rendering=Rendering(stretch=STRETCH))


def test_values_that_are_no_numbers_are_black_and_those_beyond_the_range_are_its_ends() -> None:
    samples = np.zeros((2, 3, 3), np.float32)
    samples[0] = [[np.nan] * 3, [-np.inf] * 3, [np.inf] * 3]
    samples[1, 0] = 0.15
    tags: Tags = {SAMPLE_FORMAT: ("H", [3] * 3)}

    decoded = decode(files.tiff(samples, files.RGB, tags=tags), rendering=Rendering((1, 2, 3), ((0, 0.3),) * 3))
    assert decoded.pixels[..., 0].tolist() == [[0, 0, 255], [128, 0, 0]]


@pytest.mark.parametrize(
    ("dtype", "value", "written"),
    [
        *(
            (np.uint16, 0, b"0"),
            (np.uint16, 65535, b"65535"),
            (np.int16, -9999, b"-9999"),
            (np.float32, np.nan, b"nan"),
        ),
        *(
            (np.float32, -9999, b"-9999"),
            (np.float32, np.nan, b"0"),
            (np.float32, -3.4028235e38, b"-3.40282346638529e+38"),
        ),
    ],
)
def test_pixels_without_data_are_named(dtype: Any, value: float, written: bytes) -> None:
    samples = scene(4, dtype)
    # Other values than this one.
    samples[samples == 0] = 1
    tags: Tags = {NO_DATA: ("B", list(written + b"\0")), SAMPLE_FORMAT: ("H", [FORMATS[samples.dtype.kind]] * 4)}
    repairs = ["bands_321", "extra_band_dropped", "stretched"]
    assert_shown(files.tiff(samples, files.RGB, tags=tags), samples, BGR, repairs)

    samples[:5] = value
    decoded = decode(files.tiff(samples, files.RGB, tags=tags), rendering=BGR)
    assert decoded.repairs == ("no_data_kept", *repairs)
    assert np.abs(decoded.pixels - np.nan_to_num(shown(samples, BGR))).max() <= 0.51


@pytest.mark.parametrize("written", [b"-9999", b"nan", b"1e300", b"0.5", b"65536", b"none", b""])
def test_no_data_that_no_sample_can_hold_changes_nothing(written: bytes) -> None:
    samples = scene(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = files.tiff(samples, files.RGB, tags={NO_DATA: ("B", list(written + b"\0"))})
        assert_shown(data, samples, BGR, ["bands_321", "extra_band_dropped", "stretched"])


@pytest.mark.parametrize("predictor", [1, 2, 3])
@pytest.mark.parametrize(
    ("dtype", "value", "written"),
    [(np.uint16, 1500, b"1500"), (np.int16, -1500, b"-1500"), (np.float32, 1234.5, b"1234.5"), (np.uint16, 0, b"")],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_strips_that_are_left_out_hold_no_data_in_the_type_of_the_samples(
    order: str, dtype: Any, value: float, written: bytes, predictor: int
) -> None:
    samples = np.full((4, 6), value, dtype)
    samples[:2] = 1000 if predictor == 1 else 0
    stored = zlib.compress(samples[:2].astype(samples.dtype.newbyteorder(order)).tobytes())
    tags: Tags = {
        **{BITS: ("H", [samples.dtype.itemsize * 8]), COMPRESSION: ("H", [8])},
        **{SAMPLE_FORMAT: ("H", [FORMATS[samples.dtype.kind]]), NO_DATA: ("B", list(written + b"\0"))},
        **{WIDTH: ("I", [6]), HEIGHT: ("I", [4]), STRIP_ROWS: ("I", [2]), SAMPLES: ("H", [1])},
        PREDICTOR: ("H", [predictor if predictor < 3 or dtype == np.float32 else 2]),
    }
    data, _ = write([stored, b""], tags, files.BLACK_IS_ZERO, order=order, big=False, as_tiles=False)

    one_range = Rendering((1, 1, 1), ((-3000, 3000),) * 3)
    decoded = decode(data, rendering=one_range)
    assert np.abs(decoded.pixels - shown(samples[..., None], one_range)).max() <= 0.51


def test_masks_and_profiles_of_rasters_are_named() -> None:
    samples = scene(4)
    profile = icc_profiles.rgb(1.8, [(0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)])
    data = files.tiff(samples, files.RGB, tags={PROFILE: ("B", list(profile))})

    assert_shown(data, samples, BGR, ["bands_321", "extra_band_dropped", "stretched", "icc_ignored"])

    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, new=True) as writer:
        for kind, picture in ((0, files.picture()), (4, files.picture())):
            Image.fromarray(picture).save(writer, "tiff", tiffinfo={254: kind})
            writer.newFrame()
    assert decode(buffer.getvalue(), rendering=Rendering((3, 2, 1))).repairs == ("bands_321", "mask_dropped")


def test_numbers_of_bands_beyond_9_are_kept_apart() -> None:
    samples = scene(12)
    for bands, repair in (((12, 1, 2), "bands_12_1_2"), ((1, 12, 2), "bands_1_12_2")):
        rendering = Rendering(bands, STRETCH)
        assert_shown(files.tiff(samples, files.RGB), samples, rendering, [repair, "extra_band_dropped", "stretched"])


def test_a_product_is_that_of_its_files_alone() -> None:
    product = rendering_of("planet-analytic")
    picture = files.tiff(files.picture(), files.RGB)
    assert np.array_equal(decode(picture, rendering=product).pixels, decode(picture).pixels)
    assert decode(picture, rendering=product).repairs == ()

    gray = files.tiff(files.deep(files.picture()[..., 0]), files.BLACK_IS_ZERO)
    assert decode(gray, rendering=product).repairs == ("depth_scaled", "grayscale")

    for bands in (2, 3, 8):
        reason = f"{bands} bands, but files of planet-analytic have 4; choose its product"
        assert_refused(files.tiff(scene(bands), files.BLACK_IS_ZERO), reason, rendering=product)


def test_a_product_does_not_contradict_the_names_of_bands() -> None:
    product = rendering_of("planet-analytic")
    assert decode(named(scene(4), "Blue", "Green", "Red", "NIR"), rendering=product).repairs[0] == "bands_321"
    reason = r"whose band 3 is named 'Blue', but in planet-analytic red, green and blue are bands 3, 2, 1; give --bands"
    assert_refused(named(scene(4), "Red", "Green", "Blue", "NIR"), reason, rendering=product)
    reason = "whose band 3 is named 'B2, 490 nm'"
    assert_refused(named(scene(4), "B4, 665 nm", "B3, 560 nm", "B2, 490 nm"), reason, rendering=product)
    reason = "that names bands 5, 3, 1 red, green and blue"
    eight = rendering_of("planet-analytic-8b-sr")
    assert_refused(named(scene(8), "Blue", "", "Green", "", "Red"), reason, rendering=eight)
