"""Rasters: bands of any number, depth and layout, shown as the user says."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from pipelines.images import DecodeSettings, ImageError, decode, decode_resized
from pipelines.images.isolation import DecoderPool
from pipelines.images.products import PRODUCTS
from pipelines.images.rendering import NO_RENDERING, Rendering, read_rendering, rendering_of
from pipelines.images.tiff import rendering as tiff_rendering
from tests import icc_profiles
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

SAMPLE_FORMAT, PROFILE, METADATA = 339, 34675, 42112
FORMATS = {"u": 1, "i": 2, "f": 3}
STRETCH = ((1000.0, 4000.0), (500.0, 3000.0), (0.0, 6000.0))
BGR = Rendering((3, 2, 1), STRETCH)


def scene(bands: int, dtype: Any = np.uint16, height: int = 33, width: int = 47, seed: int = 0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    low, high = (0, 256) if dtype == np.uint8 else (-500 if dtype == np.int16 else 0, 7000)
    return random.integers(low, high, (height, width, bands)).astype(dtype)


def named(samples: NDArray[Any], *names: str) -> bytes:
    """Write a TIFF whose bands GDAL has named."""
    items = "".join(
        f'<Item name="DESCRIPTION" sample="{number}" role="description">{name}</Item>'
        for number, name in enumerate(names)
    )
    metadata = f"<GDALMetadata>{items}</GDALMetadata>\0".encode()
    return files.tiff(samples, files.BLACK_IS_ZERO, tags={METADATA: ("B", list(metadata))})


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
    reason = r"whose band 3 is named 'Blue', but in planet-analytic red, green and blue are bands 3, 2, 1; say --bands"
    assert_refused(named(scene(4), "Red", "Green", "Blue", "NIR"), reason, rendering=product)
    reason = "whose band 3 is named 'B2, 490 nm'"
    assert_refused(named(scene(4), "B4, 665 nm", "B3, 560 nm", "B2, 490 nm"), reason, rendering=product)
    reason = "that names bands 5, 3, 1 red, green and blue"
    eight = rendering_of("planet-analytic-8b-sr")
    assert_refused(named(scene(8), "Blue", "", "Green", "", "Red"), reason, rendering=eight)


PLANETS_8 = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")


@pytest.mark.parametrize("rendering", [rendering_of("planet-analytic-8b-sr"), Rendering(stretch=STRETCH)])
@pytest.mark.parametrize("names", [PLANETS_8, [name.replace("_", " ").title() for name in PLANETS_8]])
def test_bands_of_which_others_have_other_names_are_shown(rendering: Rendering, names: Sequence[str]) -> None:
    samples = scene(8)

    decoded = decode(named(samples, *names), rendering=rendering)
    assert decoded.repairs == ("bands_642", "extra_band_dropped", "stretched")
    assert np.abs(decoded.pixels - shown(samples, Rendering((6, 4, 2), rendering.stretch))).max() <= 0.51


def test_numbered_bands_of_a_raster_are_those_that_the_user_says() -> None:
    reason = "does not say which are red, green and blue; give --bands"
    assert_refused(named(scene(4), "B2", "B3", "B4", "B8"), reason, rendering=Rendering(stretch=STRETCH))


def test_a_single_band_that_is_no_picture_is_not_shown() -> None:
    assert_refused(named(scene(1), "elevation"), "it is not a picture", rendering=Rendering(stretch=((0, 5000),) * 3))


def test_many_bands_are_not_counted_as_pixels() -> None:
    samples = np.zeros((600, 600, 250), np.uint8)
    samples[..., 0] = 200
    with warnings.catch_warnings():
        # Pillow's, of as many pixels as there are samples here.
        warnings.simplefilter("error")
        decoded = decode(files.tiff(samples, files.BLACK_IS_ZERO), rendering=Rendering((1, 2, 3)))
    assert decoded.pixels.reshape(-1, 3).min(axis=0).tolist() == [200, 0, 0]


@pytest.mark.parametrize(
    ("data", "rendering", "reason"),
    [
        (files.tiff(scene(4), files.RGB), Rendering(stretch=STRETCH), "does not say which are red, green and blue"),
        (files.tiff(scene(2), files.BLACK_IS_ZERO), BGR, "2 bands, but --bands names band 3"),
        (files.tiff(scene(1), files.BLACK_IS_ZERO), BGR, "1 band, but --bands names band 3"),
        (files.tiff(scene(251), files.BLACK_IS_ZERO), BGR, "251 bands: more than 250"),
        (
            files.tiff(scene(4), files.RGB, tags={SAMPLE_FORMAT: ("H", [3] * 4)}),
            BGR,
            "floating-point samples of 16 bits",
        ),
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


@pytest.mark.parametrize(
    "data",
    [
        files.tiff(scene(4), files.CMYK),
        files.tiff(scene(1, np.int16), files.WHITE_IS_ZERO, tags={SAMPLE_FORMAT: ("H", [2])}),
        files.tiff(scene(4, np.uint32), files.RGB),
        files.tiff(scene(2, np.uint8), files.BLACK_IS_ZERO),
    ],
    ids=["CMYK", "white is zero", "32 bits", "two bands"],
)
def test_no_flags_are_asked_for_that_would_not_help(data: bytes) -> None:
    for rendering in (NO_RENDERING, BGR):
        with pytest.raises(ImageError) as refused:
            decode(data, rendering=rendering)
        assert "--" not in str(refused.value)


def test_flags_are_asked_for_that_help() -> None:
    assert_refused(files.tiff(scene(5, np.uint8), files.BLACK_IS_ZERO), "red, green and blue with --bands")


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


P2_P98 = Rendering((3, 2, 1), percentiles=((2, 98),) * 3)


@pytest.mark.parametrize("rendering", [BGR, P2_P98, NO_RENDERING, *map(rendering_of, PRODUCTS)])
def test_a_rendering_survives_json(rendering: Rendering) -> None:
    assert read_rendering(rendering.described()) == rendering


@pytest.mark.parametrize(
    "described",
    [
        *(None, [], {}, {"bands": [1, 2], "stretch": []}, {"bands": [0, 1, 2], "stretch": []}),
        *({"bands": ["1", 2, 3], "stretch": []}, {"bands": [1, 2, True], "stretch": []}),
        *({"bands": [], "stretch": [[1, 1]] * 3}, {"bands": [], "stretch": [[0, "x"]] * 3}),
        *({"bands": [], "stretch": ["ab"] * 3}, {"bands": [], "stretch": [[0, float("inf")]] * 3}),
        *({"bands": [], "stretch": [[0, 10**400]] * 3}, {"bands": [], "stretch": [[False, True]] * 3}),
        *({"bands": [], "stretch": [[0, 1e-40]] * 3}, {"bands": [], "stretch": [[0, 1, 2]] * 3}),
        *(
            {"bands": [3, 2, 1], "stretch": [], "product": "landsat"},
            {"bands": [3, 2, 1], "stretch": [], "product": []},
        ),
        *({"bands": [3, 2, 1], "stretch": [], "product": {}}, {"bands": [3, 2, 1], "stretch": [], "product": 1}),
        {"bands": [1, 2, 3], "stretch": [], "product": "planet-analytic"},
        {"bands": [], "stretch": [], "percentiles": [[2, 101]] * 3},
        {"bands": [], "stretch": [], "percentiles": [[2, 98]]},
        {"bands": [], "stretch": [[0, 1]] * 3, "percentiles": [[2, 98]] * 3},
    ],
)
def test_a_malformed_rendering_is_refused(described: Any) -> None:
    with pytest.raises(ValueError, match=r"malformed|neither"):
        read_rendering(described)


@pytest.mark.parametrize(
    ("rendering", "flags"),
    [
        (NO_RENDERING, ""),
        (rendering_of("planet-analytic"), "--product=planet-analytic"),
        (P2_P98, "--bands=3,2,1 --stretch=p2:p98,p2:p98,p2:p98"),
        (Rendering((3, 2, 1), (), "sentinel-2-l2a"), "--product=sentinel-2-l2a --bands=3,2,1"),
        (
            Rendering((3, 2, 1), STRETCH, "planet-analytic"),
            "--product=planet-analytic --stretch=1000:4000,500:3000,0:6000",
        ),
        (Rendering((), ((-1234.5678, 1000001),) * 3), f"--stretch={','.join(['-1234.5678:1000001'] * 3)}"),
    ],
)
def test_a_rendering_is_written_as_the_flags_that_say_it(rendering: Rendering, flags: str) -> None:
    assert str(rendering) == flags


def test_bands_that_are_said_are_not_those_of_a_product() -> None:
    product = rendering_of("planet-analytic")
    assert Rendering((1, 2, 3)).over(product) == Rendering((1, 2, 3), product.stretch)
    assert Rendering(stretch=STRETCH).over(product) == Rendering((3, 2, 1), STRETCH, "planet-analytic")
    assert Rendering(percentiles=STRETCH).over(product) == Rendering((3, 2, 1), (), "planet-analytic", STRETCH)


def test_bands_that_are_said_of_a_product_without_an_order_leave_it_what_it_is() -> None:
    product = rendering_of("sentinel-2-l2a")
    assert Rendering((1, 2, 3)).over(product) == Rendering((1, 2, 3), (), "sentinel-2-l2a")
    assert Rendering(stretch=STRETCH).over(product) == Rendering((), STRETCH, "sentinel-2-l2a")
    assert product.over(BGR) == product
    assert rendering_of("landsat-8-l2").over(product) == rendering_of("landsat-8-l2")


def test_a_chip_has_no_percentiles_of_its_own() -> None:
    data = files.tiff(scene(4), files.RGB)
    assert_refused(data, "percentiles are those of a scene; give values, e.g. --stretch 0:3000", rendering=P2_P98)
    picture = files.tiff(files.picture(), files.RGB)
    assert decode(picture, rendering=Rendering(percentiles=P2_P98.percentiles)).repairs == ()
