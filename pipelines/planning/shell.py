"""Write options as the command of `scenetags predict` that they are those of."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import fields

from pipelines import storage
from pipelines.commandline.flags import parse_predict
from pipelines.commandline.options import PredictOptions, without_credentials
from pipelines.planning import machines
from pipelines.planning.estimate import CloudRun

PROJECT, BUCKET = "PROJECT", "gs://BUCKET"
"""What stands in a command for names that only its reader knows."""

_ALWAYS = ("model", "output", "batch_size", "reads_in_flight")


def command_line(options: PredictOptions) -> list[str]:
    """Write options as arguments of `scenetags predict`, without the credentials among them."""
    usual = parse_predict(["--input=-", "--model=-", "--output=-"])
    arguments = [part for pattern in options.input for part in _flag("input", pattern)]
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name in ("input", "beam_flags") or (value == getattr(usual, field.name) and field.name not in _ALWAYS):
            continue
        arguments += [f"--{field.name}"] if value is True else _flag(field.name, str(value))
    return [*arguments, *without_credentials(options.beam_flags)]


def shell_command(options: PredictOptions) -> str:
    """Write options as a command for a shell."""
    return shlex.join(["scenetags", "predict", *command_line(options)])


def cloud_flags(run: CloudRun, given: Sequence[str]) -> tuple[str, ...]:
    """Give Beam's flags for a run in the cloud, those already given first and unchanged."""
    wanted = (
        "--runner=DataflowRunner",
        f"--project={PROJECT}",
        f"--region={machines.REGION}",
        f"--temp_location={BUCKET}/temp",
        f"--machine_type={run.machine.name}",
        f"--num_workers={run.workers}",
        f"--max_num_workers={run.workers}",
    )
    named = {flag.partition("=")[0] for flag in given}
    return (*given, *(flag for flag in wanted if flag.partition("=")[0] not in named))


def can_run_in_cloud(options: PredictOptions) -> bool:
    """Tell whether all that workers need is where they can reach it."""
    paths = (*options.input, options.model, *filter(None, [options.input_list]))
    return all(storage.is_remote(path) for path in paths)


def _flag(name: str, value: str) -> list[str]:
    return [f"--{name}={value}"] if value.startswith("-") else [f"--{name}", value]
