"""Make a page of windows on a map, which needs no network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib import resources
from string import Template
from urllib.parse import urlsplit

from pipelines.errors import printable
from pipelines.output.footers import Footer
from pipelines.results.map_data import STEPS, Packed

_SCRIPTS = ("data.js", "drawing.js", "controls.js")


def make_page(
    title: str, packed: Packed, footer: Footer, tags: Sequence[str], min_probability: float, basemap: str | None
) -> str:
    """Make the page.

    Names come from strangers. On the page they are data: a policy of the page names the one script that may run, and
    from where pictures may come.

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
    script, style = "".join(map(_part, _SCRIPTS)), _part("map.css")
    return Template(_part("map.html")).substitute(
        title=html.escape(printable(title)),
        policy=html.escape(_policy(script, style, basemap)),
        style=style,
        described=_in_script(described),
        data=base64.b64encode(packed.data).decode(),
        script=script,
    )


def _part(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text("utf-8")


def _policy(script: str, style: str, basemap: str | None) -> str:
    """Allow the page what it needs, and nothing else: above all, no connection."""
    script_hash, style_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)
    )
    pictures = f" img-src {_origin(basemap)};" if basemap else ""
    return (
        f"default-src 'none'; script-src 'sha256-{script_hash}'; style-src 'sha256-{style_hash}';{pictures} "
        "base-uri 'none'; form-action 'none'"
    )


def _origin(basemap: str) -> str:
    """Return scheme, host and port of the address of tiles."""
    parts = urlsplit(basemap)
    return f"{parts.scheme}://{parts.netloc}"


def _in_script(described: object) -> str:
    """Write JSON that cannot end the script element that it stands in."""
    return json.dumps(described, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
