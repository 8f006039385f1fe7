"""Make a page of windows on a map."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from pipelines.errors import printable
from pipelines.output.footers import Footer
from pipelines.results.maps.data import STEPS, Packed
from pipelines.results.pages import Parts, fill

_PARTS = Parts("map.html", ("base.css", "map.css"), ("base.js", "data.js", "scale.js", "drawing.js", "controls.js"))


def make_page(
    title: str, packed: Packed, footer: Footer, tags: Sequence[str], min_probability: float, basemap: str | None
) -> str:
    """Make the page.

    Args:
      title: of the page.
      packed: the windows.
      footer: what they were made with.
      tags: in the order of the packed probabilities.
      min_probability: with which windows were left out.
      basemap: address of its tiles, with {z}, {x} and {y}; None for no basemap.
    """
    thresholds = dict(zip(footer.labels, footer.thresholds, strict=True))
    described = {
        "tags": [{"name": printable(tag), "threshold": thresholds[tag]} for tag in tags],
        "scenes": packed.scenes,
        "sizes": packed.sizes,
        "counts": packed.counts._asdict(),
        "min_probability": min_probability,
        "basemap": basemap,
        "steps": STEPS,
        "model": printable(footer.bundle[:12]),
    }
    return fill(_PARTS, title, title, described, packed.data, _origin(basemap) if basemap else "")


def _origin(basemap: str) -> str:
    """Return scheme, host and port of the address of tiles."""
    parts = urlsplit(basemap)
    return f"{parts.scheme}://{parts.netloc}"
