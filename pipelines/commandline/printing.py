"""Print for a person: names and messages come from files of strangers, and a terminal obeys what it is sent."""

from __future__ import annotations

import sys
from typing import TextIO

from pipelines.credentials import without_secrets
from pipelines.errors import printable


def show(*lines: str, file: TextIO | None = None, flush: bool = False) -> None:
    """Print lines without credentials, of which none can end early, control a terminal, or fail to be encoded.

    Args:
      lines: without line breaks of their own; those in a name are escaped.
      file: where to print; standard output by default.
      flush: whether to raise at once if it cannot be printed.

    Raises:
      OSError: it cannot be printed.
    """
    stream = file or sys.stdout
    encoding = stream.encoding or "utf-8"
    for line in lines:
        print(printable(without_secrets(line)).encode(encoding, "backslashreplace").decode(encoding), file=stream)
    if flush:
        stream.flush()
