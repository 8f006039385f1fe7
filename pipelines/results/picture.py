"""Draw images next to bars of their probabilities."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from pipelines.images.decoding import Pixels

_SIDE = 340
_MARGIN = 24
_BARS_WIDTH = 420
_TITLE_HEIGHT = 34
_ROWS = 12

_BACKGROUND, _INK, _FAINT = "#ffffff", "#1f2933", "#9aa5b1"
_TAG_BAR, _OTHER_BAR = "#2f7d4f", "#cbd2d9"


class Panel(NamedTuple):
    """One image in a picture.

    Attributes:
      title: written above the image; only the last part of a path is shown.
      pixels: uint8[height, width, 3], sRGB, as the model saw them.
      probabilities: 0 to 1, by label, in descending order.
      tags: labels that reached their thresholds.
    """

    title: str
    pixels: Pixels
    probabilities: Mapping[str, float]
    tags: Sequence[str]


def draw(panels: Sequence[Panel], path: str) -> None:
    """Draw panels below one another and save them as PNG.

    Bars of tags are green, those of other labels gray.

    Raises:
      OSError: the file cannot be written.
    """
    height = _TITLE_HEIGHT + _SIDE + _MARGIN
    canvas = Image.new("RGB", (_SIDE + _BARS_WIDTH + 3 * _MARGIN, height * len(panels) + _MARGIN), _BACKGROUND)
    for row, panel in enumerate(panels):
        _draw_panel(canvas, panel, _MARGIN + row * height)
    canvas.save(path, "png")


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
