"""Earlier rows by partition: together they are those that one process would hold."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest

from pipelines.output.earlier import EarlierPart, EarlierRows
from pipelines.output.identities import PATH_BYTES, earlier_files, join_by_file
from pipelines.output.partitions import PARTITIONS, partition_of, read_parts
from pipelines.output.run import FAILURES, PREDICTIONS, Run
from pipelines.output.tables import OutputError
from pipelines.scenes.grid import window_path
from tests.pipelines.output.rows import commit_rows

SCENE = "/archive/scene.tif"
ROWS = {
    **{f"/archive/{number}.jpg": (PREDICTIONS, f"print {number}") for number in range(300)},
    **{f"/archive/broken {number}.jpg": (FAILURES, "print") for number in range(30)},
    **{window_path(SCENE, column, 0, 64, 64): (PREDICTIONS, "old") for column in range(0, 640, 64)},
}


@pytest.fixture
def parts(run: Run) -> dict[int, list[EarlierPart]]:
    commit_rows(replace(run, name="20250101T000000Z-0000"), dict(list(ROWS.items())[:100]))
    commit_rows(replace(run, name="20250102T000000Z-0000"), dict(list(ROWS.items())[100:]))
    found = defaultdict(list)
    for file in earlier_files(run.output, None):
        for partition, part in read_parts(run.output, file, run.name):
            found[partition].append(part)
    return found


def test_rows_of_all_partitions_are_those_that_one_process_reads(run: Run, parts: dict[int, list[EarlierPart]]) -> None:
    whole = EarlierRows.read(run.output, run.name)
    partitions = {number: EarlierRows.of_parts(run.output, those) for number, those in parts.items()}

    assert sum(map(len, partitions.values())) == len(whole) == len(ROWS)
    assert set(partitions) <= set(range(PARTITIONS))
    for path, (_, fingerprint) in ROWS.items():
        rows = partitions[partition_of(path)]
        for current in (fingerprint, "changed"):
            assert rows.find(path, current) == whole.find(path, current), path
    assert not any(part.own for those in parts.values() for part in those)


def test_all_windows_of_a_scene_meet_where_the_scene_does(run: Run, parts: dict[int, list[EarlierPart]]) -> None:
    rows = EarlierRows.of_parts(run.output, parts[partition_of(SCENE)])

    stale = {path for path, _ in rows.windows_of_others(SCENE, "new")}

    assert stale == {path for path in ROWS if path.startswith(f"{SCENE}#")}
    assert not list(rows.windows_of_others(SCENE, "old"))


def test_rows_of_the_same_run_are_told_from_earlier_ones(run: Run, parts: dict[int, list[EarlierPart]]) -> None:
    commit_rows(run, {"/archive/now.jpg": (FAILURES, "print")})
    mine = [
        EarlierRows.of_parts(run.output, [part])
        for file in earlier_files(run.output, None)
        for _, part in read_parts(run.output, file, run.name)
        if part.own
    ]

    [rows] = mine
    found = rows.find("/archive/now.jpg", "print")
    assert found
    assert found.own
    # Nobody has to list its image again.
    assert not list(rows.unlisted())


def test_two_rows_of_an_image_in_different_files_are_refused(run: Run, parts: dict[int, list[EarlierPart]]) -> None:
    path = "/archive/7.jpg"
    those = [part for part in parts[partition_of(path)] if part.file.startswith(PREDICTIONS)]
    copied = [part._replace(file=f"{PREDICTIONS}/copy.parquet") for part in those]

    with pytest.raises(
        OutputError, match=r"two rows for .*jpg, in predictions/.*\.parquet and predictions/.*\.parquet"
    ):
        EarlierRows.of_parts(run.output, [*copied, *those])


def test_what_all_partitions_say_of_a_file_is_joined(run: Run, parts: dict[int, list[EarlierPart]]) -> None:
    said = [rows for those in parts.values() for rows in EarlierRows.of_parts(run.output, those).unlisted()]

    joined = {rows.file: rows.digests for rows in join_by_file(said)}

    assert len(said) > len(joined)
    whole = {rows.file: rows.digests for rows in EarlierRows.read(run.output, run.name).unlisted()}
    assert {file: sorted(_digests(those)) for file, those in joined.items()} == {
        file: sorted(_digests(those)) for file, those in whole.items()
    }


def _digests(joined: bytes) -> list[bytes]:
    return [joined[start : start + PATH_BYTES] for start in range(0, len(joined), PATH_BYTES)]
