"""Scenes written by GDAL, and chips cut from them by GDAL: an independent judge of what we read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine, from_origin
from rasterio.windows import Window

# What GDAL warns of, e.g. of scenes without a place, is what tests are about.
logging.getLogger("rasterio").setLevel(logging.ERROR)

UTM = from_origin(500_000, 9_000_000, 3, 3)


def samples(height: int, width: int, bands: int = 4, kind: str = "uint16", seed: int = 0) -> NDArray[Any]:
    """Draw the samples of a scene: [bands, height, width], 0 to 2,500, or 0 to 250 of 8 bits."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(columns / (31 + 7 * band)) + np.cos(rows / (43 + 5 * band)) + 2 for band in range(bands)]
    values = np.stack(waves) * 600 + rng.integers(0, 100, (bands, height, width))
    return (values / 10 if kind == "uint8" else values).astype(kind)


def write_scene(
    path: Path,
    values: NDArray[Any],
    *,
    tile: int = 0,
    transform: Affine | None = UTM,
    crs: str | None = "EPSG:32720",
    **options: Any,
) -> Path:
    """Write a GeoTIFF.

    Args:
      path: of the file.
      values: [bands, height, width].
      tile: columns and rows of a tile; 0 for strips.
      transform: from pixels to the ground; None for none.
      crs: of the ground.
      options: of GDAL's driver.
    """
    bands, height, width = values.shape
    layout = {"tiled": True, "blockxsize": tile, "blockysize": tile} if tile else {}
    place = {"transform": transform, "crs": crs} if transform else {}
    shape = {"width": width, "height": height, "count": bands, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **layout, **place, **options) as file:
        file.write(values)
    return path


def write_vrt(path: Path, names: Sequence[str], *, children: str = "", source: str = "", **others: str) -> Path:
    """Write a virtual raster as `gdalbuildvrt -separate` does, of files of one size next to it.

    Args:
      path: of it.
      names: of the files, one for each band.
      children: further elements of each band.
      source: further elements of the source of each band, which makes it complex.
      others: by which to replace texts in the result, e.g. `UInt16="Byte"`.
    """
    with rasterio.open(path.parent / names[0]) as file:
        width, height, transform, crs, kind = file.width, file.height, file.transform, file.crs, file.dtypes[0]
    kind = {"uint16": "UInt16", "uint8": "Byte", "int16": "Int16", "float32": "Float32"}[kind]
    rectangle = f'xOff="0" yOff="0" xSize="{width}" ySize="{height}"'
    element = "ComplexSource" if source else "SimpleSource"
    bands = (
        f'<VRTRasterBand dataType="{kind}" band="{number}">{children}<{element}>'
        f'<SourceFilename relativeToVRT="{int("/" not in name)}">{name}</SourceFilename><SourceBand>1</SourceBand>'
        f'<SourceProperties RasterXSize="{width}" RasterYSize="{height}" DataType="{kind}"/>'
        f"<SrcRect {rectangle}/><DstRect {rectangle}/>{source}</{element}></VRTRasterBand>"
        for number, name in enumerate(names, 1)
    )
    place = f"<GeoTransform>{', '.join(map(repr, transform.to_gdal()))}</GeoTransform>" if crs else ""
    srs = f'<SRS dataAxisToSRSAxisMapping="1,2">{escape(crs.to_wkt())}</SRS>' if crs else ""
    text = f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">{srs}{place}{"".join(bands)}</VRTDataset>'
    for before, after in others.items():
        assert before in text, before
        text = text.replace(before, after)
    path.write_text(text)
    return path


def cut_chip(scene: Path, box: Sequence[int], **options: Any) -> bytes:
    """Return a lossless GeoTIFF of a window of a scene: column, row, width and height."""
    with rasterio.open(scene) as file:
        values = file.read(window=Window(*box))
        kept = {key: file.profile[key] for key in ("count", "dtype", "nodata")}
        photometric = {"photometric": "RGB"} if file.count == 3 and file.dtypes[0] == "uint8" else {}
    shape = {"width": values.shape[2], "height": values.shape[1], **kept, **photometric, **options}
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", compress="deflate", **shape) as chip:
            chip.write(values)
        return bytes(memory.read())
