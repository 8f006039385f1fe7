"""Name the file of each scene's raster; no file is replaced but an earlier raster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import takewhile

from pipelines.errors import ScenetagsError, quantity
from pipelines.results.maps.cog import SOFTWARE
from pipelines.scenes.naming import split_files

ENDINGS = (".tif", ".tiff")

_BEGINNING = 4096
"""Bytes among which a raster says what wrote it."""


class RasterNameError(ScenetagsError):
    """A file that a raster cannot have."""


def name_rasters(scenes: Sequence[str], target: str) -> list[str]:
    """Return the file of each scene's raster.

    Below a folder they are named as the scenes are below the folder that all of these are in.

    Args:
      scenes: paths, local or in buckets.
      target: a local file that ends in one of `ENDINGS`, for one scene alone; or a local folder.

    Raises:
      RasterNameError: several scenes would have one file, or a file is there that is no raster of scenetags.
    """
    if target.lower().endswith(ENDINGS) and not os.path.isdir(target):
        if len(scenes) > 1:
            raise RasterNameError(
                f"{target} is one file, and there are {quantity(len(scenes), 'scene')}", "name a folder"
            )
        files = [target]
    else:
        files = [os.path.join(target, *parts) for parts in _below(scenes)]
    if len(set(files)) < len(files):
        twice = next(file for file in files if files.count(file) > 1)
        raise RasterNameError(f"several scenes would have the raster {twice}", "rename one of them")
    for file, scene in zip(files, scenes, strict=True):
        if os.path.exists(file) and not _is_raster(file):
            is_scene = os.path.exists(scene) and os.path.samefile(file, scene)
            what = "is the scene itself" if is_scene else "exists, and scenetags did not write it"
            raise RasterNameError(f"{file} {what}", "choose another file or folder")
    return files


def _below(scenes: Sequence[str]) -> list[list[str]]:
    """Return the parts of the paths below the folder that all scenes are in, each different from the others."""
    parts = [[part for part in _place(scene).split("/") if part not in ("", ".", "..")] for scene in scenes]
    together = zip(*(path[:-1] for path in parts), strict=False)
    common = len(list(takewhile(lambda names: len(set(names)) == 1, together)))
    below = [path[common:] for path in parts]
    return [[*folders, name if name.lower().endswith(ENDINGS) else f"{name}.tif"] for *folders, name in below]


def _place(scene: str) -> str:
    """Return the path of a scene; of one whose files lie in several folders, a path next to the first."""
    first, *others = split_files(scene)
    return "+".join((first, *map(os.path.basename, others)))


def _is_raster(path: str) -> bool:
    with open(path, "rb") as file:
        return SOFTWARE in file.read(_BEGINNING)
