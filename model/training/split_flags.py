"""The flags of `train` that say which images to hold out."""

from __future__ import annotations

import argparse
import math
import re

from pipelines.commandline.numbers import between
from pipelines.commandline.parser import Parser, UsageError

_FRACTION = 0.2
MOST_FINAL_EPOCHS = 5
"""By default."""


def add_split(parser: Parser) -> None:
    """Add the flags to the parser."""
    group = parser.add_argument_group("images to hold out")
    share = (
        f"share of the images to hold out at random (default: {_FRACTION}); rare labels and groups can change it by up "
        "to a tenth"
    )
    column = (
        "column of the label file that says which images to hold out: train, val and test (left out if there is a val) "
        "or 0 and 1 as in is_valid; with other values, VALUE names the one to hold out, as in fold=0"
    )
    file = "label file of the images to hold out; all those in --labels are trained on"
    belong = "column that names groups of images, such as places or scenes, which the split must not divide"
    pattern = (
        "regular expression that finds the group in an image's path below --images: the text in its (...), or the "
        "whole match"
    )
    group.add_argument("--validation_fraction", type=between(0.01, 0.9), metavar="F", help=share)
    group.add_argument("--split_column", default="", type=_split_column, metavar="NAME[=VALUE]", help=column)
    group.add_argument("--validation_labels", default="", metavar="CSV", help=file)
    group.add_argument("--group_column", default="", metavar="NAME", help=belong)
    group.add_argument("--group_pattern", default="", type=_pattern, metavar="REGEX", help=pattern)


def read_fraction(flags: argparse.Namespace) -> float | None:
    """Return the share to hold out; None if the user has chosen the images.

    Raises:
      UsageError: there are several ways to split.
    """
    for excluding in (
        ("validation_fraction", "split_column", "validation_labels"),
        ("group_column", "group_pattern"),
    ):
        if len(given := [f"--{flag}" for flag in excluding if getattr(flags, flag)]) > 1:
            raise UsageError(f"{given[0]} and {given[1]} cannot be combined", "omit one of them")
    if flags.split_column or flags.validation_labels:
        return None
    return float(flags.validation_fraction or _FRACTION)


def read_final_epochs(flags: argparse.Namespace, finetune_epochs: int) -> int:
    """Return the number of epochs at the end that train on the held-out images, too.

    Args:
      flags: of `train`.
      finetune_epochs: that come before.

    Raises:
      UsageError: the user wants some, but these images are needed afterwards.
    """
    if flags.final_epochs and flags.quantize == "int8":
        raise UsageError(
            "--final_epochs and --quantize int8 cannot be combined: the file is measured on the held-out images",
            "omit one of them",
        )
    if flags.final_epochs is not None:
        return int(flags.final_epochs)
    # Nobody expects images to be learnt that they have chosen to hold out.
    are_chosen = read_fraction(flags) is None
    wanted = 0 if are_chosen or flags.weights is None else math.ceil(finetune_epochs / 3)
    return min(MOST_FINAL_EPOCHS, wanted)


def _split_column(text: str) -> str:
    name, equals, value = text.partition("=")
    # Of the default, which is no column, nothing is wrong.
    if text and (not name.strip() or (equals and not value.strip())):
        raise argparse.ArgumentTypeError(f"{text} is neither NAME nor NAME=VALUE, such as fold=0")
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text} is not a regular expression: {error}") from None
    return text
