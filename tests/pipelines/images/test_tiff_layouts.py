"""TIFFs of all layouts at once: whatever is combined, the pixels are those that were stored."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.images import ImageError, decode
from tests import image_files as files
from tests.pipelines.images.decoding import assert_close, from_inks
from tests.pipelines.images.tiff_files import (
    BITS,
    COMPRESSION,
    EXTRA,
    FILL_ORDER,
    HEIGHT,
    NO_DATA,
    PLANES,
    PREDICTOR,
    SAMPLES,
    STRIP_OFFSETS,
    STRIP_ROWS,
    STRIP_SIZES,
    WIDTH,
)

ORIENTATION, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES, SAMPLE_FORMAT = (
    274,
    320,
    322,
    323,
    324,
    325,
    339,
)
REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]
CODES: dict[int, Callable[[bytes], bytes]] = {
    1: bytes,
    8: zlib.compress,
    32946: zlib.compress,
    34925: lambda raw: lzma.compress(raw, preset=0),
    32773: lambda raw: b"".join(bytes((len(raw[at : at + 9]) - 1,)) + raw[at : at + 9] for at in range(0, len(raw), 9)),
}
PREDICTED = (8, 32946, 34925)
COLOURS = {files.WHITE_IS_ZERO: 1, files.BLACK_IS_ZERO: 1, files.RGB: 3, files.PALETTE: 1, files.CMYK: 4}
UNSPECIFIED, PREMULTIPLIED, ALPHA = 0, 1, 2
Tags = dict[int, tuple[str, Sequence[int]]]


class Drawn(NamedTuple):
    """A TIFF, what it must look like as stored, how it is turned, and the tags that describe it."""

    data: bytes
    expected: NDArray[Any]
    orientation: int
    tags: Tags


class Picture(NamedTuple):
    """Samples to store, the same before they are multiplied by opacity, and what they stand for."""

    stored: NDArray[np.uint16]
    plain: NDArray[np.uint16]
    photometric: int
    bits: int
    extra: list[int]
    palette: NDArray[np.uint16]


@pytest.mark.parametrize("seed", range(100))
def test_a_tiff_of_any_layout_has_the_pixels_that_were_stored(seed: int) -> None:
    assert find_difference(seed) is None


@pytest.mark.parametrize("seed", range(50))
def test_a_tiff_of_any_layout_whose_first_piece_ends_early_is_refused(seed: int) -> None:
    assert refuses_short(seed)


def refuses_short(seed: int) -> bool:
    """Decode a TIFF of a layout drawn by number whose first strip or tile lacks some bytes."""
    try:
        decode(draw(np.random.default_rng(seed), short=1 + seed % 3).data)
    except ImageError:
        return True
    return False


def find_difference(seed: int) -> str | None:
    """Decode a TIFF of a layout drawn by number; say what is wrong with its pixels, if anything is."""
    drawn = draw(np.random.default_rng(seed))
    tags = {tag: values for tag, (_, values) in drawn.tags.items() if len(values) < 9}
    try:
        pixels = decode(drawn.data).pixels
        # A level of a product by opacity is up to 255 / 60 levels of the colour.
        assert_close(pixels, files.turned(drawn.expected, drawn.orientation), within=5)
    except (AssertionError, ImageError) as error:
        return f"{error}; tags {tags}"
    return None


def draw(random: np.random.Generator, short: int = 0) -> Drawn:
    """Draw a layout, and write a picture in it, the first piece of which lacks some bytes."""
    picture = draw_picture(random)
    height, width, bands = picture.stored.shape
    order, compression = str(random.choice(["<", ">"])), int(random.choice(list(CODES)))
    predictor = 2 if compression in PREDICTED and picture.bits >= 8 and random.random() < 0.4 else 1
    fill_order = 2 if random.random() < 0.3 else 1
    tiled, planar = bool(random.random() < 0.5), bool(random.random() < 0.5)
    rows, columns = (16 * random.integers(1, 4, 2)).tolist() if tiled else (int(random.integers(1, height + 9)), width)
    is_padded = tiled or bool(random.random() < 0.3)
    orientation = int(random.integers(1, 9)) if random.random() < 0.3 else 1

    def code(piece: NDArray[np.uint16]) -> bytes:
        if is_padded:
            padding = (min(rows, height) if not tiled else rows) - piece.shape[0], columns - piece.shape[1]
            piece = np.pad(piece, ((0, padding[0]), (0, padding[1]), (0, 0)), constant_values=1)
        raw = pack(piece, picture.bits, order, predictor)
        coded = CODES[compression](raw[: len(raw) - short] if not pieces else raw)
        return REVERSED[np.frombuffer(coded, np.uint8)].tobytes() if fill_order == 2 else coded

    most_missing = 0.2 if random.random() < 0.3 and PREMULTIPLIED not in picture.extra else 0.0
    pieces: list[bytes | None] = []
    for bands_of_piece in [slice(band, band + 1) for band in range(bands)] if planar else [slice(0, bands)]:
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                place = slice(top, top + rows), slice(left, left + columns), bands_of_piece
                if pieces and random.random() < most_missing:
                    picture.plain[place] = 0
                    pieces.append(None)
                else:
                    pieces.append(code(picture.stored[place]))
    tags: Tags = {
        WIDTH: ("I", [width]),
        HEIGHT: ("I", [height]),
        BITS: ("H", [picture.bits] * bands),
        SAMPLES: ("H", [bands]),
        COMPRESSION: ("H", [compression]),
        PLANES: ("H", [2 if planar else 1]),
    }
    further: Tags = {
        PREDICTOR: ("H", [predictor] if predictor == 2 else []),
        FILL_ORDER: (str(random.choice(["B", "H"])), [fill_order] if fill_order == 2 else []),
        EXTRA: ("H", picture.extra),
        SAMPLE_FORMAT: ("H", [1] * bands if random.random() < 0.5 else []),
        ORIENTATION: (str(random.choice(["B", "H", "I"])), [orientation] if orientation > 1 else []),
        COLOUR_MAP: ("H", (picture.palette.T.ravel() * 257).tolist() if picture.photometric == files.PALETTE else []),
        NO_DATA: ("B", list(b"0\0") if random.random() < 0.5 else []),
        TILE_WIDTH: ("I", [columns] if tiled else []),
        TILE_HEIGHT: ("I", [rows] if tiled else []),
        STRIP_ROWS: ("I", [] if tiled else [rows]),
    }
    tags |= {tag: values for tag, values in further.items() if values[1]}
    as_tiles, big = tiled and random.random() < 0.7, bool(random.random() < 0.5)
    data, tags = write(pieces, tags, picture.photometric, order=order, big=big, as_tiles=as_tiles)
    return Drawn(data, shown_as(picture), orientation, tags)


def draw_picture(random: np.random.Generator) -> Picture:
    height, width = (int(side) for side in random.integers(1, 50, 2))
    photometric = int(random.choice(list(COLOURS)))
    colours, is_gray = COLOURS[photometric], photometric in (files.WHITE_IS_ZERO, files.BLACK_IS_ZERO)
    most_extra = 1 if colours == 1 else 2
    kinds = [ALPHA] if is_gray else [UNSPECIFIED, ALPHA]
    extra = [int(kind) for kind in random.choice(kinds, int(random.integers(0, most_extra + 1)))]
    if extra and photometric in (files.BLACK_IS_ZERO, files.RGB) and random.random() < 0.5:
        extra[0] = PREMULTIPLIED
    depths = [1, 2, 4, 8, 16] if photometric == files.BLACK_IS_ZERO else [1, 2, 4, 8]
    bits = 8 if extra or colours > 1 else int(random.choice(depths))
    plain = random.integers(0, 1 << bits, (height, width, colours + len(extra)), np.uint16)
    stored = plain.copy()
    if PREMULTIPLIED in extra:
        opacity = random.integers(60, 256, (height, width, 1))
        stored[..., :colours] = plain[..., :colours] * opacity // 255
        stored[..., colours] = opacity[..., 0]
    return Picture(stored, plain, photometric, bits, extra, random.integers(0, 256, (1 << bits, 3), np.uint16))


def pack(piece: NDArray[np.uint16], bits: int, order: str, predictor: int) -> bytes:
    if bits < 8:
        rows = np.unpackbits(piece.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :].reshape(len(piece), -1)
        return np.packbits(rows, axis=1).tobytes()
    samples = piece.astype(np.uint8 if bits == 8 else np.uint16)
    if predictor == 2:
        samples = np.concatenate([samples[:, :1], np.diff(samples, axis=1)], axis=1)
    return samples.astype(samples.dtype.newbyteorder("<" if order == "<" else ">")).tobytes()


def write(
    pieces: Sequence[bytes | None], tags: Tags, photometric: int, *, order: str, big: bool, as_tiles: bool
) -> tuple[bytes, Tags]:
    sizes = [len(piece or b"") for piece in pieces]
    starts = ((16 if big else 8) + np.cumsum([0, *sizes[:-1]])).tolist()
    offsets = [start if size else 0 for start, size in zip(starts, sizes, strict=True)]
    code = "Q" if big else "I"
    places = (TILE_OFFSETS, TILE_SIZES) if as_tiles else (STRIP_OFFSETS, STRIP_SIZES)
    tags = {**tags, places[0]: (code, offsets), places[1]: (code, sizes)}
    raw = np.frombuffer(b"".join(piece or b"" for piece in pieces), np.uint8)[None]
    others = [tag for tag in (STRIP_OFFSETS, STRIP_SIZES, STRIP_ROWS) if tag not in tags]
    return files.tiff(raw, photometric, order=order, big=big, tags=tags, without=others), tags


def shown_as(picture: Picture) -> NDArray[Any]:
    samples = picture.plain
    if picture.photometric == files.PALETTE:
        return picture.palette[samples[..., 0]]
    if picture.photometric == files.CMYK:
        return from_inks(samples[..., :4])
    if picture.photometric == files.RGB:
        return samples[..., :3]
    levels = np.rint(samples[..., :1] * (255 / ((1 << picture.bits) - 1)))
    return np.dstack([255 - levels if picture.photometric == files.WHITE_IS_ZERO else levels] * 3)
