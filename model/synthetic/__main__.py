"""`python -m model.synthetic`: draw synthetic labelled chips, or a scene of such chips."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model.synthetic.chips import MIN_SIZE, SIZE, write_chips
from model.synthetic.scene import write_scene
from pipelines.commandline.numbers import at_least
from pipelines.commandline.parser import Parser, UsageError, place, print_error
from pipelines.errors import ScenetagsError, quantity

_NAME = "python -m model.synthetic"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        flags = _parser().parse_args(argv)
        written = _write(flags)
    except ScenetagsError as error:
        return print_error(_NAME, error)
    except OSError as error:
        return print_error(_NAME, UsageError(f"--output: cannot write to {flags.output}: {error.strerror}"))
    print(written)
    return 0


def _write(flags: argparse.Namespace) -> str:
    """Write what is asked for, and return what to say of it."""
    output = Path(flags.output)
    if flags.scene:
        path = write_scene(output, flags.scene, flags.seed, flags.size)
        side = flags.scene * flags.size
        return f"a synthetic scene of {side} x {side} px: {path}"
    write_chips(output, flags.count, flags.seed, flags.size)
    return f"{quantity(flags.count, 'synthetic chip')} in {output / 'jpg'}, their labels in {output / 'labels.csv'}"


def _parser() -> Parser:
    parser = Parser(
        _NAME,
        "Draw synthetic labelled satellite chips, as JPEGs with the defect of the Planet set, or a scene of chips.",
    )
    default = "(default: %(default)s)"
    parser.add_argument(
        "--output", type=place, required=True, metavar="DIR", help="folder for jpg/ and labels.csv, or for scene.tif"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--count", type=at_least(1), default=500, metavar="N", help=f"number of chips {default}")
    what.add_argument(
        "--scene",
        type=at_least(1, 32),
        metavar="N",
        help="draw one GeoTIFF of N x N chips instead of single chips",
    )
    parser.add_argument("--seed", type=at_least(0, 2**32 - 1), default=0, metavar="N", help=f"random seed {default}")
    parser.add_argument("--size", type=at_least(MIN_SIZE), default=SIZE, metavar="PX", help=f"side of a chip {default}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
