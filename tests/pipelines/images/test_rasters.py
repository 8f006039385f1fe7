"""Rasters: bands of any number, depth and layout, shown as the user says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.images import DecodeSettings, decode, decode_resized
from pipelines.images.isolation import DecoderPool
from pipelines.images.rendering import NO_RENDERING, PRODUCTS, Rendering, read_rendering
from tests import image_files as files
from tests.pipelines.images.decoding import assert_refused
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

SAMPLE_FORMAT, METADATA = 339, 42112
FORMATS = {"u": 1, "i": 2, "f": 3}
STRETCH = ((1000.0, 4000.0), (500.0, 3000.0), (0.0, 6000.0))
BGR = Rendering((3, 2, 1), STRETCH)


def scene(bands: int, dtype: Any = np.uint16, height: int = 33, width: int = 47, seed: int = 0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    low, high = (0, 256) if dtype == np.uint8 else (-500 if dtype == np.int16 else 0, 7000)
    return random.integers(low, high, (height, width, bands)).astype(dtype)


def shown(samples: NDArray[Any], rendering: Rendering) -> NDArray[Any]:
    """Show bands by the definition, in double precision."""
    levels = []
    for band, (low, high) in zip(rendering.bands, rendering.stretch, strict=True):
        levels.append(np.clip((samples[..., band - 1].astype(float) - low) * 255 / (high - low), 0, 255))
    return np.stack(levels, axis=-1)


def assert_shown(data: bytes, samples: NDArray[Any], rendering: Rendering, repairs: Sequence[str]) -> None:
    decoded = decode(data, rendering=rendering)
    difference = np.abs(decoded.pixels - shown(samples, rendering)).max()
    # Rounding, and no more.
    assert difference <= 0.51, f"differs by {difference} levels"
    assert decoded.repairs == tuple(repairs)


@pytest.mark.parametrize("seed", range(60))
def test_bands_of_any_layout_have_the_values_that_were_stored(seed: int) -> None:
    random = np.random.default_rng(seed)
    dtype = [np.uint16, np.int16, np.float32][int(random.integers(3))]
    bands = int(random.choice([3, 4, 8]))
    height, width = random.integers(1, 50, 2).tolist()
    samples = scene(bands, dtype, height, width, seed)
    order, compression = str(random.choice(["<", ">"])), int(random.choice(list(CODES)))
    predictor = 2 if compression in PREDICTED and dtype != np.float32 and random.random() < 0.5 else 1
    tiled, planar = bool(random.random() < 0.5), bool(random.random() < 0.5)
    rows, columns = (16 * random.integers(1, 4, 2)).tolist() if tiled else (int(random.integers(1, height + 9)), width)

    def code(piece: NDArray[Any]) -> bytes:
        if tiled:
            piece = np.pad(piece, ((0, rows - piece.shape[0]), (0, columns - piece.shape[1]), (0, 0)))
        if predictor == 2:
            piece = np.concatenate([piece[:, :1], np.diff(piece, axis=1)], axis=1)
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
    items = "".join(
        f'<Item name="DESCRIPTION" sample="{number}" role="description">{name}</Item>'
        for number, name in enumerate(("Blue", "Green", "Red", "NIR"))
    )
    metadata = f"<GDALMetadata>{items}</GDALMetadata>\0".encode()
    data = files.tiff(samples, files.BLACK_IS_ZERO, tags={METADATA: ("B", list(metadata))})

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


def test_pixels_without_data_are_named() -> None:
    samples = scene(4)
    samples[:5] = 0
    data = files.tiff(samples, files.RGB, tags={NO_DATA: ("B", list(b"0\0"))})

    assert_shown(data, samples, BGR, ["no_data_kept", "bands_321", "extra_band_dropped", "stretched"])


@pytest.mark.parametrize(
    ("data", "rendering", "reason"),
    [
        (files.tiff(scene(4), files.RGB), Rendering(stretch=STRETCH), "does not say which are red, green and blue"),
        (files.tiff(scene(2), files.BLACK_IS_ZERO), BGR, "2 bands, but --bands names band 3"),
        (files.tiff(scene(4), files.RGB), NO_RENDERING, "--bands and --stretch, or --product"),
        (files.tiff(scene(4), files.RGB), Rendering((3, 2, 1)), "--bands and --stretch"),
        (files.tiff(scene(3, np.float64), files.RGB, tags={SAMPLE_FORMAT: ("H", [3] * 3)}), BGR, "64 bits"),
        (files.tiff(scene(4), files.RGB)[:-9000], BGR, "truncated|damaged"),
    ],
)
def test_rasters_of_which_too_little_is_said_or_stored_are_refused(
    data: bytes, rendering: Rendering, reason: str
) -> None:
    assert_refused(data, reason, rendering=rendering)


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_what_is_said_of_rasters_changes_no_picture(kind: str) -> None:
    data = files.encode(files.picture(), kind)

    assert decode(data, rendering=Rendering(stretch=STRETCH)).repairs == ()
    assert np.array_equal(decode(data, rendering=Rendering(stretch=STRETCH)).pixels, decode(data).pixels)


def test_a_process_of_its_own_shows_rasters_alike() -> None:
    data = files.tiff(scene(4), files.RGB)
    settings = DecodeSettings(16, "bilinear", rendering=BGR)
    pool = DecoderPool(settings, 20, 1)
    try:
        assert np.array_equal(pool.decode(data).pixels, decode_resized(data, settings).pixels)
    finally:
        pool.close()


@pytest.mark.parametrize("rendering", [BGR, NO_RENDERING, *(product.rendering for product in PRODUCTS.values())])
def test_a_rendering_survives_json(rendering: Rendering) -> None:
    assert read_rendering(rendering.described()) == rendering


@pytest.mark.parametrize(
    "described",
    [
        *(None, [], {}, {"bands": [1, 2], "stretch": []}, {"bands": [0, 1, 2], "stretch": []}),
        *({"bands": ["1", 2, 3], "stretch": []}, {"bands": [1, 2, True], "stretch": []}),
        *({"bands": [], "stretch": [[1, 1]] * 3}, {"bands": [], "stretch": [[0, "x"]] * 3}),
        {"bands": [], "stretch": [[0, 1, 2]] * 3},
    ],
)
def test_a_malformed_rendering_is_refused(described: Any) -> None:
    with pytest.raises(ValueError, match=r"malformed|neither"):
        read_rendering(described)
