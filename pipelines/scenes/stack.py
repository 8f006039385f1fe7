"""Open scenes whose bands are files of their own, all on one grid."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import NamedTuple

from pipelines.errors import quantity
from pipelines.images.layout import UnsupportedImageError, UntrustedColoursError
from pipelines.images.products import PRODUCTS
from pipelines.images.rendering import COLOURS, Rendering
from pipelines.images.tiff.bands import find_other_name
from pipelines.images.tiff.parts import DividedTiff, with_text
from pipelines.images.tiff.rasters import GRAY, find_raster
from pipelines.images.tiff.rendering import name_bands
from pipelines.images.tiff.tags import (
    BLACK_IS_ZERO,
    FORMATS,
    METADATA,
    NO_DATA,
    PHOTOMETRIC,
    PROFILE,
    SAMPLE_FORMAT,
    UNDEFINED,
    UNSIGNED,
)
from pipelines.records import File, ImageRef, Stack
from pipelines.scenes.alignment import corners, lie_together
from pipelines.scenes.division import divide_scene
from pipelines.scenes.georeference import Georeference
from pipelines.scenes.grid import Grid
from pipelines.scenes.ground import UnknownPlaceError, ground_of
from pipelines.scenes.sampling import settle
from pipelines.scenes.scene import Scene, about, open_file, with_blank
from pipelines.scenes.virtual import Virtual, read_virtual

_DEPTHS = (8, 16, 32)
_ONE_BAND = re.compile(r"(\w+) 1x(\d+)")


class _Plane(NamedTuple):
    """A file of one band: its path, its scene, and the number of TIFF's sample format and bits of its samples."""

    path: str
    scene: Scene
    sample: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return self.scene.division.width, self.scene.division.height


def open_stack(ref: ImageRef, stack: Stack, grid: Grid, rendering: Rendering) -> Scene:
    """Read the directories of a scene of several files.

    Args:
      ref: the scene.
      stack: its files.
      grid: of the windows.
      rendering: of rasters that are no picture by themselves.

    Raises:
      ImageError: a file is damaged, not supported or not on the grid of the others, or the colours are unknown.
      OSError: a file cannot be read.
    """
    virtual, bands, number = None, tuple(range(len(stack.bands))), len(stack.bands)
    if stack.document:
        virtual = read_virtual(stack.document)
        bands, number = virtual.choose(rendering), len(virtual.bands)
    planes = list[_Plane]()
    for colour, (band, file) in enumerate(zip(bands, stack.bands, strict=True)):
        with about(file.path):
            no_data = virtual.band(band).no_data if virtual and grid.nodata is None else ""
            plane = _open_plane(file, grid, _of_colour(rendering, colour), no_data)
            if len(bands) > 1:
                _check_name(plane, rendering.product, colour)
            red = planes[0].scene if planes else None
            planes.append(plane._replace(scene=settle(plane.scene, grid, red, ref.item.offset if ref.item else None)))
    for plane in planes:
        _check_alike(planes[0], plane, virtual)
    scenes = [plane.scene for plane in planes]
    joined = _join(ref, scenes, virtual, name_bands(bands, number), number)
    return joined._replace(rendering=_join_renderings(rendering, scenes))


def _of_colour(rendering: Rendering, colour: int) -> Rendering:
    """Return how the only band of a file is shown that is this colour."""
    product = PRODUCTS[rendering.product] if rendering.product else None
    ranges = (ends[colour : colour + 1] * len(COLOURS) for ends in (rendering.stretch, rendering.percentiles))
    # Bands, so that a file of several is refused for what it is. A product of one file, whose bands have an order, says
    # nothing of others.
    name = rendering.product if product and product.satellite else ""
    return Rendering(GRAY, next(ranges), name, next(ranges), rendering.offset)


def _open_plane(file: File, grid: Grid, rendering: Rendering, no_data: str) -> _Plane:
    scene = open_file(ImageRef(*file), grid, rendering, whole=True)
    if scene is None:
        raise UnsupportedImageError("a band is neither TIFF nor JPEG 2000")
    match, image = _ONE_BAND.fullmatch(scene.source), scene.image
    if match is None:
        raise UnsupportedImageError(f"a file of several bands ({scene.source}) where one band is expected")
    kind, bits = UNSIGNED, int(match[2])
    if isinstance(image, DividedTiff):
        kind = image.tags.get(SAMPLE_FORMAT, (UNSIGNED,))[0]
        if image.tags.get(PHOTOMETRIC, (BLACK_IS_ZERO,))[0] != BLACK_IS_ZERO or bits not in _DEPTHS:
            raise UntrustedColoursError("a picture with colours of its own, or of a few bits, where a band is expected")
        # A band of a stack is no picture whose colours a profile describes.
        image = with_text(image, PROFILE, b"")
        image = with_text(image, NO_DATA, no_data.encode()) if no_data else image
        scene = scene._replace(image=image)
    elif no_data:
        raise UnsupportedImageError("a no-data value in a JPEG 2000 is not supported")
    # JPEG 2000s of fewer bits than 16 hold what GDAL and others call integers of 16.
    held = next(depth for depth in _DEPTHS if depth >= bits)
    return _Plane(file.path, scene, (UNSIGNED if kind == UNDEFINED else kind, held))


def _check_name(plane: _Plane, product: str, colour: int) -> None:
    """Refuse a file whose name for its band is not that of this colour in a product.

    Raises:
      UntrustedColoursError: it is not.
    """
    satellite = PRODUCTS[product].satellite if product else ()
    image = plane.scene.image
    if not satellite or not isinstance(image, DividedTiff):
        return
    if name := find_other_name(image.directory.texts.get(METADATA, b""), colour, satellite[colour]):
        raise UntrustedColoursError(
            f"TIFF whose band is named {name!r}, but {COLOURS[colour]} of {product} is band {satellite[colour]} of "
            "the satellite",
            "give --stretch LOW:HIGH instead of --product",
        )


def _check_alike(first: _Plane, plane: _Plane, virtual: Virtual | None) -> None:
    """Refuse bands that do not lie on one another, pixel by pixel.

    Raises:
      UnsupportedImageError: they do not; names both.
    """
    names = posixpath.basename(first.path), posixpath.basename(plane.path)
    for one, other in zip(_describe(first), _describe(plane), strict=True):
        if one != other:
            raise _unlike(*names, one, other)
    width, height = first.size
    if virtual and (first.size, first.sample) != ((virtual.width, virtual.height), virtual.sample):
        of_virtual = _describe_pixels((virtual.width, virtual.height), virtual.sample)
        raise _unlike("the VRT", names[0], of_virtual, _describe_pixels(first.size, first.sample))
    transforms = [place.transform for one in (first, plane) if (place := one.scene.georeference) and place.transform]
    if len(transforms) == 2:
        here, there = (corners(transform, width, height) for transform in transforms)
        if not lie_together(here, there, transforms[0]):
            raise _unlike(*names, *(f"the transform {one}" for one in transforms))


def _describe(plane: _Plane) -> Iterator[str]:
    """Yield what must be alike, in words."""
    place = plane.scene.georeference
    yield _describe_pixels(plane.size, plane.sample)
    yield f"a transform{'' if place.transform else ' that is not understood'}" if place else "no place on the ground"
    yield f"coordinates in {place.crs or 'an unknown system'}" if place else ""


def _describe_pixels(size: tuple[int, int], sample: tuple[int, int]) -> str:
    return f"{size[0]:,} x {size[1]:,} pixels of {quantity(sample[1], 'bit')} ({FORMATS.get(sample[0], 'undefined')})"


def _unlike(first: str, second: str, one: str, other: str) -> UnsupportedImageError:
    return UnsupportedImageError(
        f"bands that are not on the same grid: {first} has {one}, {second} has {other}",
        "bring them to one grid, e.g. with gdalwarp",
    )


def _join(ref: ImageRef, planes: list[Scene], virtual: Virtual | None, named: list[str], number: int) -> Scene:
    first = planes[0]
    # Blocks of the largest size: where others are smaller, whole ones are read, too.
    block = tuple(max(sizes) for sizes in zip(*(plane.image.block for plane in planes), strict=True))
    width, height, grid = first.division.width, first.division.height, first.division.grid
    division = divide_scene(width, height, (block[0], block[1]), grid)
    taken = next((one.taken for plane in planes if (one := plane.georeference) and one.taken), "")
    place = _choose_place(first.georeference, virtual.georeference if virtual else None, width, height)
    return Scene(
        ref,
        first.image,
        None,
        (),
        first.source.replace(" 1x", f" {number}x"),
        tuple(dict.fromkeys(repair for plane in planes for repair in plane.repairs)),
        first.rendering,
        place._replace(taken=taken) if place and taken else place,
        division,
        tuple(with_blank(plane)._replace(division=division) for plane in planes),
        tuple(named),
    )


def _join_renderings(said: Rendering, planes: list[Scene]) -> Rendering:
    """Return how a scene is shown, including what was looked for in its planes."""
    rasters = [
        find_raster(plane.image.directory, plane.rendering) for plane in planes if isinstance(plane.image, DividedTiff)
    ]
    settled = [raster for raster in rasters if raster and raster.stretch]
    if len(settled) < len(planes) or all(
        plane.rendering == _of_colour(said, colour) for colour, plane in enumerate(planes)
    ):
        return said
    offsets = {raster.offset for raster in settled}
    if len(offsets) > 1:
        raise UntrustedColoursError("bands of which only some hold an offset", "give --stretch LOW:HIGH")
    stretch = tuple(raster.stretch[0] for raster in settled)
    return said._replace(stretch=stretch * (len(COLOURS) // len(stretch)), percentiles=(), offset=offsets.pop())


def _choose_place(
    of_files: Georeference | None, of_virtual: Georeference | None, width: int, height: int
) -> Georeference | None:
    """Return where the scene lies: as its files say it, or else as the virtual raster does.

    Raises:
      UnsupportedImageError: they contradict each other.
    """
    if of_files is None or of_files.reason:
        return of_virtual or of_files
    if of_virtual is None or of_virtual.reason:
        return of_files
    try:
        ground = ground_of(of_files.crs, of_files.unit)
        places = ground_of(of_virtual.crs, of_virtual.unit).places(corners(of_virtual.transform, width, height))
    except UnknownPlaceError:
        return of_files
    transform = of_files.transform
    if not lie_together(ground.points(places), corners(transform, width, height), transform):
        raise UnsupportedImageError("VRT that places its bands elsewhere than their files do")
    return of_files
