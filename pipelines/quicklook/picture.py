"""Draw images next to bars of their probabilities, and scenes with the tags of their windows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from pipelines.images.decoding import Pixels
from pipelines.records import Window

_SIDE = 340
_MARGIN = 24
_BARS_WIDTH = 420
_TITLE_HEIGHT = 34
_ROWS = 12

_BACKGROUND, _INK, _FAINT = "#ffffff", "#1f2933", "#9aa5b1"
_TAG_BAR, _OTHER_BAR = "#2f7d4f", "#cbd2d9"
_FRAME, _LABEL = "#ffffff60", "#000000a0"

_SCENE_SIDE, _LEAST_WINDOW, _LARGEST_SCENE = 2048, 96, 8192
"""Pixels of the longer side of a scene, unless windows would be smaller than this; and never more than that."""
_LINE = 13


class Panel(NamedTuple):
    """One image in a picture.

    Attributes:
      title: written above the image; only the last part of a path is shown.
      pixels: uint8[height, width, 3], sRGB, as the model saw them.
      probabilities: 0 to 1, by label, in descending order.
      tags: labels that reached their thresholds.
      window: its location, if the image is a window of a scene.
    """

    title: str
    pixels: Pixels
    probabilities: Mapping[str, float]
    tags: Sequence[str]
    window: Window | None = None


def draw(panels: Sequence[Panel], path: str) -> None:
    """Draw panels below one another and save them as PNG; windows as parts of their scenes.

    Bars of tags are green, those of other labels gray.

    Raises:
      OSError: the file cannot be written.
    """
    scenes: dict[str, list[Panel]] = {}
    for panel in panels:
        if panel.window:
            scenes.setdefault(panel.window.scene, []).append(panel)
    parts = [_draw_scene(name, windows) for name, windows in scenes.items()]
    parts += [_draw_image(panel) for panel in panels if not panel.window]
    canvas = Image.new("RGB", (max(part.width for part in parts), sum(part.height for part in parts)), _BACKGROUND)
    top = 0
    for part in parts:
        canvas.paste(part, (0, top))
        top += part.height
    canvas.save(path, "png")


def _draw_scene(name: str, panels: Sequence[Panel]) -> Image.Image:
    """Draw windows where they lie, each with its tags written over it."""
    places = [panel.window for panel in panels if panel.window]
    columns = max(place.column + place.width for place in places)
    rows = max(place.row + place.height for place in places)
    # Small enough to be opened, and yet with room for a few tags in each window.
    scale = max(_SCENE_SIDE / max(columns, rows), _LEAST_WINDOW / places[0].width)
    scale = min(scale, _LARGEST_SCENE / max(columns, rows))
    size = round(columns * scale), round(rows * scale)
    canvas = Image.new("RGB", (size[0] + 2 * _MARGIN, size[1] + _TITLE_HEIGHT + 2 * _MARGIN), _BACKGROUND)
    drawing = ImageDraw.Draw(canvas, "RGBA")
    drawing.text((_MARGIN, _MARGIN), os.path.basename(name), _INK, ImageFont.load_default(18))
    text = ImageFont.load_default(11)
    for panel, place in zip(panels, places, strict=True):
        left, top = _MARGIN + round(place.column * scale), _MARGIN + _TITLE_HEIGHT + round(place.row * scale)
        width, height = max(1, round(place.width * scale)), max(1, round(place.height * scale))
        canvas.paste(Image.fromarray(panel.pixels).resize((width, height)), (left, top))
        drawing.rectangle((left, top, left + width - 1, top + height - 1), outline=_FRAME)
        for line, tag in enumerate(panel.tags[: max(0, (height - 6) // _LINE)]):
            at = left + 3, top + 3 + line * _LINE
            end = min(left + width - 3, at[0] + 4 + drawing.textlength(tag, text))
            drawing.rectangle((*at, max(at[0], end), at[1] + _LINE), _LABEL)
            drawing.text((at[0] + 2, at[1]), tag, _BACKGROUND, text)
    return canvas


def _draw_image(panel: Panel) -> Image.Image:
    height = _TITLE_HEIGHT + _SIDE + 2 * _MARGIN
    canvas = Image.new("RGB", (_SIDE + _BARS_WIDTH + 3 * _MARGIN, height), _BACKGROUND)
    _draw_panel(canvas, panel, _MARGIN)
    return canvas


def _draw_panel(canvas: Image.Image, panel: Panel, top: int) -> None:
    drawing = ImageDraw.Draw(canvas)
    title, text = ImageFont.load_default(18), ImageFont.load_default(14)
    drawing.text((_MARGIN, top), os.path.basename(panel.title), _INK, title)
    top += _TITLE_HEIGHT
    # Nearest neighbour, so that the picture shows the exact pixels the model was given.
    chip = Image.fromarray(panel.pixels).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
    canvas.paste(chip, (_MARGIN, top))
    rows = list(panel.probabilities.items())[:_ROWS]
    row_height = _SIDE / _ROWS
    left = _SIDE + 2 * _MARGIN
    names_width = max(drawing.textlength(label, text) for label, _ in rows) + 10
    bar_left = left + names_width
    bar_width = _BARS_WIDTH - names_width - 52
    for row, (label, probability) in enumerate(rows):
        is_tag = label in panel.tags
        middle = top + (row + 0.5) * row_height
        bar = (bar_left, middle - 8, bar_left + max(1.0, probability * bar_width), middle + 8)
        drawing.text((bar_left - 8, middle), label, _INK if is_tag else _FAINT, text, anchor="rm")
        drawing.rectangle(bar, _TAG_BAR if is_tag else _OTHER_BAR)
        drawing.text((bar[2] + 6, middle), f"{probability:.1%}", _INK if is_tag else _FAINT, text, anchor="lm")
