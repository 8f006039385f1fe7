"""Paint what a satellite sees of a rain forest: ground, water, human structures, and clouds above.

Lengths are fractions of the chip's side, so that chips of any size show the same scene.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Plane = NDArray[np.floating[Any]]
Colour = tuple[float, float, float]


class Point(NamedTuple):
    """A place on the chip: x to the right and y downwards, 0 to 1."""

    x: float
    y: float


class Canvas:
    """A chip while it is painted, at first plain canopy or pasture.

    `planes` is float32 [3, S, S], 0 to 255; `warp` and `grain`, float32 [S, S] around 0, are its coarse and fine
    relief.
    """

    def __init__(self, rng: np.random.Generator, size: int, *, forest: bool) -> None:
        """Paint the ground."""
        self.rng = rng
        self.size = size
        self.warp = 0.75 * _noise(rng, size, 6) + 0.45 * _noise(rng, size, 17)
        self.grain = 0.6 * _noise(rng, size, size // 3) + 0.4 * _noise(rng, size, size // 7)
        ground: Colour = (46.0, 68.0, 43.0) if forest else (139.0, 134.0, 92.0)
        roughness = 16.0 if forest else 5.0
        # Season and sun give each scene its own tint.
        tint = rng.uniform(-8.0, 8.0, size=3) + rng.uniform(-6.0, 14.0)
        shade = roughness * self.grain + 5.0 * self.warp
        self.planes = (np.array(ground) + tint).astype(np.float32)[:, None, None] + shade

    def paint(self, cover: Plane, colour: Colour | Plane, *, roughness: float = 4.0) -> None:
        """Paint where cover [S, S] is 1, and partly where it is between 0 and 1.

        The colour is a single one, or planes [3, S, S].
        """
        rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
        if not rows.size:
            return
        # Most covers are small, so only the bounding box is touched.
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        relief = roughness * self.grain[box]
        for channel, plane in enumerate(self.planes):
            value = colour[channel]
            level = np.float32(value) if isinstance(value, (int, float)) else value[box]
            plane[box] += cover[box] * (level + relief - plane[box])

    def blob(self, centre: Point, radius: float, *, raggedness: float = 0.4, softness: float = 0.012) -> Plane:
        """Cover a patch with an irregular rim."""
        rim = radius * (1 + raggedness * self.warp) - _distance(self.size, centre)
        return np.clip(rim / softness, 0.0, 1.0)

    def polygon(self, corners: Sequence[Point]) -> Plane:
        """Cover a polygon."""
        image, draw = self._mask()
        draw.polygon([self._pixel(corner) for corner in corners], fill=255)
        return _plane(image)

    def stroke(self, points: Sequence[Point], width: float) -> Plane:
        """Cover a line, at least one and a half pixels wide."""
        image, draw = self._mask()
        pixels = max(round(width * self.size), 2)
        draw.line([self._pixel(point) for point in points], fill=255, width=pixels, joint="curve")
        return _plane(image)

    def roofs(self, boxes: Sequence[tuple[Sequence[Point], Colour]]) -> None:
        """Paint many small polygons, each in its colour."""
        image = Image.new("RGBA", (self.size, self.size))
        draw = ImageDraw.Draw(image)
        for corners, colour in boxes:
            draw.polygon([self._pixel(c) for c in corners], fill=(*(int(value) for value in colour), 255))
        painted = np.moveaxis(np.asarray(image, np.float32), 2, 0)
        self.paint(painted[3] / 255, painted[:3], roughness=0.0)

    def dots(self, places: NDArray[np.float64], radius: float) -> Plane:
        """Cover small discs around places [N, 2]."""
        image, draw = self._mask()
        reach = max(radius * self.size, 0.8)
        for x, y in places * self.size:
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=255)
        return _plane(image)

    def stripes(self, angle: float, period: float) -> Plane:
        """Cover the chip with soft parallel rows."""
        places = _coordinates(self.size)
        across = -math.sin(angle) * places[None, :] + math.cos(angle) * places[:, None]
        return 0.5 + 0.5 * np.sin(2 * np.float32(math.pi) / period * across)

    def _mask(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        image = Image.new("L", (self.size, self.size))
        return image, ImageDraw.Draw(image)

    def _pixel(self, point: Point) -> tuple[float, float]:
        return point.x * self.size, point.y * self.size


def meander(rng: np.random.Generator, through: Point, *, bends: float) -> list[Point]:
    """Draw a path across the chip through a place; `bends` is how far it sways, 0 for a straight line."""
    angle = rng.uniform(0, math.pi)
    along = np.linspace(-1.1, 1.1, 60)
    waves = np.zeros_like(along)
    for frequency in (1, 2, 4):
        phase = rng.uniform(0, 2 * math.pi)
        waves += rng.uniform(0.4, 1.0) / frequency * np.sin(2.6 * frequency * along + phase)
    aside = bends * (waves - waves[30])
    return turned(np.stack([along, aside], axis=1), through, angle)


def turned(offsets: NDArray[np.float64], centre: Point, angle: float) -> list[Point]:
    """Rotate offsets [N, 2] by an angle in radians and add them to a place."""
    cos, sin = math.cos(angle), math.sin(angle)
    return [Point(centre.x + cos * x - sin * y, centre.y + sin * x + cos * y) for x, y in offsets]


def rectangle(centre: Point, width: float, height: float, angle: float) -> list[Point]:
    """Return the corners of a rotated rectangle."""
    half = np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2
    return turned(half, centre, angle)


def cloud_cover(rng: np.random.Generator, size: int, share: float) -> tuple[Plane, Plane]:
    """Draw clouds over about this share of the chip and their shadow on the ground; both planes are 0 to 1."""
    coarse, margin = 64, 8
    grid = coarse + margin
    billows = _noise(rng, grid, 5) + 0.5 * _noise(rng, grid, 11) + 0.25 * _noise(rng, grid, 24)
    level = np.quantile(billows, 1 - share)
    thickness = np.clip((billows - level) / 0.45, 0.0, 1.0)
    clouds = _upsampled(thickness[:coarse, :coarse], size)
    shadow = _upsampled(thickness[margin:, margin:], size)
    return clouds, shadow


def _noise(rng: np.random.Generator, size: int, cells: int) -> Plane:
    """Draw smooth noise [S, S] around 0, mostly between -1 and 1, with `cells` periods per side."""
    grid = rng.standard_normal((max(cells, 2), max(cells, 2)), dtype=np.float32)
    return np.asarray(np.clip(0.6 * _upsampled(grid, size), -1.2, 1.2))


def _upsampled(plane: Plane, size: int) -> Plane:
    return np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC))


def _plane(mask: Image.Image) -> Plane:
    return np.asarray(mask, np.float32) / 255


@lru_cache(maxsize=4)
def _coordinates(size: int) -> Plane:
    return (np.arange(size, dtype=np.float32) + 0.5) / size


def _distance(size: int, centre: Point) -> Plane:
    places = _coordinates(size)
    across, down = places - np.float32(centre.x), places - np.float32(centre.y)
    return np.asarray(np.sqrt((down * down)[:, None] + (across * across)[None, :]))
