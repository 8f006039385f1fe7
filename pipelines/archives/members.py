"""Members of archives, their names and errors, common to all kinds of archives."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Callable
from typing import NamedTuple

from pipelines import storage
from pipelines.records import Failure, ImageRef, Span, not_listed

SEPARATOR = "::"

IN_TAR, IN_STREAM, STORED, DEFLATED = "tar", "compressed tar", "zip, stored", "zip, deflated"
"""How a member is stored in its archive."""

# Raised by Python's modules besides their own errors, for absurd sizes and for headers nested in headers.
_STRANGE = (OverflowError, RecursionError, ValueError)
BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, tarfile.TarError, *_STRANGE)
"""Errors that the libraries raise for truncated or damaged archives."""

SHORTER = "the archive shrank after it was listed"


Admit = Callable[[bytes, int], None]
"""Called with the head of a file larger than `SMALL_FILE`, and the bytes of memory that reading all of it takes.

It returns when they are there, and raises whatever is wrong with the file."""


class DamagedArchiveError(OSError):
    """An archive or member that is truncated or inconsistent."""


class UntrustedArchiveError(OSError):
    """An archive whose content was altered at an unknown place."""


class ArchiveBombError(OSError):
    """A small archive that unpacks to more than images would."""


class UnsupportedMemberError(OSError):
    """A member of an unsupported kind."""


class FoundMember(NamedTuple):
    """A member of an archive, or a failure of the archive itself.

    Attributes:
      name: in the archive; None if the archive itself failed.
      listed: the image, or why it cannot be one.
    """

    name: str | None
    listed: ImageRef | Failure


def member_path(archive: ImageRef, name: str) -> str:
    """Return the path of a member as written to the output."""
    return f"{archive.path}{SEPARATOR}{name}"


def refer_member(path: str, size: int, fingerprint: str, span: Span) -> ImageRef | Failure:
    """Refer to a member, or return a failure if its name cannot be written to the output."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return not_listed(path, UnsupportedMemberError("the name is not UTF-8"), fingerprint)
    return ImageRef(path, size, fingerprint, span)


_OWN = (ArchiveBombError, DamagedArchiveError, UntrustedArchiveError)
_OF_STORAGE = (
    storage.ChangedFileError,
    storage.FileTooLargeError,
    storage.TransientError,
    FileNotFoundError,
    PermissionError,
)


def damaged(error: Exception) -> OSError:
    """Translate a library's error into that of a damaged archive."""
    # They are reported as they are.
    if isinstance(error, (*_OF_STORAGE, *_OWN)):
        return error
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return DamagedArchiveError(f"the archive is damaged: {' '.join(reason.split()) or type(error).__name__}")
