"""Draw labelled chips and write them with the defect of the Planet set."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.synthetic.features import PAINTERS
from model.synthetic.scenery import Canvas, Point

WEATHER = ("clear", "partly_cloudy", "haze", "cloudy")
_WEATHER_ODDS = (0.66, 0.19, 0.08, 0.07)

SIZE = 256
MIN_SIZE = 32
QUALITY = 75
"""The JPEG quality of the Planet set, according to its quantization tables."""


class Chip(NamedTuple):
    """A drawn chip: pixels uint8 [S, S, 3] and its labels."""

    pixels: NDArray[np.uint8]
    labels: frozenset[str]


def draw_chip(rng: np.random.Generator, size: int = SIZE) -> Chip:
    """Draw one chip with a plausible set of labels; the state of `rng` determines everything."""
    labels = draw_labels(rng)
    canvas = Canvas(rng, size, forest="primary" in labels)
    sites = _sites(rng)
    painters = [paint for label, paint in PAINTERS if label in labels]
    for number, paint in enumerate(painters):
        paint(canvas, sites[number % len(sites)])
    planes = canvas.planes + 2.0 * rng.standard_normal((size, size), dtype=np.float32)  # the sensor's noise
    return Chip(np.moveaxis(np.clip(planes, 0, 255).astype(np.uint8), 0, 2), labels)


def draw_labels(rng: np.random.Generator) -> frozenset[str]:
    """Draw the labels of one chip: one of the four weather labels, alone if it is `cloudy`.

    Common labels occur, alone and together, about as often as in the Planet set. Rare ones (mines, burns, storms,
    blossom) are several times more frequent, so that a few hundred chips show each of them.
    """
    weather = str(rng.choice(WEATHER, p=_WEATHER_ODDS))
    if weather == "cloudy":
        return frozenset({weather})

    def chance(probability: float) -> bool:
        return bool(rng.random() < probability)

    farmed = chance(0.36)
    road = chance(0.5 if farmed else 0.08)
    water = chance(0.22)
    untouched = not (farmed or road)
    drawn = {
        weather: True,
        "primary": chance(0.9 if farmed or water else 1.0),
        "agriculture": farmed,
        "cultivation": chance(0.32 if farmed else 0.02),
        "road": road,
        "habitation": chance((0.45 if farmed else 0.2) if road else 0.01),
        "water": water,
        "bare_ground": chance(0.08 if farmed else 0.03),
        "slash_burn": chance(0.08 if farmed else 0.01),
        "artisinal_mine": water and chance(0.13),
        "conventional_mine": chance(0.03),
        "selective_logging": untouched and chance(0.05),
        "blooming": untouched and chance(0.05),
        "blow_down": untouched and chance(0.04),
    }
    if not drawn["primary"]:
        # Flowers, skid trails and storm damage only occur in forest.
        drawn |= dict.fromkeys(("selective_logging", "blooming", "blow_down"), False)
    return frozenset(label for label, is_there in drawn.items() if is_there)


def encode_unmarked_rgba_jpeg(pixels: NDArray[np.uint8], quality: int = QUALITY) -> bytes:
    """Encode pixels uint8 [h, w, 3] like the JPEGs of the Planet set.

    This is a baseline JPEG with four components (ids 0 to 3, sampling 1x1): plain red, green, blue and a constant 255,
    without any APP segment that says so. TensorFlow decodes it to black, other libraries take it for CMYK.
    """
    alpha = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    # Pillow inverts CMYK when it writes a JPEG.
    inverted = 255 - np.concatenate([pixels, alpha], axis=2)
    written = io.BytesIO()
    Image.fromarray(inverted, "CMYK").save(written, "JPEG", quality=quality, subsampling=0)
    return _unmarked(written.getvalue())


def write_chips(folder: Path, count: int, seed: int, size: int = SIZE) -> None:
    """Write `jpg/chip_<n>.jpg` and `labels.csv` (Kaggle's format); the same seed always gives the same bytes."""
    (folder / "jpg").mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(("image_name", "tags"))
        for number in range(count):
            # One generator per chip, so that chip 7 is the same in a set of 10 and in one of 1,000.
            chip = draw_chip(np.random.default_rng((seed, number)), size)
            name = f"chip_{number}"
            (folder / "jpg" / f"{name}.jpg").write_bytes(encode_unmarked_rgba_jpeg(chip.pixels))
            table.writerow((name, " ".join(sorted(chip.labels))))


def _sites(rng: np.random.Generator) -> list[Point]:
    """Draw one place in each of nine grid cells, so that features painted there do not hide each other."""
    cells = [Point(0.2 + 0.3 * column, 0.2 + 0.3 * row) for column in range(3) for row in range(3)]
    jitter = rng.uniform(-0.04, 0.04, size=(9, 2))
    return [Point(cells[i].x + jitter[i, 0], cells[i].y + jitter[i, 1]) for i in rng.permutation(9)]


def _unmarked(jpeg: bytes) -> bytes:
    """Drop every APP segment of a JPEG and number its components from 0, as in the Planet set."""
    kept = [jpeg[:2]]
    position = 2
    while True:
        marker = jpeg[position + 1]
        end = position + 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
        segment = bytearray(jpeg[position:end])
        if marker == 0xC0:  # start of frame: ids at every third byte from the tenth
            segment[10:22:3] = bytes(range(4))
        if marker == 0xDA:  # start of scan: ids at every second byte from the fifth; the pixels follow
            segment[5:13:2] = bytes(range(4))
            return b"".join([*kept, segment, jpeg[end:]])
        if not 0xE0 <= marker <= 0xEF:
            kept.append(bytes(segment))
        position = end
