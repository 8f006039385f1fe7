"""What archives of all kinds have in common: members, their names, and what can be wrong with them."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from typing import NamedTuple

from pipelines import storage
from pipelines.records import Failure, ImageRef, Span, not_listed

SEPARATOR = "::"

IN_TAR, IN_STREAM, STORED, DEFLATED = "tar", "compressed tar", "zip, stored", "zip, deflated"
"""How a member lies in its archive."""

# What Python's modules let out besides their own errors: of sizes beyond all bounds, and of headers for headers.
_STRANGE = (OverflowError, RecursionError, ValueError)
BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, tarfile.TarError, *_STRANGE)
"""What the libraries raise for archives that are cut off or damaged."""

SHORTER = "the archive has become shorter since it was listed"


class DamagedArchiveError(OSError):
    """An archive, or a member of it, that is cut off or contradicts itself."""


class UntrustedArchiveError(OSError):
    """An archive whose content is not what was put into it, without its being known where."""


class UnsupportedMemberError(OSError):
    """A member of a kind that is not read."""


class Found(NamedTuple):
    """A member of an archive, or a failure of the archive itself.

    Attributes:
      name: in the archive; None where it is the archive that failed.
      listed: the image, or the reason why it cannot be one.
    """

    name: str | None
    listed: ImageRef | Failure


def member_path(archive: ImageRef, name: str) -> str:
    """Name a member as the output does."""
    return f"{archive.path}{SEPARATOR}{name}"


def refer_member(path: str, size: int, fingerprint: str, span: Span) -> ImageRef | Failure:
    """Make a name of a member's, if it can be written into the output."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return not_listed(path, UnsupportedMemberError("the name is not UTF-8"), fingerprint)
    return ImageRef(path, size, fingerprint, span)


def damaged(error: Exception) -> OSError:
    """Make the error of a damaged archive of what a library raised."""
    # What storage refused is told as it is.
    if isinstance(error, (storage.TransientError, FileNotFoundError, PermissionError)):
        return error
    return DamagedArchiveError(f"the archive is damaged: {' '.join(str(error).split()) or type(error).__name__}")
