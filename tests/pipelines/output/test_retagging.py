"""New tags from the stored probabilities: nothing but tags and footers changes, and that whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import storage
from pipelines.errors import ScenetagsError
from pipelines.inference.rules import Rules
from pipelines.inference.tagging import choose_tags
from pipelines.output import commit as commit_room
from pipelines.output.footers import FOOTER
from pipelines.output.retagging import Retagging, rehearse_retagging, retag
from pipelines.output.tables import OutputError, open_table
from pipelines.results.outputs import open_output
from tests import outputs
from tests.conftest import Bucket
from tests.pipelines.output.power_cuts import each_cut
from tests.pipelines.output.retagged import (
    LABELS,
    RULES,
    edited,
    prediction_files,
    retagging,
    reworded,
    with_tags,
    write,
)

_GROUP = 2048
"""Rows of a row group with windows of scenes."""


def tags_by_path(output: str) -> dict[str, tuple[str, ...]]:
    return {row["path"]: tuple(row["tags"]) for row in outputs.rows(output)}


def expected(output: str, run: Retagging) -> dict[str, tuple[str, ...]]:
    """Choose the tags of each row again, one by one, as a run would."""
    names = ("p_clear", "p_bare_ground", "p_Clear_2", "p_road___paved_")
    rows = outputs.rows(output)
    return {
        row["path"]: choose_tags(
            np.array([[row[name] for name in names]], np.float32), LABELS, run.thresholds, run.rules
        )[0]
        for row in rows
    }


@pytest.fixture
def output(tmp_path: Path) -> str:
    write(str(tmp_path / "out"), 3, 2)
    return str(tmp_path / "out")


def test_only_tags_and_footers_change(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    write(output, _GROUP + 10)
    [path] = prediction_files(output)
    before, groups = pq.read_table(path), pq.read_metadata(path)
    run = retagging(output)

    changes = retag(run)

    after, [again] = pq.read_table(path), prediction_files(output)
    assert again == path
    assert after.drop_columns("tags").equals(before.drop_columns("tags"))
    assert after.schema.equals(before.schema), "a type has changed"
    assert tags_by_path(output) == expected(output, run)
    old, new = (json.loads(table.schema.metadata[FOOTER.encode()]) for table in (before, after))
    assert new == {**old, "thresholds": [0.25] * 4, "rules": RULES.described(), "retagged": True}
    assert changes is not None
    assert changes.rows == _GROUP + 10
    assert changes.changed == sum(one != other for one, other in zip(before["tags"], after["tags"], strict=True))
    assert changes.after.tolist() == [sum(label in tags for tags in after["tags"].to_pylist()) for label in LABELS]
    metadata = pq.read_metadata(path)
    assert metadata.metadata[b"geo"] == groups.metadata[b"geo"]
    assert metadata.num_row_groups == groups.num_row_groups == 2
    for group in range(2):
        for column, name in enumerate(groups.schema.names):
            one, other = (found.row_group(group).column(column) for found in (groups, metadata))
            assert one.compression == other.compression == "ZSTD"
            assert one.has_dictionary_page == other.has_dictionary_page, name
            if one.path_in_schema != "tags.list.element":
                assert one.statistics == other.statistics, name


def test_pages_of_retagged_files_carry_checksums(output: str) -> None:
    retag(retagging(output))
    path = Path(prediction_files(output)[0])
    column = pq.read_metadata(path).row_group(0).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size - 3] ^= 1
    path.write_bytes(data)

    with pytest.raises(ScenetagsError, match="is damaged"), open_table(str(path)) as parquet:
        parquet.read()


def test_new_tags_are_there_whole_or_not_at_all_wherever_it_is_cut_off(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tags_by_path(output), expected(output, retagging(output))
    assert old != new
    outcomes: set[bool] = set()

    def check(cut: str) -> None:
        seen = outputs.rows(output)
        assert [row["path"] for row in seen] == sorted(old), f"{cut}, a plain look sees other rows"
        assert all(tuple(row["tags"]) in (old[row["path"]], new[row["path"]]) for row in seen), cut
        decided = retag(retagging(output)) is None
        outcomes.add(decided)
        assert tags_by_path(output) == new, f"{cut}, the same command again did not end right"
        assert storage.list_folders(output, "_") == [], f"{cut}, something is left"
        assert len(open_output(output).manifests()) == 3, f"{cut}, it is not in one manifest"

    each_cut(monkeypatch, output, lambda: retag(retagging(output)), check)

    assert outcomes == {False, True}


def kept(run: Retagging) -> Retagging:
    """Let a run keep thresholds, those that it has."""
    return replace(run, kept=run.thresholds)


def test_thresholds_that_stay_are_those_of_all_files(output: str) -> None:
    """As of a command that changes one of them."""
    run = replace(retagging(output, 0.25), kept=(0.5,) * len(LABELS))
    assert retag(run) is not None
    with pytest.raises(ScenetagsError, match="was given different thresholds meanwhile; run the same command again"):
        retag(replace(retagging(output, 0.75), kept=(0.5,) * len(LABELS)))


def test_rules_keep_the_thresholds_of_a_killed_command_that_is_completed(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(commit_room, "carry_out", cut)
        with pytest.raises(OSError, match="No space"):
            retag(retagging(output, 0.25, Rules()))
    stale = kept(retagging(output, 0.5))

    with pytest.raises(ScenetagsError, match="was given different thresholds meanwhile; run the same command again"):
        retag(stale)
    assert tags_by_path(output) == expected(output, retagging(output, 0.25, Rules()))
    assert retag(kept(retagging(output, 0.25))) is not None
    assert tags_by_path(output) == expected(output, retagging(output, 0.25))
    edited(lambda table: reworded(table, thresholds=[0.9] * len(LABELS)))(output)
    with pytest.raises(ScenetagsError, match="with several thresholds; choose one for all of them with --thresholds"):
        rehearse_retagging(kept(retagging(output, 0.25)))


def test_the_same_thresholds_again_write_nothing(output: str) -> None:
    def state() -> dict[str, tuple[int, int]]:
        found = (path for path in Path(output).rglob("*") if path.is_file())
        return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}

    untouched = state()
    rehearsed = rehearse_retagging(retagging(output))
    assert state() == untouched
    changes = retag(retagging(output))
    assert changes is not None
    assert str(changes) == str(rehearsed)
    done = state()

    assert retag(retagging(output)) is None
    assert state() == done


def test_only_files_with_other_thresholds_are_rewritten(output: str) -> None:
    retag(retagging(output))
    first = prediction_files(output)[0]
    os.rename(first, f"{output}/kept")
    retag(retagging(output, 0.75))
    os.rename(f"{output}/kept", first)
    second = Path(prediction_files(output)[1]).stat().st_ino

    changes = retag(retagging(output, 0.75))

    assert changes is not None
    assert changes.rows == 3
    assert Path(prediction_files(output)[1]).stat().st_ino == second


def test_an_image_with_two_rows_is_not_counted_twice(output: str) -> None:
    first = prediction_files(output)[0]
    shutil.copy(first, f"{output}/predictions/copy.parquet")
    before = Path(first).read_bytes()

    for run in (retag, rehearse_retagging):
        with pytest.raises(OutputError, match=r"has two rows for .*; move out the file that no run wrote"):
            run(retagging(output))

    assert Path(first).read_bytes() == before
    os.remove(f"{output}/predictions/copy.parquet")
    assert retag(retagging(output)) is not None


def test_files_of_earlier_versions_and_empty_ones_are_retagged(output: str) -> None:
    def as_before(table: pa.Table) -> pa.Table:
        names = {"p_clear": "p_clear", "p_bare_ground": "p_bare ground", "p_Clear_2": "p_Clear"}
        names["p_road___paved_"] = 'p_road, "paved"'
        metadata = reworded(table, columns=None, version="0.0.1").schema.metadata
        table = table.rename_columns([names.get(name, name) for name in table.column_names])
        table = with_tags(table["tags"].to_pylist(), pa.list_(pa.string()))(table)
        return table.replace_schema_metadata(metadata)

    edited(as_before)(output)
    empty = pq.read_table(prediction_files(output)[0], partitioning=None).slice(0, 0)
    pq.write_table(empty, f"{output}/predictions/empty.parquet")

    changes = retag(retagging(output, 0.0, Rules()))

    assert changes is not None
    assert changes.rows == 5
    assert {
        row for path in prediction_files(output) for row in map(tuple, pq.read_table(path)["tags"].to_pylist())
    } == {LABELS}
    assert retag(retagging(output, 0.0, Rules())) is None


def test_tags_in_a_bucket_change_as_in_a_folder(output: str, bucket: Bucket) -> None:
    away = f"{bucket.path}/out"
    for file in (path for path in Path(output).rglob("*") if path.is_file()):
        storage.write(f"{away}/{file.relative_to(output)}", file.read_bytes())

    there, here = retag(replace(retagging(output), output=away)), retag(retagging(output))

    assert str(there) == str(here)
    assert tags_by_path(away) == tags_by_path(output)
    assert storage.list_folders(away) == [f"{away}/{name}" for name in ("failures", "predictions", "runs")]
    assert retag(replace(retagging(output), output=away)) is None


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_files_in_a_bucket_are_moved_side_by_side(output: str, bucket: Bucket) -> None:
    away, together = f"{bucket.path}/out", threading.Barrier(2, timeout=60)
    for path in prediction_files(output):
        storage.write(f"{away}/predictions/{Path(path).name}", Path(path).read_bytes())

    def judge(method: str, path: str, headers: Mapping[str, str]) -> None:
        if "/predictions/" in path and "x-amz-copy-source" in headers:
            # It breaks if the second one is not asked for before the first is done.
            together.wait()

    bucket.proxy.judge = judge
    assert retag(replace(retagging(output), output=away)) is not None
    assert not together.broken
