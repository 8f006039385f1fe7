"""The records that flow through the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipelines.credentials import without_secrets
from pipelines.storage.spelling import escaped

if TYPE_CHECKING:
    # `--help` names the columns, and importing NumPy would make it slow.
    import numpy as np
    from numpy.typing import NDArray


class Span(NamedTuple):
    """The location of a member in its archive.

    Attributes:
      archive: path of the archive.
      start: byte at which the member begins; for a compressed tar, in the uncompressed data.
      length: bytes it occupies there.
      packing: how it is stored; see `archives`.
      checksum: CRC-32 of its content, if the archive has one.
      completes: whether it is the last one listed of an archive that was read to its end without an error.
    """

    archive: str
    start: int
    length: int
    packing: str
    checksum: int = 0
    completes: bool = False


class Window(NamedTuple):
    """The location of a window in its scene.

    Attributes:
      scene: path of the scene.
      column: of the scene, at which the window begins.
      row: of the scene, likewise.
      width: columns; some may lie beyond the scene's edge.
      height: rows, likewise.
      part: number of the part of the scene in which the window begins; a part is read at once.
      columns: of the scene.
      rows: of the scene.
      size: of the scene, in bytes.
      rendering: how the scene becomes pictures, if that took a look at its values, as `images.rendering` packs it.
      clear: share of it that is clear by the scene's mask, 0 to 1; 1 if none was asked for.
    """

    scene: str
    column: int
    row: int
    width: int
    height: int
    part: int
    columns: int
    rows: int
    size: int
    rendering: str = ""
    clear: float = 1.0


class Item(NamedTuple):
    """What a STAC item says of its scene.

    Attributes:
      id: of the item.
      taken: when the scene was taken, UTC in ISO 8601; empty if the item does not say it.
      offset: by which the values of Sentinel-2 are higher than reflectance times 10,000; None if the item does not say
        it, or cannot be trusted in it.
    """

    id: str
    taken: str
    offset: int | None = None


class File(NamedTuple):
    """A file in one of its versions.

    Attributes:
      path: of the file.
      size: in bytes.
      fingerprint: as in `ImageRef`.
    """

    path: str
    size: int
    fingerprint: str


OF_SEVERAL = "files-"
"""With which the fingerprint of a scene of several files begins."""


class Stack(NamedTuple):
    """The files of a scene whose bands are files of their own.

    Attributes:
      bands: the files of its red, green and blue band.
      document: the virtual raster that names them; None if a STAC item does.
    """

    bands: tuple[File, ...]
    document: File | None = None


class ImageRef(NamedTuple):
    """An image known by name only.

    Attributes:
      path: where its bytes are.
      size: in bytes.
      fingerprint: changes when the bytes do; derived from the listing, without reading them.
      place: its location in an archive; None for a file.
      window: its location in a scene; None for an image that is none of a scene's windows.
      item: the STAC item that named it, or its scene; None if none did.
      stack: the files of a scene, or of a window's scene, of several files; None for one of a single file.
      mask: the file next to a scene, or to a window's scene, that says which of its pixels hold data; None if there is
        none.
      kept: what the list says of it, as text, one value per `KeptColumn` of the run; None where it says nothing. Empty
        for an image that no list names.
      replaces: file of its row from an earlier run, relative to the folder of the tables; empty if it has none.
    """

    path: str
    size: int
    fingerprint: str
    place: Span | None = None
    window: Window | None = None
    item: Item | None = None
    stack: Stack | None = None
    mask: File | None = None
    kept: tuple[str | None, ...] = ()
    replaces: str = ""

    @property
    def file(self) -> File:
        """The file at its path."""
        return File(self.path, self.size, self.fingerprint)

    @property
    def named(self) -> tuple[str, ...]:
        """What its path consists of: itself, or paths of the several files that it is named after."""
        if self.stack is None or self.stack.document:
            return (self.path,)
        return tuple(file.path for file in self.stack.bands)


class KeptColumn(NamedTuple):
    """A column of the list of images that goes into the output.

    Attributes:
      name: in the list and in the output.
      type: one of `listing.lists.kept.TYPES`.
    """

    name: str
    type: str


class Footprint(NamedTuple):
    """Where a window lies, and when it was taken.

    Attributes:
      geometry: WKB of a polygon, counter-clockwise, longitudes before latitudes in degrees of CRS84; of two if it
        crosses the antimeridian. Empty if the scene does not say where it lies.
      bounds: west, south, east and north, in degrees; empty likewise.
      taken: UTC, in ISO 8601; empty if the scene does not say it.
    """

    geometry: bytes = b""
    bounds: tuple[float, ...] = ()
    taken: str = ""


class Image(NamedTuple):
    """A decoded image, resized for the model.

    Attributes:
      ref: the image's file.
      width: columns of the decoded image, before resizing.
      height: rows of the decoded image, before resizing.
      source: format, samples per pixel and bits per sample of the file.
      repairs: steps taken to get true colours, in the order applied.
      pixels: uint8[S, S, 3], sRGB, 0 to 255.
      footprint: of a window of a scene; None for any other image.
    """

    ref: ImageRef
    width: int
    height: int
    source: str
    repairs: tuple[str, ...]
    pixels: NDArray[np.uint8]
    footprint: Footprint | None = None


class Prediction(NamedTuple):
    """The model's output for an image; like `Image`, with probabilities in place of the pixels.

    Attributes:
      probabilities: float32[L], 0 to 1, in the order of the bundle's labels.
      embedding: float16[F], the features below the model's head; None unless asked for.
      appearance: float64[K], what `images.appearance` measures; None if the bundle has nothing to compare it with.
    """

    ref: ImageRef
    width: int
    height: int
    source: str
    repairs: tuple[str, ...]
    probabilities: NDArray[np.float32]
    footprint: Footprint | None = None
    embedding: NDArray[np.float16] | None = None
    appearance: NDArray[np.float64] | None = None


class Empty(NamedTuple):
    """A window with too little data to be tagged.

    Attributes:
      ref: the window.
    """

    ref: ImageRef


class Failure(NamedTuple):
    """An input that could not be tagged.

    Attributes:
      path: of the input.
      stage: where it failed: `list`, `read`, `decode` or `predict`.
      error: the kind of error, a Python exception's name.
      message: the reason, in words.
      fingerprint: of the image; empty if listing failed.
      kept: what the list says of it, as in `ImageRef`.
      replaces: as in `ImageRef`.
    """

    path: str
    stage: str
    error: str
    message: str
    fingerprint: str
    kept: tuple[str | None, ...] = ()
    replaces: str = ""


Listed = ImageRef | Failure
"""What a listing yields: an image, or a name that cannot be an image."""


def failed(ref: ImageRef, stage: str, error: str, message: str) -> Failure:
    """Describe why an image could not be tagged, without the credentials that a library may have put into its message.

    Args:
      ref: the image.
      stage: `read`, `decode` or `predict`.
      error: the kind of error.
      message: the reason.
    """
    return Failure(ref.path, stage, error, without_secrets(message), ref.fingerprint, ref.kept, ref.replaces)


def not_listed(path: str, error: Exception, fingerprint: str = "", message: str = "") -> Failure:
    """Describe why a name cannot be an image.

    Args:
      path: the name.
      error: its kind and message become those of the failure.
      fingerprint: of the file, as far as it is known.
      message: replaces the error's own message.
    """
    reason = message or (error.strerror if isinstance(error, OSError) else None) or str(error)
    # Documents of others can name what is not UTF-8.
    written = without_secrets(reason).encode("utf-8", "backslashreplace").decode()
    return Failure(escaped(path), "list", type(error).__name__, written, fingerprint)
