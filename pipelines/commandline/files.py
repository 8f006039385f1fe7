"""Write the files that flags name."""

from __future__ import annotations

import codecs
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TextIO, cast

from pipelines import storage
from pipelines.commandline.parser import UsageError


def check_named(flag: str, path: str, endings: Sequence[str]) -> None:
    """Check a flag that names a file to write, local or in a bucket, before anything is done that takes long.

    Raises:
      UsageError: its name has none of these endings, it would be where nothing can be written, or in a folder on this
        machine that does not exist.
    """
    if not path.lower().endswith(tuple(endings)):
        raise UsageError(f"{flag} {path} is not a {endings[0]} file")
    if not storage.can_be_written(path):
        raise UsageError(
            f"{flag} {path} cannot be written to", f"give a local path, or one in {' or '.join(storage.BUCKETS)}"
        )
    if not storage.is_remote(path) and not os.path.isdir(os.path.dirname(path) or "."):
        raise UsageError(f"{flag} {path}: the folder does not exist", "create it first")


def find_bucket(*paths: str | None) -> str:
    """Return the bucket of the first path that is in one, of files that are written; empty if none is."""
    remote = (path for path in paths if path is not None and storage.is_remote(path))
    return next((storage.bucket_of(storage.normalize(path)) for path in remote), "")


def write_named(flag: str, path: str, text: str) -> None:
    """Write a text to the file that a flag names, local or in a bucket; a new file is written whole or not at all.

    What exists is written to as it is, be it a file, a link to one, a pipe or a mounted file: it keeps its mode.

    Raises:
      UsageError: the file cannot be written, or its folder does not exist.
    """
    with _reported(flag, path):
        if storage.is_remote(path):
            storage.write(storage.normalize(path), text.encode())
        elif os.path.exists(path):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        else:
            target = os.path.realpath(path)
            # A missing folder is more likely a typo than a wish.
            os.stat(os.path.dirname(target))
            storage.write(target, text.encode())


@contextmanager
def open_named(flag: str, path: str) -> Iterator[TextIO]:
    """Open the file that a flag names for text that is too long to hold; it appears whole or not at all.

    A link stays one, an existing file keeps its mode, and a pipe or a device is written to as it is.

    Raises:
      UsageError: the file cannot be written, or its folder does not exist.
    """
    with open_bytes(flag, path) as file:
        # Not io.TextIOWrapper: what is uploaded is written to, and nothing else.
        yield cast(TextIO, codecs.getwriter("utf-8")(file))


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
