"""The flags of `scenetags predict`: what each means to a user, and how they are read."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from pipelines import storage
from pipelines.options import PredictOptions, UsageError

DESCRIPTION = """\
Tag every image of a folder, a pattern or a list, and write tags and probabilities to Parquet.

Colours are repaired where a file is known to be read wrong, and an image whose colours cannot be trusted
becomes a row in failures/, never a prediction. Every input becomes exactly one row. The same command run
again goes on: images that are tagged already are skipped, new, changed and failed ones are done.
"""

EPILOG = """\
examples:
  Tag a folder and everything below it:
    scenetags predict --input chips/ --model bundle/ --output tagged/

  From a bucket, members of an archive in it, to another bucket:
    scenetags predict --input 'gs://archive/scenes.tar::2026/*.jpg' --model gs://models/amazon --output s3://tagged

  Two patterns, overlaps counted once, and a list of paths in a CSV file (column "path"):
    scenetags predict --input 'a/*.jpg' --input 'b/**/*.tif' --model bundle/ --output tagged/
    scenetags predict --input_list scenes.csv --model bundle/ --output tagged/

output:
  OUTPUT/predictions/*.parquet   path, tags, p_<label> ..., width, height, source, repairs, fingerprint, model, run
  OUTPUT/failures/*.parquet      path, stage, error, message, fingerprint, model, run
  OUTPUT/runs/<run>.json         counts, options, model and versions of each run

exit codes:
  0  done
  1  stopped before the end, e.g. by a full disk; what was committed stays, and the same command goes on;
     or all is written, and the summary could not be printed
  2  wrong usage or configuration; nothing was written
  3  done, or ended by --fail_fast, and a larger share of the images failed than --max_failure_rate allows
  4  the accounts do not balance: some input became no row, or more than one
  130, 143  interrupted by Ctrl-C, or by SIGTERM; as 1

Flags that are not listed here go to Apache Beam, e.g. --runner, with which the job runs on a cluster.
"""


class UsageParser(argparse.ArgumentParser):
    """A parser that leaves the reporting of a wrong command line to its caller."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def parse_predict(argv: Sequence[str]) -> PredictOptions:
    """Read the options of `scenetags predict` from its arguments.

    Raises:
      UsageError: an argument is missing, malformed or out of its range. Unknown flags are kept for Beam.
    """
    parser = UsageParser(
        prog="scenetags predict",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_flags(parser)
    known, beam_flags = parser.parse_known_args(argv)
    return read_options(known, beam_flags)


def add_flags(parser: argparse.ArgumentParser, output: str | None = None) -> None:
    """Add the flags of `scenetags predict` to a parser.

    Args:
      parser: of `predict`, or of a command that takes the same flags.
      output: taken where no `--output` is given; None where one must be.
    """
    what = parser.add_argument_group("what to tag")
    what.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="PATTERN",
        help="a folder (searched to the bottom; names that begin with a dot are left out), a pattern with *, ?, [...], "
        "** or {a,b}, a file, an archive (.tar, .zip, .tar.gz), or members of one (scenes.tar::train-jpg/*.jpg); on "
        "this machine, in gs:// or in s3://, like all that follows; repeatable",
    )
    what.add_argument(
        "--input_list",
        metavar="FILE",
        help="a .txt file with a path a line, or a .csv or .parquet file with a column `path`; relative paths start at "
        "the folder of the list",
    )
    how = parser.add_argument_group("with what, and where to")
    how.add_argument("--model", required=True, metavar="BUNDLE", help="the bundle that `scenetags train` made")
    where = "folder for the results; made if need be"
    how.add_argument("--output", required=output is None, default=output, metavar="DIR", help=where)
    _add_switch(
        how,
        "--overwrite",
        help="replace what the output holds, once all new rows are complete; old rows stay if more than "
        "--max_failure_rate of the images fail",
    )
    how.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="least probability of a tag, 0 to 1, for all labels; default: each label's own, from the bundle",
    )
    work = parser.add_argument_group("how to work")
    work.add_argument(
        "--engine",
        choices=("auto", "litert", "tensorflow"),
        default="auto",
        help="auto: TensorFlow where it is installed beside a GPU, LiteRT otherwise and for bundles in int8 (default)",
    )
    work.add_argument(
        "--batch_size",
        type=int,
        default=32,
        metavar="N",
        help="images given to TensorFlow together (default 32); LiteRT takes them one by one, on every core",
    )
    work.add_argument(
        "--checkpoint_every",
        type=int,
        default=20_000,
        metavar="N",
        help="a local run commits its rows every N images; a killed run loses no more than these (default 20000)",
    )
    work.add_argument(
        "--reads_in_flight",
        type=int,
        default=32,
        metavar="N",
        help="images that a worker fetches at the same time (default 32); more where storage is far away",
    )
    work.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="images that one process decodes, and predicts, at the same time (default: one a core on a local run; 1 "
        "on the workers of a distributed runner, which start a process for each core)",
    )
    work.add_argument(
        "--accelerator",
        metavar="TYPE",
        help="for those machines of a distributed runner that run the model, e.g. "
        "'type:nvidia-l4;count:1;install-nvidia-driver'; their image must hold TensorFlow",
    )
    _add_switch(
        work,
        "--dry_run",
        help="build the job of a distributed runner and check it, without running it",
    )
    _add_switch(
        work,
        "--requester_pays",
        help="have requests billed to us where a bucket wants that; in gs:// to --project, or else to the project of "
        "the credentials",
    )
    work.add_argument(
        "--max_failure_rate",
        type=float,
        default=0.05,
        metavar="R",
        help="share of failures, 0 to 1, above which the exit code is 3 (default 0.05)",
    )
    _add_switch(
        work,
        "--fail_fast",
        help="end a local run with code 3 as soon as more than --max_failure_rate of all images have failed, with 0 at "
        "the first; what earlier waves have committed stays",
    )
    _add_limits(parser.add_argument_group("what one image may cost, beyond which it becomes a failure"))
    work.add_argument("--progress", choices=("auto", "off"), default="auto", help="a bar or lines while it runs")


def read_options(known: argparse.Namespace, beam_flags: Sequence[str]) -> PredictOptions:
    """Make options of what a parser with the flags of `predict`, and no others, has read.

    Raises:
      UsageError: a value is out of its range.
    """
    known.input = tuple(known.input)
    try:
        known.model, known.output = (path and storage.normalize(path) for path in (known.model, known.output))
    except storage.UnsupportedStorageError as error:
        raise UsageError(str(error)) from error
    return PredictOptions(**vars(known), beam_flags=tuple(beam_flags))


def _add_limits(limits: argparse._ArgumentGroup) -> None:
    limits.add_argument("--max_bytes", type=int, metavar="N", help="of its file (default 512000000)")
    limits.add_argument("--max_pixels", type=int, metavar="N", help="columns times rows (default 64000000)")
    _add_switch(
        limits,
        "--isolate_decoding",
        help="decode in processes of their own, one a core: for archives that nobody trusts. An image that crashes its "
        "decoder, or hangs it, costs no other; without this it ends the run, and the same command again meets it again",
    )
    limits.add_argument(
        "--max_seconds",
        type=float,
        metavar="S",
        help="for decoding it, with --isolate_decoding (default 60); without, only what an image asks for is limited",
    )


def _add_switch(group: argparse._ArgumentGroup, flag: str, help: str) -> None:
    """Add a flag that says yes where it stands, and yes or no with a value: a template gives each of its flags one."""
    group.add_argument(flag, nargs="?", const=True, default=False, type=_read_switch, metavar="true|false", help=help)


def _read_switch(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text} is neither true nor false")
    return text.lower() == "true"
