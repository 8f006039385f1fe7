"""Which documents may name the files of scenes."""

from __future__ import annotations

from typing import NamedTuple


class Documents(NamedTuple):
    """Documents that may name files.

    Attributes:
      assets: keys of the asset of each STAC item that is a scene, or of those that are its red, green and blue band;
        empty if STAC documents are not read.
      trusted: folders and buckets whose files virtual rasters may name, besides those next to and below them; None if
        virtual rasters are not read.
    """

    assets: tuple[str, ...] = ()
    trusted: tuple[str, ...] | None = None


NO_DOCUMENTS = Documents()
"""No file is read because another one names it."""
