"""Rebuild errors from the text with which a distributed runner reports the end of a job."""

from __future__ import annotations

import builtins
import re

from pipelines.errors import ExitCode, ScenetagsError
from pipelines.images import ImageError
from pipelines.job.release import WORKER_REMEDY, WorkerReleaseError
from pipelines.storage import TransientError

# The last line of a traceback.
_RAISED = re.compile(r"^(?:[\w.]+\.)?(\w+): (.+)$", re.MULTILINE)

# Beam adds the step to the message; a remedy may follow.
_STEP = re.compile(r" \[while running '.*?'\]")

# Beam and Java raise these around others.
_AROUND_OTHERS = ("RuntimeError", "Exception", "SystemExit")

_FRAME_OF_OURS = re.compile(r'File ".*\bpipelines[/\\][\w/\\]+\.py"')


class JobFailedError(ScenetagsError):
    """A job that failed, or with which contact was lost; the message says why, as far as that is known."""

    exit_code = ExitCode.STOPPED


def explain(text: str) -> Exception | None:
    """Rebuild the worker's exception from the runner's message, or return one that says what is known.

    Args:
      text: the runner's message, which includes a traceback of a worker or of the runner itself.

    Returns:
      None for a bug in scenetags, for which the whole text is needed.
    """
    raised = _RAISED.findall(_STEP.sub("", text))
    for kind, message in reversed(raised):
        if error := _known(kind, message, text):
            return error
        if kind not in _AROUND_OTHERS and isinstance(getattr(builtins, kind, None), type):
            # A bug: what was raised before it was handled by then.
            break
    if _FRAME_OF_OURS.search(text):
        return None
    if raised and "Traceback (most recent call last)" in text:
        # E.g. a worker that was killed, which the runner reports with a traceback of its own.
        return JobFailedError(": ".join(raised[-1]))
    return JobFailedError(" ".join(text.split()))


def _known(kind: str, message: str, text: str) -> Exception | None:
    if refusal := _find_refusal(kind):
        return refusal(message)
    builtin = getattr(builtins, kind, None)
    if kind == TransientError.__name__ or (isinstance(builtin, type) and issubclass(builtin, OSError)):
        return OSError(message)
    if kind == "ModuleNotFoundError" and "'pipelines" in message:
        return WorkerReleaseError(
            "scenetags is missing on the workers, or older than in the launching process", WORKER_REMEDY
        )
    if kind == "_InactiveRpcError" and (details := re.search(r'details = "(.+)"', text)):
        return JobFailedError(f"the runner and its workers cannot reach each other: {details[1]}")
    return None


def _find_refusal(name: str, base: type[ScenetagsError] = ScenetagsError) -> type[ScenetagsError] | None:
    """Find the class of a user error by its name, among those that are constructed from message and remedy alone."""
    for kind in base.__subclasses__():
        if kind is ImageError:
            # It becomes a failure row; where it ends a job, that is a bug.
            continue
        if kind.__name__ == name and kind.__init__ is ScenetagsError.__init__:
            return kind
        if found := _find_refusal(name, kind):
            return found
    return None
