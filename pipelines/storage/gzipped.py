"""Objects that their store marks as compressed, `Content-Encoding: gzip`, with or without reason.

What is compressed is unpacked, in both clouds alike; what merely has the mark is taken as it is stored. A file whose
name says that it is compressed, as in `.tar.gz`, is what its name says.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO

from pipelines.errors import quantity
from pipelines.storage.errors import FileTooLargeError

MAGIC = b"\x1f\x8b"

_ENDINGS = (".gz", ".tgz")
_WITH_HEADER = 31
_AT_ONCE = 1 << 20
_MOST_ON_DISK = 1 << 32
_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_marked(encoding: str | None) -> bool:
    """Return whether an object's `Content-Encoding` says that it is compressed."""
    return "gzip" in (encoding or "").lower()


def is_compressed(path: str, data: bytes) -> bool:
    """Return whether an object that is marked is compressed, given its first bytes, and is to be unpacked."""
    return data.startswith(MAGIC) and not path.lower().endswith(_ENDINGS)


def unpack(data: bytes, most: int | None) -> bytes:
    """Unpack a whole object.

    Raises:
      FileTooLargeError: it unpacks to more than `most` bytes.
      OSError: it is damaged or truncated.
    """
    whole = bytearray()
    for piece in _inflate([data]):
        whole += piece
        if most is not None and len(whole) > most:
            raise FileTooLargeError(f"the file exceeds the limit of {quantity(most, 'byte')} once it is unpacked")
    return bytes(whole)


def bytes_of_head(length: int) -> int:
    """Return how many bytes of a compressed object hold its first `length` bytes, even if these are incompressible."""
    return length + length // 128 + 4096


def unpack_head(data: bytes, length: int) -> bytes:
    """Unpack the first `length` bytes of an object from its own first bytes."""
    head = bytearray()
    for piece in _inflate([data], whole=False):
        head += piece
        if len(head) >= length:
            break
    return bytes(head[:length])


def unpack_to_disk(pieces: Iterable[bytes]) -> IO[bytes]:
    """Unpack a whole object into a temporary file.

    Raises:
      FileTooLargeError: it unpacks to more than 4 GiB, or than the disk has room for.
      OSError: it is damaged or truncated.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        for piece in _inflate(pieces):
            file.write(piece)
            if file.tell() > _MOST_ON_DISK:
                raise FileTooLargeError(
                    f"unpacks to more than {_MOST_ON_DISK:,} bytes; store it without Content-Encoding: gzip"
                )
        file.seek(0, os.SEEK_SET)
    except BaseException as error:
        # It would try once more to write what is left.
        with contextlib.suppress(OSError):
            file.close()
        if isinstance(error, OSError) and error.errno in _FULL:
            raise FileTooLargeError(
                f"unpacks to more than {tempfile.gettempdir()} has room for; set TMPDIR to another folder, or store it "
                "without Content-Encoding: gzip"
            ) from error
        raise
    return file


def _inflate(pieces: Iterable[bytes], whole: bool = True) -> Iterator[bytes]:
    inflating = zlib.decompressobj(_WITH_HEADER)
    for piece in pieces:
        rest = piece
        while rest or not inflating.eof:
            if inflating.eof:
                # Files may be joined, and filled up with zeros.
                rest = rest.lstrip(b"\0")
                if not rest:
                    break
                inflating = zlib.decompressobj(_WITH_HEADER)
            try:
                data = inflating.decompress(rest, _AT_ONCE)
            except zlib.error as error:
                raise OSError(errno.EIO, f"damaged: its Content-Encoding is gzip, but {error}") from error
            yield data
            rest = inflating.unconsumed_tail or inflating.unused_data
            if not rest and not inflating.eof and len(data) < _AT_ONCE:
                break
    if whole and not inflating.eof:
        raise OSError(errno.EIO, "truncated: its Content-Encoding is gzip, and it ends too early")
