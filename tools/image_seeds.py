"""Draw small image files in every layout that the available encoders can write, as seeds for fuzzing.

Nothing is read from disk, so that a campaign needs no data, and `pipelines` is not used, since its decoder is under
test.
"""

from __future__ import annotations

import io
import struct
import zlib
from base64 import b64decode
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

WIDTH, HEIGHT = 40, 28
# First row, first column, and their steps in the seven passes of an interlaced PNG.
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}

# What `jpegtran -arithmetic` makes of a picture of waves, in base 64: Pillow cannot write such a file.
_ARITHMETIC = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABQODxIPDRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCNl4"
    "x9lnN+gXz/2wBDARUXFx4aHjshITt8U0ZTfHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHz/yQARCAAc"
    "ACgDASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwDRAVqiQr5+zrzvbBIstbpLsIWlwrl7NuKne64mhsYzIUwfnqJsrIp3z9fb1q"
    "4RSVHx1HqC4OH3NsD6q0Vh8/xSzeJ09u2UwJ6uery5J0DIa1b98j+rio/vPXwpCtSKS+PHkJ9bdrgv6F23BGfoKp6TerW217Mb/wBTpMv/AEOL"
    "FLW1nnObs5TZI8qrznKco/mHIxJ6s0XbuQZEn5kOGzMqcfXyrTMCOQ5cWEpn4hMpRNjjwP/Z"
)


class Seed(NamedTuple):
    """A file to damage: its name in reports, its format, and its bytes."""

    name: str
    format: str
    data: bytes


def draw_seeds() -> list[Seed]:
    """Draw one file per layout; the same version of Pillow always gives the same files."""
    files = {
        "jpeg": _draw_jpegs(),
        "png": _draw_pngs(),
        "tiff": _draw_tiffs(),
        "gif": _draw_gifs(),
        "bmp": {mode: _encode(_waves(mode), "bmp") for mode in ("1", "L", "P", "RGB")},
        "webp": _draw_webps(),
        "jpeg2000": _draw_jpeg2000s(),
    }
    return [Seed(f"{name} {kind}", kind, data) for kind, named in files.items() for name, data in named.items()]


def _waves(mode: str) -> Image.Image:
    """Draw smooth waves with some noise, in a Pillow mode."""
    bands = len(Image.new("P" if mode == "I;16" else mode, (1, 1)).getbands())
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = np.stack(
        [np.sin(rows / (3 + band) + band) * np.cos(columns / (5 - band)) for band in range(bands)], axis=-1
    )
    noise = np.random.default_rng(0).integers(0, 8, waves.shape)
    samples = (np.rint(120 + 110 * waves) + noise).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray(samples[..., 0].astype(np.uint16) * 257)
    if mode == "1":
        return Image.fromarray(samples[..., 0]).convert("1")
    image = Image.frombytes(mode, (WIDTH, HEIGHT), samples.tobytes())
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    return image


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _profile(space: str) -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB" if space == "LAB" else "sRGB")).tobytes()
    # The creation time is removed: it would change all files of a campaign every second.
    return profile[:24] + bytes(12) + profile[36:]


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera"
    return exif.tobytes()


def _draw_jpegs() -> dict[str, bytes]:
    colour, cmyk = _waves("RGB"), _waves("CMYK")
    marked = _encode(cmyk, "jpeg", quality=85)
    # An APP14 segment of 12 bytes, the one by which Pillow marks four components.
    adobe = marked.index(b"\xff\xee")
    unmarked = marked[:adobe] + marked[adobe + 16 :]
    opaque = Image.merge("CMYK", [*colour.split(), Image.new("L", colour.size, 0)])
    chip = _encode(opaque, "jpeg", quality=85)
    return {
        "plain": _encode(colour, "jpeg"),
        "4:4:4": _encode(colour, "jpeg", subsampling=0, quality=95),
        "gray": _encode(_waves("L"), "jpeg"),
        "progressive": _encode(colour, "jpeg", progressive=True),
        "gray progressive": _encode(_waves("L"), "jpeg", progressive=True),
        "restarts": _encode(colour, "jpeg", restart_marker_blocks=2),
        "rgb": _encode(colour, "jpeg", keep_rgb=True),
        "profile": _encode(colour, "jpeg", icc_profile=_profile("sRGB")),
        "other profile": _encode(colour, "jpeg", icc_profile=_profile("LAB")),
        "exif": _encode(colour, "jpeg", exif=_exif(), comment=b"a comment", dpi=(72, 72)),
        "cmyk": marked,
        "cmyk progressive": _encode(cmyk, "jpeg", progressive=True),
        "unmarked": unmarked,
        "chip": chip[: chip.index(b"\xff\xee")] + chip[chip.index(b"\xff\xee") + 16 :],
        "arithmetic": b64decode(_ARITHMETIC),
        "two pictures": _encode(colour, "mpo", save_all=True, append_images=[colour]),
    }


def _chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def _png(samples: NDArray[Any], *, interlaced: bool = False, chunks: bytes = b"") -> bytes:
    """Write PNGs that Pillow cannot, with 16-bit colour or interlaced; uint8 or uint16[rows, columns, bands]."""
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    big_endian = samples.astype(samples.dtype.newbyteorder(">"))
    lines = b"".join(
        b"\0" + row.tobytes() for y, x, down, right in passes for row in big_endian[y::down, x::right] if row.size
    )
    rows, columns, bands = samples.shape
    header = struct.pack(
        ">IIBBBBB", columns, rows, samples.itemsize * 8, _PNG_COLOUR_TYPES[bands], 0, 0, int(interlaced)
    )
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + chunks
        + _chunk(b"IDAT", zlib.compress(lines))
        + _chunk(b"IEND", b"")
    )


def _draw_pngs() -> dict[str, bytes]:
    modes = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
    drawn = {mode: _encode(_waves(mode), "png") for mode in modes}
    samples = np.asarray(_waves("RGBA"))
    deep = samples.astype(np.uint16) * 256 + 17
    text = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"text " * 400)) + _chunk(b"tEXt", b"Title\0waves")
    return {
        **drawn,
        **{f"deep {bands}": _png(deep[..., :bands]) for bands in (1, 2, 3, 4)},
        "interlaced": _png(samples[..., :3], interlaced=True),
        "deep interlaced": _png(deep, interlaced=True),
        "text": _png(samples[..., :3], chunks=text),
        "transparent palette": _encode(_waves("P"), "png", transparency=bytes(range(200))),
        "transparent colour": _encode(_waves("RGB"), "png", transparency=(1, 2, 3)),
        "profile": _encode(_waves("RGB"), "png", icc_profile=_profile("sRGB"), exif=_exif(), dpi=(72, 72)),
        "moving": _encode(_waves("RGB"), "png", save_all=True, append_images=[_waves("RGB").rotate(180)]),
    }


def _tiled_tiff(samples: NDArray[np.uint8], side: int = 16, *, deflate: bool) -> bytes:
    """Write a tiled TIFF, which Pillow cannot: uint8[rows, columns, 3]."""
    rows, columns, bands = samples.shape
    down, right = -(-rows // side), -(-columns // side)
    padded = np.pad(samples, ((0, down * side - rows), (0, right * side - columns), (0, 0)))
    tiles = [padded[y * side :, x * side :][:side, :side].tobytes() for y in range(down) for x in range(right)]
    tiles = [zlib.compress(tile) if deflate else tile for tile in tiles]
    count = len(tiles)
    entries = 11
    bits_at = 8 + 2 + entries * 12 + 4
    offsets_at = bits_at + 2 * bands
    sizes_at = offsets_at + 4 * count
    starts = np.cumsum([sizes_at + 4 * count, *map(len, tiles)])[:-1]
    tags = [
        *((256, 4, 1, columns), (257, 4, 1, rows), (258, 3, bands, bits_at), (259, 3, 1, 8 if deflate else 1)),
        *((262, 3, 1, 2), (277, 3, 1, bands), (284, 3, 1, 1), (322, 4, 1, side), (323, 4, 1, side)),
        *((324, 4, count, offsets_at), (325, 4, count, sizes_at)),
    ]
    directory = struct.pack("<H", entries) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    arrays = struct.pack(f"<{bands}H", *[8] * bands) + struct.pack(f"<{count}I", *starts.tolist())
    return b"II*\0" + struct.pack("<I", 8) + directory + arrays + struct.pack(
        f"<{count}I", *map(len, tiles)
    ) + b"".join(tiles)  # fmt: skip


def _draw_tiffs() -> dict[str, bytes]:
    modes = ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16")
    colour, samples = _waves("RGB"), np.asarray(_waves("RGB"))
    compressions = {
        "lzw": ("tiff_lzw", "RGB"),
        "deflate": ("tiff_adobe_deflate", "RGB"),
        "packed": ("packbits", "L"),
        "jpeg": ("jpeg", "RGB"),
        "gray jpeg": ("jpeg", "L"),
        "fax": ("group4", "1"),
        "old fax": ("group3", "1"),
        "lzma": ("lzma", "RGB"),
        "zstd": ("zstd", "RGB"),
    }
    drawn = {mode: _encode(_waves(mode), "tiff") for mode in modes}
    for name, (compression, mode) in compressions.items():
        try:
            drawn[name] = _encode(_waves(mode), "tiff", compression=compression)
        except (OSError, KeyError, ValueError):
            # The supported compressions depend on the build of libtiff.
            continue
    return {
        **drawn,
        "big": _encode(colour, "tiff", big_tiff=True),
        "big lzw": _encode(colour, "tiff", big_tiff=True, compression="tiff_lzw"),
        "tiled": _tiled_tiff(samples, deflate=False),
        "tiled deflate": _tiled_tiff(samples, deflate=True),
        "pages": _encode(colour, "tiff", save_all=True, append_images=[colour]),
        "strips": _encode(colour, "tiff", tiffinfo={278: 4}, compression="tiff_lzw"),
        "profile": _encode(colour, "tiff", icc_profile=_profile("sRGB"), exif=_exif()),
    }


def _draw_gifs() -> dict[str, bytes]:
    gray, frames = _waves("L"), [_waves("L").rotate(90 * turn) for turn in (1, 2)]
    return {
        "plain": _encode(_waves("P"), "gif", comment=b"a comment"),
        "moving": _encode(gray, "gif", save_all=True, append_images=frames, transparency=3),
    }


def _draw_webps() -> dict[str, bytes]:
    colour = _waves("RGB")
    return {
        "lossy": _encode(colour, "webp"),
        "lossless": _encode(_waves("RGBA"), "webp", lossless=True),
        "alpha": _encode(_waves("RGBA"), "webp", exif=_exif(), icc_profile=_profile("sRGB")),
        "moving": _encode(colour, "webp", save_all=True, append_images=[colour.rotate(180)]),
    }


def _draw_jpeg2000s() -> dict[str, bytes]:
    colour = _waves("RGB")
    return {
        "jp2": _encode(colour, "jpeg2000"),
        "gray": _encode(_waves("L"), "jpeg2000"),
        "alpha": _encode(_waves("RGBA"), "jpeg2000"),
        "codestream": _encode(colour, "jpeg2000", no_jp2=True, irreversible=True, quality_layers=[20, 10]),
        "tiled": _encode(colour, "jpeg2000", tile_size=(16, 16), progression="RPCL", codeblock_size=(16, 16)),
        "deep": _encode(_waves("I;16"), "jpeg2000"),
    }
