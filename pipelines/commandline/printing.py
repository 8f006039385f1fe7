"""Print for a person: names and messages come from files of strangers, and a terminal obeys what it is sent.

What goes to standard error can be JSON instead, for a scheduler that collects logs: one object per message, in the
fields that Google Cloud Logging recognizes (`time`, `severity`, `message`) and some of its own.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from pipelines.credentials import without_secrets
from pipelines.errors import printable

LOG_FORMATS = ("text", "json")

_log_format = "text"


def use_log_format(name: str) -> None:
    """Write messages in one of `LOG_FORMATS` from here on."""
    global _log_format
    _log_format = name


def log(*lines: str, severity: str = "ERROR", **fields: Any) -> None:
    """Write a message to standard error.

    Args:
      lines: of the message.
      severity: `INFO`, `WARNING` or `ERROR`; only JSON shows it.
      fields: that only JSON shows; numbers, strings, and lists and objects of them.
    """
    show(*(lines if _log_format == "text" else [_as_json(lines, severity, fields)]), file=sys.stderr, flush=True)


def announce(message: str) -> None:
    """Write a message to standard error from a signal handler, which may have interrupted whoever else writes there."""
    text = f"\nscenetags: {message}" if _log_format == "text" else _as_json([f"scenetags: {message}"], "WARNING", {})
    os.write(2, f"{text}\n".encode())


def show_result(*lines: str, **fields: Any) -> None:
    """Write the result of a command to standard output; arguments and errors are those of `log` and `show`."""
    show(*(lines if _log_format == "text" else [_as_json(lines, "INFO", fields)]), flush=True)


def log_libraries(verbose: bool) -> None:
    """Pass on what this package logs from `WARNING` on; with `verbose`, from `INFO` on, and Beam's warnings."""
    # Beam warns, through the root logger, of every optional library that is not installed, and logs the traceback of
    # an error that it raises as well.
    logging.getLogger().setLevel(logging.CRITICAL)
    logging.getLogger("pipelines").setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("apache_beam").setLevel(logging.WARNING if verbose else logging.CRITICAL)
    # The states of a job.
    logging.getLogger("apache_beam.runners.dataflow").setLevel(logging.INFO if verbose else logging.CRITICAL)
    logging.getLogger().addHandler(_HANDLER)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        severity = record.levelname if record.levelname in ("INFO", "WARNING") else "ERROR"
        source = "scenetags" if record.name.startswith("pipelines.") else record.name
        log(f"{source}: {record.getMessage()}", severity=severity)


_HANDLER = _Handler()


def _as_json(lines: Sequence[str], severity: str, fields: Mapping[str, Any]) -> str:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": now, "severity": severity, "message": "\n".join(lines), **fields})


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
