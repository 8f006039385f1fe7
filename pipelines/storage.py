"""Whole files by their paths: read, write, move into place, delete and list them.

Every other module reaches files through here, so that a kind of storage is added in one room.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from typing import IO


class UnsupportedStorageError(ValueError):
    """A path in a kind of storage that this version does not reach."""


def normalize(path: str) -> str:
    """Give a path its one absolute spelling.

    Raises:
      UnsupportedStorageError: the path is not in this machine's file system.
    """
    if "://" in path:
        raise UnsupportedStorageError(f"{path}: this version reads and writes local paths only; copy or mount it first")
    return os.path.abspath(os.path.expanduser(path))


def join(folder: str, *names: str) -> str:
    """Join names to a folder."""
    return "/".join((folder.rstrip("/"), *names))


def read(path: str) -> bytes:
    """Read a whole file.

    Raises:
      OSError: the file is missing or cannot be read.
    """
    with open(path, "rb") as file:
        return file.read()


def write(path: str, data: bytes) -> None:
    """Write a whole file so that a reader sees all of it or none of it.

    Raises:
      OSError: the file cannot be written.
    """
    partial = f"{path}.{uuid.uuid4().hex[:8]}.partial"
    try:
        with create(partial) as file:
            file.write(data)
        os.replace(partial, path)
    except BaseException:
        delete([partial])
        raise


def create(path: str) -> IO[bytes]:
    """Open a new file for writing, making the folders above it.

    Raises:
      OSError: the file cannot be created.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return open(path, "wb")


def move(source: str, target: str) -> None:
    """Move a file into place, replacing what is there; do nothing where an earlier attempt has moved it already.

    Raises:
      OSError: the file cannot be moved.
    """
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        os.replace(source, target)
    except FileNotFoundError:
        if not os.path.exists(target):
            raise


def delete(paths: list[str]) -> None:
    """Delete files; missing ones are no error."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def delete_folder(path: str) -> None:
    """Delete a folder with all that is in it; a missing one is no error."""
    shutil.rmtree(path, ignore_errors=True)


def list_files(folder: str, ending: str = "") -> list[str]:
    """List the files directly in a folder whose names have the ending, sorted; none where there is no such folder."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(join(folder, name) for name in names if name.endswith(ending))
