"""`scenetags plan`: say what a job would take, before it is run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields

from pipelines import interruption, storage
from pipelines.flags import UsageParser, add_flags, read_options
from pipelines.options import PredictOptions, UsageError
from pipelines.planning import machines

DESCRIPTION = """\
List the images of a folder, a pattern or a list, tag a sample of them, and say what all of them would take: images
and bytes, formats and repairs, failures to expect, time of an image and what it goes into, time on this machine, and
time and cost on Google Cloud. The last lines are the command to run.

It takes the flags of `scenetags predict`, with the same meanings, and carries them over to that command: to turn a run
into a plan, change one word. Nothing is written. What an output holds already is counted as still to be done.
"""

EPILOG = """\
example:
  scenetags plan --input gs://archive/2026/ --model gs://models/amazon --output gs://results/amazon --hours 2

how it reckons:
  images    all are listed, each counted once, as predict does it; the sample is chosen by chance, and it is the same
            each time. An input with fewer images is read whole
  time      that threads and processes had a core for, so that other programs beside it disturb little; a figure of
            the benchmarks for Beam and the writing of rows. Images that fail cost what those of the sample did
  failures  the Wilson interval of the share in the sample, with 95 % confidence
  workers   unless --workers or --hours says otherwise, one for each hour of work, so that their start, about 4
            minutes, stays below a tenth of it; never more than there is work for
  cost      list prices for vCPUs and memory. Disks, network, requests and discounts are not in it

exit codes:
  0  done
  2  wrong usage or configuration, as in predict
  3  nothing of the sample could be tagged: all but time and cost is told
  130, 143  interrupted by Ctrl-C, or by SIGTERM

Flags that are not listed here go to Apache Beam, e.g. --s3_endpoint_url.
"""

DONE, WRONG_USAGE, NOTHING_TAGGED = 0, 2, 3
OUTPUT = "tagged"


@dataclass(frozen=True)
class PlanOptions:
    """What the user asked for; the flags of the same names say what each means.

    Attributes:
      job: the run that is planned.
      machine: shape of a worker.
    """

    job: PredictOptions
    sample: int
    machine: machines.Machine
    workers: int | None
    hours: float | None
    json: str | None

    def __post_init__(self) -> None:
        """Refuse values that make no sense.

        Raises:
          UsageError: a value is out of its range, or options contradict one another.
        """
        for flag, count in (("--sample", self.sample), ("--workers", self.workers)):
            if count is not None and count < 1:
                raise UsageError(f"{flag} must be at least 1, not {count}")
        if self.workers is not None and self.workers > machines.MOST_WORKERS:
            raise UsageError(f"--workers {self.workers}: a Dataflow job has at most {machines.MOST_WORKERS:,}")
        if self.hours is not None and not 0 < self.hours < float("inf"):
            raise UsageError(f"--hours must be more than 0, not {self.hours}")
        if self.workers is not None and self.hours is not None:
            raise UsageError("--workers and --hours: one follows from the other, give one of them")
        if self.json is not None and self.json != "-":
            self._check_json(self.json)

    def _check_json(self, path: str) -> None:
        if not path.endswith(".json") or storage.is_remote(path):
            raise UsageError(f"--json {path}: name a .json file of this machine, or -")
        if not os.path.isdir(os.path.dirname(path) or "."):
            raise UsageError(f"--json {path}: there is no such folder")
        if os.path.dirname(os.path.realpath(path)) == os.path.realpath(self.job.model):
            raise UsageError(f"--json {path}: would be a file of the bundle")


def parse_plan(argv: Sequence[str]) -> PlanOptions:
    """Read the options of `scenetags plan` from its arguments.

    Raises:
      UsageError: an argument is missing, malformed or out of its range. Unknown flags are kept for Beam.
    """
    parser = UsageParser(
        prog="scenetags plan",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    plan = parser.add_argument_group("what to plan for")
    plan.add_argument(
        "--sample", type=int, default=256, metavar="N", help="images that are read and tagged (default 256)"
    )
    plan.add_argument(
        "--machine",
        default=machines.DEFAULT_MACHINE,
        metavar="NAME",
        help=f"shape of a worker on Google Cloud (default {machines.DEFAULT_MACHINE})",
    )
    plan.add_argument("--workers", type=int, metavar="N", help="say how long so many workers take")
    plan.add_argument("--hours", type=float, metavar="H", help="say how many workers are done in this time")
    plan.add_argument(
        "--json",
        metavar="FILE",
        help="also write the plan as JSON to a file of this machine; with - to standard output, in place of the text",
    )
    add_flags(parser, output=OUTPUT)
    known, beam_flags = parser.parse_known_args(argv)
    own = {name: vars(known).pop(name) for name in ("sample", "machine", "workers", "hours", "json")}
    try:
        own["machine"] = machines.find_machine(own["machine"])
    except machines.UnknownMachineError as error:
        raise UsageError(f"--machine: {error}") from error
    return PlanOptions(job=read_options(known, beam_flags), **own)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
      argv: arguments of the command line, without the command's name.

    Returns:
      The exit code; after a signal, 128 and its number.
    """
    try:
        with interruption.deferred():
            return _plan(parse_plan(sys.argv[1:] if argv is None else argv))
    except UsageError as error:
        print(f"scenetags plan: {error}", file=sys.stderr)
        return WRONG_USAGE
    except interruption.InterruptedRunError as error:
        print(f"scenetags plan: {error}", file=sys.stderr)
        return 128 + error.signal_number


def _plan(options: PlanOptions) -> int:
    # Imported here: they take longer than `--help` and a mistyped flag should.
    from pipelines.bundle import BundleError
    from pipelines.images import ignore_metadata_warnings
    from pipelines.listing import InputError
    from pipelines.planning.planner import make_plan
    from pipelines.planning.proposal import Asked, as_json, describe

    ignore_metadata_warnings()
    try:
        _reach_buckets(options.job)
        asked = Asked(options.workers, options.hours)
        plan = make_plan(options.job, options.sample, options.machine, asked)
    except (BundleError, InputError, storage.NoAccessError) as error:
        raise UsageError(str(error)) from error
    print(as_json(plan) if options.json == "-" else describe(plan, options.job.max_failure_rate))
    if options.json and options.json != "-":
        try:
            storage.write(storage.normalize(options.json), f"{as_json(plan)}\n".encode())
        except OSError as error:
            raise UsageError(f"--json {options.json}: {error.strerror or error}") from error
    return DONE if plan.seconds_an_image else NOTHING_TAGGED


def _reach_buckets(job: PredictOptions) -> None:
    if not job.beam_flags:
        storage.use(storage.Access(job.requester_pays))
        return
    import logging

    # Beam warns, through the root logger, of every optional library that is not installed.
    logging.getLogger().setLevel(logging.CRITICAL)
    # It takes seconds to import, for which those who have no flags for it do not wait.
    from pipelines.runners import check_beam_flags, reach_buckets

    own = [field.name for options in (PlanOptions, PredictOptions) for field in fields(options)]
    reach_buckets(job, check_beam_flags(job.beam_flags, own))


if __name__ == "__main__":
    sys.exit(main())
