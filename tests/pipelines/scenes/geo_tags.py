"""The tags of GeoTIFFs, as they would be in a file, and what is read from them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from pipelines.scenes.georeference import Georeference, read_georeference

UTM = {1024: 1, 1025: 1, 3072: 32633}
SCALE, TIE = (10.0, 10.0, 0.0), (0.0, 0.0, 0.0, 500_000.0, 5_000_000.0, 0.0)


def tags_of(
    keys: Mapping[int, int | float | str] = UTM,
    *,
    scale: Sequence[float] = SCALE,
    ties: Sequence[float] = TIE,
    matrix: Sequence[float] = (),
    extra: Mapping[int, bytes] | None = None,
) -> dict[int, bytes]:
    """Return the tags of a little-endian GeoTIFF as they would be in the file; those without numbers are absent."""
    directory, text = [1, 1, 0, len(keys)], ""
    doubles: list[float] = []
    for key, value in sorted(keys.items()):
        if isinstance(value, str):
            directory += [key, 34737, len(value) + 1, len(text)]
            text += f"{value}|"
        elif isinstance(value, float):
            directory += [key, 34736, 1, len(doubles)]
            doubles.append(value)
        else:
            directory += [key, 0, 1, value]
    numbers = {33550: scale, 33922: ties, 34264: matrix, 34736: doubles}
    tags = {tag: struct.pack(f"<{len(values)}d", *values) for tag, values in numbers.items() if values}
    return {**tags, 34735: struct.pack(f"<{len(directory)}H", *directory), 34737: text.encode(), **(extra or {})}


def read(**parts: object) -> Georeference:
    georeference = read_georeference(tags_of(**parts), "<")  # type: ignore[arg-type]
    assert georeference is not None
    return georeference
