"""A file among the rows that scenetags did not write is neither added to nor deleted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.output.closing import close_wave
from pipelines.output.compatible import check_output
from pipelines.output.earlier import EarlierRows
from pipelines.output.footers import FOOTER
from pipelines.output.lock import hold_output
from pipelines.output.run import FAILURES, PREDICTIONS, Accounts, Run, Wave
from pipelines.output.tables import OutputError
from pipelines.output.written import Written
from tests.pipelines.output.rows import FIRST, SECOND, commit_rows, once, seen, stage

NOT_OURS = r"holds .*/{}, which scenetags did not write; move it elsewhere, or choose another --output"


@pytest.fixture
def ours(run: Run, earlier: Run) -> Path:
    """Write the rows of an earlier run, and return its file of predictions."""
    commit_rows(earlier, FIRST)
    [file] = Path(run.output, PREDICTIONS).iterdir()
    return file


def rewrite(file: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(file, partitioning=None)), file)


def without_footer(table: pa.Table) -> pa.Table:
    return table.replace_schema_metadata(None)


def with_footer(text: str | bytes) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.replace_schema_metadata({FOOTER: text})


def edited(**changes: Any) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        footer = json.loads(table.schema.metadata[FOOTER.encode()])
        return table.replace_schema_metadata({FOOTER: json.dumps({**footer, **changes})})

    return change


def with_column(name: str, values: pa.Array) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.schema.get_field_index(name), name, values)


FOREIGN: dict[str, Callable[[pa.Table], pa.Table]] = {
    "no footer": without_footer,
    "a footer of no JSON": with_footer(b"\xff{"),
    "a footer nested deep": with_footer("[" * 100_000),
    "a footer of null": with_footer("null"),
    "a number for a bundle": edited(bundle=7),
    "a text for thresholds": edited(thresholds="abc"),
    "labels of lists": edited(labels=[[1]]),
    "a number for labels": edited(labels=7),
    "columns of lists": edited(columns={"bright": [1], "green": [2], "blue": [3]}),
    "columns that are not there": edited(columns={"bright": "p_1", "green": "p_2", "blue": "p_3"}),
    "a version of null": edited(version=None),
    "a footer of ours and no column": lambda table: pa.table({"x": [1]}, metadata=table.schema.metadata),
    "no path": lambda table: table.drop_columns("path"),
    "paths that are numbers": with_column("path", pa.array([1, 2, 3])),
    "a column of its own": lambda table: table.append_column("mine", table["path"]),
    "a column twice": lambda table: table.append_column("path", table["path"]),
}


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("overwrite", [False, True], ids=["add", "overwrite"])
def test_a_file_that_scenetags_did_not_write_is_refused_whatever_its_name(
    run: Run, ours: Path, foreign: str, overwrite: bool
) -> None:
    rewrite(ours, FOREIGN[foreign])

    with pytest.raises(OutputError, match=NOT_OURS.format(ours.name)):
        check_output(replace(run, overwrite=overwrite))


def test_a_file_that_comes_during_an_overwrite_is_not_deleted(run: Run, ours: Path) -> None:
    run = replace(run, overwrite=True)
    with hold_output(run):
        check_output(run)
        foreign = ours.with_name("mine.parquet")
        pq.write_table(pa.table({"path": ["mine.jpg"], "fingerprint": ["1"]}), foreign)

        with pytest.raises(OutputError, match=NOT_OURS.format(foreign.name)):
            close_wave(run, Wave(inputs=len(SECOND)), Written(stage(run, SECOND), [], Accounts()))

    assert foreign.exists()
    foreign.unlink()
    assert seen(run.output) == once(FIRST)


def test_a_foreign_file_among_the_rows_that_an_overwrite_gathers_is_refused(run: Run, ours: Path) -> None:
    run = replace(run, overwrite=True)
    shutil.copytree(ours.parent, Path(run.folder, PREDICTIONS))
    check_output(run)
    pq.write_table(pa.table({"path": ["mine.jpg"]}), Path(run.folder, PREDICTIONS, "mine.parquet"))

    with pytest.raises(OutputError, match=NOT_OURS.format("mine.parquet")):
        check_output(run)


def test_columns_that_refuse_nulls_are_not_those_of_this_version(run: Run, ours: Path) -> None:
    def refusing(table: pa.Table) -> pa.Table:
        return table.cast(pa.schema([field.with_nullable(False) for field in table.schema], table.schema.metadata))

    rewrite(ours, refusing)

    with pytest.raises(OutputError, match=r"whose columns differ from those of this version; .*--overwrite"):
        check_output(run)
    check_output(replace(run, overwrite=True))


@pytest.mark.parametrize("column", ["path", "fingerprint"])
def test_a_row_without_path_or_fingerprint_is_refused_by_name(run: Run, ours: Path, column: str) -> None:
    rewrite(ours, with_column(column, pa.array(["a", None, "b"], pa.string())))
    check_output(run)

    with pytest.raises(OutputError, match=rf"^{ours} holds a row without a \w+; move it elsewhere"):
        EarlierRows.read(run.output, run.name)


@pytest.mark.parametrize("overwrite", [False, True], ids=["add", "overwrite"])
def test_a_file_whose_name_is_not_utf_8_is_refused_by_name(run: Run, ours: Path, overwrite: bool) -> None:
    check_output(replace(run, overwrite=overwrite))
    ours.rename(ours.with_name("Überblick.parquet"))
    check_output(replace(run, overwrite=overwrite))
    ours.with_name("Überblick.parquet").rename(os.fsdecode(os.fsencode(ours.parent) + b"/\xff.parquet"))

    with pytest.raises(OutputError, match=r"predictions/.udcff.parquet', whose name is not UTF-8; rename that file"):
        check_output(replace(run, overwrite=overwrite))


def into_a_folder(file: Path) -> Path:
    (file.parent / "year=2026" / "day=1").mkdir(parents=True)
    return file.rename(file.parent / "year=2026" / "day=1" / file.name)


def behind_a_link(file: Path) -> Path:
    elsewhere = file.parents[2] / "elsewhere"
    elsewhere.mkdir()
    file.rename(elsewhere / file.name)
    link = file.parent / "day=1"
    link.symlink_to(elsewhere)
    return link


@pytest.mark.parametrize("move", [into_a_folder, behind_a_link])
@pytest.mark.parametrize("overwrite", [False, True], ids=["add", "overwrite"])
def test_rows_in_folders_of_their_own_are_refused_and_not_tagged_again(
    run: Run, ours: Path, move: Callable[[Path], Path], overwrite: bool
) -> None:
    (ours.parent / "notes").mkdir()
    check_output(replace(run, overwrite=overwrite))
    moved = move(ours)

    with pytest.raises(OutputError, match=f"^{moved} is in a sub-folder, .*; move it up into predictions/, or"):
        check_output(replace(run, overwrite=overwrite))


def test_failures_in_folders_of_their_own_are_refused_too(run: Run, ours: Path) -> None:
    [failures] = Path(run.output, FAILURES).iterdir()
    into_a_folder(failures)

    with pytest.raises(OutputError, match="; move it up into failures/"):
        check_output(run)


@pytest.mark.parametrize("inside", ["predictions", "failures", "runs", "predictions/more"])
def test_an_output_inside_the_tables_of_another_is_refused(run: Run, ours: Path, inside: str) -> None:
    elsewhere = replace(run, output=f"{run.output}-more/{inside}")
    check_output(elsewhere)

    with pytest.raises(OutputError, match=f"^{run.output}/{inside} is inside the output {run.output}; choose another"):
        check_output(replace(run, output=f"{run.output}/{inside}"))


@pytest.mark.parametrize("name", ["predictions", "runs"])
def test_folders_of_others_may_have_the_names_of_an_outputs(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    pq.write_table(pa.table({"path": ["a"]}), tmp_path / name / "theirs.parquet")
    (tmp_path / name / "config.json").write_text("{}")

    check_output(replace(run, output=f"{tmp_path}/{name}/first"))


def test_an_output_holds_one_precision_unless_its_rows_are_replaced(run: Run, earlier: Run) -> None:
    commit_rows(replace(earlier, engine="openvino", precision="bfloat16"), FIRST)

    with pytest.raises(
        OutputError, match=r"rows computed in bfloat16, and those of this run are in float32; use --precision bfloat16,"
    ):
        check_output(run)
    check_output(replace(run, overwrite=True))
    # Engines of one precision agree, as processors do.
    check_output(replace(run, engine="another", precision="bfloat16"))


def test_rows_in_another_precision_are_gathered_apart(run: Run) -> None:
    folders = {replace(run, overwrite=True, precision=name).folder for name in ("float32", "bfloat16")}
    assert len(folders) == 2
