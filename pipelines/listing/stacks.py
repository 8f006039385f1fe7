"""Look up the files of scenes whose bands are files of their own."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Sequence

from pipelines import storage
from pipelines.errors import ScenetagsError
from pipelines.images.layout import UnsupportedImageError
from pipelines.images.rendering import Rendering
from pipelines.listing.lookup import refer
from pipelines.listing.references import resolve
from pipelines.records import Failure, File, ImageRef, Item, Listed, Stack, not_listed
from pipelines.scenes.virtual import ENDING, VirtualBand, read_virtual, shown

_GDALS = {"/vsis3/": "s3://", "/vsigs/": "gs://"}
"""How GDAL names buckets."""


def is_virtual(path: str) -> bool:
    """Return whether a file is a virtual raster, judging by its name."""
    return path.lower().endswith(ENDING)


def refer_stack(paths: Sequence[str], item: Item) -> Listed:
    """Look up the files whose bands are red, green and blue of a STAC item's scene.

    The scene is named after all of them: `a/red.tif+green.tif+blue.tif`, or with whole paths if they lie in several
    folders. So it has another name than any of its files, which may be inputs as well.
    """
    folders = {posixpath.dirname(path) for path in paths}
    others = map(posixpath.basename, paths[1:]) if len(folders) == 1 else paths[1:]
    name = "+".join((paths[0], *others))
    files = _look_up(name, paths)
    if isinstance(files, Failure):
        return files
    return _as_scene(ImageRef(name, 0, "", item=item), files)


def refer_place(name: str, rendering: Rendering) -> Listed:
    """Look up a file that lies where a scene lies, given the scene's name: itself, or the first of several files.

    A virtual raster may name files beside and below it alone.

    Args:
      name: of the scene.
      rendering: as in `refer_virtual`.

    Raises:
      ImageError: as `refer_virtual` does.
      OSError: likewise.
    """
    listed = refer(name)
    if isinstance(listed, Failure):
        firsts = (refer(name[:end]) for end, character in enumerate(name) if character == "+" and end)
        return next((first for first in firsts if isinstance(first, ImageRef)), listed)
    if isinstance(listed, ImageRef) and is_virtual(name):
        listed = refer_virtual(listed, rendering, ())
    if isinstance(listed, ImageRef) and listed.stack:
        return ImageRef(*listed.stack.bands[0])
    return listed


def refer_virtual(ref: ImageRef, rendering: Rendering, trusted: Sequence[str]) -> Listed:
    """Look up the files that a virtual raster names, as far as they are shown.

    Args:
      ref: its file.
      rendering: that says which bands are.
      trusted: folders and buckets whose files it may name, besides those next to it and below.

    Raises:
      ImageError: it is damaged, or not supported, or names other files.
      OSError: it cannot be read.
    """
    document = File(ref.path, ref.size, ref.fingerprint)
    virtual = read_virtual(document)
    paths = [_find(virtual.band(number), ref.path, trusted) for number in virtual.choose(rendering)]
    files = _look_up(ref.path, paths)
    return files if isinstance(files, Failure) else _as_scene(ref, files, document)


def _find(band: VirtualBand, document: str, trusted: Sequence[str]) -> str:
    """Return the path of the file of a band.

    Raises:
      UnsupportedImageError: it is not where the virtual raster may name files.
    """
    href = band.href
    for beginning, scheme in _GDALS.items():
        href = scheme + href.removeprefix(beginning) if href.startswith(beginning) else href
    try:
        if href.startswith("/vsi") or (not band.is_relative and not href.startswith("/") and "://" not in href):
            raise ScenetagsError(f"{href}: neither a file nor in a bucket")
        path = resolve(href, document)
    except ScenetagsError as error:
        raise UnsupportedImageError(f"VRT that names {shown(error.message)}") from error
    folders = (posixpath.dirname(document), *trusted)
    if not any(path.startswith(storage.join(folder, "")) for folder in folders):
        raise UnsupportedImageError(
            f"VRT that names {shown(path)}, which lies neither beside nor below it",
            f"if it may, say --allow_vrt {shown(posixpath.dirname(path))}",
        )
    return path


def _look_up(name: str, paths: Iterable[str]) -> list[File] | Failure:
    files = []
    for path in paths:
        listed = refer(path)
        if isinstance(listed, Failure):
            return not_listed(name, OSError(), message=f"{posixpath.basename(path)}: {listed.message}")._replace(
                error=listed.error
            )
        files.append(File(path, listed.size, listed.fingerprint))
    return files


def _as_scene(ref: ImageRef, files: Sequence[File], document: File | None = None) -> ImageRef:
    everything = (*([document] if document else []), *files)
    # Of one length, however many they are.
    versions = "\n".join(file.fingerprint for file in everything)
    digest = hashlib.blake2b(versions.encode(), digest_size=16).hexdigest()
    size = sum(file.size for file in everything)
    return ref._replace(size=size, fingerprint=f"files-{digest}", stack=Stack(tuple(files), document))
