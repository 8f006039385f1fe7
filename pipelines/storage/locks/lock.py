"""What a lock says about its holder, and what can be done with one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from pipelines.storage.errors import UnsupportedStorageError
from pipelines.storage.objects import ABSENT


class Found(NamedTuple):
    """A lock that was read, or its absence.

    Attributes:
      version: of the object; `ABSENT` if there is none.
      owner: the holder's description of itself; empty if the object is not a lock.
      ours: whether this process wrote it.
      left: whether its holder left it behind.
      alive: whether its holder is known to be alive.
      ended: whether its holder is known to have ended.
    """

    version: str = ABSENT
    owner: str = ""
    ours: bool = False
    left: bool = False
    alive: bool = False
    ended: bool = False


class Lock(Protocol):
    """One process's access to a lock, in single attempts; `LockObject` documents each method."""

    def write(self, expected: str, left: bool = False) -> str: ...  # noqa: D102
    def read(self) -> Found: ...  # noqa: D102
    def delete(self) -> None: ...  # noqa: D102
    def unsupported(self, what: str) -> UnsupportedStorageError: ...  # noqa: D102


def content(owner: str, token: str, renewals: int, left: bool, **more: str) -> bytes:
    """Return the content of a lock."""
    return json.dumps({"owner": owner, "token": token, "renewals": renewals, "left": left, **more}).encode()


def described(data: bytes) -> Mapping[str, Any]:
    """Read the content of a lock; nothing if it is not a lock of ours."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
