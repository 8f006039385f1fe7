"""Look up single files without reading them."""

from __future__ import annotations

import errno
import os
import stat
import sys

from pipelines import archives, storage
from pipelines.errors import ScenetagsError
from pipelines.records import Failure, ImageRef, Listed, not_listed
from pipelines.scenes.grid import split_window
from pipelines.scenes.naming import mask_path
from pipelines.storage import Entry


class InputError(ScenetagsError):
    """An input that matches nothing, or a list that cannot be read."""


class EmptyInputError(InputError):
    """An input that exists, as far as can be told, and names no image."""


def check_encoding() -> None:
    """Verify that names of files are read as UTF-8, whatever the locale.

    Raises:
      InputError: they are not, so that a name would become another one in its row.
    """
    if (encoding := sys.getfilesystemencoding()) != "utf-8":
        raise InputError(f"in this locale names of files are read as {encoding}, not as UTF-8", "set PYTHONUTF8=1")


def refer(path: str) -> Listed:
    """Look up a file without reading it."""
    name = archives.name_file(path)
    try:
        path.encode()
        return _look_up(path)
    except UnicodeEncodeError as error:
        return not_listed(name, error, message="the name is not UTF-8")
    except (OSError, ValueError) as error:
        # Perhaps the list was made of the rows of an output.
        is_window = isinstance(error, FileNotFoundError) and split_window(name)
        return not_listed(name, error, message="no file, but the window of a scene: list the scene" * bool(is_window))


def _look_up(path: str) -> ImageRef:
    if storage.is_remote(path):
        return refer_entry(storage.look_up(path))
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a regular file")
    return ImageRef(archives.name_file(path), status.st_size, storage.fingerprint_of(status))


def refer_all(path: str) -> Listed:
    """Look up a file all of which is to be listed: nobody knows how many images an archive that fails holds."""
    listed = refer(path)
    missing = FileNotFoundError.__name__
    if isinstance(listed, Failure) and listed.error != missing and archives.is_archive(path):
        return listed._replace(error=storage.UnlistedFolderError.__name__)
    return listed


def with_mask(ref: ImageRef) -> ImageRef:
    """Look for the mask of a scene of a single file in another one next to it, named as GDAL names it.

    One that may not be looked up is taken for one that is not there: without the right to list a bucket, Amazon refuses
    what does not exist. A link to nothing, however, is one that somebody wants to be read.

    Raises:
      TransientError: it cannot be looked up now.
      FileNotFoundError: it is a link to nothing.
    """
    if ref.stack:
        return ref
    path = mask_path(ref.path)
    try:
        found = _look_up(path) if storage.is_remote(path) else storage.retried(lambda: _look_up(path))
    except storage.TransientError:
        raise
    except (OSError, ValueError):
        if not storage.is_remote(path) and os.path.islink(path) and not os.path.exists(path):
            name = os.path.basename(path)
            raise FileNotFoundError(errno.ENOENT, f"{name} is a link to a file that is not there") from None
        return ref
    return ref._replace(mask=found.file)


def refer_entry(entry: Entry) -> ImageRef:
    """Refer to a file that a bucket has listed."""
    return ImageRef(archives.name_file(entry.path), entry.size, entry.fingerprint)
