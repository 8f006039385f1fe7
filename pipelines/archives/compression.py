"""Compressed files as streams of the bytes that they unpack to.

Python's own readers take whatever follows the compressed data for padding. Of two archives joined with `cat`, the
second would be lost in silence if its first bytes were damaged.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Any, Protocol, cast

from pipelines.archives.members import ArchiveBombError, DamagedArchiveError, UntrustedArchiveError
from pipelines.errors import quantity
from pipelines.supervision import interruption

_CHUNK = 1 << 17

_LARGEST_RATIO, _ALWAYS_UNPACKED = 250, 1 << 30
"""Even blank images shrink less. Archives of zeros shrink by a factor of 1,000 (gzip) to 45,000 (bzip2)."""

_XZ_MEMORY = 1 << 28
"""Bytes for unpacking. `xz -9` takes a quarter of this, but a header of a few bytes may ask for 4 GiB."""

_GZIP_HEADER, _GZIP_TRAILER, _LONGEST_GZIP_HEADER = 10, 8, 1 << 17


def open_compressed(file: IO[bytes], ending: str, size: float) -> IO[bytes]:
    """Open a compressed file to read what it unpacks to, by offset; going backwards costs a pass from the start.

    Args:
      file: the compressed file.
      ending: of its name, one of `COMPRESSED_ENDINGS`.
      size: its bytes, by which a bomb is recognized; infinite to trust the file.

    Returns:
      A stream that raises one of `BROKEN` where the file is truncated or damaged; an `UntrustedArchiveError` if bytes
      that it has returned may be wrong.
    """
    return cast(IO[bytes], io.BufferedReader(_Unpacked(file, size, COMPRESSED_ENDINGS[ending]), _CHUNK))


class _Unpacking(Protocol):
    """The state of unpacking one compressed stream, as Python's decompressors have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gunzip:
    """Unpacks one gzip stream. zlib could by itself, but keeps the last bytes back if their checksum is wrong."""

    def __init__(self) -> None:
        self.eof, self.needs_input, self.unused_data = False, True, b""
        self._head: bytes | None = b""
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._checksum = self._length = 0
        self._tail = b""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        if self._head is not None:
            self._head += data
            begin = _end_of_gzip_header(self._head)
            if begin is None:
                return b""
            data, self._head = self._head[begin:], None
        if self._inflate.eof:
            self._end(data)
            return b""
        inflated = self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
        self._checksum = zlib.crc32(inflated, self._checksum)
        self._length += len(inflated)
        self._tail = self._inflate.unused_data
        self.needs_input = not self._tail and not self._inflate.unconsumed_tail and len(inflated) < max_length
        return inflated

    def _end(self, data: bytes) -> None:
        """Compare the checksum and the length with those after the data."""
        self._tail += data
        self.needs_input = len(self._tail) < _GZIP_TRAILER
        if self.needs_input:
            return
        written = int.from_bytes(self._tail[:4], "little"), int.from_bytes(self._tail[4:8], "little")
        if written != (self._checksum, self._length & 0xFFFFFFFF):
            raise zlib.error("the checksum is wrong")
        self.eof, self.unused_data = True, self._tail[_GZIP_TRAILER:]


def _end_of_gzip_header(data: bytes) -> int | None:
    """Find the end of a gzip header, RFC 1952, section 2.3; None if it is not there yet."""
    if not b"\x1f\x8b\x08".startswith(data[:3]):
        raise zlib.error("no gzip header")
    if len(data) < _GZIP_HEADER:
        return None
    flags, end = data[3], _GZIP_HEADER
    if flags & 4:
        end += 2 + int.from_bytes(data[end : end + 2], "little")
    for flag in (8, 16):
        # A file name, then a comment, each up to a zero byte.
        if flags & flag:
            end = data.find(b"\0", end) + 1 or len(data) + 1
    end += 2 if flags & 2 else 0
    if end <= len(data):
        return end
    if len(data) > _LONGEST_GZIP_HEADER:
        raise zlib.error("the gzip header has no end")
    return None


class _Unpacked(io.RawIOBase):
    """What a file of one or more compressed streams unpacks to."""

    def __init__(self, file: IO[bytes], size: float, begin: Callable[[], Any]) -> None:
        self._file, self._begin = file, begin
        self._limit = max(_ALWAYS_UNPACKED, _LARGEST_RATIO * size)
        self._rewind()

    def _rewind(self) -> None:
        self._file.seek(0)
        self._stream: _Unpacking | None = None
        self._packed = b""
        self._streams = self._position = self._begun_at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        assert whence == io.SEEK_SET
        if offset < self._position:
            self._rewind()
        while self._position < offset and self._read(min(_CHUNK, offset - self._position)):
            pass
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _read(self, length: int) -> bytes:
        """Read some bytes; none at the end."""
        unpacked = b""
        while not unpacked and (self._stream or self._find_stream()):
            # Each time, since a file can consist of streams that unpack to nothing.
            interruption.check()
            unpacked = self._unpack(length)
        self._position += len(unpacked)
        if self._position > self._limit:
            raise ArchiveBombError(
                f"the archive unpacks to more than {quantity(int(self._limit), 'byte')}, over {_LARGEST_RATIO} times "
                "its size; if you trust it, unpack it yourself"
            )
        return unpacked

    def _find_stream(self) -> bool:
        """Begin to unpack the next stream; return whether there is one after the padding."""
        while not (packed := self._packed.lstrip(b"\0")):
            self._packed = self._file.read(_CHUNK)
            if not self._packed:
                return False
        self._packed, self._stream = packed, self._begin()
        self._streams += 1
        self._begun_at = self._position
        return True

    def _unpack(self, length: int) -> bytes:
        """Unpack some bytes of the current stream; none at its end, or where more has to be read first."""
        assert self._stream
        data = b""
        if self._stream.needs_input:
            data, self._packed = self._packed or self._file.read(_CHUNK), b""
            if not data:
                raise DamagedArchiveError("the archive is truncated; members before its end are read, the rest is lost")
        try:
            unpacked = self._stream.decompress(data, length)
        except (OSError, zlib.error, lzma.LZMAError) as error:
            if self._position == self._begun_at and self._streams > 1:
                raise DamagedArchiveError(
                    "the bytes after the compressed data are damaged or not compressed"
                ) from error
            # bzip2 verifies each block before it returns it, and raises an OSError; the others verify the whole stream.
            if self._position > self._begun_at and not isinstance(error, OSError):
                raise UntrustedArchiveError(str(error)) from error
            raise
        if self._stream.eof:
            self._packed, self._stream = self._stream.unused_data, None
        return unpacked


COMPRESSED_ENDINGS: dict[str, Callable[[], Any]] = {
    ".tar.gz": _Gunzip,
    ".tgz": _Gunzip,
    ".tar.bz2": bz2.BZ2Decompressor,
    ".tar.xz": lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY),
}
"""File name endings, in lower case, with what unpacks one stream."""
