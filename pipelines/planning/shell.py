"""Write options as a `scenetags predict` command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields

from pipelines import storage
from pipelines.commandline.flags import parse_predict
from pipelines.commandline.numbers import spelled
from pipelines.commandline.options import PredictOptions
from pipelines.credentials import KEYS, flags_without_secrets
from pipelines.planning import machines
from pipelines.planning.estimate import CloudRun

PROJECT, BUCKET, OUTPUT = "PROJECT", "gs://BUCKET", "OUTPUT"
"""Placeholders in a command for names that only the user knows."""

_ALWAYS = ("model", "output")


def command_line(options: PredictOptions) -> list[str]:
    """Write options as arguments of `scenetags predict`, without credentials, and without what is the default."""
    usual = parse_predict(["--input=input", "--model=model", "--output=output"])
    arguments = [part for pattern in options.input for part in _flag("input", pattern)]
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name in ("input", "beam_flags") or (value == getattr(usual, field.name) and field.name not in _ALWAYS):
            continue
        text = spelled(value) if isinstance(value, float) else str(value)
        arguments += [f"--{field.name}"] if value is True else _flag(field.name, text)
    return [*arguments, *flags_without_secrets(options.beam_flags)]


def shell_command(options: PredictOptions) -> str:
    """Write options as a shell command."""
    return shlex.join(["scenetags", "predict", *command_line(options)])


def cloud_flags(run: CloudRun, given: Sequence[str]) -> tuple[str, ...]:
    """Return Beam's flags for a cloud run: the given ones first and unchanged, without keys, which it would refuse."""
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
    return (*_without_keys(given), *(flag for flag in wanted if flag.partition("=")[0] not in named))


def can_run_in_cloud(options: PredictOptions) -> bool:
    """Return whether all files that workers need are in storage they can access."""
    paths = (*options.input, options.model, *filter(None, [options.input_list]))
    return all(storage.is_remote(path) for path in paths)


def _without_keys(flags: Sequence[str]) -> Iterator[str]:
    left_out = False
    for word in flags:
        if word.startswith("--"):
            left_out = word[2:].partition("=")[0] in KEYS
        if not left_out:
            yield word


def _flag(name: str, value: str) -> list[str]:
    return [f"--{name}={value}"] if value.startswith("-") else [f"--{name}", value]
