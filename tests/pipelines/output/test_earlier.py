"""What earlier runs have left of each image is found again, in little memory."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines import storage
from pipelines.output.commit import commit
from pipelines.output.earlier import EarlierPart, EarlierRow, EarlierRows, read_earlier
from pipelines.output.identities import read_images
from pipelines.output.run import FAILURES, PREDICTIONS, Run, Wave
from pipelines.output.tables import NO_ROWS, OutputError, open_table
from pipelines.scenes.grid import window_path
from tests.pipelines.output.rows import FIRST, Rows, stage, written


def put(run: Run, rows: Rows) -> None:
    commit(run, Wave(inputs=len(rows)), written(stage(run, rows, all_new=True)))


def only_file(run: Run, table: str) -> str:
    [file] = (file for file in Path(run.output, table).iterdir() if file.name != NO_ROWS)
    return f"{table}/{file.name}"


def test_earlier_rows_are_found_with_their_files(run: Run, earlier: Run) -> None:
    put(earlier, FIRST)
    predictions, failures = only_file(run, PREDICTIONS), only_file(run, FAILURES)

    rows = EarlierRows.read(run.output, run.name)

    assert len(rows) == len(FIRST)
    assert rows.find("stays.jpg", "old") == EarlierRow(predictions, tagged=True)
    assert rows.find("stays.jpg", "new") == EarlierRow(predictions, tagged=False), "the image has changed"
    assert rows.find("mended.jpg", "old") == EarlierRow(failures, tagged=False), "a failure is done again"
    assert rows.find("came.jpg", "old") is None


def test_rows_of_the_run_at_work_are_not_earlier_ones(run: Run) -> None:
    put(run, FIRST)

    rows = EarlierRows.read(run.output, run.name)

    assert len(rows) == 0
    assert rows.find("stays.jpg", "old") is None


def test_every_row_is_found_in_little_memory(run: Run, earlier: Run) -> None:
    # So many that digests begin and end with bytes of zero, which numpy takes for the end of a string.
    named = {f"/archive/{number}.jpg": (PREDICTIONS, f"15000-{number}") for number in range(5000)}
    put(earlier, named)

    rows = EarlierRows.read(run.output, run.name)

    file = only_file(run, PREDICTIONS)
    for path, (_, fingerprint) in named.items():
        assert rows.find(path, fingerprint) == EarlierRow(file, tagged=True)
        assert rows.find(path, f"{fingerprint}0") == EarlierRow(file, tagged=False)
        assert rows.find(f"{path}x", fingerprint) is None
    assert len(rows._rows) == 28 * len(named)


def test_windows_of_a_scene_are_found_without_reading_those_of_all_others(
    run: Run, earlier: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.output.writing.ROWS_PER_GROUP", 4)
    # Some begin like others, and some are further behind in UTF-16 than in UTF-8.
    scenes = ["/b.tif", "/a.tif", "/a.tif2", "/a", "/é.tif", "/\uff5a.tif", "/\U0001f6f0.tif"]
    windows = {scene: {window_path(scene, column, 0, 8, 8) for column in range(0, 80, 8)} for scene in scenes}
    put(earlier, dict.fromkeys([path for scene in scenes for path in sorted(windows[scene])], (PREDICTIONS, "old")))
    file = only_file(run, PREDICTIONS)

    rows = EarlierRows.read(run.output, run.name)

    for scene in scenes:
        assert set(rows.windows_of_others(scene, "new")) == {(path, file) for path in windows[scene]}
        looked_at = {path for path, _ in read_images(f"{run.output}/{file}", scene)}
        like_it = {path for other in scenes if other.startswith(scene) for path in windows[other]}
        assert like_it <= looked_at
        assert len(looked_at - like_it) <= 2 * 4, "row groups without any were read"
    assert not list(read_images(f"{run.output}/{file}", "/c"))


def test_rows_of_images_that_were_listed_again_are_told_from_the_others(run: Run, earlier: Run) -> None:
    named = {f"/archive/{number}.jpg": (PREDICTIONS, "old") for number in range(2000)}
    put(earlier, named)
    put(replace(earlier, name="20260101T000000Z-0000"), {"/other.jpg": (FAILURES, "old")})
    rows = EarlierRows.read(run.output, run.name)
    listed = [path for number, path in enumerate(named) if number % 3]

    for path in (*listed, "/never tagged.jpg"):
        rows.mark_listed(storage.digest_path(path))

    predictions, failures = only_file(run, PREDICTIONS), only_file(run, FAILURES)
    images = pa.table({"path": list(named)})
    unlisted = {rows.file: rows for rows in rows.unlisted()}
    assert unlisted.keys() == {predictions, failures}
    assert unlisted[predictions].keep_others(images)["path"].to_pylist() == listed
    assert unlisted[failures].digests == storage.digest_path("/other.jpg")
    rows.mark_listed(b"".join(map(storage.digest_path, named)))
    assert [rows.file for rows in rows.unlisted()] == [failures]
    assert rows.find(listed[0], "old") == EarlierRow(predictions, tagged=True)
    assert len(rows._rows) == 28 * 2001


def test_rows_of_thousands_of_files_are_told_apart() -> None:
    files, each = 3000, 3
    paths = [[storage.digest_path(f"/{file}/{number}") for number in range(each)] for file in range(files)]
    parts = [
        EarlierPart(f"{file}", b"".join(path + bytes(8) for path in of_file)) for file, of_file in enumerate(paths)
    ]
    rows = EarlierRows.of_parts("/out", [*parts, EarlierPart("own", bytes(24), own=True)])
    rows.mark_listed(b"".join(of_file[0] for of_file in paths))
    rows.mark_listed(b"".join(paths[7]))

    unlisted = {rows.file: rows.digests for rows in rows.unlisted()}

    expected = {f"{file}": b"".join(sorted(those[1:])) for file, those in enumerate(paths) if file != 7}
    assert unlisted == expected
    assert not list(EarlierRows.of_parts("/out", []).unlisted())


@pytest.mark.parametrize("table", [PREDICTIONS, FAILURES])
def test_an_output_with_two_rows_of_an_image_is_refused(run: Run, earlier: Run, table: str) -> None:
    put(earlier, {"a.jpg": (PREDICTIONS, "old"), "b.jpg": (FAILURES, "old")})
    file = Path(run.output, only_file(run, table))
    shutil.copy(file, file.with_name("copied.parquet"))
    image = {PREDICTIONS: "a.jpg", FAILURES: "b.jpg"}[table]

    with pytest.raises(OutputError, match=f"two rows for {image}, in {table}/{file.name} and {table}/copied.parquet"):
        EarlierRows.read(run.output, run.name)


def test_an_image_in_both_tables_is_refused(run: Run, earlier: Run) -> None:
    put(earlier, {"a.jpg": (PREDICTIONS, "old"), "b.jpg": (PREDICTIONS, "old")})
    put(replace(earlier, name="20260101T000000Z-0000"), {"b.jpg": (FAILURES, "older")})

    with pytest.raises(
        OutputError, match=r"two rows for b.jpg, in failures/.*parquet and predictions/.*parquet; delete"
    ):
        EarlierRows.read(run.output, run.name)


def test_a_process_reads_them_once_however_many_threads_ask(
    run: Run, earlier: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(earlier, FIRST)
    read = []

    def open_and_note(path: str) -> AbstractContextManager[Any]:
        read.append(path)
        return open_table(path)

    monkeypatch.setattr("pipelines.output.identities.open_table", open_and_note)
    with ThreadPoolExecutor(8) as executor:
        asked = list(executor.map(lambda _: read_earlier(run.output, run.name), range(8)))

    assert all(rows is asked[0] for rows in asked)
    assert len(read) == len(set(read)) == 2
