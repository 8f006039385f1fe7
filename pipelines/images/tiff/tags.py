"""The words of a TIFF's directory: numbers of tags, and of what some of them say; TIFF 6.0, and what came after it."""

from __future__ import annotations

from collections.abc import Mapping

Tags = Mapping[int, tuple[int, ...]]
"""The integers of a directory, by tag."""

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANES = 256, 257, 258, 259, 262, 277, 284
STRIP_OFFSETS, STRIP_ROWS, STRIP_SIZES = 273, 278, 279
PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES = 317, 322, 323, 324, 325
KIND, OLD_KIND, FILL_ORDER, ORIENTATION, COLOUR_MAP, DIRECTORIES = 254, 255, 266, 274, 320, 330
INKS, EXTRA, SAMPLE_FORMAT, TABLES, SUBSAMPLING, XMP, PROFILE = 332, 338, 339, 347, 530, 700, 34675
METADATA, NO_DATA = 42112, 42113
"""GDAL's."""
MODEL_PIXEL_SCALE, MODEL_TIEPOINT, MODEL_TRANSFORMATION = 33550, 33922, 34264
GEO_KEY_DIRECTORY, GEO_DOUBLES, GEO_ASCII = 34735, 34736, 34737
"""GeoTIFF's."""
RATIONAL_POLYNOMIALS = 50844

# Compressions.
UNCOMPRESSED, LZW, JPEG, DEFLATE, PACK_BITS, OLD_DEFLATE = 1, 5, 7, 8, 32773, 32946
LZMA, ZSTD, WEBP = 34925, 50000, 50001

# Photometric interpretations.
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK_PHOTOMETRIC, CMYK, YCBCR = 0, 1, 2, 3, 4, 5, 6

# Sample formats.
UNSIGNED, SIGNED, FLOAT, UNDEFINED = 1, 2, 3, 4
FORMATS = {UNSIGNED: "integer", SIGNED: "signed", FLOAT: "floating-point", 5: "complex", 6: "complex"}
"""What sample formats are called."""

SEPARATE_PLANES = 2
"""The planar configuration of bands that follow one another."""
