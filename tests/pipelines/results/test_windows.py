"""Why an output has no windows of scenes, in the words of `map` and `stac`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import cli
from pipelines.output.commit import commit
from pipelines.output.run import Run, Wave
from pipelines.output.writing import EmptyTable, FailureTable, TableWriter
from pipelines.records import Empty, Failure
from tests.pipelines.output.rows import written
from tests.pipelines.results.tagged_outputs import run_of, window, with_grid

EMPTY = [Empty(window("/archive/a.tif", column, [0.5]).ref) for column in (0, 256)]
FAILURES = [Failure("/archive/b.tif", "list", "OSError", "gone", "")]


@pytest.mark.parametrize(
    ("empty", "failures", "said"),
    [
        (EMPTY, [], "2 windows have too little data; if they should be tagged, run `scenetags predict` with a lower"),
        (EMPTY[:1], FAILURES, "1 input failed and 1 window has too little data; if they should be tagged, run "),
        ([], FAILURES, "1 input failed; run `scenetags report OUT` to see why"),
    ],
)
@pytest.mark.parametrize("words", [["map", "--html=x.html"], ["map", "--geojson=-"], ["stac", "--to=catalogue"]])
def test_an_output_without_windows_says_why(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    empty: list[Empty],
    failures: list[Failure],
    said: str,
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    here = with_grid(run_of(run, tmp_path / "out", ["road"]))
    tables = TableWriter(EmptyTable(), here), TableWriter(FailureTable(), here)
    for one in empty:
        tables[0].write(one)
    for failure in failures:
        tables[1].write(failure)
    files = [file for table in tables if (file := table.close())]
    commit(here, Wave(inputs=len(empty) + len(failures)), written(files))

    assert cli.main([words[0], here.output, *words[1:]]) == 2

    error = capsys.readouterr().err
    assert f"{here.output} has no predictions: {said.replace('OUT', here.output)}" in error
    assert error.count("\n") == 1
