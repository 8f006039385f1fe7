"""Make errors of what a distributed runner tells about the end of a job, which is a text whatever was raised."""

from __future__ import annotations

import builtins
import re

from pipelines.errors import ExitCode, ScenetagsError
from pipelines.job.release import WorkerReleaseError
from pipelines.storage import TransientError

# Where a traceback ends; Beam adds the step to the message.
_RAISED = re.compile(r"^(?:[\w.]+\.)?(\w+): (.+?)(?: \[while running .*)?$", re.MULTILINE)

_FRAME_OF_OURS = re.compile(r'File ".*\bpipelines[/\\][\w/\\]+\.py"')


class JobFailedError(ScenetagsError):
    """A job that the runner has given up; the message says why, as far as that is known."""

    exit_code = ExitCode.STOPPED


def explain(told: str) -> Exception | None:
    """Rebuild the worker's exception from the runner's message, or make one that says what is known.

    Args:
      told: with the traceback of a worker in it, or of the runner's own.

    Returns:
      None for an error that nobody can put right but us, of which the whole text is wanted.
    """
    raised = _RAISED.findall(told)
    for kind, message in reversed(raised):
        if error := _known(kind, message, told):
            return error
    if _FRAME_OF_OURS.search(told):
        return None
    if raised and "Traceback (most recent call last)" in told:
        # A worker that was killed, say, of which the runner tells with a traceback of its own.
        return JobFailedError(": ".join(raised[-1]))
    return JobFailedError(" ".join(told.split()))


def _known(kind: str, message: str, told: str) -> Exception | None:
    if refusal := _find_refusal(kind):
        return refusal(message)
    builtin = getattr(builtins, kind, None)
    if kind == TransientError.__name__ or (isinstance(builtin, type) and issubclass(builtin, OSError)):
        return OSError(message)
    if kind == "ModuleNotFoundError" and "'pipelines" in message:
        return WorkerReleaseError(
            "the workers have no scenetags, or an older one: make their image from the installation that launches the "
            "job, or leave --sdk_container_image out to have that one sent to them"
        )
    if kind == "_InactiveRpcError" and (details := re.search(r'details = "(.+)"', told)):
        return JobFailedError(f"the runner and its workers cannot reach each other: {details[1]}")
    return None


def _find_refusal(name: str, base: type[ScenetagsError] = ScenetagsError) -> type[ScenetagsError] | None:
    """Find the class of an error that a user can mend by its name, among those that are made of a message alone."""
    for kind in base.__subclasses__():
        if kind.__name__ == name and kind.__init__ is ScenetagsError.__init__:
            return kind
        if found := _find_refusal(name, kind):
            return found
    return None
