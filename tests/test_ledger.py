"""Accounts, manifests, and files that appear whole or not at all."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import ledger, storage
from pipelines.bundle import load_bundle
from pipelines.ledger import Accounts, Run, StagedFile
from pipelines.records import Failure
from pipelines.writing import FailureRows, TableWriter

counts = st.integers(0, 10**9)
tallies = st.dictionaries(st.text(max_size=5), st.integers(1, 10**6), max_size=4).map(Counter)
accounts = st.builds(Accounts, counts, counts, counts, counts, tallies, tallies, tallies, tallies)


@pytest.fixture
def run(tmp_path: Path, bundle_path: str) -> Run:
    bundle = load_bundle(bundle_path)
    return Run("20260101T000000Z-0002", str(tmp_path / "out"), bundle, bundle.thresholds)


def stage(run: Run, *paths: str) -> StagedFile:
    writer = TableWriter(FailureRows(), run)
    for path in paths:
        writer.write(Failure(path, "read", "OSError", "no reason", "print"))
    file = writer.close()
    assert file is not None
    return file


def failed_paths(run: Run) -> list[str]:
    files = Path(run.output, "failures").glob("*.parquet")
    return sorted(path for file in files for path in pq.read_table(file)["path"].to_pylist())


@given(one=accounts, other=accounts)
def test_accounts_add_up(one: Accounts, other: Accounts) -> None:
    total = one + other

    assert total.inputs - total.predictions == (one.inputs - one.predictions) + (other.inputs - other.predictions)
    assert all(total.tags[tag] == one.tags.get(tag, 0) + other.tags.get(tag, 0) for tag in (*one.tags, *other.tags))
    if one.balanced and other.balanced:
        assert total.balanced


@pytest.mark.parametrize("part", ["predictions", "failures", "skipped"])
def test_a_lost_or_doubled_row_unbalances_the_accounts(part: str) -> None:
    balanced = Accounts(inputs=6, predictions=1, failures=2, skipped=3)
    assert balanced.balanced
    for change in (-1, 1):
        assert not replace(balanced, **{part: getattr(balanced, part) + change}).balanced, f"{part} {change:+}"


def test_the_rate_of_failures_is_a_share_of_the_archive_in_the_first_run_and_in_every_later_one() -> None:
    assert Accounts(inputs=100, predictions=99, failures=1).failure_rate == 0.01
    assert Accounts(inputs=100, failures=1, skipped=99).failure_rate == 0.01
    assert Accounts().failure_rate == 0


@given(written=accounts)
def test_accounts_come_back_from_the_manifest(run_once: Run, written: Accounts) -> None:
    ledger.write_manifest(run_once, written, "done")

    assert ledger.read_accounts(run_once.manifest) == written


@pytest.fixture(scope="session")
def run_once(tmp_path_factory: pytest.TempPathFactory, bundle_path: str) -> Run:
    bundle = load_bundle(bundle_path)
    return Run("run", str(tmp_path_factory.mktemp("manifests")), bundle, bundle.thresholds)


def test_nothing_is_seen_before_the_commit_and_all_of_it_after(run: Run) -> None:
    staged = stage(run, "a.jpg", "b.jpg")
    assert failed_paths(run) == []

    committed = ledger.commit(run, [staged], [])

    assert failed_paths(run) == ["a.jpg", "b.jpg"]
    assert committed.failures == 2
    assert committed.errors == {"read: OSError": 2}


def test_a_commit_that_is_tried_again_changes_nothing(run: Run) -> None:
    staged = stage(run, "a.jpg")

    assert ledger.commit(run, [staged], []) == ledger.commit(run, [staged], [])
    assert failed_paths(run) == ["a.jpg"]


def test_new_rows_take_the_place_of_earlier_ones(run: Run) -> None:
    earlier = Run("20260101T000000Z-0001", run.output, run.bundle, run.thresholds)
    ledger.commit(earlier, [stage(earlier, "a.jpg", "b.jpg"), stage(earlier, "c.jpg")], [])

    ledger.commit(run, [stage(run, "b.jpg", "c.jpg")], ["b.jpg", "c.jpg"])

    assert failed_paths(run) == ["a.jpg", "b.jpg", "c.jpg"]
    for file in Path(run.output, "failures").iterdir():
        assert b"scenetags" in pq.read_schema(file).metadata, "a rewritten file keeps its footer"


def test_names_of_runs_sort_by_age() -> None:
    names = [ledger.new_run_name() for _ in range(100)]

    assert [name.rsplit("-", 1)[0] for name in names] == sorted(name.rsplit("-", 1)[0] for name in names)
    assert len({name.rsplit("-", 1)[0] for name in names}) > 1, "runs of one second differ by more than chance"


def test_no_rows_make_no_file(run: Run) -> None:
    assert TableWriter(FailureRows(), run).close() is None
    assert not os.path.exists(run.output)


def test_rows_are_written_in_groups(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.writing.ROWS_A_GROUP", 3)
    staged = stage(run, *(f"{number}.jpg" for number in range(7)))

    assert pq.ParquetFile(staged.staged).num_row_groups == 3
    assert staged.accounts.failures == 7


def test_the_output_is_probed_without_a_trace(tmp_path: Path, run: Run) -> None:
    run = replace(run, output=str(tmp_path / "a/b/c"))
    with ledger.hold_output(run):
        ledger.check_output(run)

    assert list(tmp_path.iterdir()) == []


def test_an_output_in_use_is_refused_and_free_again_afterwards(run: Run) -> None:
    with (
        ledger.hold_output(run),
        pytest.raises(ledger.OutputError, match=f"is in use .run {run.name}, process {os.getpid()} on "),
        ledger.hold_output(replace(run, name="20260101T000000Z-0003")),
    ):
        pytest.fail("two runs hold one output")

    with ledger.hold_output(run):
        pass


def test_what_a_killed_run_left_unfinished_is_removed(run: Run) -> None:
    left = stage(run, "a")

    with ledger.hold_output(replace(run, name="20260101T000000Z-0003")):
        assert not os.path.exists(left.staged)
        assert storage.list_folders(run.output) == []
