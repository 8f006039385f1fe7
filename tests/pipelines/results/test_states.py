"""What is read while a run commits, or after it died in a commit, is one state of the output, or an error."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.quality.evaluation import read_predictions
from pipelines import query, recover, report, retag, storage
from pipelines.output import joining
from pipelines.output.replacing import replace_rows
from pipelines.output.run import FAILURES, PREDICTIONS, Run
from pipelines.results.files import NoOutputError
from pipelines.results.outputs import open_output
from tests.pipelines.output.power_cuts import PowerCut, cut_off, each_cut
from tests.pipelines.output.rows import BOTH, FIRST, SECOND, Rows, commit_rows, once

Found = dict[str, list[tuple[str, str]]]

OTHERS: Rows = {"elsewhere.jpg": (PREDICTIONS, "new"), "elsewhere broken.jpg": (FAILURES, "new")}
"""Of none of the images that were tagged before."""

FIELDS = pa.schema([("path", pa.string()), ("fingerprint", pa.string())])


def read_or_refused(path: str) -> Found | str:
    """Read an output as `read` does, or return why it is refused."""
    try:
        return read(path)
    except NoOutputError as error:
        return str(error)


def read(path: str) -> Found:
    """Read an output as commands do: its footers, then the rows of both tables."""
    output = open_output(path)
    footer, found = output.footer(), Found()
    for table, made_with in ((FAILURES, None), (PREDICTIONS, footer)):
        for batch in output.pieces(FIELDS, table=table, made_with=made_with):
            for row in batch.to_pylist():
                found.setdefault(row["path"], []).append((table, row["fingerprint"]))
    return found


@pytest.fixture
def overwriting(earlier: Run, run: Run) -> Callable[[], None]:
    """Commit rows, and gather those of other images, with which the returned function replaces them."""
    commit_rows(earlier, FIRST)
    overwrite = replace(run, overwrite=True)
    gathered = commit_rows(overwrite, OTHERS)
    return lambda: replace_rows(overwrite, gathered)


def test_what_a_run_left_when_it_died_is_read_as_one_state_or_not_at_all(
    earlier: Run, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_rows(earlier, FIRST)
    outcomes: Counter[str] = Counter()

    def check(cut: str) -> None:
        found = read_or_refused(run.output)
        if isinstance(found, str):
            assert f"part of what run {run.name} is moving into place; run the same command again" in found, cut
            outcomes["refused"] += 1
        else:
            assert found in (once(FIRST), once(BOTH)), cut
            outcomes["read"] += 1

    each_cut(monkeypatch, run.output, lambda: commit_rows(run, SECOND), check, step=2)
    assert min(outcomes["refused"], outcomes["read"]) > 2, outcomes


def test_no_command_takes_old_and_new_rows_of_an_overwrite_that_died_for_one_output(
    overwriting: Callable[[], None], run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = 0

    def reads(command: Callable[[], int]) -> bool:
        capsys.readouterr()
        code = command()
        said = capsys.readouterr().err
        assert code == 0 or (code == 2 and said.endswith(f"if that run has died, scenetags recover {run.output}\n")), (
            said
        )
        return code == 0

    page = f"{run.output}.html"
    before = f"{run.output}.before"
    shutil.copytree(run.output, before)
    # Until a cut comes when new rows are in place, and old ones as well.
    while not _holds_both(run.output):
        shutil.rmtree(run.output)
        shutil.copytree(before, run.output)
        cut += 1
        with pytest.raises(PowerCut), cut_off(monkeypatch, cut):
            overwriting()
    assert not reads(lambda: query.main([run.output, "--paths"]))
    assert not reads(lambda: report.main([run.output, f"--html={page}", "--images=0"]))
    assert not reads(lambda: retag.main([run.output, "--thresholds=0.3", "--dry_run"]))
    with pytest.raises(NoOutputError, match="or, if that run has died"):
        read_predictions(run.output)
    assert not Path(page).exists()

    assert recover.main([run.output]) == 0
    told = f"finished the overwrite of run {run.name}, which had died while it moved files into place\n"
    assert capsys.readouterr().out == told
    assert read(run.output) == once(OTHERS)
    assert reads(lambda: report.main([run.output, f"--html={page}", "--images=0"]))


def _holds_both(output: str) -> bool:
    found = {path for file in Path(output, PREDICTIONS).glob("*.parquet") for path in _paths(file)}
    return {"stays.jpg", "elsewhere.jpg"} <= found


def _paths(file: Path) -> list[str]:
    return list(pq.read_table(file, columns=["path"], partitioning=None)["path"].to_pylist())


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("rows", [SECOND, {"mended.jpg": (PREDICTIONS, "new")}])
def test_a_commit_between_any_two_reads_mixes_nothing(
    rows: Rows, apart: bool, earlier: Run, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images go from one table to the other, in files of their own and in files that replace others."""
    if apart:
        monkeypatch.setattr(joining, "MOST_BYTES", 0)
    commit_rows(earlier, FIRST)
    states = [FIRST, {**FIRST, **rows}]
    assert committing(run.output, lambda: commit_rows(run, rows), states, monkeypatch) > 2


def test_an_overwrite_between_any_two_reads_mixes_nothing(
    overwriting: Callable[[], None], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert committing(run.output, overwriting, [FIRST, OTHERS], monkeypatch) > 2


def committing(output: str, commit: Callable[[], object], states: list[Rows], patching: pytest.MonkeyPatch) -> int:
    """Read an output again and again, with a commit before one read later each time; return how often it is refused."""
    before = f"{output}.before"
    shutil.copytree(output, before)
    refused = 0
    for read_at in range(100):
        shutil.rmtree(output)
        shutil.copytree(before, output)
        reads = 0

        def counted(function: Callable[..., Any], read_at: int = read_at) -> Callable[..., Any]:
            def count(*arguments: Any, **settings: Any) -> Any:
                nonlocal reads
                reads += 1
                if reads == read_at:
                    commit()
                return function(*arguments, **settings)

            return count

        with patching.context() as patch:
            for name in ("list_fingerprints", "list_folders", "open_to_read"):
                patch.setattr(storage, name, counted(getattr(storage, name)))
            found = read_or_refused(output)
        if isinstance(found, str):
            assert "run the same command again" in found
            refused += 1
        else:
            assert found in map(once, states), f"a commit before read {read_at}"
        if reads < read_at:
            return refused
    raise AssertionError("the reads have no end")
