"""Small files are joined within a commit: no row is seen twice or not at all, and little is rewritten."""

from __future__ import annotations

import errno
import json
import os
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import storage
from pipelines.inference.rules import Rules
from pipelines.output import compaction, joining
from pipelines.output.commit import commit, recover
from pipelines.output.run import FAILURES, PREDICTIONS, Accounts, Run, Wave
from pipelines.output.writing import PredictionTable, TableWriter
from pipelines.output.written import StagedFile
from pipelines.records import Footprint, ImageRef, Prediction, Window
from pipelines.scenes.grid import Grid
from pipelines.supervision import interruption
from tests.conftest import Bucket
from tests.pipelines.output.rows import Rows, commit_rows, once, seen, stage, written
from tests.pipelines.results.scene_outputs import square, wkb


def predicted(*names: str) -> Rows:
    return dict.fromkeys(names, (PREDICTIONS, "1"))


def failed(*names: str) -> Rows:
    return dict.fromkeys(names, (FAILURES, "1"))


def add(run: Run, *waves: Rows) -> None:
    """Commit waves of a run, one after another."""
    for number, rows in enumerate(waves):
        commit(run, Wave(Accounts(inputs=number), len(rows)), written(stage(run, rows, all_new=True)))


def files(run: Run, table: str = PREDICTIONS) -> list[str]:
    return storage.list_files(storage.join(run.output, table), ".parquet")


def stored(run: Run) -> dict[str, tuple[int, int]]:
    """Tell the files of predictions apart, also from others of the same name."""
    return {path: (os.stat(path).st_ino, os.stat(path).st_mtime_ns) for path in files(run)}


def test_files_of_waves_and_runs_become_one(first: Run, second: Run) -> None:
    add(first, {**predicted("a"), **failed("x")}, predicted("b"), failed("y"))
    add(second, predicted("c"), {**predicted("d"), **failed("z")})

    assert seen(first.output) == once({**predicted("a", "b", "c", "d"), **failed("x", "y", "z")})
    [predictions], [failures] = files(first), files(first, FAILURES)
    table = pq.read_table(predictions)
    assert table["path"].to_pylist() == ["a", "b", "c", "d"], "rows have changed their order"
    assert table["run"].to_pylist() == [first.name] * 2 + [second.name] * 2
    assert pq.read_metadata(predictions).num_row_groups == pq.read_metadata(failures).num_row_groups == 1


def test_files_of_one_commit_become_one(first: Run) -> None:
    staged = [file for name in "abc" for file in stage(first, {**predicted(name), **failed(f"not {name}")})]
    commit(first, Wave(inputs=6), written(staged))

    assert seen(first.output) == once({**predicted(*"abc"), **failed("not a", "not b", "not c")})
    assert len(files(first)) == len(files(first, FAILURES)) == 1
    assert storage.list_folders(first.output, "_") == [first.staging]


def test_joined_files_keep_types_footers_and_checksums(first: Run, second: Run) -> None:
    add(first, predicted("a"))
    [path] = files(first)
    schema, group = pq.read_schema(path), pq.read_metadata(path).row_group(0)
    add(second, predicted("b"))

    assert pq.read_schema(path).equals(schema, check_metadata=True)
    again = pq.read_metadata(path).row_group(0)
    for index in range(again.num_columns):
        one, other = group.column(index), again.column(index)
        assert (one.compression, one.has_dictionary_page) == (other.compression, other.has_dictionary_page)
    data = bytearray(Path(path).read_bytes())
    data[again.column(0).data_page_offset + 30] ^= 1
    Path(path).write_bytes(data)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(path, page_checksum_verification=True)


def test_rows_made_otherwise_stay_in_files_of_their_own(first: Run, second: Run) -> None:
    add(first, predicted("a"))
    before = stored(first)
    add(replace(second, rules=Rules(alone=(second.bundle.labels[0],))), predicted("b"))

    assert seen(first.output) == once(predicted("a", "b"))
    assert len(files(first)) == 2
    assert before.items() <= stored(first).items()


def test_few_rows_do_not_rewrite_a_large_file(first: Run, second: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "SMALL_BYTES", 0)
    add(first, predicted(*(f"{random}" for random in np.random.default_rng(1).random(20_000))))
    before = stored(first)
    add(second, predicted("a"), predicted("b"))

    assert before.items() <= stored(first).items()
    assert len(files(first)) == 2


def test_a_large_file_takes_in_a_thirtieth_of_its_rows(
    first: Run, second: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "SMALL_BYTES", 0)
    add(first, predicted(*map(str, range(3000))))
    add(second, predicted(*map(str, range(3000, 3100))))

    assert len(files(first)) == 1


def test_no_joined_file_is_larger_than_the_limit(first: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    [alone] = stage(first, predicted("0"))
    monkeypatch.setattr(joining, "MOST_BYTES", 3 * os.path.getsize(alone.staged))
    staged = [file for number in range(1, 10) for file in stage(first, predicted(f"{number}"))]
    commit(first, Wave(inputs=10), written([alone, *staged]))

    assert seen(first.output) == once(predicted(*map(str, range(10))))
    assert [pq.read_metadata(path).num_rows for path in sorted(files(first))].count(3) == 3


@pytest.mark.parametrize("damage", ["a page", "the footer"])
def test_rows_are_committed_next_to_a_damaged_file(first: Run, second: Run, damage: str) -> None:
    add(first, predicted("a"))
    [path] = files(first)
    data = bytearray(Path(path).read_bytes())
    data[pq.read_metadata(path).row_group(0).column(0).data_page_offset + 30 if damage == "a page" else -9] ^= 1
    Path(path).write_bytes(data)
    add(second, predicted("b"))

    assert Path(path).read_bytes() == data
    [other] = set(files(first)) - {path}
    assert pq.read_table(other)["path"].to_pylist() == ["b"]


def test_a_disk_that_is_too_full_to_join_files_takes_them_as_they_are(
    first: Run, second: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(first, predicted("a"))
    staged = stage(second, predicted("b"))
    create = storage.create

    def full(path: str) -> IO[bytes]:
        create(path).close()
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(storage, "create", full)
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.output.commit.carry_out", lambda *_: None)
        commit(second, Wave(inputs=1), written(staged))
    assert storage.list_files(f"{second.staging}/{PREDICTIONS}") == [staged[0].staged], "half a file is left"
    monkeypatch.undo()
    commit(second, Wave(inputs=1), written(staged))

    assert seen(first.output) == once(predicted("a", "b"))
    assert len(files(first)) == 2


def test_a_run_that_was_asked_to_stop_does_not_join_files(first: Run, second: Run) -> None:
    add(first, predicted("a"))
    with interruption.deferred():
        signal.raise_signal(signal.SIGTERM)
        add(second, predicted("b"))
    assert len(files(first)) == 2
    assert seen(first.output) == once(predicted("a", "b"))


def test_a_concurrent_attempt_at_a_commit_doubles_no_row(
    first: Run, second: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(first, predicted("a"))
    compact = compaction.compact

    def slow(*arguments: object) -> object:
        """Another worker makes the same commit before this one has looked at the files in place."""
        monkeypatch.setattr("pipelines.output.commit.compact", compact)
        commit_rows(second, predicted("b", "c"))
        return compact(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("pipelines.output.commit.compact", slow)
    commit_rows(second, predicted("b", "c"))

    assert seen(first.output) == once(predicted("a", "b", "c"))


def test_files_in_a_bucket_are_joined(first: Run, bucket: Bucket) -> None:
    run = replace(first, output=f"{bucket.path}/out")
    add(run, predicted("a"), {**predicted("b"), **failed("x")})

    assert seen(run.output) == once({**predicted("a", "b"), **failed("x")})
    assert len(files(run)) == 1


def test_joined_windows_stay_in_their_regions_and_say_where_they_lie(
    first: Run, second: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.output.writing.ROWS_PER_REGION", 4)
    monkeypatch.setattr(joining, "ROWS_PER_REGION", 4)
    for number, (run, count) in enumerate([(first, 8), (second, 3), (second, 1), (second, 4)]):
        tiled = replace(run, grid=Grid(256, 256))
        commit(tiled, Wave(Accounts(inputs=number), count), written([stage_windows(tiled, 10 * number, count)]))

    [path] = files(first)
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert groups == [4, 4, 4, 4]
    assert json.loads(metadata.metadata[b"geo"])["columns"]["geometry"]["bbox"] == [0, 10, 31, 18]


def stage_windows(run: Run, west: int, count: int) -> StagedFile:
    """Stage windows one degree wide and high, one above the other."""
    writer = TableWriter(PredictionTable(), run)
    for row in range(count):
        place = square(west, 10 + row, 1)
        window = Window(f"{west}.tif", 0, row, 1, 1, 0, 1, count, 1)
        ref = ImageRef(f"{west}.tif#xywh=0,{row},1,1", 1, "1", window=window)
        probabilities = np.full(len(run.bundle.labels), 0.5, np.float32)
        footprint = Footprint(wkb(place), (*place[0], *place[2]), "2026-01-01T00:00:00")
        writer.write(Prediction(ref, 256, 256, "tiff 3x8", (), probabilities, footprint))
    file = writer.close()
    assert file is not None
    return file


_PATHS = [f"{letter}.jpg" for letter in "abcdef"]
_WAVES = st.lists(
    st.dictionaries(st.sampled_from(_PATHS), st.sampled_from([PREDICTIONS, FAILURES]), min_size=1), max_size=2
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(_WAVES, min_size=1, max_size=3), most=st.sampled_from([0, 9_000, 20_000, 1 << 27]))
def test_whatever_is_tagged_again_has_one_row_which_is_the_newest(
    first: Run, runs: list[list[Mapping[str, str]]], most: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining, "MOST_BYTES", most)
        patch.setattr(compaction, "SMALL_BYTES", most // 2)
        expected: dict[str, tuple[str, str]] = {}
        for number, waves in enumerate(runs):
            run = replace(first, output=folder, name=f"20260101T00000{number}Z-0000")
            listed: set[str] = set()
            for place, tables in enumerate(waves):
                # A run lists each image once.
                rows = {path: (table, f"{number}") for path, table in tables.items() if path not in listed}
                files = stage(run, rows)
                commit(run, Wave(Accounts(inputs=place), len(rows)), written(files))
                listed.update(rows)
                expected |= rows
            recover(folder)
            assert seen(folder) == once(expected)
