"""`scenetags plan`: estimate the time and cost of a job before running it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields

from pipelines import storage
from pipelines.commandline.files import check_named, write_named
from pipelines.commandline.flags import add_flags, choose_log_format, read_options
from pipelines.commandline.numbers import Range, at_least
from pipelines.commandline.options import PredictOptions
from pipelines.commandline.parser import Parser, UsageError, place, print_error
from pipelines.commandline.printing import announce, log, log_libraries, show, to_output
from pipelines.errors import ExitCode, ScenetagsError
from pipelines.planning import machines
from pipelines.planning.shell import OUTPUT
from pipelines.supervision import interruption

_DESCRIPTION = """\
List the images of a folder, a pattern or a list, tag a sample of them, and estimate the whole job: images and bytes,
formats and repairs, expected failures, time per image and where it goes, time on this machine, and time and cost on
Google Cloud. The last lines are the command to run.

It takes the flags of `scenetags predict`, with the same meanings, and passes them on to that command: to turn a run
into a plan, change one word. Only --output may be omitted. Nothing is written. Images already in the output count as
still to be tagged. An output that the run could not add to is refused, e.g. because its rows are of another bundle or
precision.
"""

_EPILOG = """\
example:
  scenetags plan --input gs://archive/2026/ --model gs://models/amazon --output gs://results/amazon --hours 2

how it estimates:
  images    all are listed, each counted once, as in predict; the sample is chosen at random, and is the same each time.
            If the input has fewer images than the sample, all are read. Windows of a scene that are read at once are
            chosen together
  time      core time of threads and processes, so that other programs hardly affect it; for Beam and writing rows, a
            figure from the benchmarks. Images that fail are assumed to cost what failed images in the sample did
  failures  Wilson interval of the failure rate in the sample, with 95 % confidence. It is too narrow for windows, which
            come from few scenes: take a larger --sample
  workers   unless --workers or --hours is given, one per hour of work, so that their start-up of about 4 minutes stays
            below a tenth of it; never more than there is work for
  cost      list prices of vCPUs and memory, without disks, network, requests and discounts

exit codes:
  0  done
  1  the plan cannot be printed, e.g. because of a full disk
  2  wrong usage or configuration, as in predict
  3  no image in the sample could be tagged: everything except time and cost is reported; or, with --fail_on_shift, the
     sample is unlike the images that the model was trained on
  130, 143  interrupted by Ctrl-C, or by SIGTERM

Flags that are not listed here are passed to Apache Beam, e.g. --s3_endpoint_url.
"""

_NAME = "scenetags plan"


@dataclass(frozen=True)
class PlanOptions:
    """Options of the command; the flags of the same names document the others.

    Attributes:
      job: the run to plan.
      machine: machine type of a worker.
      has_output: whether the output of the run was named.
    """

    job: PredictOptions
    sample: int
    machine: machines.Machine
    workers: int | None
    hours: float | None
    json: str | None
    has_output: bool

    def __post_init__(self) -> None:
        """Validate the options.

        Raises:
          UsageError: a value is out of range, or options contradict each other.
        """
        if self.workers is not None and self.workers > machines.MOST_WORKERS:
            raise UsageError(f"--workers {self.workers} exceeds Dataflow's limit of {machines.MOST_WORKERS:,} per job")
        if self.workers is not None and self.hours is not None:
            raise UsageError("--workers and --hours cannot be combined", "omit one of them")
        if self.json is not None and self.json != "-":
            self._check_json(self.json)

    def _check_json(self, path: str) -> None:
        check_named("--json", path, (".json",))
        if os.path.dirname(os.path.realpath(path)) == os.path.realpath(self.job.model):
            raise UsageError(f"--json {path} is inside the model bundle", "choose another file")


def parse_plan(argv: Sequence[str]) -> PlanOptions:
    """Parse the arguments of `scenetags plan`, keeping unknown flags for Beam.

    Raises:
      UsageError: an argument is missing, malformed or out of range.
    """
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG, passes_on=True)
    parser.usage = "%(prog)s --input PATTERN --model BUNDLE [flags]"
    choose_log_format(argv)
    plan = parser.add_argument_group("plan")
    plan.add_argument(
        "--sample", type=at_least(1), default=256, metavar="N", help="images to read and tag (default %(default)s)"
    )
    plan.add_argument(
        "--machine",
        default=machines.DEFAULT_MACHINE,
        metavar="NAME",
        help=f"machine type of a worker on Google Cloud (default {machines.DEFAULT_MACHINE})",
    )
    plan.add_argument("--workers", type=at_least(1), metavar="N", help="estimate the time for this many workers")
    plan.add_argument(
        "--hours", type=Range(0, above=True), metavar="H", help="estimate how many workers finish in H hours"
    )
    plan.add_argument(
        "--json",
        type=place,
        metavar="FILE",
        help="also write the plan as JSON to a local file; - prints JSON instead of text",
    )
    add_flags(parser, writes=False)
    known, beam_flags = parser.parse_known_args(argv)
    has_output = known.output is not None
    known.output = known.output if has_output else OUTPUT
    own = {name: vars(known).pop(name) for name in ("sample", "machine", "workers", "hours", "json")}
    try:
        own["machine"] = machines.find_machine(own["machine"])
    except machines.UnknownMachineError as error:
        raise UsageError(f"--machine: {error.message}", error.remedy) from error
    return PlanOptions(job=read_options(known, beam_flags), has_output=has_output, **own)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
      argv: command line arguments, without the command's name.

    Returns:
      The exit code; after a signal, 128 plus its number.
    """
    try:
        with interruption.deferred(announce):
            return _plan(parse_plan(sys.argv[1:] if argv is None else argv))
    except ScenetagsError as error:
        return print_error(_NAME, error)


def _plan(options: PlanOptions) -> int:
    # Imported here, so that `--help` and a mistyped flag stay fast.
    from pipelines.images import ignore_metadata_warnings
    from pipelines.planning.formats import as_json, describe
    from pipelines.planning.planner import make_plan
    from pipelines.planning.proposal import Asked

    ignore_metadata_warnings()
    log_libraries(options.job.verbose)
    _reach_buckets(options.job)
    asked = Asked(options.workers, options.hours)
    plan = make_plan(options.job, options.sample, options.machine, asked, has_output=options.has_output)
    if options.json == "-":
        with to_output():
            print(as_json(plan))
    else:
        show(*describe(plan, options.job.max_failure_rate))
    if options.json and options.json != "-":
        write_named("--json", options.json, f"{as_json(plan)}\n")
        show(f"figures: {options.json}")
    shift = plan.sampled.shift
    if options.job.fail_on_shift and shift.verdict == "unlike":
        log(f"{_NAME}: --fail_on_shift: {shift}", exit_code=int(ExitCode.UNLIKE_TRAINING))
        return ExitCode.UNLIKE_TRAINING
    if options.job.fail_on_shift and shift.verdict == "unknown":
        log(f"{_NAME}: --fail_on_shift: {shift}", severity="WARNING")
    return ExitCode.DONE if plan.seconds_per_image or not plan.found.inputs else ExitCode.NOTHING_TAGGED


def _reach_buckets(job: PredictOptions) -> None:
    if not job.beam_flags:
        signed = storage.bucket_of(job.output)
        storage.use(storage.Access(job.requester_pays, anonymous=job.anonymous, signed=signed))
        return
    # The import takes seconds; only runs with Beam flags pay for it.
    from pipelines.runners.beam_flags import check_beam_flags, reach_buckets

    named = {field.name for options in (PlanOptions, PredictOptions) for field in fields(options)}
    reach_buckets(job, check_beam_flags(job.beam_flags, sorted(named - {"job", "has_output"})))


if __name__ == "__main__":
    sys.exit(main())
