"""Read parts of scenes, and make pictures of windows from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.images import Pixels, decode_part
from pipelines.images.parts import Box, Divided, Part
from pipelines.images.rendering import COLOURS, NO_RENDERING, Rendering
from pipelines.images.tiff.parts import DividedTiff
from pipelines.records import File
from pipelines.scenes.fetching import Fetch, fetch_spans
from pipelines.scenes.memory import memory_to_show
from pipelines.scenes.scene import Scene, about


class ReadPart(NamedTuple):
    """A part of a scene as a picture.

    Attributes:
      box: its pixels.
      pixels: uint8[rows, columns, 3], sRGB, 0 to 255.
      holes: bool[rows, columns], whether a pixel holds no data; None if each of them holds some.
      repairs: as in `images.Decoded`; empty if the file leaves out the whole part.
    """

    box: Box
    pixels: Pixels
    holes: NDArray[np.bool_] | None
    repairs: tuple[str, ...]


class Shown(NamedTuple):
    """A window as a picture; the attributes are those of `ReadPart`, `valid` is the share that holds data."""

    pixels: Pixels
    valid: float
    repairs: tuple[str, ...]


def bytes_of(scene: Scene, number: int) -> int:
    """Return how many bytes of the scene's files a part takes."""
    return sum(_bytes_of(part) for file in scene.files for part in _parts_of(file, number))


def memory_of(scene: Scene, number: int) -> int:
    """Return how many bytes of memory are needed to read a part, about; of several files, one after the other."""
    size = prod(scene.division.part(number).size)
    # Until they are joined, each colour's file is held as a picture of its own, of as many samples.
    kept = len(COLOURS) ** 2 * size * bool(scene.planes)
    return kept + max(_memory_of_file(file, number) for file in scene.files)


def _memory_of_file(file: Scene, number: int) -> int:
    image, *mask = _parts_of(file, number)
    box = file.division.part(number)
    needed = memory_to_show(file.image, box, _bytes_of(image))
    if file.mask and mask:
        # Once the picture is there, with what holds no data in it.
        shown = (len(COLOURS) + 1) * prod(box.size)
        needed = max(needed, shown + memory_to_show(file.mask.image, mask[0].box, _bytes_of(mask[0])))
    return needed


def _parts_of(file: Scene, number: int) -> list[Part]:
    """Return what is fetched for a part: of the image, and of its mask if it has one."""
    box = file.division.part(number)
    return [file.image.find_part(box, file.bands), *([file.mask.image.find_part(box)] if file.mask else [])]


def _bytes_of(part: Part) -> int:
    return sum(size for _, size in part.spans)


def read_part(
    scene: Scene,
    number: int,
    fetch: Callable[[File, int, int], bytes],
    decoding: Callable[[], AbstractContextManager[None]],
) -> ReadPart:
    """Fetch and decode a part of a scene that is one file.

    Args:
      scene: it is part of.
      number: of the part.
      fetch: returns bytes of a file of the scene, as `Fetch` does.
      decoding: returns what is entered while pixels are decoded.

    Raises:
      ImageError: it cannot be decoded.
      OSError: it cannot be fetched.
    """
    box = scene.division.part(number)
    decoded = decode_box(scene.image, box, scene.rendering, partial(fetch, scene.file), decoding, scene.bands)
    if decoded is None:
        nothing = np.ones((box.height, box.width), np.bool_)
        return ReadPart(box, np.full((box.height, box.width, len(COLOURS)), scene.blank, np.uint8), nothing, ())
    if scene.mask is not None:
        mask, file = scene.mask
        with about(file.path) if file != scene.file else nullcontext():
            hidden = find_hidden(mask, box, partial(fetch, file), decoding)
        decoded = decoded._replace(holes=hidden if decoded.holes is None else decoded.holes | hidden)
    return decoded


def find_hidden(
    mask: DividedTiff, box: Box, fetch: Fetch, decoding: Callable[[], AbstractContextManager[None]]
) -> NDArray[np.bool_]:
    """Return which pixels a mask hides, or leaves out: bool[rows, columns]; arguments and errors as of `decode_box`."""
    shown = decode_box(mask, box, NO_RENDERING, fetch, decoding)
    return np.ones((box.height, box.width), np.bool_) if shown is None else shown.pixels[..., 0] == 0


def stack_parts(scene: Scene, planes: Sequence[ReadPart]) -> ReadPart:
    """Make one part of those of a scene's planes, each of which is gray; a pixel holds data if one of them does."""
    holes = planes[0].holes
    for plane in planes[1:]:
        holes = None if holes is None or plane.holes is None else holes & plane.holes
    pixels = np.stack([plane.pixels[..., 0] for plane in (*planes, *planes, *planes)[: len(COLOURS)]], axis=-1)
    gray = ["grayscale"] * (len(planes) == 1)
    has_pixels = any(plane.repairs for plane in planes)
    repairs = dict.fromkeys(repair for plane in planes for repair in plane.repairs if repair != "grayscale")
    return ReadPart(planes[0].box, pixels, holes, (*scene.named, *repairs, *gray) if has_pixels else ())


def show_window(scene: Scene, window: Box, parts: Sequence[ReadPart]) -> Shown:
    """Make a picture of a window.

    Args:
      scene: it is a window of.
      window: its pixels; those beyond the edges of the scene become black, and hold no data.
      parts: all those that it reaches into.
    """
    height, width = window.bottom - window.top, window.right - window.left
    [first, *others] = parts
    if not others and window.right <= first.box.right and window.bottom <= first.box.bottom:
        place = window.within(first.box)
        pixels = first.pixels[place]
        holes = None if first.holes is None else first.holes[place]
    else:
        pixels = np.zeros((height, width, 3), np.uint8)
        holes = np.ones((height, width), np.bool_)
        for part in parts:
            shared = Box(*map(max, window[:2], part.box[:2]), *map(min, window[2:], part.box[2:]))
            pixels[shared.within(window)] = part.pixels[shared.within(part.box)]
            holes[shared.within(window)] = False if part.holes is None else part.holes[shared.within(part.box)]
    valid = 1.0 if holes is None else 1 - float(np.count_nonzero(holes)) / holes.size
    repairs = next((part.repairs for part in parts if part.repairs), ())
    return Shown(pixels, valid, (*scene.repairs, *["no_data_kept"] * (valid < 1), *repairs))


def decode_box(
    image: Divided,
    box: Box,
    rendering: Rendering,
    fetch: Fetch,
    decoding: Callable[[], AbstractContextManager[None]],
    bands: Sequence[int] = (),
) -> ReadPart | None:
    """Fetch and decode some pixels of an image; return None if the file leaves them all out.

    Raises:
      ImageError: they cannot be decoded.
      OSError: they cannot be fetched.
    """
    part = image.find_part(box, bands)
    data = image.write_part(part, fetch_spans(part.spans, fetch))
    if data is None:
        return None
    with decoding():
        decoded = decode_part(data, max_pixels=part.box.width * part.box.height, rendering=rendering)
        holes = decoded.holes
        for hole in part.holes:
            holes[hole.within(part.box)] = True
        place = box.within(part.box)
        return ReadPart(box, decoded.pixels[place], holes[place] if holes.any() else None, decoded.repairs)
