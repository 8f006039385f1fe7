"""Write the files that flags name."""

from __future__ import annotations

import io
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TextIO

from pipelines import storage
from pipelines.commandline.parser import UsageError


def check_named(flag: str, path: str, endings: Sequence[str]) -> None:
    """Check a flag that names a local file to write, before anything is done that takes long.

    Raises:
      UsageError: its name has none of these endings, it would be in a bucket, or its folder does not exist.
    """
    if not path.lower().endswith(tuple(endings)) or storage.is_remote(path):
        raise UsageError(f"{flag} {path} is not a local {endings[0]} file")
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise UsageError(f"{flag} {path}: the folder does not exist", "create it first")


def write_named(flag: str, path: str, text: str) -> None:
    """Write a text to the local file that a flag names; a new file is written whole or not at all.

    What exists is written to as it is, be it a file, a link to one, a pipe or a mounted file: it keeps its mode.

    Raises:
      UsageError: the file cannot be written, or its folder does not exist.
    """
    try:
        if os.path.exists(path):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        else:
            target = os.path.realpath(path)
            # A missing folder is more likely a typo than a wish.
            os.stat(os.path.dirname(target))
            storage.write(target, text.encode())
    except OSError as error:
        raise UsageError(f"{flag} {path} cannot be written: {error.strerror or error}") from error


@contextmanager
def open_named(flag: str, path: str) -> Iterator[TextIO]:
    """Open the local file that a flag names for text that is too long to hold; it appears whole or not at all.

    A link stays one, an existing file keeps its mode, and a pipe or a device is written to as it is.

    Raises:
      UsageError: the file cannot be written, or its folder does not exist.
    """
    with _reported(flag, path), _open_local(path) as file:
        text = io.TextIOWrapper(file, "utf-8")
        yield text
        text.detach()


@contextmanager
def open_bytes(flag: str, path: str) -> Iterator[IO[bytes]]:
    """Open the file that a flag names for bytes, local or in a bucket; otherwise as `open_named`."""
    with (
        _reported(flag, path),
        storage.create(storage.normalize(path)) if storage.is_remote(path) else _open_local(path) as file,
    ):
        yield file


def is_standard_output(path: str) -> bool:
    """Return whether a path is another name of standard output, e.g. `/dev/stdout`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(1))
    except OSError:
        return False


@contextmanager
def _open_local(path: str) -> Iterator[IO[bytes]]:
    mode = os.stat(path).st_mode if os.path.exists(path) else None
    if mode is not None and not stat.S_ISREG(mode):
        # By the name given: that which the link of an unnamed pipe leads to, as of `>(gzip > x.gz)`, is no path.
        with open(path, "wb") as file:
            yield file
        return
    target = os.path.realpath(path)
    partial = f"{target}.{os.getpid()}.partial"
    try:
        with open(partial, "wb") as file:
            yield file
        if mode is not None:
            shutil.copymode(target, partial)
        storage.move(partial, target)
    finally:
        storage.delete([partial])


@contextmanager
def _reported(flag: str, path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{flag} {path} cannot be written: {error.strerror or error}") from error
