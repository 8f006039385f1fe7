"""Read from a column of the label file which images to hold out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from pipelines.errors import ScenetagsError
from pipelines.labels import is_missing, some_names

Side = Literal["train", "held out", "left out"]

_WORDS: dict[str, Side] = {
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "eval", "holdout", "held_out", "held out"), "held out"),
    # Left out if there are others to hold out: they are for a measurement after training.
    **dict.fromkeys(("test", "testing", "tst"), "left out"),
}
_TRUTH = {"1": True, "1.0": True, "true": True, "yes": True, "0": False, "0.0": False, "false": False, "no": False}
_OF_HELD_OUT = frozenset(
    ("val", "valid", "validation", "test", "testing", "hold", "held", "holdout", "heldout", "dev", "eval", "evaluation")
)
_OF_TRAINING = frozenset(("train", "training"))
_DENIALS = frozenset(("not", "no", "non", "un", "never", "without", "exclude", "excluded"))


class SplitError(ScenetagsError):
    """A split that cannot be made as the user has said; the message is one line for the user."""


class SplitColumn(NamedTuple):
    """The column that says which images to hold out.

    Attributes:
      name: of the column; empty if there is none, because --labels and --validation_labels say it.
      value: that it has for images to hold out; empty if that is known from the values.
    """

    name: str
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> SplitColumn:
        """Read `NAME` or `NAME=VALUE`."""
        name, _, value = text.partition("=")
        return cls(name, value)


def read_sides(column: SplitColumn, cells: Sequence[str]) -> list[Side]:
    """Return the side of each image by the value that the column has for it.

    Known are `train`, `val` and `test` in their usual spellings, and 0 and 1 if the column's name says what they mean,
    as `is_valid` does. Images of `test` are left out, or held out if no others are. Images without a value, or with a
    mark for a missing one, are left out.

    Raises:
      SplitError: the values are not known, or all images are on one side.
    """
    values = ["" if is_missing(cell) else cell.strip().casefold() for cell in cells]
    side_of = _side_of(column, set(values) - {""})
    sides: list[Side] = [side_of[value] if value else "left out" for value in values]
    for needed, what in (("train", "train on"), ("held out", "hold out")):
        if needed not in sides and not column.name:
            flag = "--labels" if needed == "train" else "--validation_labels"
            raise SplitError(
                f"no image to {what}: no row of {flag} names an image in --images", "check the names in its rows"
            )
        if needed not in sides:
            raise SplitError(
                f"column {column.name} leaves no image to {what}: its values are {_listed(values)}",
                _remedy(column, values),
            )
    return sides


def is_called_held_out(cell: str) -> bool:
    """Return whether a cell says by itself that an image is to be held out, such as `val`."""
    return _WORDS.get(cell.strip().casefold()) == "held out"


def _side_of(column: SplitColumn, values: set[str]) -> dict[str, Side]:
    if column.value:
        chosen = {value for value in values if _is(value, column.value)}
        # Also where the others are known by no name: to train on `test` would spoil the measurement after training.
        sides: dict[str, Side] = {value: "left out" if _WORDS.get(value) == "left out" else "train" for value in values}
        sides.update(dict.fromkeys(chosen, "held out"))
        return sides
    if values <= _WORDS.keys():
        sides = {value: _WORDS[value] for value in values}
        if "held out" not in sides.values():
            return {value: "held out" if side == "left out" else side for value, side in sides.items()}
        return sides
    if values <= _TRUTH.keys():
        # Whole words: `invalid`, `device` and `trainval` mean something else, and `not_train` the opposite.
        words = {word.casefold() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", column.name)}
        holds_out, trains = bool(words & _OF_HELD_OUT), bool(words & _OF_TRAINING)
        if holds_out != trains and not words & _DENIALS:
            return {value: "held out" if _TRUTH[value] == holds_out else "train" for value in values}
    raise SplitError(f"column {column.name} has the values {_listed(values)}", _remedy(column, values))


def _is(value: str, wanted: str) -> bool:
    try:
        return float(value) == float(wanted)
    except ValueError:
        return value == wanted.strip().casefold()


def _listed(values: Sequence[str] | set[str]) -> str:
    return some_names(sorted(set(values) - {""})) or "no values"


def _remedy(column: SplitColumn, values: Sequence[str] | set[str]) -> str:
    """Return what to do: to name a value that, held out, leaves images to train on, if there is one."""
    named = sorted(set(values) - {""}, reverse=True)
    trained = [value for value in named if _WORDS.get(value) != "left out"]
    examples = [value for value in named if _WORDS.get(value) != "train" and set(trained) - {value}]
    if not examples:
        return "the column must tell the images to hold out from those to train on"
    return f"say which value to hold out, such as --split_column {column.name}={examples[0]}"
