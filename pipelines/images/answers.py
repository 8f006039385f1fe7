"""Check the answers of a child process that decodes images, which a hostile image may have taken over.

Nothing is unpickled, and no field is taken unchecked.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import NamedTuple

from pipelines.images.layout import ImageError

_NAME = re.compile(r"[a-z][a-z0-9_ ]{0,49}")
_MOST_REPAIRS = 20


class BrokenChildError(Exception):
    """A child that died, or did what no intact child does; the message completes "the decoder ..."."""


class Answer(NamedTuple):
    """What a child says of an image, as `Resized` has it."""

    width: int
    height: int
    source: str
    repairs: tuple[str, ...]


def check_answer(header: bytes, number: str, max_pixels: int) -> Answer:
    """Validate a child's answer before using any of it; the pixels follow.

    Raises:
      ImageError: the child refused the image.
      BrokenChildError: no intact child sends such an answer.
    """
    try:
        answer = json.loads(header)
    except (ValueError, RecursionError):
        answer = None
    match answer:
        case {"number": other} if other != number:
            raise BrokenChildError("sent an invalid answer (to another image)")
        case {"number": _, "error": str(error), "message": str(message), **others} if (
            not others and error in _refusals() and _is_text(message)
        ):
            raise _refusals()[error](message)
        case {
            "number": _,
            "width": width,
            "height": height,
            "source": str(source),
            "repairs": [*repairs],
            **others,
        } if (
            not others
            and _is_count(width)
            and _is_count(height)
            and width * height <= max_pixels
            and len(repairs) <= _MOST_REPAIRS
            and all(isinstance(name, str) and _NAME.fullmatch(name) for name in (source, *repairs))
        ):
            return Answer(width, height, source, tuple(repairs))
    raise BrokenChildError("sent an invalid answer (malformed header)")


def _is_count(value: object) -> bool:
    # Not `isinstance`: to Python, True is a number. The columns of the output hold 32 bits.
    return type(value) is int and 0 < value < 2**31


def _is_text(value: str) -> bool:
    """Return whether a string can be written as UTF-8; JSON can express halves of characters, which cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


@cache
def _refusals() -> dict[str, type[ImageError]]:
    return {kind.__name__: kind for kind in ImageError.__subclasses__()}
