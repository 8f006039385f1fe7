"""Find what is to be copied: the files that hold the pixels of selected images, in the version that was tagged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from pipelines import storage
from pipelines.errors import ScenetagsError
from pipelines.images.rendering import Rendering
from pipelines.listing.stacks import find_files, refer_scene
from pipelines.records import OF_SEVERAL, Failure, File, ImageRef, Listed
from pipelines.results.selecting.places import common_folder, name_copies
from pipelines.results.selecting.selection import Selection
from pipelines.results.sources import Source, find_source
from pipelines.scenes.grid import DATA_MASK, masks_in, without_masks
from pipelines.scenes.naming import mask_path

AT_ONCE = 16
"""Files that are looked up or copied."""

CHANGED = "it has changed since it was tagged; run `scenetags predict` again"


class Outcome(NamedTuple):
    """What became of an image.

    Attributes:
      source: the image.
      made: whether it was copied or linked; otherwise it was there before, or has failed.
      reason: why it has failed; empty if it has not.
    """

    source: Source
    made: bool
    reason: str = ""


class Copies(NamedTuple):
    """What is to be copied.

    Attributes:
      named: files and members of archives, by the names of their copies.
      fingerprints: of these when they were tagged: one that has another now is not copied, as its tags are not its own.
      lost: scenes of several files that are not found as they were tagged.
      rows: number of images in all of them.
    """

    named: Mapping[str, Source]
    fingerprints: Mapping[Source, str]
    lost: Sequence[Outcome]
    rows: int


def find_copies(selection: Selection) -> Copies:
    """Name the copies of selected images by their paths below the deepest folder that holds all images of the output.

    That folder does not depend on the selection, so that copies of several ones have the same names.

    Raises:
      NoOutputError, OutputError: the output cannot be read.
    """
    rows, fingerprints, scenes = 0, dict[Source, str](), dict[str, str]()
    for batch in selection.read(["path", "fingerprint"]):
        rows += batch.num_rows
        for path, fingerprint in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            source, version = find_source(selection.whereabouts.whole(path)), without_masks(fingerprint)
            if version.startswith(OF_SEVERAL):
                scenes[source.path] = version
            else:
                fingerprints[source] = version
                if mask := masks_in(fingerprint).get(DATA_MASK):
                    # Without it, whoever tags the copy would take what holds no data for pictures.
                    fingerprints[Source(mask_path(source.path))] = mask
    lost = []
    for scene, found in _find_files(scenes, selection.footer.rendering):
        if isinstance(found, str):
            lost.append(Outcome(Source(scene), False, found))
        else:
            fingerprints |= {Source(file.path): file.fingerprint for file in found}
    ends = selection.first_and_last() if rows else None
    root = common_folder(*ends) if ends else ()
    return Copies(name_copies(fingerprints, root), fingerprints, lost, rows)


def _find_files(scenes: Mapping[str, str], rendering: Rendering) -> Iterator[tuple[str, list[File] | str]]:
    """Yield scenes of several files with these, or with the reason why they are not as they were tagged."""

    def find(scene: tuple[str, str]) -> tuple[str, list[File] | str]:
        try:
            return scene[0], _find_one(*scene, rendering)
        except OSError as error:
            return scene[0], storage.reason_of(error)
        except ScenetagsError as error:
            # Without its remedy, which names flags of `predict`.
            return scene[0], error.message

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="scenes") as executor:
        yield from executor.map(find, scenes.items())


def _find_one(name: str, fingerprint: str, rendering: Rendering) -> list[File] | str:
    listed: Listed | list[File] = refer_scene(name, rendering)
    if isinstance(listed, ImageRef):
        if listed.fingerprint != fingerprint or not listed.stack:
            return CHANGED
        listed = find_files(listed)
    return listed.message if isinstance(listed, Failure) else listed
