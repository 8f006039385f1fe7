"""Decode intact images of 64 million pixels in each layout and report their cost: `python -m tools.largest_images`.

This is the other half of the promise that `tools.fuzz_images` checks: the cost of images that are merely large.
"""

from __future__ import annotations

import argparse
import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from tools.image_trials import MOST_BYTES, Trial, try_file

SIDE = 8000


def main() -> int:
    """Print a table of all layouts, or measure the named one; return 1 if any takes too much memory."""
    parser = argparse.ArgumentParser(prog="python -m tools.largest_images", description=__doc__)
    parser.add_argument("layout", nargs="?", choices=LAYOUTS, metavar="LAYOUT", help="to measure in this process alone")
    layout = parser.parse_args().layout
    if layout:
        data = LAYOUTS[layout]()
        print(json.dumps([len(data), try_file(data, 0, layout)]))
        return 0
    print("| layout | file, MB | core-seconds | peak, MB | outcome |")
    print("|--------|---------:|-------------:|---------:|---------|")
    exceeded = False
    for name in LAYOUTS:
        # Each in a separate process: memory that the allocator keeps from one image would distort the next.
        command = [sys.executable, "-m", "tools.largest_images", name]
        size, fields = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        trial = Trial(*fields)
        exceeded |= trial.peak > MOST_BYTES
        costs = f"{size / 1e6:.1f} | {trial.seconds:.2f} | {trial.peak / 1e6:.0f}"
        print(f"| {name} | {costs} | {trial.outcome} |", flush=True)
    return int(exceeded)


def _draw(mode: str) -> Image.Image:
    small = np.random.default_rng(0).integers(0, 256, (500, 500, max(1, len(mode) if mode != "I;16" else 1)), np.uint8)
    samples = np.tile(small, (SIDE // 500, SIDE // 500, 1))
    if mode == "I;16":
        return Image.fromarray(samples[..., 0].astype(np.uint16) * 257)
    image = Image.frombytes("L" if mode == "P" else mode, (SIDE, SIDE), samples.tobytes())
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    return image


def _encode(mode: str, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    _draw(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def _chip(mask: bool, **options: Any) -> bytes:
    """Draw a 4-component JPEG without an Adobe marker; the fourth is 255 throughout, or a mask of 0 and 255."""
    fourth = Image.new("L", (SIDE, SIDE), 0)
    if mask:
        fourth.paste(255, (0, 0, SIDE, SIDE // 2))
    buffer = io.BytesIO()
    Image.merge("CMYK", [*_draw("RGB").split(), fourth]).save(buffer, "jpeg", **options)
    data = buffer.getvalue()
    adobe = data.index(b"\xff\xee")
    unmarked = bytearray(data[:adobe] + data[adobe + 16 :])
    # Pillow names the components C, M, Y and K, which would make the file CMYK.
    frame = max(unmarked.find(b"\xff\xc0"), unmarked.find(b"\xff\xc2"))
    renamed = {name: number for number, name in enumerate(unmarked[frame + 10 : frame + 22 : 3])}
    unmarked[frame + 10 : frame + 22 : 3] = bytes(range(4))
    at = unmarked.find(b"\xff\xda")
    while at >= 0:
        named = slice(at + 5, at + 5 + 2 * unmarked[at + 4], 2)
        unmarked[named] = bytes(renamed[name] for name in unmarked[named])
        at = unmarked.find(b"\xff\xda", at + 2)
    return bytes(unmarked)


def _deep_png(bands: int) -> bytes:
    line = b"\0" + np.random.default_rng(0).bytes(SIDE * bands * 2)
    packer = zlib.compressobj(1)
    pixels = b"".join(packer.compress(line) for _ in range(SIDE)) + packer.flush()
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, {1: 0, 2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))
        for name, payload in chunks
    )


def _profile() -> bytes:
    """Build a profile that differs from sRGB, so that colours are converted."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ", 128), profile.index(b"bXYZ", 128)
    profile[red + 4 : red + 8], profile[blue + 4 : blue + 8] = profile[blue + 4 : blue + 8], profile[red + 4 : red + 8]
    return bytes(profile)


LAYOUTS: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: _encode("RGB", "jpeg"),
    "JPEG, gray": lambda: _encode("L", "jpeg"),
    "JPEG, progressive": lambda: _encode("RGB", "jpeg", progressive=True),
    "JPEG, progressive 4:4:4": lambda: _encode("RGB", "jpeg", progressive=True, subsampling=0),
    "JPEG with a profile": lambda: _encode("RGB", "jpeg", icc_profile=_profile()),
    "JPEG, CMYK": lambda: _encode("CMYK", "jpeg"),
    "JPEG, CMYK progressive": lambda: _encode("CMYK", "jpeg", progressive=True),
    "JPEG, unmarked RGBA": lambda: _chip(mask=False),
    "JPEG, unmarked RGBA progressive": lambda: _chip(mask=False, progressive=True),
    "JPEG, unmarked RGBA with a mask": lambda: _chip(mask=True),
    "PNG": lambda: _encode("RGB", "png", compress_level=1),
    "PNG, RGBA": lambda: _encode("RGBA", "png", compress_level=1),
    "PNG, palette": lambda: _encode("P", "png", compress_level=1),
    "PNG with a profile": lambda: _encode("RGB", "png", compress_level=1, icc_profile=_profile()),
    "PNG, 16-bit gray": lambda: _deep_png(1),
    "PNG, 16-bit gray and alpha": lambda: _deep_png(2),
    "PNG, 16-bit RGBA": lambda: _deep_png(4),
    "TIFF": lambda: _encode("RGB", "tiff"),
    "TIFF, CMYK": lambda: _encode("CMYK", "tiff"),
    "TIFF, 16-bit gray": lambda: _encode("I;16", "tiff"),
    "TIFF, LZW": lambda: _encode("RGB", "tiff", compression="tiff_lzw"),
    "TIFF, JPEG": lambda: _encode("RGB", "tiff", compression="jpeg"),
    "TIFF, deflate, one strip": lambda: _encode(
        "RGBA", "tiff", compression="tiff_adobe_deflate", tiffinfo={278: SIDE}, strip_size=SIDE * SIDE * 4
    ),
    "GIF": lambda: _encode("P", "gif"),
    "BMP": lambda: _encode("RGB", "bmp"),
    "JPEG 2000": lambda: _encode("RGB", "jpeg2000", irreversible=True, quality_layers=[8]),
    "JPEG 2000, tiled": lambda: _encode(
        "RGB", "jpeg2000", irreversible=True, quality_layers=[8], tile_size=(1024, 1024)
    ),
    "WebP": lambda: _encode("RGB", "webp", method=0),
    "WebP, lossless": lambda: _encode("RGBA", "webp", lossless=True, method=0, quality=0),
}
"""Functions that draw the largest decodable file of each layout."""

if __name__ == "__main__":
    sys.exit(main())
