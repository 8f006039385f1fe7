"""Flags of Beam that its parser accepts, and with which a job of ours would end in a traceback or take far longer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.commandline.parser import UsageError


class Useless(NamedTuple):
    """A flag, or a value of it, with which a job cannot run.

    Attributes:
      flag: its name.
      is_meant: whether a value is.
      reason: why it is useless.
      remedy: what to do.
    """

    flag: str
    is_meant: Callable[[Any], object]
    reason: str
    remedy: str = "omit it"


_TYPES = "scenetags' steps do not declare the types that Beam would check"

_ALWAYS = (
    Useless("runtime_type_check", bool, _TYPES),
    Useless("performance_runtime_type_check", bool, _TYPES),
    Useless("type_check_strictness", "ALL_REQUIRED".__eq__, _TYPES),
    # A bundle of a batch job keeps a worker busy for minutes, with images read ahead.
    Useless(
        "streaming",
        bool,
        "it is for inputs without an end, and would have a worker read and write a few images at a time",
    ),
)

_LOCALLY = (
    Useless(
        "direct_running_mode",
        "multi_processing".__eq__,
        "a local run uses all cores already, and Beam's own processes take several times as long",
    ),
    Useless(
        "direct_num_workers", lambda count: count is not None and count < 0, "it must be a number of workers, 0 or more"
    ),
    Useless("direct_test_splits", bool, "it is for tests of Beam itself"),
)


def refuse_useless_flags(options: PipelineOptions, local: bool) -> None:
    """Refuse the flags with which a job would not run.

    Raises:
      UsageError: one is given.
    """
    given = options.get_all_options()
    for useless in (*_ALWAYS, *(_LOCALLY if local else ())):
        value = given.get(useless.flag)
        if useless.is_meant(value):
            shown = "" if value is True else f"={value}"
            raise UsageError(f"--{useless.flag}{shown}: {useless.reason}", useless.remedy)
    for flag in ("profile_cpu", "profile_memory"):
        if local and given.get(flag) and not given.get("profile_location"):
            raise UsageError(f"--{flag} needs --profile_location", "name a folder for the profile")
