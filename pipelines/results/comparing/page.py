"""Make a page about what changed between two outputs. It needs no script: a few figures, a table and thumbnails."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

from pipelines.credentials import without_secrets
from pipelines.errors import printable, quantity
from pipelines.output.footers import Footer
from pipelines.results.comparing.comparison import GAINED, LOST, Change, Comparison, TagChanges, differing
from pipelines.results.outputs import Output
from pipelines.results.pages import fill_static
from pipelines.results.report.page import link_to
from pipelines.results.report.thumbnails import Thumbnail, make_thumbnails_of_rows
from pipelines.results.whereabouts import Whereabouts

_LONGEST = 60
"""Characters of a name under a thumbnail; the whole path is under the pointer."""


class _Shown(NamedTuple):
    """What the page has of an image.

    Attributes:
      link: URL of the original; empty if there is none.
      thumbnail: of it.
    """

    link: str
    thumbnail: Thumbnail


def make_page(
    outputs: Sequence[Output], footers: Sequence[Footer], comparison: Comparison, whereabouts: Whereabouts
) -> str:
    """Make the page; the originals of its images are read for thumbnails.

    Args:
      outputs: A and B.
      footers: what their predictions were made with.
      comparison: of the two, with examples.
      whereabouts: of the images of B.
    """
    shown = [*comparison.largest, *(change for changes in comparison.examples.values() for change in changes)]
    images = _show_images(whereabouts, footers[1], {one.path: one.fingerprint for one in shown})
    body = "\n".join(
        [
            *_head(outputs, footers, comparison),
            "<main>",
            *_figures(comparison),
            *_table(comparison),
            *_images(comparison, images),
            "</main>",
        ]
    )
    return fill_static(("base.css", "compare.css"), "What changed: scenetags compare", body)


def _show_images(whereabouts: Whereabouts, footer: Footer, fingerprints: Mapping[str, str]) -> dict[str, _Shown]:
    """Find the images of an output, and make their thumbnails; by path."""
    thumbnails = make_thumbnails_of_rows(fingerprints, whereabouts, footer)
    places = {path: whereabouts.whole(path) for path in fingerprints}
    return {path: _Shown(place and link_to(place), thumbnails[path]) for path, place in places.items()}


def _head(outputs: Sequence[Output], footers: Sequence[Footer], comparison: Comparison) -> Iterator[str]:
    yield "<header><h1>What changed</h1>"
    for name, output, footer in zip("AB", outputs, footers, strict=True):
        yield f"<p><b>{name}</b> {_text(output.path)}, model {_text(footer.bundle[:12])}</p>"
    different = ", ".join(differing(footers))
    yield f"<p>{f'Different: {different}.' if different else 'Same model, precision, thresholds and rules.'}</p>"
    for name, labels in (("A", comparison.only_a), ("B", comparison.only_b)):
        if labels:
            yield f"<p>Labels that only the model of {name} knows: {_text(', '.join(labels))}</p>"
    yield "</header>"


def _figures(comparison: Comparison) -> Iterator[str]:
    images = comparison.images
    figures = (
        ("tags that differ", f"{comparison.changed:.2%}", "of those in A or in B"),
        (
            "images with different tags",
            f"{images.other_tags:,}",
            f"{images.other_tags / images.both:.2%} of those in both",
        ),
        ("images in both", f"{images.both:,}", f"{images.replaced:,} with a changed file"),
        ("only in A", f"{images.only_a:,}", f"{images.failed_in_b:,} failed in B"),
        ("only in B", f"{images.only_b:,}", f"{images.failed_in_a:,} failed in A"),
    )
    yield "<dl>"
    for name, value, more in figures:
        yield f"<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>"
    yield "</dl>"


def _table(comparison: Comparison) -> Iterator[str]:
    titles = (
        "tag",
        "in A",
        "in B",
        "kept",
        "lost",
        "lost and gained",
        "gained",
        "mean change of p",
        "largest change of p",
    )
    yield '<section class="card"><h2>Tags of the images in both</h2>'
    yield '<div class="wide" role="region" tabindex="0" aria-label="tags"><table><thead><tr>'
    yield "".join(f'<th scope="col">{title}</th>' for title in titles)
    yield "</tr></thead><tbody>"
    most = max(max(tag.gained, tag.lost) for tag in comparison.tags)
    for tag in comparison.tags:
        rate_a, rate_b = comparison.rates(tag)
        counts = [f"{number:,}" for number in (tag.kept, tag.lost, tag.gained)]
        changes = ["" if change is None else f"{change:.4f}" for change in (tag.mean_change, tag.largest_change)]
        cells = [_text(tag.tag), f"{rate_a:.2%}", f"{rate_b:.2%}", *counts[:2], _bar(tag, most), counts[2], *changes]
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    yield "</tbody></table></div></section>"


def _bar(tag: TagChanges, most: int) -> str:
    """Draw how many images lost a tag, to the left, and gained it, to the right."""
    lost, gained = (round(80 * number / most, 2) if most else 0 for number in (tag.lost, tag.gained))
    return (
        '<svg viewBox="-80 0 160 10" aria-hidden="true"><rect class="axis" x="-0.5" width="1" height="10"/>'
        f'<rect class="lost" x="{-lost}" y="1" width="{lost}" height="8"/>'
        f'<rect class="gained" x="0" y="1" width="{gained}" height="8"/></svg>'
    )


def _images(comparison: Comparison, images: Mapping[str, _Shown]) -> Iterator[str]:
    if comparison.largest:
        yield '<section class="card"><h2>Largest changes of a probability</h2><div class="images">'
        yield from (_image(change, images, change.tag) for change in comparison.largest)
        yield "</div></section>"
    if not any(comparison.examples.values()):
        return
    yield '<section class="card"><h2>Tags that were gained or lost, those with the largest changes first</h2>'
    for tag in comparison.tags:
        counts = {GAINED: tag.gained, LOST: tag.lost}
        examples = {kind: found for kind in counts if (found := comparison.examples.get((tag.tag, kind)))}
        if not examples:
            continue
        yield f'<h3>{_text(tag.tag)}</h3><div class="pair">'
        for kind, changes in examples.items():
            yield f'<div><h4>{kind}: {len(changes)} of {quantity(counts[kind], "image")}</h4><div class="images">'
            yield from (_image(change, images) for change in changes)
            yield "</div></div>"
        yield "</div>"
    yield "</section>"


def _image(change: Change, images: Mapping[str, _Shown], tag: str = "") -> str:
    link, made = images[change.path]
    name, path = change.path.rpartition("/")[2] or change.path, _text(change.path)
    short = name if len(name) <= _LONGEST else f"...{name[-_LONGEST:]}"
    picture = f'<div class="none">{_text(made.problem)}</div>'
    if made.picture:
        encoded = base64.b64encode(made.picture).decode()
        picture = f'<img src="data:image/jpeg;base64,{encoded}" alt="" title="{_text(made.problem)}">'
    shown = (
        f'<a href="{escape(link)}" title="{path}">{_text(short)}</a>'
        if link
        else f'<b title="{path}">{_text(short)}</b>'
    )
    numbers = " to ".join("unknown" if number is None else f"{number:.3f}" for number in (change.a, change.b))
    of_tag = f"<span>{_text(tag)}</span>" if tag else ""
    return f"<figure>{picture}<figcaption>{shown}{of_tag}<span>{numbers}</span></figcaption></figure>"


def _text(text: str) -> str:
    return escape(printable(without_secrets(text)))
