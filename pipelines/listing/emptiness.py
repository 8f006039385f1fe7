"""What is done about inputs without images."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipelines.errors import quantity
from pipelines.listing.lookup import EmptyInputError
from pipelines.records import Listed


class Emptiness:
    """Inputs without images: it is an error if all are."""

    def __init__(self, allowed: bool | None, tell: Callable[[str], object]) -> None:
        """Begin with none.

        Args:
          allowed: whether there may be no image at all; None if the user has no flag to say so.
          tell: called with each of them.
        """
        self._allowed = allowed
        self._tell = tell
        self._empty: list[EmptyInputError] = []

    def tolerate(self, listed: Iterator[Listed]) -> Iterator[Listed]:
        """Pass on what an input names, and note that it names nothing."""
        try:
            yield from listed
        except EmptyInputError as error:
            self.add(error)

    def add(self, error: EmptyInputError) -> None:
        """Note that an input names nothing."""
        self._empty.append(error)

    def judge(self, found: bool) -> int:
        """Tell which inputs are empty.

        Args:
          found: whether any other is not.

        Returns:
          Their number.

        Raises:
          EmptyInputError: none has images, and that is not allowed.
        """
        if self._empty and not found and not self._allowed:
            first = self._empty[0]
            others = f", nor in the {quantity(len(self._empty), 'input')} together" if len(self._empty) > 1 else ""
            remedy = "" if self._allowed is None else "if that is intended, add --allow_empty"
            raise EmptyInputError(f"{first.message}{others}", first.remedy or remedy)
        for error in self._empty:
            self._tell(error.message)
        return len(self._empty)
