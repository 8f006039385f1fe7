"""Write TIFFs strip by strip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tests import image_files as files
from tests.image_files import Samples

WIDTH, HEIGHT, BITS, COMPRESSION, STRIP_OFFSETS, SAMPLES, STRIP_ROWS, STRIP_SIZES = (
    256,
    257,
    258,
    259,
    273,
    277,
    278,
    279,
)
FILL_ORDER, PLANES, PREDICTOR, EXTRA, SUBSAMPLING = 266, 284, 317, 338, 530
JPEG_TABLES = 347
JPEG = 7
NO_DATA = 42113
_TABLES = (0xDB, 0xC4)


def of_strips(
    strips: Sequence[bytes | None],
    shape: tuple[int, ...],
    photometric: int,
    tags: Mapping[int, tuple[str, Sequence[int]]],
) -> bytes:
    """Write a TIFF of strips as they are.

    Args:
      strips: of the file; None leaves one out.
      shape: rows, columns and, if there are several, bands of the image.
      photometric: the photometric interpretation.
      tags: others than those of one strip of 8-bit samples without compression.
    """
    height, width, bands = (*shape, 1)[:3]
    sizes = [len(strip or b"") for strip in strips]
    places = (8 + np.cumsum([0, *sizes[:-1]])).tolist()
    of_places = {
        WIDTH: ("I", [width]),
        HEIGHT: ("I", [height]),
        BITS: ("H", [8] * bands),
        SAMPLES: ("H", [bands]),
        STRIP_ROWS: ("I", [height]),
        STRIP_OFFSETS: ("I", [place if size else 0 for place, size in zip(places, sizes, strict=True)]),
        STRIP_SIZES: ("I", sizes),
    }
    raw = np.frombuffer(b"".join(strip or b"" for strip in strips), np.uint8)
    return files.tiff(raw[None], photometric, tags={**of_places, **tags})


def of_jpegs(
    samples: Samples,
    rows: int,
    *,
    planar: bool = False,
    subsampled: tuple[int, int] | None = None,
    missing: Sequence[int] = (),
    last_rows: int | None = None,
    sharing: bool = False,
    tags: Mapping[int, tuple[str, Sequence[int]]] | None = None,
) -> bytes:
    """Write a TIFF of strips that are JPEGs.

    Args:
      samples: uint8[h, w] or uint8[h, w, 3].
      rows: of a strip.
      planar: store the bands one after the other.
      subsampled: write YCbCr, with this subsampling.
      missing: numbers of strips to leave out.
      last_rows: of the JPEG in the last strip; by default, those that are left.
      sharing: write the tables of the JPEGs once.
      tags: further ones.
    """
    height = len(samples)
    planes = [samples[..., band] for band in range(samples.shape[2])] if planar else [samples]
    strips: list[bytes | None] = []
    for plane in planes:
        for top in range(0, height, rows):
            shown = plane[top : top + rows]
            end = last_rows if last_rows and top + rows >= height else len(shown)
            strip = np.pad(shown, ((0, end - len(shown)), *[(0, 0)] * (plane.ndim - 1)), "edge")
            options = {"subsampling": {(1, 1): 0, (2, 1): 1, (2, 2): 2}[subsampled]} if subsampled else {}
            options |= {"keep_rgb": True} if strip.ndim == 3 and not subsampled else {}
            strips.append(files.encode(strip, "jpeg", quality=95, **options))
    tables: dict[int, tuple[str, Sequence[int]]] = {}
    if sharing:
        parts = [files.jpeg_segments(strip or b"") for strip in strips]
        strips = [files.join_jpeg([part for part in jpeg if part.marker not in _TABLES]) for jpeg in parts]
        tables[JPEG_TABLES] = ("B", list(files.join_jpeg([part for part in parts[0] if part.marker in _TABLES])))
    for number in missing:
        strips[number] = None
    is_gray = samples.ndim == 2 or samples.shape[2] == 1
    photometric = files.YCBCR if subsampled else files.BLACK_IS_ZERO if is_gray else files.RGB
    shared: dict[int, tuple[str, Sequence[int]]] = {
        COMPRESSION: ("H", [JPEG]),
        STRIP_ROWS: ("I", [rows]),
        PLANES: ("H", [2 if planar else 1]),
        **({SUBSAMPLING: ("H", subsampled)} if subsampled else {}),
    }
    return of_strips(strips, samples.shape, photometric, {**shared, **tables, **(tags or {})})
