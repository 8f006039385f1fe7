"""Who may write into an output, and what earlier runs have left in it."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines import storage
from pipelines.output.commit import commit
from pipelines.output.compatible import check_output
from pipelines.output.journal import JOURNAL, Journal, write_journal
from pipelines.output.lock import LOCK, check_still_held, drop_shadows, give_back_output, hold_output
from pipelines.output.run import Run, Wave
from pipelines.output.schema import FAILURE_COLUMNS
from pipelines.output.tables import OutputError, open_table
from pipelines.storage.locks.lock import content
from pipelines.storage.locks.watching import STALE_SECONDS
from pipelines.supervision import interruption
from pipelines.supervision.interruption import InterruptedRunError
from tests.conftest import Bucket
from tests.pipelines.output.rows import FIRST, stage, written
from tools.proxy import Disturbance


def test_the_output_is_probed_without_a_trace(tmp_path: Path, run: Run) -> None:
    run = replace(run, output=str(tmp_path / "a/b/c"))
    with hold_output(run):
        check_output(run)

    assert list(tmp_path.iterdir()) == []


def test_an_output_in_use_is_refused_and_free_again_afterwards(run: Run, earlier: Run) -> None:
    with (
        hold_output(earlier),
        pytest.raises(OutputError, match=f"is in use by run {earlier.name}, process {os.getpid()} on "),
        hold_output(run),
    ):
        pytest.fail("two runs hold one output")

    with hold_output(run):
        pass


def test_a_signal_is_met_while_the_lock_of_another_is_watched(run: Run) -> None:
    lock = Path(run.output, LOCK)
    lock.parent.mkdir()
    theirs = content("run A, process 7 on another machine", "token", renewals=3, left=False)
    lock.write_bytes(theirs)

    with interruption.deferred():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(InterruptedRunError), hold_output(run):
            pytest.fail("it waited until the lock had expired")

    assert lock.read_bytes() == theirs


def test_a_finished_run_does_not_fail_when_credentials_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> str:
        raise storage.NoAccessError("no credentials for gs://")

    with hold_output(run):
        monkeypatch.setattr(storage, "read_lock", refuse)
    assert storage.list_files(run.output) == [], "the lock stays behind"


def test_unfinished_work_of_a_killed_run_is_removed_and_marked(run: Run, earlier: Run) -> None:
    commit(earlier, Wave(inputs=len(FIRST), last=False), written(stage(earlier, FIRST)))
    left = stage(earlier, FIRST)

    with hold_output(run):
        assert not any(os.path.exists(file.staged) for file in left)
        assert storage.list_folders(run.output, "_") == []
        assert json.loads(storage.read(earlier.manifest))["status"] == "killed"


def test_a_run_whose_output_was_taken_over_leaves_nothing_behind_but_what_it_has_committed(run: Run) -> None:
    lock = Path(run.output, LOCK)
    theirs = content("run A, process 7 on another machine", "token", renewals=3, left=False)

    for journal in (None, Journal(0, [], [])):
        with hold_output(run):
            lock.unlink()
            lock.write_bytes(theirs)
            stage(run, FIRST)
            if journal:
                write_journal(run.staging, journal)
        assert lock.read_bytes() == theirs
        assert os.path.exists(run.staging) == bool(journal)
        lock.unlink()


def test_a_run_after_many_others_asks_for_few_of_their_manifests(bucket: Bucket, run: Run) -> None:
    run = replace(run, output=f"{bucket.path}/out")
    for number in range(40):
        status = "done" if number < 39 else "running"
        storage.write(f"{run.output}/runs/20250101T0000{number:02}Z-aaaa.json", json.dumps({"status": status}).encode())
    requests: list[str] = []

    def note(method: str, path: str) -> Disturbance:
        requests.append(f"{method} {path}")
        return Disturbance()

    bucket.proxy.disturb = note
    with hold_output(run):
        pass

    assert len(requests) < 40, requests
    assert json.loads(storage.read(f"{run.output}/runs/20250101T000039Z-aaaa.json"))["status"] == "killed"


def test_an_endless_file_in_place_of_a_manifest_or_a_journal_is_not_read(run: Run, earlier: Run) -> None:
    manifest, journal = Path(earlier.manifest), Path(earlier.staging, JOURNAL)
    for path in (manifest, journal):
        path.parent.mkdir(parents=True)
        path.touch()
        # It takes no place on the disk.
        os.truncate(path, 1 << 40)

    with pytest.raises(OutputError, match=rf"{journal} is not a valid journal of a commit"), hold_output(run):
        pytest.fail("a journal of a terabyte was believed")
    journal.unlink()
    with hold_output(run):
        pass


def test_files_that_are_not_manifests_are_left_alone(run: Run) -> None:
    others = {
        "list": b"[1]",
        "text": b'"running"',
        "half": b'{"status": "run',
        "bytes": b"\xff",
        "deep": b"[" * 100_000,
    }
    for name, data in others.items():
        storage.write(storage.join(run.output, "runs", f"{name}.json"), data)

    with hold_output(run):
        pass

    for name, data in others.items():
        assert storage.read(storage.join(run.output, "runs", f"{name}.json")) == data


def test_an_overwrite_resumes_its_own_shadow_and_drops_the_others(run: Run) -> None:
    ours, theirs = replace(run, overwrite=True), replace(run, overwrite=True, thresholds=(0.1, 0.2, 0.3))
    for one in (ours, theirs):
        storage.write(storage.join(one.folder, "predictions", "x"), b"")

    drop_shadows(ours)

    assert storage.list_folders(run.output, "_") == [ours.folder]
    drop_shadows(run)
    assert storage.list_folders(run.output, "_") == []


def test_an_overwrite_does_not_resume_rows_with_other_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = replace(run, overwrite=True)
    folder = ours.folder
    monkeypatch.setattr("pipelines.output.run.FAILURE_COLUMNS", FAILURE_COLUMNS[:-1])
    assert ours.folder != folder


def test_a_damaged_file_is_refused_by_name(run: Run, earlier: Run) -> None:
    commit(earlier, Wave(inputs=len(FIRST)), written(stage(earlier, FIRST)))
    [file] = Path(run.output, "predictions").iterdir()
    data = file.read_bytes()
    for damaged in (b"", b"not Parquet", data[: len(data) // 2], data[:-9] + bytes(9)):
        file.write_bytes(damaged)
        for overwrite in (False, True):
            with pytest.raises(
                OutputError, match=f"^{file} is damaged or not a Parquet file .*; move it elsewhere, and "
            ):
                check_output(replace(run, overwrite=overwrite))


def test_no_bit_of_a_row_changes_unnoticed(run: Run, earlier: Run) -> None:
    commit(earlier, Wave(inputs=len(FIRST)), written(stage(earlier, FIRST)))
    [file] = Path(run.output, "predictions").iterdir()
    data = file.read_bytes()
    table = pq.read_table(file, partitioning=None)
    # What changes in the footer, that of other columns or another bundle say, is looked at by `check_output`.
    pages = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    noticed = 0
    for position in range(pages):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        file.write_bytes(changed)
        try:
            with open_table(str(file)) as parquet:
                assert parquet.read().equals(table), f"byte {position} of {pages}"
        except OutputError:
            noticed += 1
    assert noticed > pages / 2


def test_the_first_of_many_bad_files_is_named(run: Run, earlier: Run) -> None:
    commit(earlier, Wave(inputs=len(FIRST)), written(stage(earlier, FIRST)))
    for number in range(20):
        Path(run.output, "predictions", f"{number:02}.parquet").write_bytes(b"")

    with pytest.raises(OutputError, match=r"predictions/00\.parquet is damaged"):
        check_output(run)


def test_an_output_that_was_left_to_a_job_is_held_until_the_job_gives_it_back(
    bucket: Bucket, run: Run, earlier: Run
) -> None:
    job, later = (replace(one, output=f"{bucket.path}/out") for one in (earlier, run))
    with hold_output(replace(job, detached=True)):
        staged = storage.join(job.staging, "being written")
        storage.write(staged, b"rows")

    refused_at = time.monotonic()
    with (
        pytest.raises(OutputError, match=rf"in use by run {job.name}, .* delete {job.output}/_lock\)"),
        hold_output(later),
    ):
        pytest.fail("the output was taken over")
    assert time.monotonic() - refused_at < STALE_SECONDS / 3, "a lock that was left behind was watched"
    check_still_held(job)
    assert storage.exists(staged), "the end of the launcher took the job's files with it"

    give_back_output(job)
    with hold_output(later):
        check_still_held(later)
