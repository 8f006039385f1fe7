"""Read lists of images: .txt, .csv or .parquet files of any length."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import lru_cache

from pipelines import archives, storage
from pipelines.listing.list_files import LongName, read_names
from pipelines.listing.lookup import InputError, refer
from pipelines.listing.masking import MaskedNames
from pipelines.listing.threads import UnawaitedPool
from pipelines.records import Failure, ImageRef, Listed, not_listed, writable
from pipelines.supervision import interruption

_LOOK_UPS = 32
_ARCHIVES = 4


def read_list(path: str) -> Iterator[Listed]:
    """List the images that a file names, without loading the whole file into memory.

    Raises:
      InputError: the file cannot be read, is empty or has no column `path`.
    """
    try:
        folder = os.path.dirname(storage.normalize(path))
    except storage.UnsupportedStorageError as error:
        raise InputError(error.message, error.remedy) from error
    empty, masked = True, MaskedNames()
    # Looked up once for all its members: in a bucket each look-up is a request.
    refer_archive = lru_cache(_ARCHIVES)(refer)
    with UnawaitedPool(_LOOK_UPS, "list") as pool:
        ahead: deque[Listed | Future[Listed]] = deque()
        for number, name in enumerate(read_names(path), 1):
            interruption.check()
            if not name:
                continue
            empty = False
            if isinstance(name, LongName):
                ahead.append(_refuse(name, number))
                continue
            ahead.append(_refer_named(name, folder, pool, refer_archive))
            if len(ahead) > 4 * _LOOK_UPS:
                yield masked.mask(_result(ahead.popleft()))
        yield from (masked.mask(_result(listed)) for listed in ahead)
    if empty:
        raise InputError(f"{path} lists no images")


def _refuse(name: LongName, number: int) -> Failure:
    # With its number, because another one may begin alike, and each has to become a row.
    shortened = f"{name.beginning}... (entry {number:,} of the list)"
    return not_listed(shortened, ValueError(f"a name of {name.length:,} bytes is too long for a path"))


def _refer_named(
    name: str, folder: str, pool: UnawaitedPool, refer_archive: Callable[[str], Listed]
) -> Listed | Future[Listed]:
    """Look up a listed name; in a bucket, which responds slowly, concurrently with others."""
    path = name if storage.is_remote(name) else os.path.join(folder, name)
    # Split before it is normalized: the name of a member is no path, and `a//b.jpg` another member than `a/b.jpg`.
    archive, member = archives.split_member(path)
    try:
        if member and not os.path.lexists(path):
            archive = storage.normalize(archive)
            found = _find_member(refer_archive(archive), archive, member)
            # In a bucket it takes a request to see whether an object has this very name: only made if no member has.
            itself = refer(_normalize(path)) if isinstance(found, Failure) and storage.is_remote(path) else None
            return itself if isinstance(itself, ImageRef) else found
        path = _normalize(path)
    except (storage.UnsupportedStorageError, ValueError) as error:
        # It names nothing that could be escaped as a path is.
        escaped = name.replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode()
        return not_listed(escaped, error)
    return pool.submit(refer, path) if storage.is_remote(path) else refer(path)


def _normalize(path: str) -> str:
    """Normalize a path, but keep slashes at the end of an object's name: they are a part of it."""
    normalized = storage.normalize(path)
    is_object = path.endswith("/") and storage.is_remote(path) and "/" in normalized.partition("://")[2]
    return storage.unmarked(path) if is_object else normalized


def _find_member(archive: Listed, path: str, name: str) -> Listed:
    """Find a member of an archive by its name."""
    member = f"{archives.name_file(path)}{archives.SEPARATOR}{name}"
    if isinstance(archive, Failure):
        return archive._replace(path=writable(member))
    try:
        directory = _directory(archive)
    except OSError as error:
        return not_listed(member, error)
    missing = not_listed(member, FileNotFoundError("no such member in the archive"))
    broken = directory.get(archive.path)
    if isinstance(broken, Failure):
        missing = broken._replace(path=missing.path)
    return directory.get(missing.path) or missing


@lru_cache(_ARCHIVES)
def _directory(archive: ImageRef) -> Mapping[str, Listed]:
    return {listed.path: listed for listed in archives.list_members(archive, lambda name: True)}


def _result(listed: Listed | Future[Listed]) -> Listed:
    return listed.result() if isinstance(listed, Future) else listed
