"""The output folder between two runs: who holds it, what earlier runs have left in it, and whether a run may add to it.

The output holds `predictions/`, `failures/` and `runs/`; while a run works also `_lock`, its staging folder, and the
shadow folder of an overwrite.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from pipelines import storage
from pipelines.output.commit import recover
from pipelines.output.manifest import mark
from pipelines.output.run import RUNS, SHADOW, Run
from pipelines.output.tables import OutputError, read_each
from pipelines.storage.leases import STALE_SECONDS

LOCK = "_lock"


@contextmanager
def hold_output(run: Run) -> Iterator[None]:
    """Keep other runs out of an output, and put right what a killed run has left unfinished in it.

    Raises:
      OutputError: another run is at work in it, or it cannot be written to.
    """
    path = storage.join(run.output, LOCK)
    owner = f"run {run.name}, process {os.getpid()} on {socket.gethostname()}"
    if run.detached:
        owner = f"run {run.name}, a job of its own; should that one have ended without rows, delete {path}"
    with ExitStack() as held:
        hurry = held.enter_context(ExitStack())
        try:
            # Permissions alone do not tell whether a folder can be written to: read-only mounts and full disks refuse
            # too, and writing the lock finds that out.
            leave = held.enter_context(storage.lock(path, owner, _tell_who_is_watched))
            recover(run.output)
            manifests = storage.list_files(storage.join(run.output, RUNS), ".json")
            list(read_each(run.output, _mark_if_killed, manifests))
        except storage.LockedError as error:
            raise OutputError(
                f"output {run.output} is in use ({error}): wait for its end, or choose another --output"
            ) from error
        except OSError as error:
            raise OutputError(f"cannot write into output {run.output}: {error.strerror or error}") from error
        try:
            yield
        except BaseException:
            # A storage that has just been given up is not waited for once more.
            hurry.enter_context(storage.hurried())
            _put_right(run)
            raise
        if run.detached:
            leave()
        else:
            _put_right(run)


def check_still_held(run: Run) -> None:
    """Make sure that the output is still this run's; in a bucket another run takes it over from one that was cut off.

    Raises:
      OutputError: it is not.
    """
    owner = storage.read_lock(storage.join(run.output, LOCK))
    if f"run {run.name}," not in owner:
        raise OutputError(f"output {run.output} was taken over by another run ({owner or 'which has ended'})")


def give_back_output(run: Run) -> None:
    """End the hold of a run whose launching process has left it behind."""
    storage.delete([storage.join(run.output, LOCK)])


def drop_shadows(run: Run) -> None:
    """Delete what overwrites have gathered with which this run does not go on."""
    for folder in storage.list_folders(run.output, SHADOW):
        if folder != run.folder:
            storage.delete_folder(folder)


def _put_right(run: Run) -> None:
    # What cannot be put right now, on a full disk say, is left to the next run; and what lies in an output that another
    # run has taken over is that one's work.
    with suppress(OSError, OutputError):
        check_still_held(run)
        recover(run.output)


def _tell_who_is_watched(owner: str) -> None:
    print(
        f"scenetags: the output may be in use ({owner}); watching for {STALE_SECONDS:.0f} s whether that run lives",
        file=sys.stderr,
    )


def _mark_if_killed(manifest: str) -> None:
    # What is no manifest is nobody's business here.
    with suppress(ValueError, RecursionError):
        described = json.loads(storage.read(manifest))
        # Nobody else is at work here, and so it is over with whoever says that he is.
        if isinstance(described, dict) and described.get("status") == "running":
            mark(manifest, "killed")
