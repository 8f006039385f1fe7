"""`scenetags recover`: commit what runs had tagged before they were cancelled or died, without running anything."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pipelines import storage
from pipelines.commandline.flags import choose_log_format
from pipelines.commandline.options import PredictOptions
from pipelines.commandline.parser import Parser, UsageError, print_error, print_stopped
from pipelines.commandline.printing import LOG_FORMATS, announce, show_result
from pipelines.errors import ExitCode, ScenetagsError
from pipelines.supervision import interruption

_DESCRIPTION = """\
Commit the rows that cancelled, failed or killed runs have staged in an output, without tagging anything.

A job on a distributed runner commits at its end. If it is cancelled before that, its finished rows wait in the folder
_staging-RUN of the output. The next `predict` with the same settings commits them by itself. Use this command to look
at the rows first, or if there will be no other run. Until then, a `predict` with other settings is refused.

Rows that do not fit those in the output, e.g. of another bundle or with other thresholds, stay where they are.
"""

_EPILOG = """\
examples:
  See what a cancelled job had done, then resume it:
    scenetags recover gs://results/amazon
    recovered 912,345 images that run 20260712T101500.123456Z-3f2a had tagged before it ended, and 12 failures
    scenetags report gs://results/amazon
    scenetags predict ... --output gs://results/amazon

Only complete files are recovered, and each image gets one row, even if the runner had begun to tag it again. The
run's manifest, runs/RUN.json, counts what was recovered, with the status `recovered`.

exit codes:
  0  done, or there was nothing to recover
  1  stopped before the end, e.g. by a full disk; the same command finishes it
  2  wrong usage, no output of a run, or one that is in use by a run or cannot be changed
  130, 143  interrupted by Ctrl-C or SIGTERM; the same command resumes
"""

_NAME = "scenetags recover"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    choose_log_format(argv)
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG)
    parser.add_argument("output", metavar="OUTPUT", help="the --output of predict, local or in a bucket")
    parser.add_argument(
        "--log_format",
        choices=LOG_FORMATS,
        default=PredictOptions.log_format,
        help="json: one object per message, and the result as an object on standard output (default %(default)s)",
    )
    try:
        flags = parser.parse_args(argv)
        with interruption.deferred(announce):
            return _recover(flags)
    except ScenetagsError as error:
        return print_error(_NAME, error)


def _recover(flags: argparse.Namespace) -> int:
    # Imported here: Arrow would make `--help` slow.
    from pipelines.output.lock import hold_output
    from pipelines.output.recovery import recover_rows
    from pipelines.output.run import OutputRun, new_run_name
    from pipelines.results.outputs import open_output
    from pipelines.supervision.temporary import temporary_files

    opened = open_output(flags.output)
    output = opened.path
    if not storage.can_be_written(output):
        raise UsageError(f"{flags.output} cannot be changed", "name a local folder, or one in gs:// or in s3://")
    opened.check_written()
    lines, images, unfit = [], 0, 0
    try:
        run = OutputRun(new_run_name(), output)
        with temporary_files(), hold_output(run) as finished:
            if finished:
                lines.append(finished.told_finished())
            for recovered in recover_rows(run):
                first, *others = recovered.lines()
                if recovered.accounts.inputs and recovered.folder != output:
                    first += f"; they are in {recovered.folder}, for the same command with --overwrite"
                lines += [first, *others]
                images += recovered.accounts.predictions
                unfit += recovered.unfit
    except OSError as error:
        return print_stopped(_NAME, error, "run the same command again to finish")
    nothing = f"nothing to recover in {output}"
    show_result(*(lines or [nothing]), recovered=images, left=unfit, output=output)
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
