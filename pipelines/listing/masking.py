"""Write names of a list without their credentials, and tell apart those that differ in nothing else."""

from __future__ import annotations

import hashlib

from pipelines import archives, storage
from pipelines.credentials import WITHHELD, url_without_secrets
from pipelines.records import Failure, Listed


class MaskedNames:
    """Names whose credentials are masked, each name with its own mask.

    A name that is an image keeps its path: so it is called in the bucket, and what looks like a credential is none.
    """

    def __init__(self, before: int = 0) -> None:
        """Begin with no names.

        Args:
          before: the highest number that others have given: names are masked apart from theirs.
        """
        self._before = before
        self._known: dict[str, dict[bytes, int]] = {}

    def mask(self, listed: Listed) -> Listed:
        """Mask the credentials in a name that is no image: with `...`, or `...2` if another name has the same rest.

        A new signature of the same image cannot be told from that of another one, so neither name may be left out.
        """
        if not isinstance(listed, Failure) or not storage.is_remote(listed.path):
            return listed
        file, member = archives.split_member(listed.path)
        masked = url_without_secrets(file)
        # Also where the name has the very mask: another name may get the same.
        if masked == url_without_secrets(file, instead=""):
            return listed
        known = self._known.setdefault(masked, {})
        number = known.setdefault(hashlib.sha256(file.encode()).digest(), self._before + len(known) + 1)
        file = masked if number == 1 else url_without_secrets(file, f"{WITHHELD}{number}")
        return listed._replace(path=file if member is None else f"{file}{archives.SEPARATOR}{member}")
