"""Open scenes: read from the beginning of a file what is needed to cut it, and later its parts."""

from __future__ import annotations

import posixpath
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from pipelines import storage
from pipelines.images import decode_part
from pipelines.images.formats import recognize
from pipelines.images.jpeg2000.parts import read_tiles
from pipelines.images.jpeg2000.rendering import read_raster
from pipelines.images.layout import (
    DamagedImageError,
    ImageError,
    Layout,
    UnsupportedImageError,
    UntrustedColoursError,
)
from pipelines.images.limits import HEAD
from pipelines.images.parts import Divided
from pipelines.images.products import PRODUCTS
from pipelines.images.rendering import Rendering, ask_for_values
from pipelines.images.tiff.directories import read_directory
from pipelines.images.tiff.gaps import write_gap
from pipelines.images.tiff.layout import read_tiff
from pipelines.images.tiff.parts import DividedTiff, divide, divide_mask, divide_opacity, with_text
from pipelines.images.tiff.rasters import find_raster
from pipelines.images.tiff.samples import find_range, read_no_data
from pipelines.images.tiff.tags import HEIGHT, NO_DATA, PLANES, SEPARATE_PLANES, WIDTH
from pipelines.records import File, ImageRef
from pipelines.scenes.division import Division, divide_scene
from pipelines.scenes.georeference import Georeference, read_georeference
from pipelines.scenes.grid import Grid
from pipelines.scenes.jpeg2000 import find_georeference
from pipelines.scenes.masks import Mask, open_mask
from pipelines.scenes.naming import ENDINGS
from pipelines.scenes.pages import Pages, open_pages

_BITS_OF_A_PICTURE = 8


class Scene(NamedTuple):
    """A scene, of which only the directories were read.

    Attributes:
      ref: its file.
      image: how its pixels are stored.
      mask: that says which of them hold data; None if there is none.
      bands: numbers of the bands that are needed, from 0; all if empty.
      source: as in `images.Decoded`.
      repairs: names of what is left out of the file.
      rendering: how its parts become pictures, if they are none by themselves.
      georeference: where the scene lies; None if the file does not say it.
      division: of the scene into parts and windows.
      planes: one for each colour, if bands are files of their own: scenes of one band, and of the same division. Then
        `image` is that of the first one.
      named: repairs that say which bands the planes are.
      blank: levels of red, green and blue, 0 to 255, that it has where its file leaves out a part.
    """

    ref: ImageRef
    image: Divided
    mask: Mask | None
    bands: tuple[int, ...]
    source: str
    repairs: tuple[str, ...]
    rendering: Rendering
    georeference: Georeference | None
    division: Division
    planes: tuple[Scene, ...] = ()
    named: tuple[str, ...] = ()
    blank: tuple[int, int, int] = (0, 0, 0)

    @property
    def file(self) -> File:
        """Its file."""
        return self.ref.file

    @property
    def files(self) -> tuple[Scene, ...]:
        """The scenes that are files: itself, or its planes."""
        return self.planes or (self,)


def with_blank(scene: Scene) -> Scene:
    """Find out what a scene shows where its file leaves out a part, once it is settled how it is shown.

    Raises:
      ImageError: a pixel of it cannot be decoded.
    """
    gap = write_gap(scene.image) if isinstance(scene.image, DividedTiff) else None
    if gap is None:
        return scene
    red, green, blue = decode_part(gap, rendering=scene.rendering).pixels[1, 0].tolist()
    return scene._replace(blank=(red, green, blue))


def may_be_scene(path: str) -> bool:
    """Return whether a file may be one, judging by its name."""
    return path.lower().endswith(ENDINGS)


def open_file(ref: ImageRef, grid: Grid, rendering: Rendering, *, whole: bool = False) -> Scene | None:
    """Read the directories of a scene that is one file.

    Args:
      ref: the file.
      grid: of the windows.
      rendering: of rasters that are no picture by themselves.
      whole: whether it is a scene, however small, and wherever it lies.

    Returns:
      None if the file is no scene: not georeferenced, and no larger than a window; or neither TIFF nor JPEG 2000.

    Raises:
      ImageError: it is damaged, not supported, or its colours are unknown.
      OSError: it cannot be read.
    """
    pages = open_pages(ref.file)
    try:
        kind = recognize(pages[:HEAD])
    except ImageError:
        # Its decoder knows the reason.
        return None
    if kind not in ("tiff", "jpeg2000"):
        return None
    least = 0 if whole else grid.tile
    with as_listed(ref):
        try:
            if kind == "tiff":
                return _open_tiff(ref, pages, grid, rendering, least)
            return _open_jpeg2000(ref, pages, grid, rendering, least)
        except (struct.error, IndexError, OverflowError) as error:
            raise DamagedImageError(f"truncated {kind.upper()} header") from error


@contextmanager
def as_listed(ref: ImageRef) -> Iterator[None]:
    """Name the reason if a scene seems to be truncated because a bucket lists fewer bytes than it sends.

    Raises:
      UnsupportedImageError: it does.
      OSError: the scene cannot be read.
    """
    try:
        yield
    except DamagedImageError:
        if storage.is_remote(ref.path) and storage.look_up(ref.path).marked:
            raise UnsupportedImageError(
                "scene that its bucket stores compressed: it is unknown where in it parts lie",
                "store it without Content-Encoding: gzip",
            ) from None
        raise


@contextmanager
def about(path: str) -> Iterator[None]:
    """Name the one of a scene's files that cannot be read.

    Raises:
      ImageError: as the block does; likewise an `OSError`.
    """
    name = posixpath.basename(path)
    try:
        yield
    except ImageError as error:
        raise type(error)(f"{name}: {error.message}", error.remedy) from error
    except OSError as error:
        # Its class says what became of the file, and classes are made from other arguments.
        if error.strerror:
            error.strerror = f"{name}: {error.strerror}"
        else:
            error.args = (f"{name}: {error}",)
        raise


def _open_beside(ref: ImageRef, width: int, height: int) -> Mask | None:
    """Open the mask in a file of its own, if a scene has one."""
    if ref.mask is None:
        return None
    with about(ref.mask.path):
        return open_mask(ref.mask, width, height)


def _open_jpeg2000(ref: ImageRef, pages: Pages, grid: Grid, rendering: Rendering, least: int) -> Scene | None:
    georeference = find_georeference(pages)
    layout = read_raster(pages, rendering)
    if georeference is None and max(layout.width, layout.height) <= least:
        return None
    _check_depth(layout, ask_for_values(rendering))
    if grid.nodata is not None:
        raise UnsupportedImageError(
            "--nodata of a JPEG 2000 is not supported",
            "turn it into a GeoTIFF, e.g. with gdal_translate -of COG; for Sentinel-2, --product says it instead",
        )
    image = read_tiles(pages)
    division = divide_scene(image.width, image.height, image.block, grid)
    mask = _open_beside(ref, image.width, image.height)
    return Scene(ref, image, mask, (), layout.source, (), rendering, georeference, division)


def _check_depth(layout: Layout, remedy: str) -> None:
    if layout.bits > _BITS_OF_A_PICTURE and not layout.render:
        # The values of one part do not tell what white is in the others.
        raise UntrustedColoursError(
            f"{layout.bits}-bit scene: it is unknown how bright white is",
            remedy,
        )


def _ask_of_only_band(rendering: Rendering) -> str:
    """Return the remedy where the only band of a TIFF is not shown, whatever else the user says."""
    if not rendering.product:
        return "give --stretch LOW:HIGH"
    is_of_any_number = bool(PRODUCTS[rendering.product].satellite)
    return (
        "add --bands 1,1,1 to show its only band as gray"
        if is_of_any_number
        else "give --stretch LOW:HIGH, omit --product"
    )


def _check_no_data(image: DividedTiff, written: str) -> None:
    """Refuse a value that no sample can have: all pixels would hold data, without a word.

    Raises:
      UnsupportedImageError: it is one.
    """
    ends = find_range(image.directory.tags)
    if ends and read_no_data(image.directory) is None:
        low, high = ends
        raise UnsupportedImageError(
            f"--nodata {written}: its samples are whole numbers from {low:,} to {high:,}",
            "give one of these, or tag it in a run without --nodata",
        )


def _open_tiff(ref: ImageRef, pages: Pages, grid: Grid, rendering: Rendering, least: int) -> Scene | None:
    directory = read_directory(pages)
    georeference = read_georeference(directory.texts, directory.form.order)
    layout_size = [directory.tags.get(tag, (0,))[0] for tag in (WIDTH, HEIGHT)]
    if georeference is None and max(layout_size) <= least:
        return None
    layout = read_tiff(pages, rendering)
    _check_depth(layout, _ask_of_only_band(rendering))
    image = divide(pages, directory)
    if grid.nodata is not None:
        image = with_text(image, NO_DATA, grid.written_nodata.encode())
        _check_no_data(image, grid.written_nodata)
    division = divide_scene(image.width, image.height, image.block, grid)
    raster = find_raster(directory, rendering)
    separate = directory.tags.get(PLANES, (1,))[0] == SEPARATE_PLANES
    bands = raster.bands if raster and raster.number > 1 and separate else ()
    inner = divide_mask(pages, image, directory.masks)
    # A mask that does not lie on the scene, pixel by pixel, says nothing of it.
    is_ignored = directory.has_mask and inner is None
    mask = Mask(inner, ref.file) if inner else _open_beside(ref, image.width, image.height)
    if mask is None and layout.opacity and not layout.is_premultiplied:
        opacity = divide_opacity(image, layout.opacity)
        mask = Mask(opacity, ref.file) if opacity else None
        # Nothing else is needed of what follows the colours.
        bands = tuple(range(layout.opacity)) if mask else bands
    repairs = (*["first_frame"] * (directory.pictures > 1), *["mask_dropped"] * is_ignored)
    return Scene(ref, image, mask, bands, layout.source, repairs, rendering, georeference, division)
