"""The object that is a lock in a bucket."""

from __future__ import annotations

import io
import posixpath
import uuid
from itertools import count

from pipelines.credentials import without_secrets
from pipelines.storage.errors import TransientError, UnsupportedStorageError
from pipelines.storage.locks.lock import Found, content, described
from pipelines.storage.objects import Objects
from pipelines.storage.patience import patiently


class LockObject:
    """A lock in a bucket; see `Lock`, and `Objects` for the errors."""

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
        data = content(self._owner, self._token, next(self._writes), left)
        return self._objects.put(self._bucket, self._key, io.BytesIO(data), expected)

    def read(self) -> Found:
        """Read the lock, whichever process holds it."""
        data = io.BytesIO()
        try:
            version = self._objects.get(self._bucket, self._key, data).version
        except FileNotFoundError:
            return Found()
        said = described(data.getvalue())
        return Found(version, str(said.get("owner", "")), said.get("token") == self._token, bool(said.get("left")))

    def delete(self) -> None:
        """Delete the lock."""
        self._objects.delete(self._bucket, self._key)

    def check_deletion(self) -> None:
        """Make sure that objects may be deleted, by deleting one that does not exist.

        Without that, files could be copied into an output, but neither moved there nor replaced.

        Raises:
          UnsupportedStorageError: the store, or a policy, forbids it.
          OSError: the store cannot be reached.
        """
        try:
            patiently(lambda: self._objects.delete(self._bucket, f"{self._key}.deletable"))
        except (FileNotFoundError, TransientError) as error:
            if isinstance(error, TransientError):
                raise
        except OSError as error:
            folder = posixpath.dirname(self._key)
            raise UnsupportedStorageError(
                f"{without_secrets(self._objects.endpoint)} does not allow deletes in {self._bucket}/{folder} "
                f"({error.strerror or error}), and an output moves and replaces files",
                "allow s3:DeleteObject or storage.objects.delete there, or choose another --output",
            ) from error

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
    return str(described(data).get("owner", ""))
