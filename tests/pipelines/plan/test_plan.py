"""`scenetags plan`: what it counts, measures and says, on real files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipelines import cli, storage
from pipelines.commandline.flags import parse_predict
from pipelines.runners.beam_flags import check_beam_flags
from pipelines.storage import stores
from tests.conftest import Bucket
from tests.pipelines.plan.planning import Run, commands


def test_a_plan_reports_what_the_input_holds(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--input", str(folder / "*.jpg")) == 0

    printed = capsys.readouterr().out
    size = sum(path.stat().st_size for path in folder.iterdir() if path.suffix != ".txt")
    assert printed.startswith(f"15 images, {size / 1000:.1f} kB, listed in ")
    for line in (
        "passed over: .txt 1\n",
        "sample: all 15 images\n",
        "  formats   jpeg 4x8 92.3%, png 3x8 7.7%\n",
        "  repairs   unmarked_rgba_jpeg 92.3%\n",
        "  failures  2 of 15 sampled; expected in total: 2 of 15\n",
        f"e.g. {folder}/empty.jpg: empty file\n",
        "exceeds --max_failure_rate 0.05: a run would end with exit code 3\n",
        "bottleneck: ",
        "on Dataflow, 1 worker of type n2-highcpu-16 (16 vCPUs, 16 GB): 4 min 0 s, $0.06\n",
        "cloud.google.com/dataflow/pricing",
        "assumes vCPUs as fast as cores here",
        "a Dataflow command, move images, list and bundle to gs:// or s3://",
    ):
        assert line in printed


def test_a_run_does_what_was_planned(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names.txt").write_text("chips/0.jpg\nchips/gone.jpg\nchips/cut.jpg\n")

    output = tmp_path / "with space"
    assert run("--max_failure_rate=0.5", "--threshold=0.25", input_list=tmp_path / "names.txt", output=output) == 0
    printed = capsys.readouterr().out
    [command] = commands(printed)
    assert not output.exists(), "a plan writes nothing"
    assert cli.main([*command[1:], "--progress=off"]) == 0

    told = capsys.readouterr().out
    assert "15 images, " in printed
    assert "; 1 more input could not be listed\n" in printed
    assert "  failures  2 of 15 sampled; expected in total: 3 of 16\n" in printed
    assert told.startswith("16 images: 13 tagged, 3 failed")
    assert f"repairs: unmarked_rgba_jpeg {12}" in told
    assert sorted(os.listdir(output)) == ["failures", "predictions", "runs"]


def test_the_command_has_only_flags_that_matter(
    run: Run, folder: Path, bundle_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in ({}, {"batch_size": 7, "reads_in_flight": 2}):
        assert run(**given) == 0
        printed = capsys.readouterr().out
        expected = ["--input", str(folder), "--model", bundle_path, "--output", "OUTPUT"]
        assert commands(printed) == [["scenetags", "predict", *expected]]
        assert "\nto run it, after filling in OUTPUT:\n" in printed
        assert ("  --batch_size 7: without effect; " in printed) == bool(given)
        assert " in flight on average; the default, 32, is enough\n" in printed
    assert run(output=tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "\nto run it:\n" in printed
    assert commands(printed)[0][-2:] == ["--output", str(tmp_path / "out")]


def test_a_plan_without_an_output_is_for_a_new_one(
    run: Run, bundle_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "OUTPUT" / "predictions").mkdir(parents=True)
    (tmp_path / "OUTPUT" / "predictions" / "x.parquet").write_text("of another program")
    assert run() == 0
    assert capsys.readouterr().err == ""
    assert run(output="OUTPUT") == 2


def test_json_says_what_the_text_says(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(json="plan.json") == 0
    printed = capsys.readouterr().out
    described = json.loads((tmp_path / "plan.json").read_text())

    assert f"{described['found']['inputs']} images, " in printed
    assert described["found"]["passed_over"] == [{"name": ".txt", "count": 1}]
    assert described["sampled"]["sources"] == [{"name": "jpeg 4x8", "count": 12}, {"name": "png 3x8", "count": 1}]
    assert described["sampled"]["expected_failures"] == {"low": 2, "high": 2}
    costs = described["seconds_per_image"]
    for step in ("fetching", "decoding", "model", "pipeline"):
        assert f"  {step:9} {costs[step] * 1e3:6.2f}  " in printed
    assert f"{described['here']['speed']['images_per_second']:.1f} images/s" in printed
    assert f"bottleneck: {described['here']['speed']['bottleneck']}, " in printed
    assert f"{described['sampled']['bytes_per_row']:.0f} bytes per row" in printed
    assert f"${described['cloud']['dollars']:.2f}" in printed
    assert described["command"] in printed.splitlines()
    assert described["cloud_command"] is None


def test_workers_are_as_was_asked(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for flags, workers, reason in (
        ({}, "1 worker", "one per hour of work"),
        ({"workers": 3}, "3 workers", "as set by --workers"),
        ({"hours": 5}, "1 worker", "the fewest that finish within --hours 5"),
        ({"hours": 0.01}, "1 worker", "no number of workers finishes within --hours 0.01; using one per hour"),
    ):
        assert run(machine="e2-standard-4", **flags) == 0
        printed = capsys.readouterr().out
        assert f"on Dataflow, {workers} of type e2-standard-4 (4 vCPUs, 16 GB): 4 min 0 s, " in printed
        assert f"\n  {reason}" in printed


def test_what_is_in_a_bucket_gets_a_command_for_the_cloud(
    run: Run,
    folder: Path,
    bundle_path: str,
    bucket: Bucket,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stores, "_access", storage.Access())
    for name, source in (("chips", folder), ("bundle", Path(bundle_path))):
        for path in source.rglob("*"):
            if path.is_file():
                storage.write(f"{bucket.path}/{name}/{path.relative_to(source)}", path.read_bytes())

    keys = ("--s3_access_key_id=key", "--s3_secret_access_key=hidden")
    assert run("--fail_fast", *keys, input=f"{bucket.path}/chips", model=f"{bucket.path}/bundle") == 0

    printed = capsys.readouterr().out
    assert "hidden" not in printed
    here, there = (parse_predict(command[2:]) for command in commands(printed))
    assert here.input == there.input == (f"{bucket.path}/chips",)
    assert there.output == "gs://BUCKET/tagged"
    assert (here.fail_fast, there.fail_fast) == (True, False), "a distributed run cannot end for its failures"
    assert "s3_" in str(here.beam_flags)
    assert "s3_" not in str(there.beam_flags), "a distributed run refuses keys"
    flags = check_beam_flags([flag for flag in there.beam_flags if not flag.startswith("--runner")]).get_all_options()
    assert (flags["machine_type"], flags["num_workers"], flags["project"]) == ("n2-highcpu-16", 1, "PROJECT")
    assert "--runner=DataflowRunner" in there.beam_flags
