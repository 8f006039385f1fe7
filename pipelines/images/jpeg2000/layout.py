"""Read the layout of a JPEG 2000 from its boxes; ITU-T T.800, annex I.

Decoders get a file with the codestream and the plainest boxes that tell its colours: Pillow would mix up a palette that
holds a colour twice, and OpenJPEG follows some boxes and ignores others.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from pipelines.errors import quantity
from pipelines.images.jpeg2000.codestream import Codestream, add_no_packets, read_codestream, with_true_counts
from pipelines.images.jpeg2000.size import SIGNATURE, Size, read_size
from pipelines.images.layout import DamagedImageError, Layout, UnsupportedImageError, UntrustedColoursError
from pipelines.images.parts import Data
from pipelines.images.profiles import colour_space
from pipelines.images.rendering import NO_RENDERING, Rendering, ask_for_values

MARK = b"\0\0\0\x0cjP  \r\n\x87\n"
"""The box by which a file of boxes begins; other files are a codestream alone."""

_MOST_BOXES = 10_000
_ENUMERATED, _PROFILES = 1, (2, 3)
_CMYK, _SRGB, _GRAY, _SYCC = 12, 16, 17, 18
_COLOURS = {_CMYK: 4, _SRGB: 3, _GRAY: 1, _SYCC: 3}
_OF_PROFILE = {"GRAY": _GRAY, "RGB": _SRGB, "CMYK": _CMYK}
_COLOUR, _OPACITY, _PREMULTIPLIED = 0, 1, 2
_WAVELET = 7
# Bits of values that Pillow keeps; those of 9 it reduces to 8.
_STRETCHED = range(10, 17)
_Boxes = dict[bytes, list[bytes]]


class _Channels(NamedTuple):
    """Which components are which colours.

    Attributes:
      order: components in the order of the colours.
      opacity: whether another one is the opacity.
    """

    order: tuple[int, ...]
    opacity: bool


def read_jpeg2000(data: Data, rendering: Rendering = NO_RENDERING) -> Layout:
    """Read the size of the codestream, and the boxes that say what its components mean.

    Args:
      data: the file.
      rendering: that may say how bright the values of a single component are.

    Raises:
      ImageError: it is damaged, not supported, or its colours are unknown.
    """
    boxes, streams = _read_boxes(data)
    start, end = streams[0]
    size = read_size(data, start)
    samples = len(size.bits)
    _check_header(boxes, size)
    space, profile = _read_space(boxes, samples)
    palette = _read_palette(boxes, size.bits) if b"pclr" in boxes else None
    channels = _Channels((0,), False) if palette else _read_channels(boxes, samples, space)
    _check_samples(size, channels, indexed=palette is not None, rendering=rendering)
    return Layout(
        "jpeg2000",
        size.width,
        size.height,
        samples,
        size.bits[channels.order[0]],
        frames=len(streams),
        gray=space == _GRAY,
        bands=channels.order[:3] if len(channels.order) == 3 else (0, 1, 2),
        left_out=("extra_band_dropped",) if samples > len(channels.order) and not channels.opacity else None,
        profile=profile,
        palette=palette,
        to_pixels=partial(_to_pixels, start, end, size, _GRAY if palette else space),
    )


def find_size(head: bytes) -> Size | None:
    """Read the size from the beginning of a file; None if it comes later."""
    if head[: len(SIGNATURE)] == SIGNATURE:
        return read_size(head, 0)
    streams = (start for name, start, _ in walk_boxes(head, 0, len(head)) if name == b"jp2c")
    start = next(streams, None)
    return None if start is None else read_size(head, start)


def _to_pixels(start: int, end: int, size: Size, space: int, data: bytes) -> bytes:
    """Check that all tiles are there, and leave out all boxes on which no pixel depends."""
    try:
        codestream = read_codestream(data, start, end, size)
    except (struct.error, IndexError) as error:
        raise DamagedImageError("truncated JPEG 2000: it ends before its pixels") from error
    header = struct.pack(">IIHBBBB", size.height, size.width, len(size.bits), size.bits[0] - 1, _WAVELET, 0, 0)
    colours = struct.pack(">BBBI", _ENUMERATED, 0, 0, space)
    boxes = write_box(b"ihdr", header) + write_box(b"colr", colours)
    return b"".join((*write_start(boxes), *with_true_counts(data, start, codestream)))


def without_missing_packets(data: bytes) -> tuple[bytes, int]:
    """Rewrite a file of `to_pixels` so that it cannot be decoded if any of its packets are missing.

    Returns:
      The codestream; and how often its sides may be halved in decoding, which takes the less time the more often.
    """
    _, [(start, end)] = _read_boxes(data)
    size = read_size(data, start)
    codestream = read_codestream(data, start, end, size)
    return b"".join(add_no_packets(data, start, codestream)), _halvings(size, codestream)


def _halvings(size: Size, codestream: Codestream) -> int:
    """Return how often the sides of an image can be halved before Pillow takes it for damaged."""
    if any(size.origin):
        return 0
    times = min(coding.levels for coding in codestream.codings)
    # Pillow rounds the sides to the nearest, and OpenJPEG rounds them up. No tile may be without pixels.
    while times and not (
        all((side + (1 << times) // 2) >> times == -(-side >> times) for side in (size.width, size.height))
        and (size.tiles == (1, 1) or not any(side % (1 << times) for side in size.tile))
    ):
        times -= 1
    return times


def write_start(header: bytes) -> tuple[bytes, ...]:
    """Return what precedes the codestream in a file with these boxes in its header box."""
    # The last box extends to the end of the file.
    return MARK, write_box(b"ftyp", b"jp2 \0\0\0\0jp2 "), write_box(b"jp2h", header), bytes(4), b"jp2c"


def write_box(name: bytes, payload: bytes) -> bytes:
    """Return a box; annex I.4."""
    return struct.pack(">I4s", 8 + len(payload), name) + payload


def walk_boxes(data: Data, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, first byte and end of the content of each box between two bytes; annex I.4."""
    for _ in range(_MOST_BOXES):
        if at + 8 > end:
            return
        length, name = struct.unpack(">I4s", data[at : at + 8])
        start = at + 8
        if length == 1:
            (length,) = struct.unpack(">Q", data[start : start + 8])
            start += 8
        box_end = at + length if length else end
        if box_end < start:
            raise DamagedImageError(f"damaged JPEG 2000: a box of {quantity(length, 'byte')} at byte {at}")
        yield name, start, box_end
        at = box_end
    raise DamagedImageError(f"damaged JPEG 2000: more than {_MOST_BOXES:,} boxes")


def _read_boxes(data: Data) -> tuple[_Boxes, list[tuple[int, int]]]:
    """Read the boxes of the header, and find the first byte and the end of up to two codestreams."""
    boxes: _Boxes = {}
    if data[: len(SIGNATURE)] == SIGNATURE:
        return boxes, [(0, len(data))]
    streams: list[tuple[int, int]] = []
    for name, start, end in walk_boxes(data, 0, len(data)):
        if end > len(data) and not streams:
            raise DamagedImageError(f"truncated JPEG 2000: its box {name!r} at byte {start} is not whole")
        if name == b"jp2h" and not boxes:
            for part, begin, stop in walk_boxes(data, start, end):
                boxes.setdefault(part, []).append(data[begin : min(stop, end)])
        elif name == b"jp2c":
            streams.append((start, end))
            if len(streams) == 2:
                break
    if not streams:
        raise DamagedImageError("damaged JPEG 2000: it holds no codestream")
    return boxes, streams


def _check_header(boxes: _Boxes, size: Size) -> None:
    """Refuse a header that contradicts the codestream."""
    if boxes:
        height, width, samples = struct.unpack_from(">IIH", boxes.get(b"ihdr", [b""])[0])
        if (width, height, samples) != (size.width, size.height, len(size.bits)):
            raise DamagedImageError("damaged JPEG 2000: its header and its codestream differ in size")


def _read_space(boxes: _Boxes, samples: int) -> tuple[int, bytes | None]:
    """Return the enumerated colour space and the ICC profile: the first that are named; annex I.5.3.3.

    Raises:
      UntrustedColoursError: the colours are none of those that are known.
    """
    profile = None
    for box in boxes.get(b"colr", ()):
        method = box[0]
        if method == _ENUMERATED:
            (space,) = struct.unpack_from(">I", box, 3)
            if space not in _COLOURS:
                raise UntrustedColoursError(f"JPEG 2000 in the colour space numbered {space}: it is not supported")
            return space, None
        if method in _PROFILES:
            profile = box[3:]
            break
    if b"pclr" in boxes:
        return _SRGB, profile
    named = _OF_PROFILE.get(colour_space(profile or b""))
    if named and samples - _COLOURS[named] in (0, 1):
        return named, profile
    if samples not in (1, 2, 3) and not profile:
        raise UntrustedColoursError(
            f"JPEG 2000 with {quantity(samples, 'component')} and no colour space: its colours are ambiguous"
        )
    return _GRAY if samples < 3 else _SRGB, profile


def _read_palette(boxes: _Boxes, bits: Sequence[int]) -> bytes:
    """Return red, green and blue of each of 256 values as they are decoded; annexes I.5.3.4 and I.5.3.5.

    Raises:
      UnsupportedImageError: the palette makes other channels than these three.
    """
    [palette, *_], [mapping, *_] = boxes[b"pclr"], boxes.get(b"cmap", [b""])
    entries, columns = struct.unpack_from(">HB", palette)
    # Each channel: the component, that it is mapped, and the column of the palette.
    plain = b"".join(struct.pack(">HBB", 0, 1, column) for column in range(3))
    if len(bits) != 1 or bits[0] > 8 or palette[2:6] != b"\3\7\7\7" or mapping != plain:
        raise UnsupportedImageError(
            f"JPEG 2000 with a palette of {quantity(columns, 'column')}: only those of red, green and blue in 8 bits "
            "are supported"
        )
    if not 0 < entries <= 1024 or len(palette) < 6 + 3 * entries:
        raise DamagedImageError(f"damaged JPEG 2000: a palette of {quantity(entries, 'colour')}")
    order = _read_channels(boxes, 3, _SRGB).order
    colours = [bytes(palette[at + column] for column in order) for at in range(6, 6 + 3 * entries, 3)]
    # Pillow decodes samples of fewer bits to the upper ones of 8.
    return b"".join(colours[min(value >> (8 - bits[0]), entries - 1)] for value in range(256))


def _read_channels(boxes: _Boxes, samples: int, space: int) -> _Channels:
    """Find out which components are the colours; annex I.5.3.6.

    Raises:
      UntrustedColoursError: that remains open.
      UnsupportedImageError: the colours are multiplied by the opacity.
    """
    colours = _COLOURS[space]
    plain = tuple(range(colours))
    order, opacity = plain, False
    if b"cdef" in boxes:
        box = boxes[b"cdef"][0]
        (entries,) = struct.unpack_from(">H", box)
        channels = [struct.unpack_from(">HHH", box, at) for at in range(2, 2 + 6 * min(entries, samples), 6)]
        if any(kind == _PREMULTIPLIED for _, kind, _ in channels):
            raise UnsupportedImageError("JPEG 2000 whose colours are multiplied by its opacity is not supported")
        named = {colour: component for component, kind, colour in channels if kind == _COLOUR}
        if colours == 1:
            # The only colour may be that of the whole image.
            named.setdefault(1, named.get(0, samples))
        order = tuple(named.get(colour, samples) for colour in range(1, colours + 1))
        opacity = any(kind == _OPACITY for _, kind, _ in channels)
    # As in a TIFF, only with red, green and blue may there be a band without a name.
    others = (0, 1) if opacity or space == _SRGB else (0,)
    if order != plain and space != _SRGB:
        raise UnsupportedImageError("JPEG 2000 with components in an unusual order is not supported")
    if samples - colours not in others or max(order) >= samples:
        raise UntrustedColoursError(
            f"JPEG 2000 with {quantity(samples, 'component')} in a colour space of {colours}: it does not say which "
            "are its colours"
        )
    return _Channels(order, opacity)


def _check_samples(size: Size, channels: _Channels, *, indexed: bool, rendering: Rendering) -> None:
    """Refuse samples that Pillow scales wrongly, or of which it is unknown how bright their white is."""
    bits = {size.bits[component] for component in channels.order}
    most = max(bits)
    if size.signed or size.subsampled or len(bits) > 1 or (most < 8 and not indexed):
        kind = "signed" if size.signed else "subsampled" if size.subsampled else f"{min(bits)}-bit"
        raise UnsupportedImageError(f"JPEG 2000 with {kind} samples is not supported")
    can_be_stretched = len(size.bits) == 1 and most in _STRETCHED
    if rendering.stretch and can_be_stretched:
        return
    # Pillow rounds the brightest of 16-bit colours up to black.
    if most > 8 and (most < 16 or len(size.bits) > 1):
        raise UntrustedColoursError(
            f"{most}-bit JPEG 2000: it is unknown how bright its white is",
            ask_for_values(rendering) if can_be_stretched else "turn it into a TIFF",
        )
