"""The object that is a lock in a bucket, and what it says about its holder."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Mapping
from itertools import count
from typing import Any, NamedTuple

from pipelines.credentials import without_secrets
from pipelines.storage.errors import UnsupportedStorageError
from pipelines.storage.objects import ABSENT, Objects


class Found(NamedTuple):
    """A lock that was read, or its absence.

    Attributes:
      version: of the object; `ABSENT` if there is none.
      owner: the holder's description of itself; empty if the object is not a lock.
      ours: whether this process wrote it.
      left: whether its holder left it behind.
    """

    version: str = ABSENT
    owner: str = ""
    ours: bool = False
    left: bool = False


class LockObject:
    """One process's access to a lock, in single attempts; see `Objects` for their errors."""

    def __init__(self, objects: Objects, bucket: str, key: str, owner: str) -> None:
        """Describe a lock and the process that wants it; nothing is written yet."""
        self._objects = objects
        self._bucket = bucket
        self._key = key
        self._owner = owner
        self._token = uuid.uuid4().hex
        self._writes = count()

    def write(self, expected: str, left: bool = False) -> str:
        """Write the lock if its version is the expected one, and return the new one.

        Raises:
          ConflictError: its version is another one.
        """
        # The number makes every content different, because a version may be a digest of the content.
        content = {"owner": self._owner, "token": self._token, "renewals": next(self._writes), "left": left}
        return self._objects.put(self._bucket, self._key, io.BytesIO(json.dumps(content).encode()), expected)

    def read(self) -> Found:
        """Read the lock, whichever process holds it."""
        content = io.BytesIO()
        try:
            version = self._objects.get(self._bucket, self._key, content)
        except FileNotFoundError:
            return Found()
        described = _described(content.getvalue())
        ours = described.get("token") == self._token
        return Found(version, str(described.get("owner", "")), ours, bool(described.get("left")))

    def delete(self) -> None:
        """Delete the lock."""
        self._objects.delete(self._bucket, self._key)

    def unsupported(self, what: str) -> UnsupportedStorageError:
        """Return the error for a store that cannot keep locks.

        Args:
          what: it does, e.g. "ignores ...".
        """
        return UnsupportedStorageError(
            f"{without_secrets(self._objects.endpoint)} {what}, so two runs could write at once",
            f"use a store that honours {self._objects.conditions}, or write locally and copy the output",
        )


def read_owner(data: bytes) -> str:
    """Return the owner named in a lock's content; empty if the content is not a lock of ours."""
    return str(_described(data).get("owner", ""))


def _described(data: bytes) -> Mapping[str, Any]:
    try:
        described = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return described if isinstance(described, dict) else {}
