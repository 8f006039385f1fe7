"""Read Beam's own flags, check the runner they name, and configure access to buckets."""

from __future__ import annotations

import argparse
import re
import shutil
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from apache_beam.io.filesystems import FileSystems
from apache_beam.options import pipeline_options
from apache_beam.pipeline import Pipeline
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import create_runner
from apache_beam.transforms.environments import Environment
from apache_beam.utils.secret import Secret

from pipelines import storage
from pipelines.commandline.nearest import ask, find_nearest
from pipelines.commandline.options import PredictOptions
from pipelines.commandline.parser import UsageError
from pipelines.credentials import KEYS, WITHHELD, flags_without_secrets
from pipelines.runners.beam_options import KeptViews
from pipelines.runners.dataflow import ONE_PROCESS, check_dataflow_options, is_dataflow, shape_workers
from pipelines.runners.useless_flags import refuse_useless_flags

LOCAL_RUNNERS = ("direct", "fnapi", "bundlebaseddirect")
"""Names of in-process runners, in lower case without `runner`; all of them stand for the one that scenetags uses."""

_SECONDS_TO_ANSWER = 10.0


def check_beam_flags(
    flags: Sequence[str], own: Iterable[str] = PredictOptions.__annotations__
) -> pipeline_options.PipelineOptions:
    """Read Beam's own flags, and refuse those Beam does not know, which it would silently ignore.

    Args:
      flags: all flags that the command itself does not know.
      own: names of the flags it does know, to suggest one instead of a mistyped flag.

    Raises:
      UsageError: a flag is unknown or malformed.
    """
    parser = argparse.ArgumentParser(prog="scenetags predict", allow_abbrev=False, exit_on_error=False, add_help=False)
    for options in pipeline_options.PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    unknown = _find_unknown(parser, flags)
    runner = pipeline_options.PipelineOptions(list(flags)).view_as(pipeline_options.StandardOptions).runner
    if not _is_local(runner):
        try:
            create_runner(runner)
        except Exception as error:
            # Importing a runner raises whatever its libraries raise, e.g. for one another's versions.
            raise UsageError(f"--runner {runner}: {' '.join(str(error).split())}") from error
    if unknown:
        # A word of its own may be the rest of a password with a space in it.
        flag = list(flags_without_secrets(flags))[list(flags).index(unknown[0])].split("=")[0]
        known = [name for action in parser._actions for name in action.option_strings]
        near = find_nearest(flag, [*(f"--{name}" for name in own), *known])
        raise UsageError(f"unknown argument {flag}", ask(near))
    beam_options = KeptViews(list(flags))
    if encrypted := beam_options.view_as(pipeline_options.SetupOptions).gbek:
        try:
            Secret.parse_secret_option(encrypted)
        except ValueError as error:
            raise UsageError(f"--gbek: {error}") from error
    return beam_options


def check_runner(options: PredictOptions, beam_options: pipeline_options.PipelineOptions) -> None:
    """Verify that the runner supports the options.

    Raises:
      UsageError: it does not.
    """
    local = is_local(beam_options)
    refuse_useless_flags(beam_options, local)
    check = _check_local if local else _check_distributed
    check(options, beam_options)


@contextmanager
def refused_flags_reported() -> Iterator[None]:
    """Report in one line which flags Beam refuses when it creates a pipeline.

    Raises:
      UsageError: it refuses some.
    """
    try:
        yield
    except ValueError as error:
        # Beam lists the problems line by line under a heading.
        heading, *problems = (line.strip() for line in str(error).strip().splitlines())
        raise UsageError("; ".join(problems) or heading) from error
    except ImportError as error:
        # Of a library that a flag chooses, e.g. `--pickle_library=dill`.
        raise UsageError(" ".join(str(error).split())) from error


def makes_template(beam_options: pipeline_options.PipelineOptions) -> bool:
    """Return whether to write the job as a template, for Dataflow to start it later."""
    return bool(beam_options.view_as(pipeline_options.GoogleCloudOptions).template_location)


def waits_for_nothing(beam_options: pipeline_options.PipelineOptions) -> bool:
    """Return whether the command ends as soon as its job is submitted."""
    return bool(beam_options.view_as(pipeline_options.StandardOptions).no_wait_until_finish)


def is_detached(beam_options: pipeline_options.PipelineOptions) -> bool:
    """Return whether the job runs without the command that launches it."""
    return makes_template(beam_options) or waits_for_nothing(beam_options)


def is_local(beam_options: pipeline_options.PipelineOptions) -> bool:
    """Return whether a run stays in this process."""
    return _is_local(beam_options.view_as(pipeline_options.StandardOptions).runner)


def threads_per_process(options: PredictOptions, beam_options: pipeline_options.PipelineOptions) -> int | None:
    """Return how many images each process decodes and predicts concurrently; None for one per core."""
    if options.threads is not None or is_local(beam_options):
        return options.threads
    # A distributed runner starts one process per core of a worker, unless this experiment says otherwise.
    alone = beam_options.view_as(pipeline_options.DebugOptions).lookup_experiment(ONE_PROCESS)
    return None if alone else 1


def reach_buckets(options: PredictOptions, beam_options: pipeline_options.PipelineOptions) -> storage.Access:
    """Return how to access buckets, and configure this process accordingly."""
    project = beam_options.view_as(pipeline_options.GoogleCloudOptions).project
    given = beam_options.view_as(pipeline_options.S3Options)
    settings = {
        "api_version": given.s3_api_version,
        "aws_access_key_id": given.s3_access_key_id,
        "aws_secret_access_key": given.s3_secret_access_key,
        "aws_session_token": given.s3_session_token,
        "endpoint_url": given.s3_endpoint_url,
        "region_name": given.s3_region_name,
        "use_ssl": False if given.s3_disable_ssl else None,
        # Flags are text: "False" would be read as the name of a certificate file.
        "verify": {"true": None, "false": False}.get(str(given.s3_verify).lower(), given.s3_verify),
    }
    s3 = tuple((name, value) for name, value in settings.items() if value is not None)
    # For Beam's own file systems in this process; those of the workers get the options with the pipeline.
    FileSystems.set_options(beam_options)
    signed = storage.bucket_of(options.output)
    access = storage.Access(options.requester_pays, project, s3, options.anonymous, signed)
    storage.use(access)
    return access


def _is_local(runner: str | None) -> bool:
    return runner is None or runner.lower().removesuffix("runner") in LOCAL_RUNNERS


def _find_unknown(parser: argparse.ArgumentParser, flags: Sequence[str]) -> list[str]:
    """Return the flags that a parser does not know.

    Raises:
      UsageError: a flag that it knows is malformed.
    """
    try:
        return parser.parse_known_args(list(flags))[1]
    except argparse.ArgumentError as error:
        raise UsageError(str(error)) from error
    except (AttributeError, TypeError, ValueError) as error:
        # Beam reads the JSON of some flags without checking it; which one it was, the error does not say.
        raise UsageError(f"{_find_malformed(parser, flags)} is malformed: {error}") from error


def _find_malformed(parser: argparse.ArgumentParser, flags: Sequence[str]) -> str:
    flag = ""
    for count, word in enumerate(flags, 1):
        flag = word.partition("=")[0] if word.startswith("--") else flag
        try:
            parser.parse_known_args(list(flags[:count]))
        except argparse.ArgumentError:
            # Its value is the next word.
            continue
        except (AttributeError, TypeError, ValueError):
            break
    return flag


def _check_distributed(options: PredictOptions, beam_options: pipeline_options.PipelineOptions) -> None:
    """Verify that a runner that is not in this process supports the options; raises as `check_runner` does."""
    if options.fail_fast:
        raise UsageError("--fail_fast needs a local run: distributed workers share no failure count")
    if options.processes is not None:
        raise UsageError(
            "--processes needs a local run: how many a worker starts, the runner decides",
            "omit it, or set --threads",
        )
    if options.precision == "auto":
        raise UsageError(
            "--precision auto needs a local run: each worker would choose its own",
            "use --precision float32, or bfloat16 on workers with units for it, e.g. of the c3 or c4 series",
        )
    _refuse_keys(beam_options)
    if is_dataflow(beam_options):
        check_dataflow_options(options, beam_options)
        shape_workers(options, beam_options)
    else:
        _check_portable(beam_options)
    if is_detached(beam_options) and options.commit_every:
        raise UsageError(
            "--commit_every needs a job that this command waits for: it starts the next one", "omit --commit_every"
        )
    if is_detached(beam_options) and not options.output.startswith(storage.BUCKETS):
        raise UsageError(f"--output {options.output}: a detached job needs an output in gs:// or s3://")


def _check_local(options: PredictOptions, beam_options: pipeline_options.PipelineOptions) -> None:
    """Verify that the local runner supports the options; raises as `check_runner` does."""
    if options.commit_every:
        raise UsageError(
            "--commit_every needs a distributed --runner",
            f"use --checkpoint_every {options.commit_every}: a local run commits as often anyway",
        )
    if options.accelerator:
        raise UsageError("--accelerator needs a distributed --runner: a local run uses what this machine has")
    if options.dry_run:
        raise UsageError(
            "--dry_run needs a distributed --runner", "use `scenetags plan` to see what a local run would take"
        )
    for flag, given in (
        ("--template_location", makes_template(beam_options)),
        ("--no_wait_until_finish", waits_for_nothing(beam_options)),
    ):
        if given:
            raise UsageError(f"{flag} needs --runner=DataflowRunner")
    with refused_flags_reported():
        # The local runner, as it is used later; see `run_in_waves`.
        pipeline = Pipeline(FnApiRunner(), options=beam_options)
    # Beam removes it when a pipeline has run, and this one never does.
    shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)


def _check_portable(beam_options: pipeline_options.PipelineOptions) -> None:
    """Verify what a runner other than Dataflow's would report late, in many lines or not at all.

    Raises:
      UsageError: it cannot run the job.
    """
    if waits_for_nothing(beam_options):
        raise UsageError("--no_wait_until_finish needs --runner=DataflowRunner")
    portable = beam_options.view_as(pipeline_options.PortableOptions)
    runner = str(beam_options.view_as(pipeline_options.StandardOptions).runner)
    if runner.lower().rpartition(".")[2] in ("portable", "portablerunner") and not portable.job_endpoint:
        raise UsageError(f"--runner {runner} needs --job_endpoint", "give HOST:PORT of the job service")
    try:
        # What is missing, a `TypeError` here, Beam names by itself when it creates the pipeline.
        with suppress(TypeError):
            Environment.from_options(portable)
    except (AttributeError, KeyError, ValueError) as error:
        # What is quoted is the value, which may set a worker's password.
        reason = re.sub('"[^"]*"', f'"{WITHHELD}"', str(error))
        raise UsageError(f"--environment_type, --environment_config or --environment_options: {reason}") from error
    _check_job_service(portable.job_endpoint)


def _refuse_keys(beam_options: pipeline_options.PipelineOptions) -> None:
    """Keep keys out of a job: its request and its steps are stored, and shown to others.

    Raises:
      UsageError: a flag holds a key.
    """
    given = beam_options.get_all_options(drop_default=True)
    for name in KEYS:
        if given.get(name):
            raise UsageError(
                f"--{name} would be stored with the job, where others may read it",
                "omit it: this process and the workers find their own keys, e.g. in their environments",
            )


def _check_job_service(endpoint: str | None) -> None:
    """Verify that a job service answers at the endpoint: Beam would wait for it forever.

    Raises:
      UsageError: none does.
    """
    if endpoint is None or endpoint == "embed":
        return
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER).close()
    except ValueError as error:
        raise UsageError(f"--job_endpoint {endpoint} is not of the form HOST:PORT") from error
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"--job_endpoint {endpoint}: no job service answers ({reason})") from error
