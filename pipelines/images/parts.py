"""What reading parts of an image file has in common, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Data(Protocol):
    """The bytes of a file, which may be fetched as they are needed."""

    def __len__(self) -> int: ...

    def __getitem__(self, span: slice, /) -> bytes: ...


class Box(NamedTuple):
    """A rectangle of pixels, from `left` and `top` up to, but not including, `right` and `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return self.width, self.height

    def within(self, other: Box) -> tuple[slice, slice]:
        """Return the rows and columns of another rectangle that are this one's."""
        return (
            slice(max(0, self.top - other.top), max(0, self.bottom - other.top)),
            slice(max(0, self.left - other.left), max(0, self.right - other.left)),
        )


class Part(NamedTuple):
    """Strips or tiles of an image next to one another.

    Attributes:
      box: their pixels, as far as they are of the image.
      spans: first byte and number of bytes of each; 0 and 0 of those that the file leaves out, or that are of no band
        that is needed.
      holes: the pixels of those that the file leaves out.
    """

    box: Box
    spans: tuple[tuple[int, int], ...]
    holes: tuple[Box, ...]


class Divided(Protocol):
    """An image that is read in parts, of which each becomes a file of its own."""

    @property
    def width(self) -> int:
        """Columns."""

    @property
    def height(self) -> int:
        """Rows."""

    @property
    def block(self) -> tuple[int, int]:
        """Columns and rows of a strip or tile."""

    @property
    def stored(self) -> int:
        """Bytes that the samples of a pixel take while they are decoded."""

    def find_part(self, box: Box, bands: Sequence[int] = ()) -> Part:
        """Find the strips or tiles in which some pixels lie.

        Args:
          box: the pixels.
          bands: numbers of those that are needed, from 0; all if empty.

        Raises:
          ImageError: one of them is missing.
        """

    def write_part(self, part: Part, pieces: Sequence[bytes | memoryview]) -> bytes | None:
        """Write a file of a part.

        Args:
          part: of the image.
          pieces: the bytes of each of its spans.

        Returns:
          The file; None if the image leaves out the whole part.

        Raises:
          ImageError: a piece has fewer bytes than it should.
        """
