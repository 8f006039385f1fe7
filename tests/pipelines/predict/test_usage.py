"""`scenetags predict` refuses wrong usage and damaged bundles before it writes anything."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.commandline.flags import parse_predict
from pipelines.commandline.parser import UsageError
from tests.pipelines.conftest import on_both_runners
from tests.pipelines.predict.predicting import Predict

EMBEDDED = {"runner": "PortableRunner", "job_endpoint": "embed"}
PROCESS = EMBEDDED | {"environment_type": "PROCESS"}


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"input": "gone"}, "no file or folder matches gone"),
        ({"input": None}, "nothing to tag; give --input PATTERN or --input_list FILE"),
        (
            {"input": "ftp://host/chips"},
            "ftp://host/chips: ftp:// is not supported; use a local path, gs:// or s3://",
        ),
        ({"input_list": "gone.csv"}, "cannot read gone.csv"),
        (EMBEDDED | {"input_list": "-"}, "--input_list -: workers cannot read the standard input of this command; "),
        ({"input": "file://host/chips"}, "file://host/chips names a file of another machine; write file:///PATH"),
        ({"input": "chips/a[1].jpg"}, "chips/a[1].jpg; [1] is one of these characters; write [[]1] if it is part of"),
        ({"allow_empty": "true", "overwrite": "true"}, "--allow_empty and --overwrite cannot be combined: an empty"),
        ({"model": "gone"}, "gone: bundle.json cannot be read"),
        ({"model": None}, "the following arguments are required: --model"),
        ({"output": ""}, "--output is empty"),
        ({"input": None, "input_list": "list.csv", "keep_columns": ""}, "--keep_columns is empty; give it a value"),
        ({"input": None, "input_list": "list.csv", "path_column": ""}, "--path_column is empty; give it a value"),
        ({"input": ""}, "--input is empty"),
        ({"input": "nu\udcff"}, "--input 'nu\\udcff' is not UTF-8"),
        (
            {"input_list": "ftp://host/list.txt"},
            "ftp://host/list.txt: ftp:// is not supported; use a local path, gs:// or s3://",
        ),
        (
            {"model": "ftp://host/model"},
            "ftp://host/model: ftp:// is not supported; use a local path, gs:// or s3://",
        ),
        ({"output": "made/" + 300 * "x"}, "File name too long"),
        ({"output": "/proc/no/such"}, "cannot write to output /proc/no/such"),
        ({"output": "chips/0.jpg"}, "cannot write to output"),
        ({"batch_size": 0}, "--batch_size 0: not a whole number from 1 to 1,024"),
        ({"batch_size": 100_000}, "--batch_size 100000: not a whole number from 1 to 1,024"),
        ({"batch_size": "many"}, "--batch_size many: not a whole number from 1 to 1,024"),
        ({"checkpoint_every": 0}, "--checkpoint_every 0: not a whole number from 1 to 1,000,000,000"),
        ({"threshold": "road=0.4"}, "for one, run `scenetags retag OUTPUT --threshold road=0.4` after the run"),
        ({"threshold": 1.5}, "--threshold 1.5: not a number from 0 to 1"),
        ({"max_failure_rate": -1}, "--max_failure_rate -1: not a number from 0 to 1"),
        ({"max_failure_rate": "nan"}, "--max_failure_rate nan: not a number from 0 to 1"),
        ({"engine": "abacus"}, "--engine: invalid choice: 'abacus'"),
        ({"precision": "bfloat16", "engine": "litert"}, "--engine litert does not compute in bfloat16; use --engine"),
        (EMBEDDED | {"precision": "auto"}, "--precision auto needs a local run: each worker would choose its own"),
        ({"batch_sise": 1}, "unknown argument --batch_sise; did you mean --batch_size?"),
        ({"no_such_flag": 1}, "unknown argument --no_such_flag"),
        ({"thresholds": 0.5}, "unknown argument --thresholds; did you mean --threshold?"),
        ({"columns": "all"}, "unknown argument --columns; did you mean --path_column or --keep_columns?"),
        ({"input": None, "inputs": "chips"}, "unknown argument --inputs; did you mean --input?"),
        ({"model": None, "mdoel": "bundle"}, "unknown argument --mdoel; did you mean --model?"),
        ({"output": None, "out": "made"}, "unknown argument --out; did you mean --output?"),
        ({"runner": "directrunner", "input": "gone"}, "no file or folder matches gone"),
        ({"max_bytes": "0"}, "--max_bytes 0: not a whole number of at least 1"),
        ({"max_seconds": "5"}, "--max_seconds needs --isolate_decoding"),
        (
            {"max_seconds": "inf", "isolate_decoding": "true"},
            "--max_seconds inf: not a number above 0 and up to",
        ),
        ({"threads": 99_999_999}, "--threads 99999999: not a whole number from 1 to 1,024"),
        ({"processes": "two"}, "--processes two: not a whole number from 1 to 256, or auto"),
        ({"processes": 1000}, "--processes 1000: not a whole number from 1 to 256, or auto"),
        ({"processes": 4, "threads": 2}, "--threads 2 is the total of --processes 4, each of which needs at least one"),
        ({"processes": 2, "isolate_decoding": "true"}, "--isolate_decoding has processes of its own, and cannot be"),
        ({"processes": 2, "engine": "tensorflow"}, "--processes 2: without a GPU, TensorFlow keeps all cores"),
        (EMBEDDED | {"processes": 2}, "--processes needs a local run: how many a worker starts, the runner decides"),
        ({"reads_in_flight": 10**20}, "--reads_in_flight 100000000000000000000: not a whole number from 1 to 4,096"),
        ({"checkpoint_every": 10**20}, "--checkpoint_every 100000000000000000000: not a whole number from 1 to"),
        ({"runner": "NoRunner"}, "--runner NoRunner: Unexpected pipeline runner"),
        ({"runner": "PortableRunner"}, "--runner PortableRunner needs --job_endpoint; give HOST:PORT"),
        ({"gcs_custom_audit_entries": "x"}, "--gcs_custom_audit_entries is malformed: Expecting value"),
        ({"resource_hints": "x"}, "Unknown resource hint: x."),
        ({"type_check_additional": "x"}, "Unrecognized --type_check_additional feature: x"),
        ({"gbek": "x"}, "--gbek: Secret string must contain a valid type parameter"),
        (EMBEDDED | {"environment_type": "foo"}, "--environment_options: Unknown environment type: foo"),
        (PROCESS | {"environment_config": "{"}, "--environment_options: Expecting property name"),
        (PROCESS | {"environment_options": "process_variables=hunter"}, 'Invalid process_variables "..."'),
        (EMBEDDED | {"s3_secret_access_key": "hunter"}, "--s3_secret_access_key would be stored with the job"),
        (EMBEDDED | {"azure_connection_string": "hunter"}, "--azure_connection_string would be stored with the job"),
        ({"direct_running_mode": "multi_processing"}, "take several times as long; omit it"),
        ({"direct_num_workers": -1}, "--direct_num_workers=-1: it must be a number of workers, 0 or more"),
        ({"direct_test_splits": '{"x": 3}'}, "it is for tests of Beam itself; omit it"),
        ({"type_check_strictness": "ALL_REQUIRED"}, "--type_check_strictness=ALL_REQUIRED: scenetags' steps do not"),
        ({"pickle_library": "dill"}, "dill is not installed"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_usage_is_one_clear_line_and_writes_nothing(
    run: Predict,
    chips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: dict[str, Any],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    assert run(**flags) == 2

    printed = capsys.readouterr()
    assert printed.err.startswith("scenetags predict: ")
    assert reason in printed.err
    assert "hunter" not in printed.err
    assert printed.err.count("\n") == 1, printed.err
    assert printed.out == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--profile_cpu", "--profile_cpu needs --profile_location; name a folder"),
        ("--profile_memory", "--profile_memory needs --profile_location; name a folder"),
        ("--runtime_type_check", "--runtime_type_check: scenetags' steps do not declare the types"),
        ("--streaming", "--streaming: it is for inputs without an end"),
        ("--performance_runtime_type_check", "do not declare the types that Beam would check; omit it"),
    ],
)
def test_a_switch_of_beam_with_which_no_job_runs_is_refused_in_one_line(
    run: Predict, capsys: pytest.CaptureFixture[str], flag: str, reason: str
) -> None:
    assert run(flag) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1, said


def test_a_path_without_its_flag_and_an_output_inside_the_bundle_are_refused() -> None:
    with pytest.raises(UsageError, match=r"^unexpected argument chips; did you mean --input chips\?$"):
        parse_predict(["chips", "--model=bundle", "--output=tagged"])
    with pytest.raises(
        UsageError,
        match=r"^unexpected argument b.jpg; if the shell has expanded a pattern, put quotes around it, as in --input '",
    ):
        parse_predict(["--input", "a.jpg", "b.jpg", "c.jpg", "--model=bundle", "--output=tagged"])
    for output in ("bundle", "bundle/tagged", str(Path("bundle").absolute())):
        with pytest.raises(
            UsageError, match=r"^--output .*bundle.* is inside the model bundle; choose another folder$"
        ):
            parse_predict(["--input=chips", "--model=bundle", f"--output={output}"])
    assert parse_predict(["--input=chips", "--model=bundle", "--output=bundle2"]).output.endswith("/bundle2")


@pytest.mark.parametrize("scheme", ["gs", "S3"])
def test_an_output_in_a_bucket_that_lacks_a_slash_is_not_written_to_this_machine(scheme: str) -> None:
    with pytest.raises(
        UsageError, match=f"^--output {scheme}:/b/out would be a folder on this machine; did you mean {scheme}://b/out"
    ):
        parse_predict(["--input=a", "--model=bundle", f"--output={scheme}:/b/out"])


def test_a_second_list_is_not_forgotten() -> None:
    with pytest.raises(UsageError, match="--input_list is given twice"):
        parse_predict(["--input_list=a.txt", "--input_list=b.txt", "--model=bundle", "--output=tagged"])


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (
            ["--input=a", "--path_column=name"],
            "^--path_column name applies only to a list; name the list with --input_list$",
        ),
        (["--input_list=a.csv", "--path_column=a", "--path_column=b"], "^--path_column is given twice"),
    ],
)
def test_a_column_that_would_be_ignored_is_refused(flags: Sequence[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_predict([*flags, "--model=bundle", "--output=tagged"])


def test_a_flag_of_beam_is_not_taken_for_one_of_ours() -> None:
    with pytest.raises(UsageError, match="the following arguments are required: --model"):
        parse_predict(["--input=chips", "--output=tagged", "--num_workers=3"])


@on_both_runners
def test_a_damaged_bundle_is_refused(
    run: Predict, chips: Path, tmp_path: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(bundle_path, damaged)
    model = bytearray((damaged / "model.tflite").read_bytes())
    model[len(model) // 2] ^= 1
    (damaged / "model.tflite").write_bytes(model)

    assert run(model=damaged) == 2

    assert f"bundle {damaged}: model.tflite is damaged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
