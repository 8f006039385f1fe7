"""The one reader of outputs: what it finds, wherever they are, and what it refuses to mix up."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import storage
from pipelines.output import joining
from pipelines.output.run import FAILURES, PREDICTIONS, Run
from pipelines.output.tables import OutputError
from pipelines.results.files import NoOutputError
from pipelines.results.outputs import Output, open_output
from pipelines.storage import buckets, object_files
from tests.bundles import LABELS
from tests.conftest import Bucket
from tests.pipelines.output.dead_runs import die, predicted, recovered
from tests.pipelines.output.rows import FIRST, commit_rows

THIRD = {"later.jpg": (PREDICTIONS, "new")}


@pytest.fixture(autouse=True)
def _files_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each run have files of its own, as large ones do."""
    monkeypatch.setattr(joining, "MOST_BYTES", 0)


@pytest.fixture
def output(earlier: Run, run: Run) -> Output:
    """Make an output of two runs, with a file of predictions by each."""
    commit_rows(earlier, FIRST)
    commit_rows(run, THIRD)
    return open_output(run.output)


def reseal(file: str, **changes: object) -> None:
    """Let the footer of a file say other things, or leave out what is None."""
    table = pq.read_table(file, partitioning=None)
    footer: Mapping[str, Any] = json.loads(table.schema.metadata[b"scenetags"]) | changes
    kept = {name: value for name, value in footer.items() if value is not None}
    pq.write_table(table.replace_schema_metadata({"scenetags": json.dumps(kept)}), file)


def test_an_output_may_be_called_like_its_table(earlier: Run, run: Run, tmp_path: Path) -> None:
    died, named = (replace(one, output=str(tmp_path / "predictions")) for one in (earlier, run))
    die(died, predicted("a.jpg"))
    assert open_output(named.output).path == named.output, "with nothing but staged rows"
    recovered(named)

    assert open_output(named.output).head().rows == 1
    assert open_output(named.output).path == named.output
    assert open_output(f"{named.output}/predictions").path == named.output


def test_rows_that_a_dead_run_has_staged_are_pointed_out(earlier: Run, run: Run) -> None:
    die(earlier, predicted("a.jpg", "b.jpg"))

    with pytest.raises(NoOutputError, match=rf"if it has died, run scenetags recover {run.output}$"):
        open_output(run.output).head()
    recovered(run)
    assert open_output(run.output).head().rows == 2


def test_footers_say_what_each_file_was_made_with(output: Output, run: Run) -> None:
    footers = list(output.footers())

    assert len(footers) == len(output.prediction_files) == 2
    assert footers == [output.footer()] * 2
    footer = output.footer()
    assert (footer.bundle, footer.labels, footer.thresholds) == (run.bundle.digest, LABELS, run.thresholds)
    assert footer.columns == {label: f"p_{label}" for label in LABELS}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"bundle": "another"}, "models"),
        ({"thresholds": [0.1, 0.1, 0.1]}, "thresholds"),
        ({"rules": {"exclusive": [], "alone": ["green"]}}, "rules"),
        ({"rendering": {"bands": [3, 2, 1], "stretch": []}}, "raster flags"),
    ],
)
def test_an_output_of_several_models_has_no_footer_of_its_own(
    output: Output, changes: dict[str, object], what: str
) -> None:
    reseal(output.prediction_files[1], **changes)
    output = open_output(output.path)

    with pytest.raises(NoOutputError, match=f"holds predictions made with several {what}"):
        output.footer()
    assert len(list(output.footers())) == 2
    assert output.predictions().num_rows == 4


def test_predictions_come_in_the_order_of_the_runs_with_the_columns_that_are_asked_for(output: Output) -> None:
    assert output.predictions(["fingerprint", "path"]).to_pydict() == {
        "fingerprint": ["old", "old", "old", "new"],
        "path": ["stays.jpg", "changed.jpg", "broken.jpg", "later.jpg"],
    }
    assert {"path", "tags", "p_green", "run"} < set(output.predictions().column_names)


def test_failures_are_read_likewise(output: Output) -> None:
    assert output.failures(["path", "stage"]).to_pylist() == [
        {"path": path, "stage": "decode"} for path, (table, _) in FIRST.items() if table == FAILURES
    ]
    assert output.failures()["message"].to_pylist() == ["cut off"] * 3


def test_a_column_that_is_not_there_is_named(output: Output) -> None:
    with pytest.raises(NoOutputError, match=r"\.parquet has no column novelty, so scenetags did not write it"):
        output.predictions(["path", "novelty"])


def test_files_that_differ_in_their_columns_are_read_as_one(output: Output) -> None:
    file = output.prediction_files[1]
    pq.write_table(pq.read_table(file, partitioning=None).rename_columns({"p_green": "p_forest"}), file)

    rows = open_output(output.path).predictions().to_pylist()

    assert [row["p_green"] is None for row in rows] == [False, False, False, True]
    assert [row["p_forest"] is None for row in rows] == [True, True, True, False]


def test_pieces_hold_the_rows_of_the_files_in_turn_as_they_are_asked_for(output: Output) -> None:
    fields = pa.schema([("width", pa.float64()), ("scene", pa.string()), ("path", pa.string())])

    pieces = list(output.pieces(fields, missing=["scene"]))

    assert [piece.schema for piece in pieces] == [fields, fields]
    assert [row for piece in pieces for row in piece.to_pylist()] == [
        {"width": 8.0, "scene": None, "path": path} for path in output.predictions(["path"])["path"].to_pylist()
    ]
    with pytest.raises(NoOutputError, match=r"\.parquet has no column scene"):
        next(output.pieces(fields))
    with pytest.raises(OutputError, match="is damaged or not a Parquet file"):
        next(output.pieces(pa.schema([("path", pa.int32())])))


def test_rows_of_other_tags_than_were_asked_for_are_refused(output: Output) -> None:
    fields, made_with = pa.schema([("path", pa.string())]), output.footer()
    pieces = output.pieces(fields, made_with=made_with)
    assert next(pieces).num_rows == 3
    reseal(output.prediction_files[1], thresholds=[0.1, 0.1, 0.1])

    told = "was changed while it was read; run the same command again; if a run keeps changing it, wait for its end"
    with pytest.raises(NoOutputError, match=told):
        next(pieces)
    Path(output.prediction_files[0]).unlink()
    with pytest.raises(NoOutputError, match="if a run has just replaced it, run the same command again"):
        next(output.pieces(fields))


def test_manifests_are_those_of_all_runs_the_oldest_first(output: Output, earlier: Run, run: Run) -> None:
    first, second = output.manifests()

    assert (first.run, second.run) == (earlier.name, run.name)
    assert (first.status, first.accounts.predictions, first.accounts.failures) == ("done", 3, 3)
    assert (second.accounts.inputs, second.accounts.predictions) == (1, 1)
    assert second.described["bundle"]["digest"] == run.bundle.digest


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b'{"run": "x"}', b"\xff", b'{"run": "x", "status": "done"}', b"[" * 100_000]
)
def test_what_is_no_manifest_is_named(output: Output, content: bytes) -> None:
    Path(output.path, "runs", "zzz.json").write_bytes(content)

    with pytest.raises(NoOutputError, match=r"zzz\.json is not a manifest of a run: .*; move it out of"):
        output.manifests()


def test_a_damaged_file_is_named(output: Output) -> None:
    file = Path(output.prediction_files[0])
    file.write_bytes(file.read_bytes()[:-20])
    output = open_output(output.path)

    for read in (output.footer, output.predictions, lambda: list(output.footers())):
        with pytest.raises(OutputError, match=f"^{file} is damaged or not a Parquet file"):
            read()
    assert output.failures().num_rows == 3


def test_a_damaged_page_is_not_taken_for_rows(output: Output) -> None:
    file = Path(output.prediction_files[0])
    group = pq.read_metadata(file).row_group(0)
    [chunk] = [chunk for chunk in map(group.column, range(group.num_columns)) if chunk.path_in_schema == "p_green"]
    data = bytearray(file.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size - 1] ^= 1
    file.write_bytes(data)

    with pytest.raises(OutputError, match=f"^{file} is damaged"):
        output.predictions()


@pytest.mark.parametrize("kind", ["no footer", "a footer of nonsense", "a column less"])
def test_a_file_of_another_program_has_no_footer_of_ours(output: Output, kind: str) -> None:
    file = output.prediction_files[1]
    table = pq.read_table(file, partitioning=None)
    if kind == "a column less":
        pq.write_table(table.drop_columns(["p_blue"]), file)
    else:
        pq.write_table(table.replace_schema_metadata({"scenetags": "[]"} if kind != "no footer" else None), file)

    with pytest.raises(NoOutputError, match=f"^scenetags did not write {file}: its footer names no model"):
        output.footer()


def test_an_older_footer_names_no_columns_and_means_the_labels_as_they_are(output: Output) -> None:
    for file in output.prediction_files:
        reseal(file, labels=["bright", "bare ground", "blue"], columns=None)
        table = pq.read_table(file, partitioning=None)
        renamed = table.rename_columns({"p_green": "p_bare ground"})
        pq.write_table(renamed.replace_schema_metadata(table.schema.metadata), file)

    output = open_output(output.path)

    columns = {"bright": "p_bright", "bare ground": "p_bare ground", "blue": "p_blue"}
    assert output.footer().columns == columns
    assert output.predictions(list(columns.values())).num_rows == 4


@pytest.mark.parametrize("named", ["", "/", "/predictions", "/predictions/"])
def test_an_output_is_found_by_its_folder_or_that_of_its_predictions(output: Output, named: str) -> None:
    assert open_output(output.path + named) == output


def test_an_output_in_a_bucket_is_read_likewise(bucket: Bucket, earlier: Run, run: Run) -> None:
    here = replace(run, output=f"{bucket.path}/out")
    commit_rows(replace(earlier, output=here.output), FIRST)
    commit_rows(here, THIRD)

    for path in (here.output, f"{here.output}/predictions/"):
        output = open_output(path)
        assert output.path == here.output
        assert output.footer().bundle == run.bundle.digest
        assert output.predictions(["path"])["path"].to_pylist()[-1] == "later.jpg"
        assert output.failures().num_rows == 3
        assert [piece.num_rows for piece in output.pieces(pa.schema([("path", pa.string())]))] == [3, 1]
        assert [manifest.run for manifest in output.manifests()] == [earlier.name, run.name]
    storage.write(f"{here.output}/predictions/x.parquet", b"PAR1")
    with pytest.raises(OutputError, match=r"x\.parquet is damaged"):
        open_output(here.output).footer()


def test_a_file_that_is_replaced_while_it_is_read_is_not_called_damaged(
    bucket: Bucket, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "READ_AHEAD", 64)
    monkeypatch.setattr(object_files, "READ_AHEAD", 64)
    monkeypatch.setattr("pipelines.results.outputs.ROWS_PER_GROUP", 1)
    path, local = f"{bucket.path}/out/predictions/a.parquet", Path(output.prediction_files[0])
    fields, table = pa.schema([("path", pa.string())]), pq.read_table(local, partitioning=None)
    pq.write_table(table, local, row_group_size=1)
    for rows in (table.slice(1), table.slice(0, 0), pa.concat_tables([table] * 9)):
        storage.write(path, local.read_bytes())
        pieces = open_output(f"{bucket.path}/out").pieces(fields)
        assert next(pieces).num_rows == 1
        other = io.BytesIO()
        pq.write_table(rows, other, row_group_size=1)
        storage.write(path, other.getvalue())
        with pytest.raises(NoOutputError, match=r"^cannot read .*: the file has changed since it was listed; run the"):
            list(pieces)


def test_where_there_is_no_output_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoOutputError, match=f"no folder at {tmp_path}/gone"):
        open_output(f"{tmp_path}/gone")
    with pytest.raises(NoOutputError, match="ftp://host/out: ftp:// is not supported"):
        open_output("ftp://host/out")
    empty = open_output(str(tmp_path))
    with pytest.raises(NoOutputError, match=rf"{tmp_path} has no predictions/\*\.parquet"):
        empty.footer()
    for read, table in ((empty.predictions, "predictions"), (empty.failures, "failures")):
        with pytest.raises(NoOutputError, match=rf"{tmp_path} has no {table}/\*\.parquet"):
            read()
    assert list(empty.footers()) == []
    assert empty.manifests() == []


def test_an_output_below_above_or_beside_what_is_none_is_suggested(output: Output) -> None:
    folder = Path(output.path)
    (folder.parent / "bundle").mkdir()
    for path in (folder.parent, folder / "runs", folder.parent / "bundle", folder.parent / "gone"):
        with pytest.raises(NoOutputError, match=f"did you mean {folder}[?]$"):
            open_output(str(path)).footer()
    with pytest.raises(NoOutputError, match=f"did you mean {folder}/predictions[?]$"):
        open_output(f"{folder}/prediction")


def test_files_of_other_kinds_are_passed_over(output: Output) -> None:
    Path(output.path, "predictions", "_SUCCESS").touch()
    pq.write_table(pa.table({"x": [1]}), Path(output.path, "x.parquet"))

    assert open_output(output.path) == output


def test_a_file_that_the_storage_refuses_is_named(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, *_: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(storage, "open_to_read", refuse)
    monkeypatch.setattr(storage, "read", refuse)

    for read in (output.footer, output.predictions, output.failures, output.manifests):
        with pytest.raises(NoOutputError, match=r"^cannot read .*: Permission denied$"):
            read()


def test_a_folder_that_the_storage_refuses_to_list_is_named(bucket: Bucket, earlier: Run) -> None:
    here = replace(earlier, output=f"{bucket.path}/out")
    commit_rows(here, FIRST)
    output = open_output(here.output)

    def refusing(listed: str) -> Callable[[str, str, Mapping[str, str]], int | None]:
        return lambda method, path, _: 403 if listed in unquote(path) and "prefix=" in path else None

    for listed, read in (
        ("/out/runs/", output.manifests),
        ("/out/_staging-", output.footer),
        ("/out/failures/", output.predictions),
        ("/out/predictions/", lambda: open_output(here.output)),
    ):
        bucket.proxy.judge = refusing(listed)
        with pytest.raises(NoOutputError, match=rf"^cannot (list|read) {here.output}.*\(403\)$"):
            read()
