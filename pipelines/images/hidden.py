"""Rules for the names of files and folders in which no image is looked for."""

from __future__ import annotations

import re
from collections.abc import Container

HIDDEN = "hidden"
"""Under which names that begin with a dot are counted, such as the `._a.jpg` that macOS puts next to `a.jpg`."""

BUNDLE_FILES = ("bundle.json", "golden.npz")
"""By which a bundle is recognized; in alphabetical order, they come before its pictures."""
BUNDLE_PICTURES = frozenset(("precision_recall.png", "reliability.png", "training.png"))
"""Which training draws into a bundle."""

# What a system keeps in them are thumbnails, deleted images, and older copies of images that are listed anyway.
_SYSTEM_FOLDERS = frozenset(
    (
        *("@eadir", "#recycle", "#snapshot"),  # Synology
        *("@recycle", "@recently-snapshot"),  # QNAP
        "~snapshot",  # NetApp
        *("$recycle.bin", "system volume information"),  # Windows
        "__macosx",  # archives that macOS has packed
        "lost+found",  # ext4; only root may look into it
    )
)
# A look at one letter decides for nearly all of a million names.
_FIRST_LETTERS = frozenset(letter for name in _SYSTEM_FOLDERS for letter in (name[0], name[0].upper()))

# Most names in a listing of millions need no further look.
_ENDINGS_OF_MASKS = (".tif", ".tiff", ".jp2")
_MASK = re.compile(
    # Planet: usable data masks, and the unusable ones of its older products and of RapidEye
    r"(?:_udm2?(?:_[a-z_]+)?\.tiff?"
    # Sentinel-2: files of its SAFE format, and its scene classification in buckets and as cloud-optimized GeoTIFF
    r"|(?:^|/)MSK_[A-Z]{6}_(?:B[0-9A]{2}|[126]0m)\.jp2|(?:^|_|/)(?:SCL|CLD|SNW)_[126]0m\.(?:jp2|tiff?)"
    r"|(?:^|/)SCL\.(?:jp2|tiff?)"
    # the same as Theia's MAJA makes it
    r"|(?:^|/)SENTINEL2[^/]*_(?:CLM|MG2|EDG|SAT|IAB|DFP|DTF)_[RX][12S]\.tiff?"
    # Landsat Collection 2, of scenes and of U.S. tiles
    r"|_(?:QA_PIXEL|QA_RADSAT|QA_LINEAGE|SR_QA_AEROSOL|SR_CLOUD_QA|ST_QA)\.tiff?"
    # Landsat Collection 1 and before, likewise
    r"|_(?:BQA|(?:pixel|radsat|toa)_qa|sr_aerosol|cfmask(?:_conf)?)\.tiff?"
    r"|_sr_(?:cloud|cloud_shadow|adjacent_cloud|ddv|fill|land_water|snow)_qa\.tiff?"
    r"|_(?:PIXEL|RADSAT|LINEAGE|SRAEROSOL|SRCLOUD)QA\.tiff?"
    # Fmask, and Harmonized Landsat Sentinel-2
    r"|_Fmask4?\.tiff?|(?:^|/)HLS\.[^/]*\.Fmask\.tiff?)$",
    re.IGNORECASE,
)


# GDAL's masks and overviews of a raster, which are TIFFs.
_BESIDE = re.compile(r"\.[a-z0-9]+\.(?:msk|ovr)$", re.IGNORECASE)


def is_beside_scene(path: str) -> bool:
    """Return whether a file is called as GDAL calls those that it writes next to a raster, such as `scene.tif.msk`.

    A pattern may match files of any ending, and would tag the mask as a picture, and the scene once more, smaller.
    """
    return _BESIDE.search(path) is not None


def is_mask(path: str) -> bool:
    """Return whether a file holds a mask or classes of the pixels of a scene, by its name.

    It lies next to the scene, is no picture, and where it has 8 bits would be tagged and learnt from as such.
    """
    return path.lower().endswith(_ENDINGS_OF_MASKS) and _MASK.search(path) is not None


def is_picture_of_bundle(path: str, files: Container[str]) -> bool:
    """Return whether training drew a picture into a bundle, given the files of its folder, as paths or as names."""
    folder, slash, name = path.rpartition("/")
    return name in BUNDLE_PICTURES and all(f"{folder}{slash}{file}" in files for file in BUNDLE_FILES)


def hides(name: str) -> str | None:
    """Return what a folder or file is counted as that is passed over because of its name; None for any other."""
    if name.startswith("."):
        return None if name in (".", "..") else HIDDEN
    return f"{name}/" if is_of_system(name) else None


def is_of_system(name: str) -> bool:
    """Return whether a folder of this name is one in which a system keeps copies of images, and not an archive's."""
    return name[:1] in _FIRST_LETTERS and name.lower() in _SYSTEM_FOLDERS
