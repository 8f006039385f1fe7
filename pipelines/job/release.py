"""Which release of this package a process runs, and steps of the pipeline that only the same one takes up.

A worker may have another installation than the process that launched the job: an image of last week, say. Half of what
it is sent would be understood by it, perhaps, and the other half taken for something else.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from apache_beam.internal import pickler

from pipelines.errors import ScenetagsError


class WorkerReleaseError(ScenetagsError):
    """A worker runs another release than the process that launched the job."""


class Release(NamedTuple):
    """A version of this package, and its code, which says more than the version where somebody is at work on it.

    Attributes:
      version: of the installed distribution.
      code: first 12 hexadecimal digits of a SHA-256 over the source files.
    """

    version: str
    code: str

    def __str__(self) -> str:
        """Name it for people."""
        return f"scenetags {self.version} (code {self.code})"


@cache
def running_release() -> Release:
    """Tell which release this process runs."""
    # Of the whole package: two different codes must not have one digest.
    folder = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for name in sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.py")):
        digest.update(name.encode() + b"\0" + (folder / name).read_bytes() + b"\0")
    return Release(version("scenetags"), digest.hexdigest()[:12])


class BoundToRelease:
    """An object that is unpickled by the release that pickled it, and by no other."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Put the release before all else.

        It is looked at before any class is looked up: in another release that one may have another name, or none.
        """
        return _take_up, (tuple(running_release()), pickler.dumps((type(self), self.__dict__)))


def _take_up(release: tuple[str, str], pickled: bytes) -> Any:
    """Unpickle an object. Name and arguments stay as they are in all releases, which is how they tell one another."""
    theirs, ours = Release(*release), running_release()
    if theirs != ours:
        raise WorkerReleaseError(
            f"a worker runs {ours}, and the job was launched with {theirs}: make the workers' image from the "
            "installation that launches the job, or leave --sdk_container_image out to have that one sent to them"
        )
    kind, state = pickler.loads(pickled)
    taken_up = kind.__new__(kind)
    taken_up.__dict__.update(state)
    return taken_up
