"""Find the images that rows name: files, members of archives, and windows of scenes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from pipelines import archives, storage
from pipelines.errors import ScenetagsError, quantity
from pipelines.images import ImageError
from pipelines.images.limits import MAX_PIXELS
from pipelines.images.parts import Box
from pipelines.listing.lookup import refer, with_mask
from pipelines.listing.stacks import refer_scene
from pipelines.output.footers import Footer
from pipelines.records import Failure, ImageRef, Listed, Window, failed, not_listed
from pipelines.results.sources import find_source
from pipelines.scenes.grid import Grid, split_window, window_path
from pipelines.scenes.opening import open_scene
from pipelines.scenes.reading import bytes_of

TOO_LATE = "not fetched: the originals take too long"

_AT_ONCE = 16
_TILE = 256


class Original(NamedTuple):
    """The image that a path leads to, or why it leads to none.

    Attributes:
      path: as in the row.
      listed: the image, or why there is none.
      cost: bytes that are fetched for it.
      shared: what is fetched only once for all images of the same name.
    """

    path: str
    listed: Listed
    cost: int = 0
    shared: tuple[str, ...] = ()


_Holder = tuple[str, bool, bool]
"""A file that holds some of the images: its path, and whether it is an archive, and whether a scene."""


def find_originals(paths: Sequence[str], footer: Footer, most_bytes: int, deadline: float) -> Iterator[Original]:
    """Find the images of rows, each file that holds several of them once.

    Args:
      paths: of the rows, each once.
      footer: what the rows were made with: rendering and grid of scenes.
      most_bytes: a compressed tar that is larger is not looked through.
      deadline: by the monotonic clock, after which no further file is looked for.

    Yields:
      Each of them, in no particular order.
    """
    held: dict[_Holder, list[str]] = {}
    for path in paths:
        source = find_source(path)
        holder = source.path, source.member is not None, split_window(path) is not None
        held.setdefault(holder, []).append(path)

    def find(item: tuple[_Holder, list[str]]) -> list[Original]:
        if time.monotonic() > deadline:
            return [Original(path, not_listed(path, TimeoutError(TOO_LATE))) for path in item[1]]
        return list(_find(*item, footer, most_bytes))

    executor = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="originals")
    try:
        for found in executor.map(find, held.items()):
            yield from found
    finally:
        with storage.hurried():
            executor.shutdown(cancel_futures=True)


def _find(holder: _Holder, paths: Sequence[str], footer: Footer, most_bytes: int) -> Iterator[Original]:
    path, is_archive, is_scene = holder
    try:
        listed = refer_scene(path, footer.rendering) if is_scene else refer(storage.normalize(path))
        if isinstance(listed, Failure):
            yield from (Original(path, listed) for path in paths)
        elif is_scene:
            yield from _windows(with_mask(listed), paths, footer)
        elif is_archive:
            yield from _members(listed, paths, most_bytes)
        else:
            yield Original(paths[0], listed._replace(path=paths[0]), listed.size)
    except ImageError as error:
        # Without its remedy, which names flags of `predict`.
        yield from (Original(path, not_listed(path, error, message=error.message)) for path in paths)
    except (OSError, ScenetagsError) as error:
        reason = storage.reason_of(error) if isinstance(error, OSError) else str(error)
        yield from (Original(path, not_listed(path, error, message=reason)) for path in paths)


def _windows(scene_ref: ImageRef, paths: Sequence[str], footer: Footer) -> Iterator[Original]:
    scene = open_scene(scene_ref, grid_of(footer), footer.rendering, MAX_PIXELS)
    for path in paths:
        named = split_window(path)
        assert named
        column, row, width, height = named[1]
        box = Box(column, row, column + width, row + height)
        if scene is None or column >= scene.division.width or row >= scene.division.height:
            yield Original(path, failed(scene_ref, "read", "ChangedFileError", "the scene has no such window any more"))
            continue
        parts = scene.division.parts_of(box)
        of_scene = scene.division.width, scene.division.height, scene_ref.size
        window = Window(scene_ref.path, *named[1], parts[0], *of_scene)
        # Parts of a scene are fetched whole, and windows next to each other share them.
        cost = sum(bytes_of(scene, part) for part in parts)
        ref = scene_ref._replace(path=window_path(scene_ref.path, *named[1]), size=cost, window=window)
        yield Original(path, ref, cost, tuple(f"{scene_ref.path}#{part}" for part in parts))


def _members(archive: ImageRef, paths: Sequence[str], most_bytes: int) -> Iterator[Original]:
    streamed = not archive.path.lower().endswith((".tar", ".zip"))
    if streamed and archive.size > most_bytes:
        reason = (
            f"in a compressed archive of {quantity(archive.size, 'byte')}, which would have to be read from its start"
        )
        yield from (Original(path, failed(archive, "read", "FileTooLargeError", reason)) for path in paths)
        return
    names = {find_source(path).member for path in paths}
    there: Mapping[str, Listed] = {
        item.path: item for item in archives.list_members(archive, names.__contains__) if item.path != archive.path
    }
    for path in paths:
        member = there.get(path) or failed(archive, "read", "FileNotFoundError", "the archive has no such member")
        if not isinstance(member, ImageRef):
            yield Original(path, member)
        elif streamed:
            # It is read once to find its members, and once more to unpack them.
            yield Original(path, member, 2 * archive.size, (archive.path,))
        else:
            yield Original(path, member, member.size)


def grid_of(footer: Footer) -> Grid:
    """Return the grid of the windows of an output; older ones do not say it, and any grid can read any window."""
    return footer.grid or Grid(_TILE, _TILE, min_valid=0.0)


def within_budget(found: Iterable[Original], most_bytes: int) -> Iterator[tuple[Original, bool]]:
    """Yield whether each image may be fetched, so that all that are take no more than so many bytes together."""
    spent, fetched = 0, set[str]()
    for one in found:
        cost = 0 if one.shared and fetched.issuperset(one.shared) else one.cost
        allowed = spent + cost <= most_bytes
        if allowed:
            spent += cost
            fetched.update(one.shared)
        yield one, allowed
