"""Fetch originals and make thumbnails of them, decoded and repaired as for the model."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple

from PIL import Image as Pictures

from pipelines import storage
from pipelines.errors import quantity
from pipelines.images import DecodeSettings, ignore_metadata_warnings
from pipelines.images.decoding import Pixels
from pipelines.images.limits import Limits
from pipelines.output.footers import Footer
from pipelines.reading import READS_IN_FLIGHT
from pipelines.reading.ahead import LookAhead
from pipelines.reading.source import ImageSource
from pipelines.records import Failure, Image, ImageRef
from pipelines.results.report.originals import TOO_LATE, find_originals, grid_of, within_budget
from pipelines.results.whereabouts import Whereabouts
from pipelines.scenes.grid import without_masks

SIDE = 128
"""Columns and rows of a thumbnail."""

MOST_BYTES = 1 << 30
"""Fetched for all thumbnails together."""

_SECONDS = 60.0
"""After which no further original is fetched: storage that does not answer must not keep the report waiting."""
_MOST_PICTURES = 6_000_000
"""Bytes of all pictures together, so that the page stays below 15 MB."""
_QUALITIES = (80, 60, 40, 20)


class Thumbnail(NamedTuple):
    """What became of an original.

    Attributes:
      picture: JPEG; empty if there is none.
      problem: why there is no picture, or why it may not show what was tagged; empty if all is well.
    """

    picture: bytes = b""
    problem: str = ""


_NOWHERE = Thumbnail(problem="its path is relative to a folder that no run names: give --relative_to")


def make_thumbnails_of_rows(
    fingerprints: Mapping[str, str], whereabouts: Whereabouts, footer: Footer
) -> dict[str, Thumbnail]:
    """Make thumbnails of the images of rows, by their paths there, and say which images cannot be found.

    Args:
      fingerprints: as for `make_thumbnails`, by the paths in the rows.
      whereabouts: of the images.
      footer: as for `make_thumbnails`.
    """
    whole = {path: whereabouts.whole(path) for path in fingerprints}
    made = make_thumbnails({place: fingerprints[path] for path, place in whole.items() if place}, footer)
    return {path: made.get(place, _NOWHERE) for path, place in whole.items()}


def make_thumbnails(
    fingerprints: Mapping[str, str], footer: Footer, most_bytes: int = MOST_BYTES
) -> dict[str, Thumbnail]:
    """Make thumbnails of images.

    Args:
      fingerprints: of the images when they were tagged, by their paths; those that come first are fetched first.
      footer: what they were tagged with: the rendering of rasters and the grid of windows.
      most_bytes: fetched for all of them together.

    Returns:
      What became of each, by its path.
    """
    ignore_metadata_warnings()
    with _patient_for(_SECONDS) as deadline:
        return _make(fingerprints, footer, most_bytes, deadline)


@contextmanager
def _patient_for(seconds: float) -> Iterator[float]:
    """Yield the time of the monotonic clock at which nothing is retried any more."""
    with ExitStack() as stack:
        timer = threading.Timer(seconds, lambda: stack.enter_context(storage.hurried()))
        timer.daemon = True
        timer.start()
        try:
            yield time.monotonic() + seconds
        finally:
            timer.cancel()
            timer.join()


def _make(fingerprints: Mapping[str, str], footer: Footer, most_bytes: int, deadline: float) -> dict[str, Thumbnail]:
    rank = {path: place for place, path in enumerate(fingerprints)}
    found = sorted(find_originals(list(fingerprints), footer, most_bytes, deadline), key=lambda one: rank[one.path])
    made: dict[str, Thumbnail] = {}
    wanted: list[tuple[str, ImageRef]] = []
    for one, allowed in within_budget(found, most_bytes):
        if isinstance(one.listed, Failure):
            made[one.path] = Thumbnail(problem=_gone(one.listed))
        elif not allowed:
            made[one.path] = Thumbnail(
                problem=f"not fetched: all originals together exceed {quantity(most_bytes, 'byte')}"
            )
        else:
            wanted.append((one.path, one.listed))
    wanted.sort(key=lambda item: _order(item[1]))
    return made | _fetch(wanted, fingerprints, footer, deadline)


def _fetch(
    wanted: Sequence[tuple[str, ImageRef]], fingerprints: Mapping[str, str], footer: Footer, deadline: float
) -> dict[str, Thumbnail]:
    made = {path: Thumbnail(problem=TOO_LATE) for path, _ in wanted}
    allowed = _MOST_PICTURES // max(1, len(wanted))

    def in_time() -> Iterator[ImageRef]:
        for _, ref in wanted:
            if time.monotonic() > deadline:
                return
            yield ref

    decoding = DecodeSettings(SIDE, "bilinear", rendering=footer.rendering)
    source = ImageSource(decoding, Limits(), grid=grid_of(footer))
    with closing(LookAhead(source, READS_IN_FLIGHT)) as ahead:
        for (path, _), read in zip(wanted, ahead.read(in_time()), strict=False):
            if isinstance(read, Image):
                changed = without_masks(fingerprints[path]) not in ("", read.ref.fingerprint)
                problem = "the original has changed since it was tagged" if changed else ""
                made[path] = Thumbnail(_encode(read.pixels, allowed), problem)
            elif isinstance(read, Failure):
                made[path] = Thumbnail(problem=read.message)
            else:
                made[path] = Thumbnail(problem="too little of the window holds data")
    return made


def _gone(failure: Failure) -> str:
    return "the original is gone" if failure.error == FileNotFoundError.__name__ else failure.message


def _order(ref: ImageRef) -> tuple[str, int, int]:
    """Sort what is read together next to each other: members by their place, windows by their part."""
    if ref.window:
        return ref.window.scene, ref.window.part, ref.window.row
    return (ref.place.archive, ref.place.start, 0) if ref.place else (ref.path, 0, 0)


def _encode(pixels: Pixels, most_bytes: int) -> bytes:
    """Encode as JPEG, in as good a quality as so many bytes allow."""
    file = io.BytesIO()
    for quality in _QUALITIES:
        file.seek(0)
        file.truncate()
        Pictures.fromarray(pixels).save(file, "jpeg", quality=quality)
        if file.tell() <= most_bytes:
            break
    return file.getvalue()
