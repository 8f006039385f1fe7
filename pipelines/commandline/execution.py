"""Flags of how images are read and tagged: by which engine, how many at a time, and within which limits."""

from __future__ import annotations

import argparse

from pipelines.commandline.options import RANGES, PredictOptions
from pipelines.commandline.parser import add_switch
from pipelines.commandline.printing import LOG_FORMATS
from pipelines.images.limits import Limits
from pipelines.inference import ENGINES, PRECISIONS


def add_engine(group: argparse._ActionsContainer) -> None:
    """Add the flags that choose the engine and its precision, for every command that predicts."""
    group.add_argument(
        "--engine",
        choices=ENGINES,
        default=PredictOptions.engine,
        help="auto: TensorFlow where it is installed and there is a GPU, otherwise LiteRT, and OpenVINO for bfloat16; "
        f"int8 bundles run on LiteRT (default {PredictOptions.engine})",
    )
    group.add_argument(
        "--precision",
        choices=(*PRECISIONS, "auto"),
        default=PredictOptions.precision,
        help="bfloat16: faster on processors with units for it, but probabilities and tags change: `scenetags plan` "
        "measures both; needs OpenVINO. auto: bfloat16 if this machine supports it (default "
        f"{PredictOptions.precision})",
    )


def add_anonymous(group: argparse._ActionsContainer, help: str) -> None:
    """Add the flag that does without credentials, for every command that reads images."""
    add_switch(group, "--anonymous", help)


def add_execution(group: argparse._ArgumentGroup) -> None:
    """Add the flags of how a job runs, when it ends as failed, and what it says meanwhile."""
    add_engine(group)
    _add_number(
        group,
        "--batch_size",
        "N",
        f"images per call of TensorFlow (default {PredictOptions.batch_size}); the other engines take them one "
        "by one, on every core",
    )
    _add_commits(group)
    _add_concurrency(group)
    add_switch(group, "--dry_run", help="build and check the job of a distributed runner without running it")
    _add_access(group)
    _add_failures(group)
    _add_messages(group)


def _add_number(group: argparse._ArgumentGroup, flag: str, metavar: str, help: str) -> None:
    """Add the flag of an option that is a number, with the range and the default of that."""
    option = flag.removeprefix("--")
    default = getattr(PredictOptions, option)
    group.add_argument(flag, type=RANGES[option], default=default, metavar=metavar, help=help)


def _add_commits(group: argparse._ArgumentGroup) -> None:
    _add_number(
        group,
        "--checkpoint_every",
        "N",
        f"a local run commits its rows every N images (default {PredictOptions.checkpoint_every})",
    )
    _add_number(
        group,
        "--checkpoint_seconds",
        "S",
        "a local run also commits at least every S seconds; a killed run loses only its work since the last "
        f"commit (default {PredictOptions.checkpoint_seconds:g})",
    )
    _add_number(
        group,
        "--commit_every",
        "N",
        "a distributed run commits its rows about every N images, each time with a separate job, which lists "
        "everything again (default: once, at its end)",
    )


def _add_concurrency(group: argparse._ArgumentGroup) -> None:
    _add_number(
        group,
        "--reads_in_flight",
        "N",
        f"images that each process fetches concurrently (default {PredictOptions.reads_in_flight}); use more for "
        "distant storage",
    )
    _add_number(
        group,
        "--threads",
        "N",
        "images that are decoded and predicted concurrently: in total by a local run (default: one per core), or "
        "by each process of a distributed worker (default: 1, since workers run one process per core)",
    )
    _add_number(
        group,
        "--processes",
        "N|auto",
        "processes of a local run, each with its share of --threads: a single one cannot keep many cores busy. "
        "auto: one per 8 cores, or per 4 in bfloat16 and int8, for runs large enough to make up for their start; "
        "always one on a GPU, because each would take 10 to 20 GB of its memory (default auto)",
    )
    group.add_argument(
        "--accelerator",
        metavar="TYPE",
        help="accelerator for the workers that run the model, e.g. "
        "'type:nvidia-l4;count:1;install-nvidia-driver'; their image must contain TensorFlow",
    )


def _add_access(group: argparse._ArgumentGroup) -> None:
    add_switch(
        group,
        "--requester_pays",
        help="bill requests to your project or account (for requester-pays buckets); in gs:// to --project, or else to "
        "the project of the credentials",
    )
    add_anonymous(
        group, "read public buckets without credentials; credentials are used only for the bucket of --output"
    )


def _add_failures(group: argparse._ArgumentGroup) -> None:
    _add_number(
        group,
        "--max_failure_rate",
        "R",
        f"share of failures, 0 to 1, above which the exit code is 3 (default {PredictOptions.max_failure_rate})",
    )
    add_switch(
        group,
        "--fail_fast",
        help="end a local run with exit code 3 as soon as more than --max_failure_rate of all images have failed (with "
        "0: at the first failure); what has been committed stays. The number of windows of scenes that are still to be "
        "cut is estimated from the scenes before them",
    )
    add_switch(
        group,
        "--fail_on_shift",
        help="end with exit code 3 if the images are unlike those that the model was trained on, so that its "
        "probabilities may mean nothing; all rows are written first, but with --overwrite the old rows stay",
    )


def _add_messages(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--progress",
        choices=("auto", "off"),
        default=PredictOptions.progress,
        help="auto: a progress bar on a terminal, a line every 10 s elsewhere, also while images are listed (default "
        "%(default)s)",
    )
    group.add_argument(
        "--log_format",
        choices=LOG_FORMATS,
        default=PredictOptions.log_format,
        help="json: one object per message, with time, severity and message, for a scheduler that collects logs; the "
        "summary is an object on standard output (default %(default)s)",
    )
    add_switch(
        group, "--verbose", help="also log each failure as it happens, each commit and retry, and Beam's warnings"
    )


def add_limits(group: argparse._ArgumentGroup) -> None:
    """Add the flags of how large an image may be, and how long it may take."""
    _add_number(group, "--max_bytes", "N", f"maximum file size in bytes (default {Limits.max_bytes})")
    _add_number(group, "--max_pixels", "N", f"maximum width x height (default {Limits.max_pixels})")
    add_switch(
        group,
        "--isolate_decoding",
        help="decode in separate processes, one per core, for untrusted archives: a crash or hang then fails that "
        "image only; otherwise it would end the run, and every rerun",
    )
    _add_number(
        group,
        "--max_seconds",
        "S",
        f"decoding time per image; needs --isolate_decoding (default {Limits.max_seconds:g})",
    )
