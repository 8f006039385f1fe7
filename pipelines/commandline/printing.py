"""Print for a person: names and messages come from untrusted files, and a terminal obeys what it is sent.

What goes to standard error can be JSON instead, for a scheduler that collects logs: one object per message, in the
fields that Google Cloud Logging recognizes (`time`, `severity`, `message`) and some of its own.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from pipelines.credentials import without_secrets
from pipelines.errors import printable
from pipelines.supervision.machine import STANDARD_ERROR, standard_error

LOG_FORMATS = ("text", "json")

# Beam logs what Google refuses as critical, and raises an error that says it as well.
_NOTHING = logging.CRITICAL + 1

# A pipe, and a terminal.
_READER_IS_GONE = (errno.EPIPE, errno.EIO)

_log_format = "text"


def use_log_format(name: str) -> None:
    """Write messages in one of `LOG_FORMATS` from here on."""
    global _log_format
    _log_format = name


def log(*lines: str, severity: str = "ERROR", **fields: Any) -> None:
    """Write a message to standard error; if nobody reads it any more, neither this nor any later one matters.

    Args:
      lines: of the message.
      severity: `INFO`, `WARNING` or `ERROR`; only JSON shows it.
      fields: that only JSON shows; numbers, strings, and objects of numbers.
    """
    is_own = _is_standard_error(sys.stderr)
    with standard_error() as descriptor:
        try:
            if is_own:
                with open(descriptor, "w", encoding=sys.stderr.encoding, closefd=False) as stream:
                    _write(lines, severity, fields, stream)
            else:
                _write(lines, severity, fields, sys.stderr)
        except OSError as error:
            # A disk that is full may have room for the next message.
            if error.errno in _READER_IS_GONE:
                # Otherwise Python would try again when it ends, and change the exit code.
                if is_own:
                    _discard(descriptor)
                # Where a program has put another stream in its place, that one may have no descriptor.
                with suppress(AttributeError, OSError, ValueError):
                    _discard(sys.stderr.fileno())


def _is_standard_error(stream: TextIO) -> bool:
    try:
        return stream.fileno() == STANDARD_ERROR
    except (AttributeError, OSError, ValueError):
        return False


class UnprintableError(Exception):
    """Standard output takes no more, e.g. because a disk is full; the message says why."""


class OutputClosedError(BrokenPipeError):
    """Nobody reads standard output any more, as after `| head`."""


@contextmanager
def to_output() -> Iterator[None]:
    """Tell what fails in writing to standard output from all other errors.

    Raises:
      UnprintableError: it failed.
      OutputClosedError: nobody reads the rest.
    """
    try:
        yield
    except BrokenPipeError as error:
        raise OutputClosedError(error.errno, error.strerror) from error
    except OSError as error:
        raise UnprintableError(error.strerror) from error


def discard_output() -> None:
    """Give up what standard output has not taken: when Python ends it would try once more, and add a traceback."""
    _discard(sys.stdout.fileno())


def _discard(descriptor: int) -> None:
    """Drop what is written to a descriptor from here on."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), descriptor)


def announce(message: str) -> None:
    """Write a message to standard error from a signal handler, which may have interrupted another write to it."""
    text = f"\nscenetags: {message}" if _log_format == "text" else _as_json([f"scenetags: {message}"], "WARNING", {})
    # The reader may have ended by the same signal: `| tee` by Ctrl-C, a terminal by its SIGHUP.
    with suppress(OSError), standard_error() as descriptor:
        os.write(descriptor, f"{text}\n".encode())


def show_result(*lines: str, **fields: Any) -> None:
    """Write the result of a command to standard output; arguments are those of `log`.

    Raises:
      UnprintableError, OutputClosedError: it cannot be written.
    """
    with to_output():
        _write(lines, "INFO", fields, sys.stdout)


def log_libraries(verbose: bool) -> None:
    """Pass on what this package logs from `WARNING` on; with `verbose`, from `INFO` on, and Beam's warnings."""
    # Beam warns, through the root logger, of every optional library that is not installed, and logs the traceback of
    # an error that it raises as well.
    logging.getLogger().setLevel(_NOTHING)
    logging.getLogger("pipelines").setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("apache_beam").setLevel(logging.WARNING if verbose else _NOTHING)
    # The states of a job.
    logging.getLogger("apache_beam.runners.dataflow").setLevel(logging.INFO if verbose else _NOTHING)
    logging.getLogger().addHandler(_HANDLER)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        severity = record.levelname if record.levelname in ("INFO", "WARNING") else "ERROR"
        source = "scenetags" if record.name.startswith("pipelines.") else record.name
        log(f"{source}: {record.getMessage()}", severity=severity)


_HANDLER = _Handler()


def show(*lines: str, file: TextIO | None = None) -> None:
    """Print lines without credentials, of which none can end early, control a terminal, or fail to be encoded.

    Args:
      lines: without line breaks of their own; those in a name are escaped.
      file: where to print; standard output by default.

    Raises:
      UnprintableError, OutputClosedError: standard output does not take it.
      OSError: another file does not.
    """
    stream = file or sys.stdout
    encoding = stream.encoding or "utf-8"
    text = "".join(f"{printable(without_secrets(line))}\n" for line in lines)
    with to_output() if stream is sys.stdout else nullcontext():
        # At once: between the pieces of `print`, other threads may write.
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _write(lines: Sequence[str], severity: str, fields: Mapping[str, Any], stream: TextIO) -> None:
    if _log_format == "text":
        show(*lines, file=stream)
    else:
        stream.write(f"{_as_json(lines, severity, fields)}\n")
    stream.flush()


def _as_json(lines: Sequence[str], severity: str, fields: Mapping[str, Any]) -> str:
    # Before it is JSON: in that, credentials are harder to recognize, and what is withheld may be the end of a string.
    message = "\n".join(map(without_secrets, lines))
    shown = {name: without_secrets(value) if isinstance(value, str) else value for name, value in fields.items()}
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": now, "severity": severity, "message": message, **shown})
