"""Close the books of a wave and, with the last one, of the run: what comes after all rows are written."""

from __future__ import annotations

from contextlib import suppress

from pipelines.output.commit import Written, commit, replace_rows
from pipelines.output.lock import check_still_held, give_back_output
from pipelines.output.manifest import ENDED, mark, read_accounts, read_status
from pipelines.output.run import Accounts, Run, Wave
from pipelines.output.tables import OutputError


def close_wave(run: Run, wave: Wave, written: Written) -> Accounts:
    """Commit a wave; after the last one, replace the rows of an overwrite where the new ones are any good.

    A runner may try this again, whatever came of it before, and the outcome is the same.

    Returns:
      The accounts of the run so far.

    Raises:
      OutputError: another run has taken the output over.
      OSError: the output cannot be written.
    """
    try:
        check_still_held(run)
    except OutputError:
        with suppress(FileNotFoundError):
            if run.detached and read_status(run.manifest) in ENDED:
                # An earlier attempt came to its end, gave the output back, and could not say so any more.
                return read_accounts(run.manifest)
        raise
    accounts = commit(run, wave, written)
    if wave.last and run.overwrite:
        _end_overwrite(run, accounts)
    if wave.last and run.detached:
        give_back_output(run)
    return accounts


def check_not_ended(run: Run) -> None:
    """Make sure that a run that was detached has not ended already.

    Raises:
      OutputError: it has: a template was started twice, and what the second job writes would belong to nobody.
    """
    with suppress(FileNotFoundError):
        if run.detached and read_status(run.manifest) in ENDED:
            raise OutputError(
                f"run {run.name} has ended: a template starts one job; make another with the same command"
            )


def _end_overwrite(run: Run, accounts: Accounts) -> None:
    if not accounts.balanced:
        mark(run.manifest, "unbalanced")
    elif accounts.failure_rate > run.max_failure_rate:
        mark(run.manifest, "kept_old")
    else:
        replace_rows(run, accounts)
