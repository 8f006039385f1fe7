"""List the images under a folder, on this machine or in a bucket."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipelines import labels, storage
from pipelines.images.formats import ENDINGS
from pipelines.images.hidden import hides, is_mask, is_picture_of_bundle


def list_images(folder: str) -> dict[str, str]:
    """Return the path of each image under a folder, in a stable order, with a version that changes when it does.

    Hidden files and folders, those of a system, masks of scenes, and the curves of bundles are skipped as in
    prediction.

    Raises:
      LabelError: there are no images, or a folder cannot be listed.
    """
    if not storage.is_remote(folder):
        return versions(map(str, labels.find_images(Path(folder))))
    prefix = f"{folder.rstrip('/')}/"
    try:
        found = {entry.path: f"{entry.size} {entry.fingerprint}" for entry in storage.walk(prefix)}
    except OSError as error:
        raise labels.LabelError(f"{folder}: {storage.reason_of(error)}") from error
    images = [path for path in found if path.lower().endswith(ENDINGS)]
    shown = [
        path
        for path in images
        if not any(map(hides, path[len(prefix) :].split("/")))
        and not is_mask(path)
        and not is_picture_of_bundle(path, found)
    ]
    if not shown:
        raise labels.LabelError(f"{folder}: no images in this folder (extensions: {' '.join(ENDINGS)})")
    return {path: found[path] for path in sorted(shown)}


def versions(paths: Iterable[str]) -> dict[str, str]:
    """Return for each file on this machine what changes when it does; no file is read."""
    statuses = ((path, os.stat(path)) for path in paths)
    return {path: f"{status.st_size} {status.st_mtime_ns}" for path, status in statuses}


def fingerprint(files: Mapping[str, str]) -> str:
    """Return a digest of a list of files, each with its version, that changes when one of them does."""
    digest = hashlib.sha256()
    for path, version in files.items():
        place = path if storage.is_remote(path) else os.path.abspath(path)
        digest.update(f"{place}\0{version}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
