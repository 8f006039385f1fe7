"""Read the frame header of a JPEG: its size, components and process."""

from __future__ import annotations

import struct
from typing import NamedTuple

from pipelines.images.layout import DamagedImageError, UnsupportedImageError

FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE, _ARITHMETIC = 0xC2, 0xC9
_READ = (0xC0, 0xC1, _PROGRESSIVE, _ARITHMETIC)
_OTHERS = {0xC3: "lossless", 0xCA: "arithmetic-coded progressive", 0xCB: "lossless"}


class Frame(NamedTuple):
    """A frame header.

    Attributes:
      arithmetic: whether its code is arithmetic, not Huffman's.
      progressive: whether each scan holds a part of the frequencies or of their bits.
      bits: per sample.
      width: columns.
      height: rows.
      ids: identifier of each component.
      sampling: horizontal and vertical sampling factors of each component.
      across: the largest horizontal one.
      down: the largest vertical one.
    """

    arithmetic: bool
    progressive: bool
    bits: int
    width: int
    height: int
    ids: bytes
    sampling: tuple[tuple[int, int], ...]
    across: int
    down: int

    def blocks(self, component: int) -> int:
        """Count the blocks of 8 x 8 samples of a component."""
        across, down = self.sampling[component]
        return -(-self.width * across // (8 * self.across)) * -(-self.height * down // (8 * self.down))

    def units(self) -> int:
        """Count the minimum coded units of a scan of several components."""
        return -(-self.width // (8 * self.across)) * -(-self.height // (8 * self.down))


def read_frame(marker: int, payload: bytes) -> Frame:
    """Read a frame header; ITU-T T.81, annex B.2.2.

    Raises:
      UnsupportedImageError: it belongs to a lossless process, about whose colours decoders do not agree, to an
        arithmetic progressive one, in which nobody can tell what is missing, or to a hierarchical one, which no decoder
        reads.
      DamagedImageError: its sampling factors are impossible.
    """
    if marker not in _READ:
        raise UnsupportedImageError(
            f"{_OTHERS.get(marker, 'hierarchical')} JPEG (SOF{marker - 0xC0}): "
            "only baseline, extended, progressive and arithmetic-coded sequential JPEGs are read"
        )
    bits, height, width, samples = struct.unpack_from(">BHHB", payload)
    if len(payload) < 6 + 3 * samples:
        raise IndexError
    sampling = tuple(divmod(factors, 16) for factors in payload[7 : 6 + 3 * samples : 3])
    if any(not 1 <= factor <= 4 for factors in sampling for factor in factors):
        raise DamagedImageError("damaged JPEG: a component's sampling factors are not between 1 and 4")
    across, down = (max(factors) for factors in zip(*sampling, strict=True)) if sampling else (1, 1)
    ids = payload[6 : 6 + 3 * samples : 3]
    arithmetic, progressive = marker == _ARITHMETIC, marker == _PROGRESSIVE
    return Frame(arithmetic, progressive, bits, width, height, ids, sampling, across, down)
