"""What can go wrong with storage, in the same words for every kind of it."""

from __future__ import annotations

import errno
import http.client
import re

from pipelines.errors import ScenetagsError


class UnsupportedStorageError(ScenetagsError):
    """A path in a kind of storage that cannot be reached."""


class NoAccessError(ScenetagsError):
    """A kind of storage for which a library or credentials are missing here."""


class TransientError(OSError):
    """Storage that did not do its work however often it was asked, and may do it later."""


class FileTooLargeError(OSError):
    """A file of more bytes than are read."""


class ConflictError(OSError):
    """An object that is not what it was expected to be when it was to be replaced."""


class LockedError(ScenetagsError):
    """A lock that somebody else holds; the message is what they say of themselves."""


def refused(status: int, reason: str) -> OSError:
    """Make the error of a server's answer.

    Args:
      status: of HTTP.
      reason: what the server says.
    """
    # Servers and what stands before them make numbers up, which have no phrase.
    reason = " ".join(reason.split()) or http.client.responses.get(status, "refused")
    message = f"{without_secrets(reason)} ({status})"
    if status == http.HTTPStatus.NOT_FOUND:
        return FileNotFoundError(errno.ENOENT, message)
    if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        return PermissionError(errno.EACCES, message)
    if status in (http.HTTPStatus.CONFLICT, http.HTTPStatus.PRECONDITION_FAILED):
        return ConflictError(errno.EEXIST, message)
    if status == http.HTTPStatus.NOT_IMPLEMENTED:
        return OSError(errno.ENOTSUP, message)
    if status in (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_MANY_REQUESTS) or status >= 500:
        return TransientError(errno.EAGAIN, message)
    return OSError(errno.EIO, message)


def unreachable(error: Exception) -> TransientError:
    """Make the error of a connection that could not be made, or broke."""
    message = " ".join(without_secrets(str(error)).split())
    return TransientError(errno.ECONNRESET, f"{type(error).__name__}: {message}")


def without_secrets(text: str) -> str:
    """Cut out of every URL in a text what may be a credential: the query, which may be a signature, and a password."""
    # Where requests tells of a URL, its host stands elsewhere; the query of an upload is what lets anybody end it.
    text = re.sub(r"((?:https?:/|\burl: )/[^\s?'\"]*)\?[^\s'\")]*", r"\1?...", text, flags=re.IGNORECASE)
    return re.sub(r"(https?://)[^\s/?#'\"]*@", r"\1...@", text, flags=re.IGNORECASE)
