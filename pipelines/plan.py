"""`scenetags plan`: say what a job would take, before it is run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields

from pipelines import storage
from pipelines.commandline.flags import add_flags, read_options
from pipelines.commandline.options import PredictOptions
from pipelines.commandline.parser import Parser, UsageError, report
from pipelines.errors import ExitCode, ScenetagsError
from pipelines.planning import machines
from pipelines.supervision import interruption

_DESCRIPTION = """\
List the images of a folder, a pattern or a list, tag a sample of them, and estimate what all of them would take: images
and bytes, formats and repairs, failures to expect, time per image and where it goes, time on this machine, and time and
cost on Google Cloud. The last lines are the command to run.

It takes the flags of `scenetags predict`, with the same meanings, and carries them over to that command: to turn a run
into a plan, change one word. Nothing is written. What an output already holds counts as still to be done.
"""

_EPILOG = """\
example:
  scenetags plan --input gs://archive/2026/ --model gs://models/amazon --output gs://results/amazon --hours 2

how it estimates:
  images    all are listed, each counted once, as predict does; the sample is chosen at random, and is the same each
            time. An input with fewer images is read whole
  time      time that threads and processes spent on a core, so that other programs disturb it little; for Beam and the
            writing of rows, a figure from the benchmarks. Images that fail cost what those of the sample did
  failures  the Wilson interval of the share in the sample, with 95 % confidence
  workers   unless --workers or --hours says otherwise, one per hour of work, so that their start, about 4 minutes,
            stays below a tenth of it; never more than there is work for
  cost      list prices of vCPUs and memory, without disks, network, requests and discounts

exit codes:
  0  done
  2  wrong usage or configuration, as in predict
  3  nothing of the sample could be tagged: everything but time and cost is reported
  130, 143  interrupted by Ctrl-C, or by SIGTERM

Flags that are not listed here go to Apache Beam, e.g. --s3_endpoint_url.
"""

_NAME = "scenetags plan"
_NOTHING_TAGGED = 3
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
            raise UsageError("--workers and --hours exclude one another", "give one of them")
        if self.json is not None and self.json != "-":
            self._check_json(self.json)

    def _check_json(self, path: str) -> None:
        if not path.endswith(".json") or storage.is_remote(path):
            raise UsageError(f"--json {path} is not a local .json file, nor -")
        if not os.path.isdir(os.path.dirname(path) or "."):
            raise UsageError(f"--json {path}: there is no such folder")
        if os.path.dirname(os.path.realpath(path)) == os.path.realpath(self.job.model):
            raise UsageError(f"--json {path}: would be a file of the bundle")


def parse_plan(argv: Sequence[str]) -> PlanOptions:
    """Read the options of `scenetags plan` from its arguments.

    Raises:
      UsageError: an argument is missing, malformed or out of its range. Unknown flags are kept for Beam.
    """
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG)
    plan = parser.add_argument_group("what to plan for")
    plan.add_argument("--sample", type=int, default=256, metavar="N", help="images to read and tag (default 256)")
    plan.add_argument(
        "--machine",
        default=machines.DEFAULT_MACHINE,
        metavar="NAME",
        help=f"shape of a worker on Google Cloud (default {machines.DEFAULT_MACHINE})",
    )
    plan.add_argument("--workers", type=int, metavar="N", help="estimate the time for this many workers")
    plan.add_argument("--hours", type=float, metavar="H", help="estimate how many workers finish within this time")
    plan.add_argument(
        "--json",
        metavar="FILE",
        help="also write the plan as JSON to a local file; - for standard output, in place of the text",
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
    except ScenetagsError as error:
        return report(_NAME, error)


def _plan(options: PlanOptions) -> int:
    # Imported here: they take longer than `--help` and a mistyped flag should.
    from pipelines.images import ignore_metadata_warnings
    from pipelines.planning.planner import make_plan
    from pipelines.planning.proposal import Asked, as_json, describe

    ignore_metadata_warnings()
    _reach_buckets(options.job)
    plan = make_plan(options.job, options.sample, options.machine, Asked(options.workers, options.hours))
    print(as_json(plan) if options.json == "-" else describe(plan, options.job.max_failure_rate))
    if options.json and options.json != "-":
        try:
            storage.write(storage.normalize(options.json), f"{as_json(plan)}\n".encode())
        except OSError as error:
            raise UsageError(f"--json {options.json}: {error.strerror or error}") from error
    return ExitCode.DONE if plan.seconds_an_image else _NOTHING_TAGGED


def _reach_buckets(job: PredictOptions) -> None:
    if not job.beam_flags:
        storage.use(storage.Access(job.requester_pays))
        return
    import logging

    # Beam warns, through the root logger, of every optional library that is not installed.
    logging.getLogger().setLevel(logging.CRITICAL)
    # It takes seconds to import, for which those who have no flags for it do not wait.
    from pipelines.runners.beam_flags import check_beam_flags, reach_buckets

    own = [field.name for options in (PlanOptions, PredictOptions) for field in fields(options)]
    reach_buckets(job, check_beam_flags(job.beam_flags, own))


if __name__ == "__main__":
    sys.exit(main())
