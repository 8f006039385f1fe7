"""Which F-beta is meant: the flag, its name in messages, and the keys of its measures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from pipelines.commandline.numbers import between

BETA = 2.0
"""That of the Kaggle competition on the Planet set: recall weighs four times as much as precision."""


def add_beta(parser: argparse._ActionsContainer, what: str) -> None:
    """Add the flag `--beta`; `what` says what is measured or chosen by it."""
    beta = (
        f"{what} by F-beta, in which recall weighs N x N times as much as precision: 1 for equal weight, 0.5 where a "
        "false tag is worse than a missed one (default: %(default)g)"
    )
    parser.add_argument("--beta", type=between(0.1, 10), default=BETA, metavar="N", help=beta)


def title(beta: float) -> str:
    """Return the name of the score: "F2", "F0.5"."""
    return f"F{beta:g}"


def key(name: str, beta: float) -> str:
    """Say in the key of a measure which score it is: of `fbeta_at_half`, `f2_at_half` or `f0_5_at_half`."""
    return name.replace("fbeta", title(beta).lower().replace(".", "_"))


def with_keys(measures: Mapping[str, Any], beta: float) -> dict[str, Any]:
    """Return measures under keys that say which score they are, in the same order."""
    return {key(name, beta): value for name, value in measures.items()}
