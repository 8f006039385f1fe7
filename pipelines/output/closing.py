"""Close a wave and, with the last one, the run: what follows once all rows are written."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from pipelines.output.commit import commit
from pipelines.output.identities import Unlisted, join_by_file
from pipelines.output.lock import check_still_held, give_back_output
from pipelines.output.manifest import ENDED, mark, mark_unlike, read_accounts, read_status
from pipelines.output.replacing import begun_to_replace, find_unlisted, note_found, replace_rows
from pipelines.output.run import Accounts, Run, Wave
from pipelines.output.shifts import compare_overwrite
from pipelines.output.tables import OutputError
from pipelines.output.written import Written


def close_wave(run: Run, wave: Wave, written: Written) -> Accounts:
    """Commit a wave; after the last one, let an overwrite replace the old rows if nothing speaks against the new ones.

    Idempotent: a runner may retry this, whatever the earlier attempt achieved.

    Returns:
      The accounts of the run so far.

    Raises:
      OutputError: another run has taken over the output.
      OSError: the output cannot be written.
    """
    try:
        check_still_held(run)
    except OutputError:
        with suppress(FileNotFoundError):
            if run.detached and read_status(run.manifest) in ENDED:
                # An earlier attempt finished and gave back the output, but could not report it.
                return read_accounts(run.manifest)
        raise
    if wave.inputs == 0 and not wave.last:
        # The run was asked to stop, and all images are postponed.
        return wave.earlier
    if run.overwrite:
        note_found(run, wave, written.found)
    accounts = commit(run, wave, written)
    if wave.last and run.overwrite:
        _end_overwrite(run, accounts, written.unlisted)
    if wave.last and run.detached:
        give_back_output(run)
    return accounts


def check_not_ended(run: Run) -> None:
    """Verify that a detached run has not already ended.

    Raises:
      OutputError: it has: a template was started twice, and the rows of the second job would belong to no run.
    """
    with suppress(FileNotFoundError):
        if run.detached and read_status(run.manifest) in ENDED:
            raise OutputError(
                f"run {run.name} has already ended, and a template starts one job only",
                "create a new template with the same command",
            )


def _end_overwrite(run: Run, accounts: Accounts, unlisted: Iterable[Unlisted] | None) -> None:
    if begun_to_replace(run):
        replace_rows(run, accounts)
    elif not accounts.balanced:
        mark(run.manifest, "unbalanced")
    elif not accounts.listing_is_complete or accounts.failure_rate > run.max_failure_rate:
        mark(run.manifest, "kept_old")
    else:
        dropped = join_by_file(find_unlisted(run) if unlisted is None else unlisted)
        shift = compare_overwrite(run, accounts, dropped) if run.fail_on_shift else None
        if shift and shift.verdict == "unlike":
            mark_unlike(run.manifest, shift)
        else:
            replace_rows(run, accounts, dropped)
