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
from pipelines.records import OF_SEVERAL, Failure, File, ImageRef, Item, Listed, Stack
from pipelines.scenes.naming import join_files, split_files
from pipelines.scenes.virtual import ENDING, VirtualBand, read_virtual, shown

_GDALS = {"/vsis3/": "s3://", "/vsigs/": "gs://"}
"""How GDAL names buckets."""


def is_virtual(path: str) -> bool:
    """Return whether a file is a virtual raster, judging by its name."""
    return path.lower().endswith(ENDING)


def refer_stack(paths: Sequence[str], item: Item | None = None) -> Listed:
    """Look up the files whose bands are red, green and blue of one scene, which is named after all of them.

    Args:
      paths: of the files.
      item: the STAC item that names them; None if none does.
    """
    name = join_files(paths)
    files = _look_up(name, paths)
    if isinstance(files, Failure):
        return files
    return _as_scene(ImageRef(name, 0, "", item=item), files)


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


def refer_scene(name: str, rendering: Rendering) -> Listed:
    """Look up a scene again that was tagged, of one file or of several.

    A virtual raster may name only files next to it or below it.

    Args:
      name: that the names of its windows begin with.
      rendering: with which it was tagged.

    Raises:
      ImageError, OSError, ScenetagsError: as of a virtual raster.
    """
    listed = refer(storage.normalize(name))
    if isinstance(listed, ImageRef):
        return refer_virtual(listed, rendering, ()) if is_virtual(name) else listed
    files = split_files(name)
    return refer_stack([storage.normalize(path) for path in files]) if len(files) > 1 else listed


def find_files(scene: ImageRef) -> list[File] | Failure:
    """Look up all files of a scene that has several: also those that a virtual raster names and does not show.

    Raises:
      ImageError, OSError: as of a virtual raster.
    """
    assert scene.stack
    bands, document = scene.stack
    if document is None:
        return list(bands)
    virtual = read_virtual(document)
    named = [_find(virtual.band(number), document.path, ()) for number in range(len(virtual.bands))]
    others = _look_up(scene.path, set(named) - {file.path for file in bands})
    return others if isinstance(others, Failure) else [document, *bands, *others]


def refer_place(name: str, rendering: Rendering) -> Listed:
    """Look up a file that lies where a scene lies: itself, or the first of several; see `refer_scene`."""
    listed = refer_scene(name, rendering)
    return ImageRef(*listed.stack.bands[0]) if isinstance(listed, ImageRef) and listed.stack else listed


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
            f"VRT that names {shown(path)}, which lies neither next to it nor below it",
            f"if you trust it, add --allow_vrt {shown(posixpath.dirname(path))}",
        )
    return path


def _look_up(name: str, paths: Iterable[str]) -> list[File] | Failure:
    files = []
    for path in paths:
        listed = refer(path)
        if isinstance(listed, Failure):
            file = posixpath.basename(listed.path)
            return listed._replace(path=storage.escaped(name), message=f"{file}: {listed.message}")
        files.append(File(path, listed.size, listed.fingerprint))
    return files


def _as_scene(ref: ImageRef, files: Sequence[File], document: File | None = None) -> ImageRef:
    everything = (*([document] if document else []), *files)
    # Of one length, however many they are.
    versions = "\n".join(file.fingerprint for file in everything)
    digest = hashlib.blake2b(versions.encode(), digest_size=16).hexdigest()
    size = sum(file.size for file in everything)
    return ref._replace(size=size, fingerprint=f"{OF_SEVERAL}{digest}", stack=Stack(tuple(files), document))
