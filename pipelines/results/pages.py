"""Make pages that need no network: one file each, of parts that lie in `assets/`."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import NamedTuple

from pipelines.errors import printable


class Parts(NamedTuple):
    """What a page is made of, by the names of files.

    Attributes:
      body: with the places of the heading, of what is described, of the data and of the scripts.
      styles: in order.
      scripts: in order.
    """

    body: str
    styles: Sequence[str]
    scripts: Sequence[str]


def fill(parts: Parts, title: str, heading: str, described: object, data: bytes, pictures: str = "") -> str:
    """Make a page.

    Names come from strangers. On the page they are data: a policy of the page names the one script that may run, and
    from where pictures may come.

    Args:
      parts: of the page.
      title: of the window.
      heading: of the page.
      described: for the script, as JSON.
      data: for the script, in as few bytes as possible.
      pictures: sources of pictures, as in the policy; none if empty.
    """
    script, style = "".join(map(_part, parts.scripts)), "".join(map(_part, parts.styles))
    body = Template(_part(parts.body)).substitute(
        heading=html.escape(printable(heading)),
        described=_in_script(described),
        data=base64.b64encode(data).decode(),
        script=script,
    )
    return _page(title, _policy(script, style, pictures), style, body)


def fill_static(styles: Sequence[str], title: str, body: str) -> str:
    """Make a page without scripts.

    Args:
      styles: names of files, in order.
      title: of the page.
      body: markup, in which what came from strangers is escaped.
    """
    style = "".join(map(_part, styles))
    policy = f"default-src 'none'; style-src '{_hash(style)}'; img-src data:; base-uri 'none'; form-action 'none'"
    return _page(title, policy, style, body)


def _page(title: str, policy: str, style: str, body: str) -> str:
    return Template(_part("page.html")).substitute(
        title=html.escape(printable(title)), policy=html.escape(policy), style=style, body=body.rstrip("\n")
    )


def _hash(text: str) -> str:
    """Return the source of a script or style, as a policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _part(name: str) -> str:
    return resources.files(__package__).joinpath("assets", name).read_text("utf-8")


def _policy(script: str, style: str, pictures: str) -> str:
    """Allow the page what it needs, and nothing else: above all, no connection."""
    allowed = f" img-src {pictures};" if pictures else ""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}';{allowed} "
        "base-uri 'none'; form-action 'none'"
    )


def _in_script(described: object) -> str:
    """Write JSON that cannot end the script element that it stands in."""
    return json.dumps(described, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
