"""Storage errors, the same for every kind of storage."""

from __future__ import annotations

import errno
import http.client

from pipelines.credentials import without_secrets
from pipelines.errors import ScenetagsError

PASSING_ERRORS = frozenset(
    (
        *(errno.EAGAIN, errno.EBUSY, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH),
        *(errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET),
    )
)
"""Raised for a moment by network file systems, by disks, and by a machine that is short of resources."""


class UnsupportedStorageError(ScenetagsError):
    """A path in an unsupported kind of storage."""


class NoAccessError(ScenetagsError):
    """A kind of storage for which a library or credentials are missing."""


class TransientError(OSError):
    """A storage error that may pass; callers see it only after all retries have failed."""


class CredentialsOutageError(NoAccessError):
    """Credentials that cannot be fetched for a reason that may pass; callers see it only after all retries."""


class FileTooLargeError(OSError):
    """A file that exceeds the size limit."""


class UnlistedFolderError(OSError):
    """A folder that cannot be listed."""


class ChangedFileError(OSError):
    """A file that was replaced after it was listed."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("the file has changed since it was listed; run the same command again")


class ConflictError(OSError):
    """An object that was not the expected version when it was to be replaced."""


class LockedError(ScenetagsError):
    """A lock held by another process; the message is the owner's description of itself."""


def reason_of(error: OSError) -> str:
    """Return why a file cannot be read, in words; of an error that may pass, also what to do."""
    reason = error.strerror or str(error)
    return f"{reason} (temporary; rerun the same command to retry)" if isinstance(error, TransientError) else reason


def refused(status: int, reason: str) -> OSError:
    """Translate a server's error response into an exception.

    Args:
      status: HTTP status code.
      reason: the server's message.
    """
    # Servers and proxies invent status codes that have no standard phrase.
    reason = " ".join(reason.split()) or http.client.responses.get(status, "refused")
    message = f"{without_secrets(reason)} ({status})"
    if status == http.HTTPStatus.NOT_FOUND:
        return FileNotFoundError(errno.ENOENT, message)
    if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        return PermissionError(errno.EACCES, message)
    if status in (http.HTTPStatus.CONFLICT, http.HTTPStatus.PRECONDITION_FAILED):
        return ConflictError(errno.EEXIST, message)
    if status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        # Ranges are asked for within the size that was listed.
        return ChangedFileError()
    if status == http.HTTPStatus.NOT_IMPLEMENTED:
        return OSError(errno.ENOTSUP, message)
    if status in (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_MANY_REQUESTS) or status >= 500:
        return TransientError(errno.EAGAIN, message)
    return OSError(errno.EIO, message)


def unreachable(error: Exception) -> TransientError:
    """Translate a connection that failed or broke into an exception."""
    message = " ".join(without_secrets(str(error)).split())
    return TransientError(errno.ECONNRESET, f"{type(error).__name__}: {message}")
