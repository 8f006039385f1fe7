"""What becomes of the files that a dead run has staged: small ones are merged, and damaged ones named and left out."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import storage
from pipelines.output import merging
from pipelines.output.manifest import read_accounts
from pipelines.output.run import FAILURES, PREDICTIONS, Run
from tests.conftest import Bucket
from tests.pipelines.output.dead_runs import die, in_place, inodes, predicted, recovered
from tests.pipelines.output.rows import once, seen, stage


def test_files_that_are_incomplete_or_damaged_are_left_out_and_damaged_ones_named(first: Run, second: Run) -> None:
    [cut_off] = die(first, predicted("cut off"))
    [zeros] = stage(first, predicted("zeros"))
    [whole] = stage(first, predicted("whole"))
    data = Path(cut_off.staged).read_bytes()
    Path(cut_off.staged).write_bytes(data[:-5])
    data = Path(zeros.staged).read_bytes()
    Path(zeros.staged).write_bytes(bytes(200) + data[200:])
    Path(whole.staged).with_name("empty.parquet").touch()
    Path(whole.staged).with_name("link.parquet").symlink_to(whole.staged)

    [found] = recovered(second)

    assert seen(first.output) == once(predicted("whole"))
    assert (found.accounts.inputs, found.unfit) == (1, 0)
    assert found.lines() == [
        f"recovered 1 image that run {first.name} had tagged before it ended",
        f"left out {zeros.staged}: damaged; `scenetags predict` tags the images of these rows again",
    ]


def test_a_run_of_which_only_damaged_files_are_left_says_so(first: Run, second: Run) -> None:
    names = [die(first, predicted(str(number)))[0].staged for number in range(7)]
    for name in names:
        Path(name).write_bytes(bytes(200) + Path(name).read_bytes()[200:])

    [found] = recovered(second)

    [line] = found.lines()
    assert line.startswith(f"left out {', '.join(sorted(names)[:5])}, and 2 more: damaged; `scenetags predict` tags")


def test_recovered_files_are_merged_but_for_large_ones(
    first: Run, second: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "MOST_ROWS", 150)
    die(first, *(predicted(str(number)) for number in range(4)))
    [large] = die(first, predicted(*map(str, range(100, 200))))
    kept = inodes([large.staged])

    [found] = recovered(second)

    assert len(list(Path(first.output, PREDICTIONS).iterdir())) == 2
    assert kept < inodes(in_place(first)), "the large one was rewritten"
    assert seen(first.output) == once(predicted(*map(str, (*range(4), *range(100, 200)))))
    assert read_accounts(first.manifest).predictions == found.accounts.predictions == 104


def damage_a_page(path: str) -> None:
    """Change a byte of a column other than that of the paths."""
    data = bytearray(storage.read(path, 1 << 20))
    group = pq.read_metadata(pa.BufferReader(bytes(data))).row_group(0)
    column = next(group.column(place) for place in range(99) if group.column(place).path_in_schema == "width")
    data[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    storage.write(path, bytes(data))


@pytest.mark.parametrize("others", [(), ("b", "c")])
def test_a_file_whose_damage_shows_when_it_is_merged_is_left_out(
    bucket: Bucket, first: Run, second: Run, others: tuple[str, ...]
) -> None:
    """Of a file in a bucket, only the paths are read before; one without others to merge it with is read, too."""
    first, second = (replace(run, output=f"{bucket.path}/out") for run in (first, second))
    damaged, *_ = die(first, predicted("a"), *map(predicted, others), {"not": (FAILURES, "1")})
    damage_a_page(damaged.staged)

    [found] = recovered(second)

    assert found.damaged == [damaged.staged]
    assert seen(first.output) == once({**predicted(*others), "not": (FAILURES, "1")})
    assert (found.accounts.inputs, read_accounts(first.manifest).balanced) == (len(others) + 1, True)


def test_a_damaged_file_with_rows_that_others_hold_as_well_is_left_out(bucket: Bucket, first: Run, second: Run) -> None:
    first, second = (replace(run, output=f"{bucket.path}/out") for run in (first, second))
    damaged = die(first, predicted("a"), predicted("a", "b"))[-1]
    # The last by its name, so that it loses rows to the other.
    last = f"{posixpath.dirname(damaged.staged)}/{first.name}-ffffffffffff.parquet"
    storage.move(damaged.staged, last)
    damage_a_page(last)

    [found] = recovered(second)

    assert found.damaged == [last]
    assert seen(first.output) == once(predicted("a"))
