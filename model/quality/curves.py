"""Draw the course of a training and the quality of its outcome, as PNG pictures for the model card."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.quality.fbeta import BETA, title
from model.quality.history import Epoch
from model.quality.metrics import Curve, LabelScores, Scores, average_precision, precision_recall
from model.quality.reliability import BINS, Reliability

# A curve from fewer images says more about these images than about the label.
MIN_POSITIVES = 5
# More panels would be too small to read, or the picture too large for a page.
MAX_LABELS = 29

# From the palette of Okabe and Ito, "Color Universal Design" (2008), which colour-blind people can distinguish.
_BLUE, _VERMILION = "#0072B2", "#D55E00"
_GREY, _INK = "#9a9a9a", "#333333"
_DPI = 120
# Colours of the final picture: enough for lines and letters, and less than half of the bytes.
_PALETTE = 128
_COLUMNS = 6
_TITLE_WIDTH = 22


def labels_with_curve(scores: Scores) -> tuple[LabelScores, ...]:
    """Return the labels that `draw_precision_recall` draws: those with enough images, most frequent first."""
    enough = [of_label for of_label in scores.labels if of_label.support >= MIN_POSITIVES]
    return tuple(sorted(enough, key=lambda of_label: -of_label.support)[:MAX_LABELS])


def draw_training(history: Sequence[Epoch], kept_epoch: int, beta: float = BETA) -> bytes:
    """Draw losses and validation measures by epoch, as a PNG.

    Args:
      history: all epochs, at least one; an epoch that diverged leaves a gap in the line.
      kept_epoch: the epoch whose weights were kept; it is marked.
      beta: of F-beta.
    """

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        left.set_title("loss", loc="left", pad=14)
        right.set_title("quality on the held-out images", loc="left", pad=14)
        losses = {
            "training": (_VERMILION, [epoch.loss for epoch in history]),
            "held out": (_BLUE, [epoch.validation_loss for epoch in history]),
        }
        measures = {
            title(beta): (_BLUE, [epoch.validation_fbeta for epoch in history]),
            "mean average\nprecision": (_VERMILION, [epoch.validation_map for epoch in history]),
        }
        for axes, lines in ((left, losses), (right, measures)):
            _draw_epochs(axes, history, kept_epoch, lines)
        _caption(figure, "ring: the epoch whose weights were kept")

    return _png(draw, 9.0, 3.2)


def draw_precision_recall(scores: Scores, truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> bytes:
    """Draw the precision-recall curves of all labels together and of each label with enough images, as a PNG.

    Args:
      scores: of these images at the bundle's thresholds, for the dots; its labels are in the order of the columns.
      truth: bool [N, L].
      probabilities: float32 [N, L], 0 to 1.
    """
    columns = {of_label.label: column for column, of_label in enumerate(scores.labels)}
    shown = labels_with_curve(scores)
    together = precision_recall(truth.ravel(), probabilities.ravel())
    across = min(_COLUMNS, 1 + len(shown))
    down = math.ceil((1 + len(shown)) / across)
    # A single panel needs the width of its caption.
    width, height = max(4.0, 1.65 * across + 0.4), 1.75 * down + 0.75

    def draw(figure: Any) -> None:
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        _draw_panel(panels[0], "all labels together", together, _all_together(scores, truth, probabilities), None)
        for panel, of_label in zip(panels[1:], shown, strict=False):
            column = columns[of_label.label]
            curve = precision_recall(truth[:, column], probabilities[:, column])
            _draw_panel(panel, of_label.label, curve, of_label, together)
        for panel in panels[1 + len(shown) :]:
            panel.axis("off")
        # The last panel of a column may have no panel below it to show the tick labels.
        for panel in panels[1 + len(shown) - across : 1 + len(shown)] if down > 1 else ():
            panel.tick_params(labelbottom=True)
        figure.supxlabel("recall", color=_INK, fontsize=9)
        figure.supylabel("precision", color=_INK, fontsize=9)
        _caption(figure, "dot: at the bundle's threshold" + (" · grey: all labels together" if shown else ""))

    return _png(draw, width, height)


def draw_reliability(measured: Reliability, before: Reliability | None = None) -> bytes:
    """Draw how often labels are there against the probability given, as a PNG.

    The bars of the points are the ranges that chance explains, 95% of the time. Below are the counts.

    Args:
      measured: of the probabilities.
      before: of those before calibration, drawn next to them; None for none.
    """

    def draw(figure: Any) -> None:
        panel, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        panel.plot((0, 1), (0, 1), color=_GREY, linewidth=0.8)
        if before:
            given, shares = ([getattr(of, name) for of in before.bins] for name in ("probability", "share"))
            panel.plot(given, shares, "o", color=_VERMILION, markersize=5, fillstyle="none", label="before calibration")
        given, shares = ([getattr(of, name) for of in measured.bins] for name in ("probability", "share"))
        # Clipped, because a share that is rounded may lie outside its own range.
        ranges = np.clip([(of.share - of.range[0], of.range[1] - of.share) for of in measured.bins], 0, 1).T
        panel.errorbar(given, shares, ranges, fmt="o", color=_BLUE, markersize=5, elinewidth=1, label="calibrated")
        panel.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that has the label")
        if before:
            panel.legend(loc="upper left", frameon=False, fontsize=8)
        lowest, tallest = ([getattr(of, name) for of in measured.bins] for name in ("lowest", "count"))
        counts.bar(lowest, tallest, 1 / BINS, align="edge", color=_BLUE, edgecolor="white", linewidth=0.8)
        counts.set(yscale="log", ylabel="count", xlabel="probability")
        _caption(figure, "all labels together · bars: 95% ranges")

    return _png(draw, 4.6, 4.6)


def _caption(figure: Any, text: str) -> None:
    figure.suptitle(text, x=0.99, ha="right", color=_INK, fontsize=8)


def _draw_epochs(
    axes: Any, history: Sequence[Epoch], kept_epoch: int, lines: dict[str, tuple[str, list[float]]]
) -> None:
    """Draw lines by epoch, each named at its end, with the phases and the epoch that was kept."""
    from matplotlib.ticker import MaxNLocator

    epochs = [epoch.epoch for epoch in history]
    for colour, values in lines.values():
        finite = [value if math.isfinite(value) else math.nan for value in values]
        axes.plot(epochs, finite, color=colour, linewidth=1.6, marker=".", markersize=4)
    _name_at_end(axes, epochs[-1], lines)
    _mark_phases(axes, history)
    axes.axvline(kept_epoch, color=_INK, linewidth=0.8, linestyle=":", zorder=0)
    for colour, values in lines.values():
        if math.isfinite(values[epochs.index(kept_epoch)]):
            axes.plot(kept_epoch, values[epochs.index(kept_epoch)], "o", color=colour, markersize=7, fillstyle="none")
    axes.set_xlabel("epoch")
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _name_at_end(axes: Any, last_epoch: int, lines: dict[str, tuple[str, list[float]]]) -> None:
    """Write each line's name next to its last finite value, moving two close names apart."""
    ends = []
    for name, (colour, values) in lines.items():
        finite = [value for value in values if math.isfinite(value)]
        if finite:
            ends.append((finite[-1], name, colour))
    ends.sort()
    bottom, top = axes.get_ylim()
    close = len(ends) > 1 and ends[1][0] - ends[0][0] < 0.2 * (top - bottom)
    for (value, name, colour), side in zip(ends, ("top", "bottom"), strict=False):
        axes.annotate(
            name, (last_epoch + 0.5, value), (4, 0), textcoords="offset points",
            va=side if close else "center", fontsize=9, color=colour, annotation_clip=False,
        )  # fmt: skip


def _mark_phases(axes: Any, history: Sequence[Epoch]) -> None:
    for place, epoch in enumerate(history):
        if place and epoch.phase == history[place - 1].phase:
            continue
        if place:
            axes.axvline(epoch.epoch - 0.5, color=_GREY, linewidth=0.8, zorder=0)
        axes.annotate(
            epoch.phase, (epoch.epoch - 0.5, 1), (3, 3), xycoords=("data", "axes fraction"),
            textcoords="offset points", fontsize=8, color=_INK, parse_math=False,
        )  # fmt: skip


def _draw_panel(panel: Any, name: str, curve: Curve, of_label: LabelScores, behind: Curve | None) -> None:
    """Draw one curve with its name, its average precision and the point at the bundle's threshold."""
    if behind is not None:
        panel.plot(*behind, color=_GREY, linewidth=0.7, drawstyle="steps-pre", alpha=0.7)
    panel.plot(*curve, color=_BLUE, linewidth=1.3, drawstyle="steps-pre")
    if of_label.precision is not None and of_label.recall is not None:
        panel.plot(of_label.recall, of_label.precision, "o", color=_VERMILION, markersize=5, clip_on=False, zorder=3)
    title = " ".join(name.split())
    title = title if len(title) <= _TITLE_WIDTH else title[: _TITLE_WIDTH - 1] + "…"
    panel.set_title(title, loc="left", fontsize=8, pad=14, parse_math=False)
    found = "no images" if of_label.average_precision is None else f"AP {of_label.average_precision:.2f}"
    tags = f"{of_label.support:,} {'tags' if behind is None else 'images'}"
    panel.annotate(
        f"{found} · {tags}", (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", fontsize=7,
        color="#666666",
    )  # fmt: skip
    panel.set(xlim=(0, 1.02), ylim=(0, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    panel.set_xticklabels(("0", "½", "1"))
    panel.set_yticklabels(("0", "½", "1"))


def _all_together(scores: Scores, truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> LabelScores:
    """Pool the tags of all labels as if they were one label."""
    support, predicted = (sum(getattr(label, name) for label in scores.labels) for name in ("support", "predicted"))
    hits = sum((label.recall or 0) * label.support for label in scores.labels)
    return LabelScores(
        label="",
        support=support,
        predicted=predicted,
        precision=hits / predicted if predicted else None,
        recall=hits / support if support else None,
        average_precision=average_precision(truth.ravel(), probabilities.ravel()),
        highest_probability=float(probabilities.max()),
    )


def _png(draw: Callable[[Any], None], width: float, height: float) -> bytes:
    """Draw a figure of this size in inches and return its PNG: the same bytes for the same figure."""
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    style = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": _GREY,
        "axes.labelcolor": _INK,
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
    }
    picture = io.BytesIO()
    # From the defaults: a user's matplotlibrc must not change the bundle.
    with matplotlib.style.context(["default", style]), warnings.catch_warnings():
        # A label in a script missing from the font is drawn as boxes; the card's tables show it properly.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
        canvas: Any = FigureCanvasAgg(figure)
        draw(figure)
        canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    drawn.quantize(_PALETTE, dither=Image.Dither.NONE).save(picture, format="png", optimize=True)
    return picture.getvalue()
