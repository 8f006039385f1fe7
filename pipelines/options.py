"""The options of `scenetags predict`: their flags, their meaning, and what is refused."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from pipelines import storage

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


_ACCELERATOR = re.compile(r"type:[\w.-]+;count:[1-9]\d*(;[\w:.-]+)*", re.ASCII)

_SECRET = ("access_key", "secret", "token", "password", "connection_string")


class UsageError(ValueError):
    """A command line that cannot be carried out; the message is for the user."""


@dataclass(frozen=True)
class PredictOptions:
    """What the user asked for; the flags of the same names say what each means.

    Attributes:
      max_bytes: None for the default of `reading.Limits`, which is not imported here for the sake of a quick start;
        so are `max_pixels` and `max_seconds`.
      beam_flags: flags that go to Beam.
    """

    input: tuple[str, ...]
    input_list: str | None
    model: str
    output: str
    batch_size: int
    engine: str
    threshold: float | None
    max_failure_rate: float
    fail_fast: bool
    checkpoint_every: int
    reads_in_flight: int
    threads: int | None
    accelerator: str | None
    dry_run: bool
    requester_pays: bool
    overwrite: bool
    max_bytes: int | None
    max_pixels: int | None
    max_seconds: float | None
    isolate_decoding: bool
    progress: str
    beam_flags: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse values that make no sense.

        Raises:
          UsageError: a value is out of its range, or options contradict one another.
        """
        for flag, path in (
            *(("--input", pattern) for pattern in self.input),
            ("--input_list", self.input_list),
            ("--model", self.model),
            ("--output", self.output),
        ):
            _check_path(flag, path)
        if not storage.can_be_written(self.output):
            raise UsageError(f"--output {self.output}: an output can be on this machine, in gs:// or in s3://")
        if not self.input and not self.input_list:
            raise UsageError("nothing to tag: give --input PATTERN or --input_list FILE")
        for flag, count in (
            ("--batch_size", self.batch_size),
            ("--checkpoint_every", self.checkpoint_every),
            ("--reads_in_flight", self.reads_in_flight),
            ("--threads", self.threads),
        ):
            if count is not None and count < 1:
                raise UsageError(f"{flag} must be at least 1, not {count}")
        for flag, limit in (
            *(("--max_bytes", self.max_bytes), ("--max_pixels", self.max_pixels)),
            ("--max_seconds", self.max_seconds),
        ):
            if limit is not None and not limit > 0:
                raise UsageError(f"{flag} must be more than 0, not {limit}")
        if self.accelerator is not None and not _ACCELERATOR.fullmatch(self.accelerator):
            raise UsageError(
                f"--accelerator {self.accelerator}: give it as type:T;count:N, e.g. "
                "'type:nvidia-l4;count:1;install-nvidia-driver'"
            )
        if self.max_seconds is not None and not self.isolate_decoding:
            raise UsageError("--max_seconds needs --isolate_decoding: only a process can be stopped, not a thread")
        for flag, share in (("--threshold", self.threshold), ("--max_failure_rate", self.max_failure_rate)):
            if share is not None and not 0 <= share <= 1:
                raise UsageError(f"{flag} must lie between 0 and 1, not {share}")

    def described(self) -> dict[str, Any]:
        """Give all options by their names, without the credentials among them."""
        return {**asdict(self), "beam_flags": tuple(without_credentials(self.beam_flags))}


def without_credentials(flags: Sequence[str]) -> Iterator[str]:
    """Cut the values of flags that hold a secret, in both spellings: `--flag=value` and `--flag value`."""
    secret = False
    for flag in flags:
        if flag.startswith("--"):
            name, separator, _ = flag.partition("=")
            secret = any(word in name for word in _SECRET)
            yield f"{name}=..." if secret and separator else storage.without_secrets(flag)
            secret = secret and not separator
        else:
            yield "..." if secret else storage.without_secrets(flag)
            secret = False


def _check_path(flag: str, path: str | None) -> None:
    if path == "":
        raise UsageError(f"{flag} is empty")
    try:
        (path or "").encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{flag} {path!a} is not UTF-8, and could not be written into the output") from error


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
