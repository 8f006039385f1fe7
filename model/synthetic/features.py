"""Paint the labels of the Planet set so that a person can see why a chip has them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from model.synthetic.scenery import Canvas, Colour, Point, cloud_cover, meander, rectangle, turned

_PASTURES: tuple[Colour, ...] = ((126, 144, 86), (150, 150, 98), (168, 148, 108), (108, 134, 74))
_CROPS: tuple[Colour, ...] = ((96, 150, 62), (128, 166, 70), (112, 128, 58), (140, 112, 72))
_ROOFS: tuple[Colour, ...] = ((214, 210, 204), (182, 178, 172), (176, 104, 78), (150, 96, 74))
_WATERS: tuple[Colour, ...] = ((124, 104, 76), (92, 90, 66), (30, 40, 52), (44, 62, 72))
_SAND: Colour = (202, 180, 146)
_TRACK: Colour = (186, 160, 126)


def agriculture(canvas: Canvas, site: Point) -> None:
    """Paint a few large fields with straight edges and furrows, side by side."""
    angle = canvas.rng.uniform(0, math.pi)
    width, height = canvas.rng.uniform(0.22, 0.31, size=2)
    for corner in canvas.rng.permutation(4)[: canvas.rng.integers(2, 5)]:
        offset = np.array([[(corner % 2 - 0.5) * width, (corner // 2 - 0.5) * height]])
        centre = turned(offset, site, angle)[0]
        field = canvas.polygon(rectangle(centre, 0.96 * width, 0.96 * height, angle))
        canvas.paint(field, _pick(canvas, _PASTURES), roughness=3.0)
        rows = canvas.stripes(angle + (corner % 2) * math.pi / 2, 0.035)
        canvas.paint(0.3 * field * rows, (92, 92, 58))


def cultivation(canvas: Canvas, site: Point) -> None:
    """Paint a mosaic of small, irregular, bright plots with planted rows."""
    for offset in canvas.rng.uniform(-0.13, 0.13, size=(5, 2)):
        plot = canvas.blob(Point(*(site + offset)), canvas.rng.uniform(0.045, 0.08), raggedness=0.5)
        canvas.paint(plot, _pick(canvas, _CROPS), roughness=8.0)
        rows = canvas.stripes(canvas.rng.uniform(0, math.pi), 0.022)
        canvas.paint(0.4 * plot * rows, (62, 74, 36))


def bare_ground(canvas: Canvas, site: Point) -> None:
    """Paint a patch of bare, pale soil."""
    canvas.paint(canvas.blob(site, canvas.rng.uniform(0.12, 0.18), softness=0.03), _SAND, roughness=3.0)


def slash_burn(canvas: Canvas, site: Point) -> None:
    """Paint a charred clearing with ash and a rusty rim."""
    radius = canvas.rng.uniform(0.12, 0.17)
    canvas.paint(canvas.blob(site, radius), (118, 84, 60))
    canvas.paint(canvas.blob(site, 0.84 * radius, softness=0.03), (38, 31, 32), roughness=5.0)
    ash = canvas.rng.normal(0, 0.3 * radius, size=(14, 2)) + site
    canvas.paint(0.6 * canvas.dots(ash, 0.012), (148, 142, 138))


def selective_logging(canvas: Canvas, site: Point) -> None:
    """Paint skid trails that branch into the forest, with a felled gap at the end of each."""
    for angle in np.arange(6) * math.pi / 3 + canvas.rng.uniform(0, 1.0):
        reach = canvas.rng.uniform(0.12, 0.24)
        steps = np.linspace(0, reach, 6)
        trail = np.stack([steps, canvas.rng.normal(0, 0.012, size=6)], axis=1)
        points = turned(trail, site, angle)
        canvas.paint(0.8 * canvas.stroke(points, 0.007), _TRACK)
        canvas.paint(canvas.dots(np.array(points[2:]), 0.013), (158, 140, 104))


def blow_down(canvas: Canvas, site: Point) -> None:
    """Paint a fan of trees that a storm has blown down in one direction."""
    angle = canvas.rng.uniform(0, 2 * math.pi)
    fan = np.zeros((canvas.size, canvas.size), np.float32)
    for spread in canvas.rng.uniform(-0.55, 0.55, size=24):
        start, end = canvas.rng.uniform(0.0, 0.08), canvas.rng.uniform(0.16, 0.3)
        fan = np.maximum(fan, canvas.stroke(turned(np.array([[start, 0], [end, 0]]), site, angle + spread), 0.01))
    canvas.paint(0.75 * fan, (164, 146, 116))


def blooming(canvas: Canvas, site: Point) -> None:
    """Paint flowering crowns all over the canopy, white or yellow."""
    crowns = canvas.rng.uniform(0, 1, size=(canvas.rng.integers(90, 160), 2))
    colour: Colour = (232, 214, 96) if canvas.rng.random() < 0.6 else (226, 218, 224)
    canvas.paint(0.85 * canvas.dots(crowns, 0.008), colour)


def water(canvas: Canvas, site: Point) -> None:
    """Paint a river with pale banks from edge to edge, or a lake."""
    colour = _pick(canvas, _WATERS)
    if canvas.rng.random() < 0.25:
        canvas.paint(canvas.blob(site, 0.2, raggedness=0.6), (150, 138, 106))
        canvas.paint(canvas.blob(site, 0.188, raggedness=0.6), colour, roughness=1.0)
        return
    course = meander(canvas.rng, site, bends=0.2)
    width = canvas.rng.uniform(0.035, 0.11)
    canvas.paint(0.7 * canvas.stroke(course, width + 0.014), (172, 156, 122))
    canvas.paint(canvas.stroke(course, width), colour, roughness=1.0)


def artisinal_mine(canvas: Canvas, site: Point) -> None:
    """Paint washed-out mud with many small, milky turquoise ponds."""
    canvas.paint(canvas.blob(site, 0.16, raggedness=0.7), (206, 184, 148), roughness=8.0)
    ponds = canvas.rng.normal(0, 0.055, size=(12, 2)) + site
    canvas.paint(canvas.dots(ponds, 0.02), (96, 164, 158), roughness=1.0)


def conventional_mine(canvas: Canvas, site: Point) -> None:
    """Paint an open pit: terraces that step down to a sump of blue water."""
    for step, share in enumerate((1.0, 0.82, 0.64, 0.46, 0.28)):
        terrace = canvas.blob(site, 0.19 * share, raggedness=0.15)
        canvas.paint(terrace, (204, 158, 118) if step % 2 == 0 else (128, 88, 66), roughness=2.0)
    canvas.paint(canvas.blob(site, 0.035, raggedness=0.2), (58, 116, 150), roughness=0.0)


def road(canvas: Canvas, site: Point) -> None:
    """Paint a thin, almost straight track from edge to edge, often with a second one that crosses it."""
    canvas.paint(canvas.stroke(meander(canvas.rng, site, bends=0.03), 0.011), _TRACK, roughness=1.0)
    if canvas.rng.random() < 0.35:
        canvas.paint(canvas.stroke(meander(canvas.rng, site, bends=0.03), 0.009), _TRACK, roughness=1.0)


def habitation(canvas: Canvas, site: Point) -> None:
    """Paint a settlement: rows of bright roofs along its streets."""
    rng = canvas.rng
    angle = rng.uniform(0, math.pi)
    canvas.paint(0.7 * canvas.blob(site, 0.15), (158, 140, 110))
    for street in (-0.07, 0.0, 0.07):
        points = turned(np.array([[-0.15, street], [0.15, street]]), site, angle)
        canvas.paint(canvas.stroke(points, 0.01), _TRACK)
    houses = [
        (rectangle(place, rng.uniform(0.014, 0.026), rng.uniform(0.014, 0.026), angle), _pick(canvas, _ROOFS))
        for place in turned(_plots(rng), site, angle)
    ]
    canvas.roofs(houses)


def haze(canvas: Canvas, site: Point) -> None:
    """Veil everything in bluish, low-contrast grey, with the ground still visible."""
    veil = canvas.rng.uniform(0.55, 0.72) + 0.05 * canvas.warp
    canvas.paint(veil, (158, 168, 172), roughness=0.0)


def partly_cloudy(canvas: Canvas, site: Point) -> None:
    """Lay a few white clouds and their shadows over the ground."""
    clouds, shadow = cloud_cover(canvas.rng, canvas.size, canvas.rng.uniform(0.16, 0.34))
    canvas.paint(0.55 * shadow, (16, 22, 30), roughness=2.0)
    canvas.paint(0.97 * clouds, (236, 238, 240), roughness=1.0)


def cloudy(canvas: Canvas, site: Point) -> None:
    """Hide the ground under a closed, bright deck of clouds."""
    level = canvas.rng.uniform(196, 226)
    deck = level + 16 * canvas.warp + 5 * canvas.grain
    canvas.paint(np.ones_like(deck), np.stack([deck, deck, deck]), roughness=0.0)


def _plots(rng: np.random.Generator) -> NDArray[np.float64]:
    """Place houses on both sides of three streets, some plots empty; offsets [N, 2] from the settlement's middle."""
    along = np.linspace(-0.14, 0.14, 9)
    across = np.array([-0.09, -0.05, -0.02, 0.02, 0.05, 0.09])
    plots = np.stack(np.meshgrid(along, across), axis=-1).reshape(-1, 2)
    built = plots[rng.random(len(plots)) < 0.7]
    return built + rng.normal(0, 0.004, size=built.shape)


def _pick(canvas: Canvas, colours: tuple[Colour, ...]) -> Colour:
    return colours[canvas.rng.integers(len(colours))]


PAINTERS: tuple[tuple[str, Callable[[Canvas, Point], None]], ...] = (
    ("agriculture", agriculture),
    ("blooming", blooming),
    ("water", water),
    ("cultivation", cultivation),
    ("bare_ground", bare_ground),
    ("slash_burn", slash_burn),
    ("selective_logging", selective_logging),
    ("blow_down", blow_down),
    ("artisinal_mine", artisinal_mine),
    ("conventional_mine", conventional_mine),
    ("road", road),
    ("habitation", habitation),
    ("haze", haze),
    ("partly_cloudy", partly_cloudy),
    ("cloudy", cloudy),
)
"""Every painted label, from the ground up: later ones cover earlier ones."""
