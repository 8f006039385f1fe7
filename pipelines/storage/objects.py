"""What every kind of bucket can do, in single attempts: the border behind which the providers' libraries are."""

from __future__ import annotations

import errno
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple, Protocol

from pipelines.storage.errors import FileTooLargeError, TransientError

ABSENT = ""
"""The version of an object that is not there."""

CONNECTIONS = 64
"""Kept open at the same time by one process."""
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 30.0
"""Without a connection, or without a byte of an answer, after which an attempt is given up."""
DEADLINE_SECONDS, SLOWEST_BYTES_A_SECOND = 60.0, 1e6
"""What an object may take to come: one that trickles in would hold its place in the queue for hours."""


class Entry(NamedTuple):
    """A file, as a listing tells of it.

    Attributes:
      path: of the file.
      size: in bytes.
      fingerprint: changes when the file does.
    """

    path: str
    size: int
    fingerprint: str


class Page(NamedTuple):
    """A part of a listing.

    Attributes:
      entries: files, by their whole paths.
      folders: names of what lies directly below the prefix and holds files, up to and with their last slash.
      following: token of the next page; None where there is none.
    """

    entries: Sequence[Entry]
    folders: Sequence[str]
    following: str | None


@dataclass(frozen=True)
class Access:
    """How buckets are reached; the same in every process of a job.

    Attributes:
      requester_pays: whether requests are billed to us.
      project: Google's, to which they are billed then.
      s3: settings of boto3's client, in the order of their names; what is not here comes from boto3's own chain.
    """

    requester_pays: bool = False
    project: str | None = None
    # A secret key may be among them.
    s3: tuple[tuple[str, Any], ...] = field(default=(), repr=False)


class Objects(Protocol):
    """The buckets of one provider.

    Every method is one attempt, safe to be made by several threads.

    Raises:
      TransientError: the attempt failed for a reason that may pass.
      FileNotFoundError: there is no such object or bucket.
      PermissionError: we may not.
      NoAccessError: we have no credentials.
      OSError: it failed for any other reason.
    """

    def get(self, bucket: str, key: str, into: IO[bytes], start: int = 0, length: int | None = None) -> str:
        """Read an object, or a range of it, and return its version."""
        ...

    def put(self, bucket: str, key: str, data: IO[bytes], expected: str | None = None) -> str:
        """Write an object and return its version.

        Raises:
          ConflictError: its version is not the expected one.
        """
        ...

    def copy(self, bucket: str, source: str, target: str) -> None:
        """Copy an object within its bucket."""
        ...

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""
        ...

    def look_up(self, bucket: str, key: str) -> Entry:
        """Tell of an object without reading it."""
        ...

    def page(self, bucket: str, prefix: str, following: str | None = None, delimiter: str = "") -> Page:
        """List the objects whose keys begin with a prefix; with a delimiter, only those directly below it."""
        ...


class LimitedBuffer(io.BytesIO):
    """Takes so many bytes and no more, and only as long as they come at some speed."""

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self._most = most
        self._began = time.monotonic()

    def write(self, data: Any) -> int:
        """Take some bytes.

        Raises:
          FileTooLargeError: they are too many.
          TransientError: they come too slowly.
        """
        seconds = time.monotonic() - self._began
        if seconds > DEADLINE_SECONDS + self.tell() / SLOWEST_BYTES_A_SECOND:
            raise TransientError(errno.ETIMEDOUT, f"only {self.tell():,} bytes came in {seconds:.0f} s")
        if self._most is not None and self.tell() + len(data) > self._most:
            raise FileTooLargeError(f"more than the {self._most:,} bytes that are read")
        return super().write(data)
