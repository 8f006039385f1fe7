"""Check that the strips or tiles of a TIFF lie where pixels can lie: what else is in a file would be read as pixels."""

from __future__ import annotations

from pipelines.errors import quantity
from pipelines.images.layout import DamagedImageError, ImageTooLargeError
from pipelines.images.parts import Data
from pipelines.images.tiff.directories import Directory
from pipelines.images.tiff.strips import read_grid, unpacked_sizes
from pipelines.images.tiff.tags import COMPRESSION, UNCOMPRESSED, Tags


def check_places(data: Data, directory: Directory, tags: Tags) -> None:
    """Refuse a TIFF that lacks strips or tiles, or whose strips or tiles are something else as well.

    Args:
      data: the file.
      directory: of its image.
      tags: of the directory, as decoders are told; offsets and sizes of 0 stand for strips or tiles that are left out.

    Raises:
      DamagedImageError: their number is wrong, or they lie upon the directory or, uncompressed, upon one another.
      ImageTooLargeError: they share so many bytes that unpacking them would take minutes.
    """
    grid = read_grid(tags)
    if len(grid.offsets) != grid.number or (grid.sizes and len(grid.sizes) != grid.number):
        raise DamagedImageError(
            f"damaged TIFF: offsets of {len(grid.offsets):,} and sizes of {quantity(len(grid.sizes), grid.what)} "
            f"instead of {grid.number:,}"
        )
    unpacked = unpacked_sizes(tags, grid)
    sizes = grid.sizes or unpacked
    if tags.get(COMPRESSION, (1,))[0] == UNCOMPRESSED:
        # Some programs write too large a size; what is behind the last pixel is not read.
        sizes = [min(size or needed, needed) for size, needed in zip(sizes, unpacked, strict=True)]
        pieces = [(start, start + size) for start, size in zip(grid.offsets, sizes, strict=True) if start]
    else:
        # Equal tiles may be written once.
        pieces = [(start, start + 1) for start in set(grid.offsets) if start]
        shared = sum(max(0, min(size, len(data) - start)) for start, size in zip(grid.offsets, sizes, strict=True))
        if shared > 2 * (len(data) + sum(unpacked)):
            raise ImageTooLargeError(
                f"TIFF of {quantity(len(data), 'byte')} whose {grid.what}s have {shared:,}: decoding would take "
                "too long"
            )
    overlap = _find_overlap(pieces, directory.spans())
    if overlap is not None:
        raise DamagedImageError(
            f"damaged TIFF: a {grid.what} at byte {overlap} overlaps another, or the directory of the file"
        )


def _find_overlap(pieces: list[tuple[int, int]], others: list[tuple[int, int]]) -> int | None:
    """Return where a piece meets another one or anything else; None if each has bytes of its own."""
    behind_piece = behind_other = 0
    for start, end, is_piece in sorted([(*span, True) for span in pieces] + [(*span, False) for span in others]):
        if start < (max(behind_piece, behind_other) if is_piece else behind_piece):
            return start
        if is_piece:
            behind_piece = end
        else:
            behind_other = max(behind_other, end)
    return None
