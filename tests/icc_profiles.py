"""ICC v2 profiles made from a few numbers, for tests of what their colours become."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np


def rgb(gamma: float, primaries: Sequence[Sequence[float]]) -> bytes:
    """Write an ICC v2 matrix profile: one gamma, and the PCS XYZ of red, green and blue."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    colorants = {name: _xyz(xyz) for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", {**colorants, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def gray(gamma: float) -> bytes:
    """Write an ICC v2 profile for luminance."""
    return _profile(
        b"mntr", b"GRAY", b"XYZ ", {b"kTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"}
    )


def gray_like_srgb(entries: int) -> bytes:
    """Write an ICC v2 profile for luminance with the curve of sRGB, as a table of this many entries."""
    levels = np.linspace(0, 1, entries)
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    table = np.rint(linear * 65535).astype(">u2")
    return _profile(
        b"mntr", b"GRAY", b"XYZ ", {b"kTRC": b"curv\0\0\0\0" + struct.pack(">I", entries) + table.tobytes()}
    )


def cmyk() -> bytes:
    """Write an ICC v2 profile for CMYK, whose inks are duller than those of plain arithmetic."""
    inks = np.stack(np.meshgrid(*[[0.0, 1.0]] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    lightness = 100 * (1 - 0.6 * inks[:, 3]) * (1 - inks[:, :3] @ [0.3, 0.35, 0.1])
    a = 128 + (inks[:, 1] * 60 - inks[:, 0] * 40) * (1 - inks[:, 3])
    b = 128 + (inks[:, 2] * 70 - inks[:, 0] * 30) * (1 - inks[:, 3])
    lut = np.clip(np.rint(np.stack([lightness * 2.55, a, b], axis=-1)), 0, 255).astype(np.uint8)
    identity = struct.pack(">9i", *(65536 if place % 4 == 0 else 0 for place in range(9)))
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + ramp * 4 + lut.tobytes() + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def _xyz(xyz: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in xyz))


def _profile(device_class: bytes, space: bytes, connection: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    white = _xyz((0.9642, 1.0, 0.8249))
    text = b"text\0\0\0\0none\0\0\0\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + b"\0" * 83
    tags = {b"desc": description, b"cprt": text, b"wtpt": white, **tags}
    at, table, body = 132 + 12 * len(tags), b"", b""
    for name, payload in tags.items():
        payload = payload + b"\0" * (-len(payload) % 4)
        table += name + struct.pack(">II", at + len(body), len(payload))
        body += payload
    header = struct.pack(">I4sI4s4s4s", at + len(body), b"\0" * 4, 0x02400000, device_class, space, connection)
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28 + _xyz((0.9642, 1.0, 0.8249))[8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
