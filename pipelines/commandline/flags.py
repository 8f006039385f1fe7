"""The flags of `scenetags predict`: what each means to a user, and how they are read."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress

from pipelines import storage
from pipelines.commandline.execution import add_execution, add_limits
from pipelines.commandline.inputs import add_inputs
from pipelines.commandline.numbers import Range
from pipelines.commandline.options import PredictOptions
from pipelines.commandline.parser import Once, Parser, UsageError, add_switch
from pipelines.commandline.printing import LOG_FORMATS, use_log_format
from pipelines.commandline.rasters import add_rasters
from pipelines.commandline.scenes import add_scenes
from pipelines.output.schema import (
    EMPTY_COLUMNS,
    FAILURE_COLUMNS,
    NOVELTY,
    PREDICTION_COLUMNS,
    SCENE_COLUMNS,
    describe,
)

_DESCRIPTION = """\
Tag every image of a folder, a pattern or a list, and write tags and probabilities to Parquet.

Colours are repaired where a file is known to be decoded wrongly, and an image whose colours cannot be trusted
becomes a row in failures/, never a prediction. Every input becomes exactly one row. Rerunning the same command
resumes: images that are already tagged are skipped; new, changed and failed ones are processed.

Flags shown without a value are switches; a template may also give them one, as in --overwrite=false.
"""

_EPILOG = """\
examples:
  Tag a folder and everything below it:
    scenetags predict --input chips/ --model bundle/ --output tagged/

  Members of an archive in a bucket, to another bucket:
    scenetags predict --input 'gs://archive/scenes.tar::2026/*.jpg' --model gs://models/amazon --output s3://tagged

  Two patterns, overlaps counted once, and a list of paths in a CSV file (column "path"):
    scenetags predict --input 'a/*.jpg' --input 'b/**/*.tif' --model bundle/ --output tagged/
    scenetags predict --input_list scenes.csv --model bundle/ --output tagged/

  Scenes, cut into windows of 256 pixels:
    scenetags predict --input 'scenes/**/*.tif' --tile 256 --model bundle/ --output tagged/

output:
  OUTPUT/predictions/*.parquet   {predictions}
                                 and with --tile: {scenes}
  OUTPUT/failures/*.parquet      {failures}
  OUTPUT/empty/*.parquet         windows that --min_valid or --mask leaves out: {empty}
  OUTPUT/runs/<run>.json         counts, options, model and versions of each run

exit codes:
  0  done
  1  stopped before the end, e.g. by a full disk; what was committed stays, and the same command resumes;
     or everything is written, and the summary could not be printed
  2  wrong usage or configuration; nothing was written
  3  more images failed than --max_failure_rate allows (with --fail_fast, the run ended early), or the listing is
     incomplete: a damaged archive or an unreadable folder may hold images that were not listed; or, with
     --fail_on_shift, the images are unlike those that the model was trained on
  4  row count mismatch: some input became no row, or more than one
  130, 143  interrupted by Ctrl-C or SIGTERM; what was finished is committed, and the same command resumes

Flags that are not listed here are passed to Apache Beam, e.g. --runner, which runs the job on a cluster.
"""


def parse_predict(argv: Sequence[str]) -> PredictOptions:
    """Read the options of `scenetags predict` from its arguments.

    Raises:
      UsageError: an argument is missing, malformed or out of its range. Unknown flags are kept for Beam.
    """
    tables = {
        "predictions": (*PREDICTION_COLUMNS, NOVELTY),
        "scenes": SCENE_COLUMNS,
        "failures": FAILURE_COLUMNS,
        "empty": EMPTY_COLUMNS,
    }
    columns = {table: describe(columns) for table, columns in tables.items()}
    parser = Parser("scenetags predict", _DESCRIPTION, _EPILOG.format(**columns), passes_on=True)
    parser.usage = "%(prog)s --input PATTERN --model BUNDLE --output DIR [flags]"
    choose_log_format(argv)
    add_flags(parser)
    known, beam_flags = parser.parse_known_args(argv)
    return read_options(known, beam_flags)


def choose_log_format(argv: Sequence[str]) -> None:
    """Find the format of messages before all other arguments, so that errors in those are reported in it."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    finder.add_argument("--log_format", choices=LOG_FORMATS, default=PredictOptions.log_format)
    # The true parser reports it.
    with suppress(argparse.ArgumentError):
        use_log_format(finder.parse_known_args(argv)[0].log_format)


def add_flags(parser: argparse.ArgumentParser, *, writes: bool = True) -> None:
    """Add the flags of `scenetags predict` to a parser.

    Args:
      parser: of `predict`, or of a command that takes the same flags.
      writes: whether it writes, so that `--output` must be given.
    """
    add_inputs(parser.add_argument_group("what to tag"))
    _add_model_and_output(parser.add_argument_group("model and output"), writes)
    add_execution(parser.add_argument_group("execution"))
    add_rasters(parser, default="as the bundle's training images did")
    add_scenes(parser)
    add_limits(parser.add_argument_group("per-image limits (an image over a limit is recorded as a failure)"))


def read_options(known: argparse.Namespace, beam_flags: Sequence[str]) -> PredictOptions:
    """Build options from what a parser with exactly the flags of `predict` has read.

    Raises:
      UsageError: a value is out of its range.
    """
    known.input = tuple(known.input)
    if known.path_column is None:
        known.path_column = PredictOptions.path_column
    if known.output and (hint := storage.hint_at_scheme(known.output)):
        raise UsageError(f"--output {known.output} would be a folder on this machine", hint)
    try:
        for name in ("model", "output", "relative_to"):
            path = getattr(known, name)
            setattr(known, name, path and storage.normalize(path))
    except storage.UnsupportedStorageError as error:
        raise UsageError(str(error)) from error
    return PredictOptions(**vars(known), beam_flags=tuple(beam_flags))


def add_model(group: argparse._ActionsContainer) -> None:
    """Add the flag that names the bundle, for every command that predicts."""
    group.add_argument(
        "--model", required=True, metavar="BUNDLE", help="a bundle that `scenetags train` or `scenetags import` wrote"
    )


class _Threshold(Range):
    """A flag type: a probability, for all labels."""

    def hint(self, text: str) -> str:
        """Return how a value may have been meant: for one label, perhaps."""
        if "=" in text:
            return f"it is for all labels; for one, run `scenetags retag OUTPUT --threshold {text}` after the run"
        return super().hint(text)


def _add_model_and_output(group: argparse._ArgumentGroup, writes: bool) -> None:
    add_model(group)
    group.add_argument(
        "--output",
        required=writes,
        metavar="DIR",
        help="folder for the results (created if missing)"
        + ("" if writes else "; if omitted, the plan is for a new one"),
    )
    group.add_argument(
        "--relative_to",
        action=Once,
        metavar="DIR",
        help="store paths relative to this folder, and identify images by them: an archive that has moved, or is "
        "mounted under another name, is then not tagged again",
    )
    add_switch(
        group,
        "--overwrite",
        help="replace what the output holds, once all new rows are complete; the old rows stay if more than "
        "--max_failure_rate of the images fail, the listing is incomplete, or --fail_on_shift applies",
    )
    group.add_argument(
        "--threshold",
        type=_Threshold(0, 1),
        metavar="T",
        help="minimum probability for a tag, 0 to 1, for all labels (default: each label's own, from the bundle or "
        "from `scenetags retag`)",
    )

    add_switch(
        group,
        "--embeddings",
        help="add a column `embedding`: the features below the model's head, which are similar for images that look "
        "alike",
    )
