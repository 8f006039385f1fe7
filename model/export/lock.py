"""Hold a lock while a bundle is made, and print what is waited for."""

from __future__ import annotations

import os
import socket
from contextlib import AbstractContextManager
from pathlib import Path

from pipelines import storage
from pipelines.commandline.printing import log


def lock(path: Path) -> AbstractContextManager[object]:
    """Hold a lock, a file on this machine, and print what happens to it: another process may have to be watched.

    Raises:
      LockedError: another process holds it.
      OSError: it cannot be written.
    """
    owner = f"process {os.getpid()} on {socket.gethostname()}"
    return storage.lock(str(path), owner, lambda what: log(f"scenetags: {path} {what}", severity="WARNING"))
