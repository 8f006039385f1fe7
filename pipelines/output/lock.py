"""Lock the output folder for a run, and repair what earlier runs have left unfinished in it.

The output holds `predictions/`, `failures/` and `runs/`; during a run also `_lock`, the run's staging folder, and the
shadow folder of an overwrite.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from pipelines import storage
from pipelines.errors import ScenetagsError, StillRunningError
from pipelines.output.commit import Unfinished, find_unfinished, recover
from pipelines.output.journal import read_journal, shadow_folders
from pipelines.output.manifest import find_content, mark
from pipelines.output.run import RUNS, TABLES, OutputRun
from pipelines.output.staged import holds_rows
from pipelines.output.tables import OutputError, read_each
from pipelines.supervision import interruption

LOCK = "_lock"

_RECENT = 8
"""Manifests, the last by name, that are looked at; in a bucket, each is a request. Each run marks the one before it, so
that only the last can still say "running". The others are for machines whose clocks differ."""

_log = logging.getLogger(__name__)


@contextmanager
def hold_output(run: OutputRun) -> Iterator[Unfinished | None]:
    """Lock an output against other runs, and repair what a killed run has left unfinished in it.

    Yields:
      The commit that this has finished; None if there was none.

    Raises:
      InterruptedRunError: the run was asked to stop while it waited for the lock.
      OutputError: another run is using it, or it cannot be written to.
    """
    path = storage.join(run.output, LOCK)
    owner = f"run {run.name}, process {os.getpid()} on {socket.gethostname()}"
    if run.detached:
        owner = f"run {run.name}, a detached job (if that job has ended without writing rows, delete {path})"
    with ExitStack() as held:
        hurry = held.enter_context(ExitStack())
        try:
            # Permissions do not show whether a folder can be written to, as read-only mounts and full disks refuse too;
            # writing the lock does.
            leave = held.enter_context(
                storage.lock(path, owner, lambda what: _log.warning("%s %s", path, what), interruption.sleep)
            )
            refuse_links(run)
            unfinished = find_unfinished(run.output)
            recover(run.output)
            manifests = storage.list_files(storage.join(run.output, RUNS), ".json")
            list(read_each(run.output, _mark_if_killed, manifests[-_RECENT:]))
        except storage.LockedError as error:
            raise OutputError(
                f"output {run.output} is in use by {str(error) or 'another run'}",
                "wait for that run to finish, or choose another output",
            ) from error
        except OSError as error:
            taken = isinstance(error, FileExistsError | NotADirectoryError)
            reason = f"{path} is a link" if os.path.islink(path) else error.strerror or error
            raise OutputError(
                f"cannot write to output {run.output}: {reason}", "name a folder" if taken else ""
            ) from error
        try:
            yield unfinished
        except StillRunningError:
            # Without the lock it cannot commit any more. What it has staged stays, and the next run recovers it.
            raise
        except BaseException:
            # Do not wait again for a storage that has just been given up.
            hurry.enter_context(storage.hurried())
            _repair(run)
            raise
        if run.detached:
            leave()
        else:
            _repair(run)


def check_still_held(run: OutputRun) -> None:
    """Verify that this run still holds the output; in a bucket, another run may take it over from one that was cut off.

    Raises:
      OutputError: it does not.
    """
    owner = storage.read_lock(storage.join(run.output, LOCK))
    if f"run {run.name}," not in owner:
        raise OutputError(f"output {run.output} was taken over by {owner or 'another run, which has ended'}")


def give_back_output(run: OutputRun) -> None:
    """Release the lock of a run whose launching process has ended."""
    storage.delete([storage.join(run.output, LOCK)])


def drop_shadows(run: OutputRun) -> None:
    """Delete the rows of unfinished overwrites that this run does not resume."""
    for folder in shadow_folders(run.output):
        if folder != run.folder:
            storage.delete_folder(folder)


def refuse_links(run: OutputRun) -> None:
    """Make sure that what is written to the output, moved in it or deleted from it stays in it.

    Raises:
      OutputError: it would not.
    """
    tables = [storage.join(folder, table) for folder in (run.output, run.folder) for table in TABLES]
    for path in (*tables, storage.join(run.output, RUNS)):
        if not storage.is_remote(path) and storage.exists(path):
            raise OutputError(f"{path} is a file, and scenetags needs a folder there", "move it elsewhere")
        if storage.leads_away(run.output, path):
            raise OutputError(
                f"{path} is a link or on another disk, and scenetags moves files only within --output",
                "move it back, or keep the whole --output on the other disk",
            )


def _repair(run: OutputRun) -> None:
    # What cannot be repaired now, e.g. on a full disk, is left to the next run. An output that another run has taken
    # over belongs to that run. A run that finished everything else does not fail here for lack of credentials.
    with suppress(OSError, ScenetagsError):
        try:
            check_still_held(run)
        except OutputError:
            # The other run has cleaned up before this one wrote on. What is in a journal is committed, and stays; what
            # it has not cleaned up yet, it may be about to recover.
            if not read_journal(run.staging) and not holds_rows(run.output, run.staging):
                storage.delete_folder(run.staging)
            raise
        recover(run.output)


def _mark_if_killed(manifest: str) -> None:
    described = find_content(manifest)
    # This run holds the lock, so any other run marked "running" must be dead.
    if described and described.get("status") == "running":
        mark(manifest, "killed")
