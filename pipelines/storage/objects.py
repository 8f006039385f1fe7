"""Interface of bucket providers, in single attempts; the providers' libraries are used only behind it."""

from __future__ import annotations

import errno
import io
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple, Protocol

from pipelines.errors import quantity
from pipelines.storage.errors import FileTooLargeError, TransientError

ABSENT = ""
"""Version of an object that does not exist."""

PAGE_SIZE = 1000
"""Objects in a page of a listing: the most that Amazon lists."""

CONNECTIONS = 64
"""Connections that a process keeps open."""
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 30.0
"""Timeouts of an attempt: without a connection, and without a byte of the response."""
DEADLINE_SECONDS, SLOWEST_BYTES_PER_SECOND = 60.0, 1e6
"""Time an object may take to arrive; one that trickles in would otherwise hold its place in the queue for hours."""


class Entry(NamedTuple):
    """A file, as a listing reports it.

    Attributes:
      path: of the file.
      size: in bytes.
      fingerprint: changes when the file does.
      marked: whether the store says that it is compressed; known only where a single file was looked up.
    """

    path: str
    size: int
    fingerprint: str
    marked: bool = False


class Move(NamedTuple):
    """A file and its new place: their paths, or both relative to one folder."""

    source: str
    target: str


class Stored(NamedTuple):
    """What is known of an object that was read.

    Attributes:
      version: of the object.
      marked: whether the store says that it is compressed.
    """

    version: str
    marked: bool = False


class PageRequest(NamedTuple):
    """A page of a listing, as it is asked for.

    Attributes:
      bucket: to list.
      prefix: of the keys of its objects.
      delimiter: with one, only objects directly below the prefix are listed, and the folders there.
      after: a key: those that come after it are listed. A provider may list the key itself, too, and one that cannot
        begin in the middle lists all.
      most: objects in a page; a provider may list more.
      following: token of the page; None for the first.
    """

    bucket: str
    prefix: str
    delimiter: str = ""
    after: str = ""
    most: int = PAGE_SIZE
    following: str | None = None


class Page(NamedTuple):
    """A page of a listing.

    Attributes:
      entries: files, with full paths.
      folders: keys of the non-empty folders directly below the prefix, each with its trailing slash.
      following: token of the next page; None on the last one.
    """

    entries: Sequence[Entry]
    folders: Sequence[str]
    following: str | None


@dataclass(frozen=True)
class Access:
    """How buckets are accessed; the same in every process of a job.

    Attributes:
      requester_pays: whether requests are billed to the user's project or account.
      project: Google Cloud project, to which they are then billed.
      s3: settings of boto3's client, sorted by name; anything missing comes from boto3's own chain.
      anonymous: whether buckets are read without credentials.
      signed: the bucket for which credentials are used nevertheless: that of the output.
    """

    requester_pays: bool = False
    project: str | None = None
    # A secret key may be among them.
    s3: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    anonymous: bool = False
    signed: str = ""


class Objects(Protocol):
    """The buckets of one provider.

    Every method is a single attempt and is thread-safe.

    Attributes:
      endpoint: URL of the service, for messages.
      conditions: what it must honour in a `put` with an expected version.
      deletions_at_once: objects that one request may delete.

    Raises:
      TransientError: the attempt failed for a reason that may pass.
      FileNotFoundError: the object or bucket does not exist.
      PermissionError: access is denied.
      CredentialsOutageError: no credentials can be fetched, for a reason that may pass.
      NoAccessError: no credentials are found.
      OSError: the attempt failed for any other reason.
    """

    endpoint: str
    conditions: str
    deletions_at_once: int

    def get(self, bucket: str, key: str, into: IO[bytes], start: int = 0, length: int | None = None) -> Stored:
        """Read an object, or a range of it, as it is stored."""
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

    def delete_all(self, bucket: str, keys: Sequence[str]) -> Collection[str]:
        """Delete up to `deletions_at_once` objects with one request, ignoring missing ones.

        Returns:
          The keys of those that are still there.
        """
        ...

    def look_up(self, bucket: str, key: str) -> Entry:
        """Return an object's metadata without reading it."""
        ...

    def page(self, asked: PageRequest) -> Page:
        """List a page of objects, in the order of their keys' UTF-8."""
        ...


class LimitedBuffer(io.BytesIO):
    """A buffer that limits how many bytes arrive, and how slowly."""

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self._most = most
        self._began = time.monotonic()

    def write(self, data: Any) -> int:
        """Append some bytes.

        Raises:
          FileTooLargeError: they exceed the limit.
          TransientError: they arrive too slowly.
        """
        seconds = time.monotonic() - self._began
        if seconds > DEADLINE_SECONDS + self.tell() / SLOWEST_BYTES_PER_SECOND:
            raise TransientError(errno.ETIMEDOUT, f"only {quantity(self.tell(), 'byte')} arrived in {seconds:.0f} s")
        if self._most is not None and self.tell() + len(data) > self._most:
            raise FileTooLargeError(f"the file exceeds the limit of {quantity(self._most, 'byte')}")
        return super().write(data)
