"""Rules for the names of files and folders in which no image is looked for."""

from __future__ import annotations

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
