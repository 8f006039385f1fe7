"""The release of this package that a process runs, and pipeline steps that only the same release unpickles.

A worker may have a different installation from the process that launched the job, e.g. last week's image. It might
understand half of what it is sent, and misinterpret the other half.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from apache_beam.internal import pickler

from pipelines.errors import ScenetagsError
from pipelines.supervision.packages import version

WORKER_REMEDY = (
    "build the workers' image from the installation that launches the job, or omit --sdk_container_image to have that "
    "installation sent to them"
)


class WorkerReleaseError(ScenetagsError):
    """A worker runs a different release from the process that launched the job."""


class Release(NamedTuple):
    """A version of this package, and a digest of its code, which also identifies releases under development.

    Attributes:
      version: of the installed distribution.
      code: first 12 hexadecimal digits of a SHA-256 over the source files.
    """

    version: str
    code: str

    def __str__(self) -> str:
        """Name the release in words."""
        return f"scenetags {self.version} (code {self.code})"


@cache
def running_release() -> Release:
    """Return the release that this process runs."""
    # Over the whole package: different code must have a different digest.
    folder = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for name in sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.py")):
        digest.update(name.encode() + b"\0" + (folder / name).read_bytes() + b"\0")
    return Release(version("scenetags"), digest.hexdigest()[:12])


class BoundToRelease:
    """An object that only the release that pickled it can unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Put the release before everything else.

        It is checked before any class is looked up: in a different release, the class may have a different name or not
        exist.
        """
        # With bz2, the default, packing would take longer than everything else about a step.
        return _take_up, (tuple(running_release()), pickler.dumps((type(self), self.__dict__), use_zlib=True))


def _take_up(release: tuple[str, str], pickled: bytes) -> Any:
    """Unpickle an object. Its name and arguments must never change, so that releases recognize one another."""
    theirs, ours = Release(*release), running_release()
    if theirs != ours:
        raise WorkerReleaseError(f"a worker runs {ours}, but the job was launched with {theirs}", WORKER_REMEDY)
    kind, state = pickler.loads(pickled, use_zlib=True)
    taken_up = kind.__new__(kind)
    taken_up.__dict__.update(state)
    return taken_up
