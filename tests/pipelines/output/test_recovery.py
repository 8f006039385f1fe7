"""Rows that a dead run has staged are committed by the next one, once each."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest

from pipelines import storage
from pipelines.output import duplicates
from pipelines.output.commit import commit, recover
from pipelines.output.compatible import kind_of_run
from pipelines.output.footers import CONTENTS
from pipelines.output.journal import staging_folders
from pipelines.output.lock import hold_output
from pipelines.output.manifest import read_accounts, read_status
from pipelines.output.recovery import recover_rows
from pipelines.output.retagging import Retagging, retag
from pipelines.output.run import FAILURES, PREDICTIONS, Accounts, Run, Wave
from pipelines.output.staged import announce
from pipelines.output.tables import NO_ROWS
from tests import outputs
from tests.conftest import Bucket
from tests.pipelines.output.dead_runs import die, in_place, inodes, predicted, recovered
from tests.pipelines.output.power_cuts import each_cut
from tests.pipelines.output.rows import BOTH, FIRST, SECOND, Rows, commit_rows, once, seen, stage, written


def test_rows_of_a_dead_run_are_committed_by_the_next_one(first: Run, second: Run) -> None:
    staged = die(first, FIRST)
    files = inodes([file.staged for file in staged])

    [found] = recovered(second)

    assert seen(first.output) == once(FIRST)
    assert inodes(in_place(first)) == files, "a file was rewritten"
    accounts = read_accounts(first.manifest)
    assert accounts == replace(sum((file.accounts for file in staged), Accounts()), inputs=6)
    assert accounts.balanced
    assert read_status(first.manifest) == "recovered"
    assert found.lines() == [f"recovered 3 images that run {first.name} had tagged before it ended, and 3 failures"]
    assert recovered(second) == []


def test_recovered_rows_take_the_place_of_older_ones(first: Run, second: Run, third: Run) -> None:
    commit_rows(first, FIRST)
    die(second, SECOND)
    [found] = recovered(third)

    assert seen(second.output) == once(BOTH)
    assert found.accounts.inputs == len(SECOND)


def test_a_row_whose_older_one_lies_elsewhere_by_now_replaces_it(first: Run, second: Run, third: Run) -> None:
    commit_rows(first, FIRST)
    die(second, SECOND)
    for table in (PREDICTIONS, FAILURES):
        for path in Path(first.output, table).iterdir():
            path.rename(path.with_name("renamed.parquet"))
    recovered(third)
    assert seen(second.output) == once(BOTH)


def test_a_row_whose_older_one_is_gone_is_a_new_one(first: Run, second: Run, third: Run) -> None:
    commit_rows(first, FIRST)
    die(second, SECOND)
    for path in Path(first.output, PREDICTIONS).iterdir():
        path.unlink()
    recovered(third)
    kept = {path: row for path, row in FIRST.items() if row[0] == FAILURES}
    assert seen(second.output) == once({**kept, **SECOND})


@pytest.mark.parametrize("rows_per_pass", [duplicates.ROWS_PER_PASS, 7])
def test_rows_that_several_attempts_have_staged_are_there_once(
    first: Run, second: Run, rows_per_pass: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "ROWS_PER_PASS", rows_per_pass)
    random = Random(rows_per_pass)
    names = [f"{number}.jpg" for number in range(40)]
    attempts: list[Rows] = [
        predicted(*names[:20]),
        predicted(*names[:20]),
        predicted(*names[10:30]),
        {name: (random.choice([PREDICTIONS, FAILURES]), "1") for name in random.sample(names[30:], 8)},
        {name: (random.choice([PREDICTIONS, FAILURES]), "1") for name in random.sample(names[30:], 8)},
    ]
    die(first, *attempts, predicted("alone.jpg"))

    [found] = recovered(second)

    listed = {name for rows in attempts for name in rows} | {"alone.jpg"}
    assert {name: len(rows) for name, rows in seen(first.output).items()} == dict.fromkeys(listed, 1)
    tagged = {name for rows in attempts for name, (table, _) in rows.items() if table == PREDICTIONS}
    assert all(seen(first.output)[name][0][0] == PREDICTIONS for name in tagged), "a failure was preferred"
    assert len(in_place(first)) == 2, "files of a table were not merged"
    accounts = read_accounts(first.manifest)
    assert accounts.balanced
    assert (accounts.inputs, accounts.predictions) == (len(listed), len(tagged | {"alone.jpg"}))
    assert found.accounts.tags == accounts.tags
    assert sum(accounts.errors.values()) == accounts.failures


def test_rows_that_are_committed_already_are_not_recovered(first: Run, second: Run) -> None:
    """A runner has tried a bundle again: what its first attempt staged was never part of the commit."""
    die(first, predicted("a", "b"))
    commit(first, Wave(inputs=3, last=False), written(stage(first, predicted("a", "b", "c"), all_new=True)))
    stage(first, predicted("b", "d"), all_new=True)

    [found] = recovered(second)

    assert seen(first.output) == once(predicted("a", "b", "c", "d"))
    assert found.accounts.inputs == 1
    accounts = read_accounts(first.manifest)
    assert (accounts.inputs, accounts.predictions, accounts.balanced) == (4, 4, True)


def test_rows_that_two_dead_runs_have_staged_are_there_once(first: Run, second: Run, third: Run) -> None:
    # The first one had lost the output to the second, and did not know it yet.
    die(first, predicted("both.jpg", "first.jpg"))
    die(second, predicted("both.jpg", "second.jpg"))

    found = recovered(third)

    assert [each.accounts.inputs for each in found] == [2, 1]
    assert seen(first.output) == once(predicted("both.jpg", "first.jpg", "second.jpg"))


def test_rows_that_two_dead_runs_have_staged_are_there_once_if_the_older_one_was_recovered_before(
    first: Run, second: Run, third: Run
) -> None:
    """That recovery was cut off, or has left the newer one where it was."""
    commit_rows(replace(first, name="20260101T000000Z-0000"), {"mended.jpg": (FAILURES, "1")})
    die(first, predicted("both.jpg", "first.jpg", "mended.jpg"))
    die(second, predicted("both.jpg", "second.jpg", "mended.jpg"))
    with hold_output(third):
        next(recover_rows(third, kind_of_run(third)))

    [found] = recovered(third)

    assert found.accounts.inputs == 3 - 1
    assert seen(first.output) == once(predicted("both.jpg", "first.jpg", "second.jpg", "mended.jpg"))


def test_what_a_run_has_committed_is_not_staged_any_more(first: Run) -> None:
    announce(first)
    files = [file for name in "abc" for file in stage(first, predicted(name))]
    commit(first, Wave(inputs=3, last=False), written(files))
    assert not any(os.path.exists(file.staged) for file in files)
    recover(first.output)
    assert staging_folders(first.output) == []


def test_nothing_is_recovered_of_a_run_that_has_ended_or_of_folders_that_say_nothing(
    first: Run, second: Run, third: Run
) -> None:
    die(first, predicted("stray"))
    commit_rows(first, predicted("a"))
    stage(second, predicted("b"))
    assert recovered(third) == []
    assert seen(first.output) == once(predicted("a"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1]",
        b'{"format": 2, "folder": ""}',
        b'{"format": 1, "folder": "../x"}',
        b'{"format": 1, "folder": "", "columns": []}',
        b'{"format": 1, "folder": "", "columns": {"failures": "bm90aGluZw=="}}',
    ],
)
def test_a_folder_of_a_later_format_or_a_stranger_is_left_alone(first: Run, second: Run, content: bytes) -> None:
    files = die(first, FIRST)
    announcement = Path(first.staging, "run.json")
    announcement.write_bytes(content)
    for _ in range(2):
        with hold_output(second):
            [found] = recover_rows(second, kind_of_run(second))
        [line] = found.lines()
        assert line.startswith(f"left {len(FIRST)} rows that run {first.name} had staged: they were made by a later")
        assert seen(first.output) == {}
        assert announcement.read_bytes() == content
        assert all(Path(file.staged).exists() for file in files)


def test_a_staged_file_of_a_later_format_is_left_out_and_wrong_counts_are_not_believed(first: Run, second: Run) -> None:
    later, lying = (stage(first, predicted(name))[0] for name in "ab")
    announce(first)
    for file, change in ((later, {"format": 2}), (lying, {"accounts": {**Accounts().counts, "predictions": 9}})):
        table = pq.read_table(file.staged, partitioning=None)
        said = json.loads(pq.read_metadata(file.staged).metadata[CONTENTS])
        more = {CONTENTS: json.dumps({**said, **change})}
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, **more}), file.staged)
    [found] = recovered(second)
    assert seen(first.output) == once(predicted("b"))
    assert found.accounts.predictions == 1


def fail(run: Run, complete: bool) -> None:
    [file] = die(run, predicted("a"))
    if not complete:
        Path(file.staged).write_bytes(b"PAR1, but cut off")
    raise ZeroDivisionError


def test_a_failed_run_leaves_complete_files_to_the_next_one_and_no_others(first: Run, second: Run) -> None:
    for complete in (False, True):
        with pytest.raises(ZeroDivisionError), hold_output(first):
            fail(first, complete)
        assert os.path.exists(first.staging) == complete
    recovered(second)
    assert seen(first.output) == once(predicted("a"))


def test_a_recovery_cut_off_anywhere_is_completed_by_the_next_one(
    first: Run, second: Run, third: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = predicted("more.jpg")
    commit_rows(first, FIRST)
    die(second, SECOND, SECOND, more)

    def begin() -> None:
        recover(first.output)
        list(recover_rows(third, kind_of_run(third)))

    def check(cut: str) -> None:
        lost = set(FIRST) - set(seen(second.output))
        assert not lost, f"{cut}, rows are lost: {lost}"
        begin()
        assert seen(second.output) == once({**BOTH, **more}), cut
        assert read_accounts(second.manifest).inputs == len(SECOND) + len(more), cut
        assert storage.list_folders(second.output, "_") == [], f"{cut}, something is left"

    assert each_cut(monkeypatch, second.output, begin, check, step=9) > 40


def test_an_overwrite_is_recovered_into_its_shadow(first: Run, second: Run) -> None:
    commit_rows(first, FIRST)
    dead, again = replace(second, overwrite=True), replace(second, overwrite=True, name="20260101T000000Z-0003")
    die(dead, SECOND)
    with hold_output(again):
        list(recover_rows(again, kind_of_run(again)))
    assert seen(first.output) == once(FIRST)
    assert seen(again.folder) == once(SECOND)


def test_recovered_rows_take_the_place_of_columns_of_another_model(first: Run, second: Run) -> None:
    """Those would be taken for predictions of several models."""
    other = replace(first, name="20260101T000000Z-0000", bundle=replace(first.bundle, digest="another"))
    commit_rows(other, {})
    die(first, FIRST)
    name, labels = second.name, first.bundle.labels

    assert retag(Retagging(name, first.output, first.bundle.digest, labels, (0.9,) * len(labels)))

    assert seen(first.output) == once(FIRST)
    assert not any(path.endswith(NO_ROWS) for path in in_place(first))


def test_staged_rows_are_given_new_tags_with_all_others(first: Run, second: Run) -> None:
    commit_rows(first, FIRST)
    die(second, SECOND)
    labels = first.bundle.labels
    name = "20260101T000000Z-0003"

    assert retag(Retagging(name, first.output, first.bundle.digest, labels, (0.9,) * len(labels)))

    assert seen(first.output) == once(BOTH)
    assert {tuple(row["tags"]) for row in outputs.rows(first.output)} == {()}, "nothing reaches 0.9"
    assert staging_folders(first.output) == []


def test_rows_in_a_bucket_are_recovered(bucket: Bucket, first: Run, second: Run) -> None:
    first, second = (replace(run, output=f"{bucket.path}/out") for run in (first, second))
    die(first, FIRST, FIRST, SECOND)
    recovered(second)
    assert {path: len(rows) for path, rows in seen(first.output).items()} == dict.fromkeys(BOTH, 1)
