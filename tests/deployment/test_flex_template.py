"""The metadata of the Dataflow Flex Template: what Google takes it for, and that it says what `predict` does."""

from __future__ import annotations

import argparse
import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import storage
from pipelines.commandline.flags import add_flags, parse_predict
from pipelines.commandline.parser import Parser, UsageError
from pipelines.images.limits import Limits
from pipelines.runners.beam_flags import check_beam_flags
from tests.conftest import Bucket
from tests.deployment.flex_template import MAIN_FILE, METADATA, PARAMETERS, accepts
from tests.image_files import picture, unmarked_rgba_jpeg
from tools.emulators import free_port

types: Any = pytest.importorskip(
    "google.cloud.dataflow_v1beta3.types",
    reason="Dataflow's client is not installed: pip install 'scenetags[dataflow]'",
)
LEAST = {"input": "gs://archive/2026/", "model": "gs://models/amazon", "output": "gs://results/amazon"}
LEFT_OUT = {
    "checkpoint_every": "waves are those of a local run; a job commits once, at its end",
    "checkpoint_seconds": "the same",
    "commit_every": "each commit takes a job of its own, and a template starts one",
    "dry_run": "it writes no job for the launcher to start; gcloud asks for one with validateOnly",
    "fail_fast": "distributed workers share no failure count",
    "log_format": "Google's launcher takes the lines into its log as they are",
    "processes": "distributed runners start their own",
    "progress": "nobody looks at the launcher",
    "verbose": "the launcher submits the job and ends; what it could add is in the job's own log",
}
"""Flags that no parameter stands for, and why."""

BEAMS = {"sdk_container_image"}
"""Parameters that are flags of Beam: those that gcloud has no flag of its own for."""

OTHERWISE = {
    "max_failure_rate": ("the exit code is 3", "an overwrite keeps the old rows"),
    "fail_on_shift": ("end with exit code 3", "keep the old rows of an overwrite"),
    "allow_empty": ("end with exit code 0", "succeed"),
}
"""What the command says, and the template in its place: a job of a template has no exit code."""

LOCAL_ONLY = ("precision", "auto")
"""A choice that jobs on workers refuse."""

LIMITS = {"max_bytes": Limits().max_bytes, "max_pixels": Limits().max_pixels}
"""Defaults that the parser leaves to others, for the sake of a quick start."""

GOOD = {
    "input": [
        "gs://archive/2026/",
        "gs://archive",
        "s3://archive/{2025,2026}/**/*.tif",
        "gs://archive/scenes.tar::2026/*.jpg",
        "gs://archive/a b.jpg",
    ],
    "input_list": ["gs://lists/new.txt", "gs://lists/a/b.csv", "gs://lists/x.jsonl.zst", "gs://lists/scenes.parquet"],
    "path_column": ["path", "image path"],
    "keep_columns": ["all", "site_id:string,acquired on"],
    "model": ["gs://models", "gs://models/amazon/"],
    "output": ["gs://results", "gs://results/amazon"],
    "relative_to": ["gs://bucket", "gs://bucket/archive/"],
    "threshold": ["0", "1", "0.25", ".5", "1.0"],
    "batch_size": ["1", "256"],
    "reads_in_flight": ["1", "64"],
    "threads": ["1", "8"],
    "accelerator": ["type:nvidia-l4;count:1;install-nvidia-driver", "type:nvidia-tesla-t4;count:2"],
    "max_failure_rate": ["0", "0.05", "1"],
    "bands": ["3,2,1", "10,4,2"],
    "stretch": ["0:3000", "-100:0.5", "0:1,0:2,0:3", "p2:p98", "p0.5:p99,p1:p2,p3:p4"],
    "tile": ["256"],
    "stride": ["128"],
    "min_valid": ["0", "0.5", "1"],
    "nodata": ["0", "-9999", "65535.0", "-3.4e38", ".5"],
    "mask": ["udm2:clear>=0.5", "udm2:clear>=1", "udm2:clear>=.25"],
    "asset": ["visual", "true colour", "red,green,blue"],
    "allow_vrt": ["true", "gs://bands", "s3://bands/a,gs://archive"],
    "max_bytes": ["1", "512000000"],
    "max_pixels": ["64000000"],
    "max_seconds": ["60", "0.5", ".25", "1.5", "0.05"],
    "sdk_container_image": [
        "europe-docker.pkg.dev/some-project/images/scenetags:0.1.0",
        "gcr.io/some-project/scenetags",
        "localhost:5000/scenetags@sha256:" + "0123456789abcdef" * 4,
    ],
}
BAD = {
    "input": ["/home/you/chips", "archive/2026", "gs://", "gs:///2026", "file://x", "gs://archive/a\ngs://archive/b"],
    "input_list": ["gs://lists/new", "gs://lists/x.parquet.gz", "gs://new.txt", "lists/new.txt"],
    "path_column": ["", "a\nb"],
    "keep_columns": ["", "a\nb"],
    "model": ["bundle/", "s3://models/amazon", "gs://"],
    "output": ["tagged/", "s3://results/amazon", "hdfs://results"],
    "relative_to": ["archive", "gs://"],
    "threshold": ["2", "-0.1", "1.5", "0,5", "half"],
    "batch_size": ["0", "-1", "1.5", "many"],
    "reads_in_flight": ["0", "many"],
    "threads": ["0", "auto"],
    "accelerator": ["nvidia-l4", "type:nvidia-l4", "type:nvidia-l4;count:0", "type:nvidia-l4;count:1;"],
    "max_failure_rate": ["5%", "1.01"],
    "bands": ["3,2", "0,1,2", "3, 2, 1", "red"],
    "stretch": ["3000", "0:1,0:2", "p2:98", "0:"],
    "tile": ["0", "256px"],
    "stride": ["0", "-1"],
    "min_valid": ["2", "50%"],
    "nodata": ["nan", "black", "0,0", "inf"],
    "mask": ["udm2", "udm2:clear>=0", "udm2:clear>=2", "udm2:cloud<=0.1"],
    "asset": ["", "a\nb"],
    "allow_vrt": ["", "bands", "/bands", "gs://a,b"],
    "max_bytes": ["0", "512MB"],
    "max_pixels": ["0", "8000x8000"],
    "max_seconds": ["0", "0.0", "-1", "a minute"],
    "sdk_container_image": ["scenetags", "https://gcr.io/some-project/scenetags", "gcr.io/some project/scenetags"],
}


def command() -> argparse.ArgumentParser:
    parser = Parser("scenetags predict", "")
    add_flags(parser)
    return parser


ACTIONS = {action.dest: action for action in command()._actions if action.dest != "help"}


def named(parameters: dict[str, str]) -> list[str]:
    """Write parameters as the launcher does."""
    return [f"--{name}={value}" for name, value in parameters.items()]


def with_value(name: str, value: str) -> dict[str, str]:
    """Give the least that a job needs, and a parameter besides, with the one upon which it hangs."""
    hangs_upon = {"isolate_decoding": "true"} if PARAMETERS[name].get("parentName") else {}
    needing = ("stride", "min_valid", "nodata", "mask", "edge", "stretch", "asset", "allow_vrt")
    hangs_upon |= {"tile": "256"} if name in needing else {}
    hangs_upon |= {"input_list": "gs://bucket/list.csv"} if name in ("path_column", "keep_columns") else {}
    hangs_upon |= {"input": "gs://bucket/archive/*.tif"} if name == "relative_to" else {}
    return {**LEAST, **hangs_upon, name: value}


def test_google_reads_all_of_it_and_writes_the_same() -> None:
    spec = {
        "image": "europe-docker.pkg.dev/some-project/images/scenetags:0.1.0",
        "metadata": METADATA,
        "sdkInfo": {"language": "PYTHON"},
        "defaultEnvironment": {},
    }
    read = types.ContainerSpec.from_json(json.dumps(spec), ignore_unknown_fields=False)
    written = types.ContainerSpec.to_json(
        read, including_default_value_fields=False, use_integers_for_enums=False, sort_keys=True
    )
    assert json.loads(written) == spec


def test_each_flag_of_predict_is_a_parameter_or_left_out_for_a_reason() -> None:
    assert len(PARAMETERS) == len(METADATA["parameters"]), "a parameter occurs twice"
    assert (PARAMETERS.keys() - BEAMS) | LEFT_OUT.keys() == ACTIONS.keys()
    assert not PARAMETERS.keys() & LEFT_OUT.keys()


def test_they_come_in_the_order_and_the_groups_of_the_help() -> None:
    titles = {
        action.dest: group.title or "" for group in command()._action_groups[2:] for action in group._group_actions
    }
    ours = [name for name in PARAMETERS if name in titles]
    assert ours == [name for name in titles if name in PARAMETERS]
    for name in ours:
        assert PARAMETERS[name]["groupName"].lower() == titles[name], name


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_is_a_flag_that_predict_or_beam_knows(name: str) -> None:
    chosen = PARAMETERS[name].get("defaultValue") or PARAMETERS[name].get("enumOptions", [{}])[0].get("value")
    value = GOOD[name][0] if name in GOOD else chosen
    options = parse_predict(named(with_value(name, value)))
    assert (options.beam_flags == ()) == (name not in BEAMS)
    check_beam_flags(["--runner=DataflowRunner", *options.beam_flags])


@pytest.mark.parametrize("name", [name for name in PARAMETERS if "defaultValue" in PARAMETERS[name]])
def test_a_default_is_what_predict_takes_where_nothing_is_said(name: str) -> None:
    """A form is filled in with it, and whoever leaves it as it is has said nothing."""
    default = PARAMETERS[name]["defaultValue"]
    without = getattr(parse_predict(named(LEAST)), name)
    assert getattr(parse_predict(named(with_value(name, default))), name) == LIMITS.get(name, without)


@pytest.mark.parametrize("name", [name for name in PARAMETERS if name in ACTIONS])
def test_its_help_says_what_the_help_of_the_command_says(name: str) -> None:
    theirs, ours = str(ACTIONS[name].help), str(PARAMETERS[name]["helpText"])
    theirs = theirs.replace(*OTHERWISE.get(name, ("", "")))
    main_statement = re.split(r"; | \(|\. |: |, e\.g\.", theirs)[0]
    assert ours.lower().startswith(main_statement.replace("--", "").lower())
    assert re.findall(r"\(default (\S+)\)", ours) == re.findall(r"\(default (\S+)\)", theirs)


@pytest.mark.parametrize("name", PARAMETERS)
def test_required_is_what_predict_requires(name: str) -> None:
    required = name in ACTIONS and ACTIONS[name].required
    assert PARAMETERS[name].get("isOptional", False) is not required


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_regex_is_anchored_at_both_ends_and_plain_enough_for_any_engine(name: str) -> None:
    [regex] = PARAMETERS[name]["regexes"]
    assert re.fullmatch(r"\^.*\$", regex)
    assert "(?" not in regex, "Google's engine may know no such group"


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_a_good_value_is_taken_by_the_regex_and_by_the_command(name: str, value: str) -> None:
    assert accepts(name, value)
    parse_predict(named(with_value(name, value)))


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_bad_value_is_refused_before_a_launcher_starts(name: str, value: str) -> None:
    assert not accepts(name, value)


def test_examples_are_there_for_all_that_is_not_enumerated() -> None:
    enumerated = {name for name, parameter in PARAMETERS.items() if parameter["paramType"] in ("BOOLEAN", "ENUM")}
    assert GOOD.keys() == BAD.keys() == PARAMETERS.keys() - enumerated


def test_what_can_be_chosen_is_what_the_command_lets_choose() -> None:
    for name, action in ACTIONS.items():
        if name in LEFT_OUT:
            continue
        options = [option["value"] for option in PARAMETERS[name].get("enumOptions", [])]
        assert options == [choice for choice in action.choices or [] if (name, choice) != LOCAL_ONLY], name
        assert (PARAMETERS[name]["paramType"] == "ENUM") == bool(action.choices), name
        for value in options:
            assert accepts(name, value)
    assert not accepts("engine", "pytorch")


def test_switches_are_true_and_false() -> None:
    switches = {name for name, action in ACTIONS.items() if action.default is False} - LEFT_OUT.keys()
    assert switches == {name for name, parameter in PARAMETERS.items() if parameter["paramType"] == "BOOLEAN"}
    for name in switches:
        assert [value for value in ("true", "false", "yes") if accepts(name, value)] == ["true", "false"], name


def test_what_hangs_upon_another_parameter_is_shown_where_the_command_takes_it() -> None:
    hanging = {name: parameter for name, parameter in PARAMETERS.items() if "parentName" in parameter}
    assert hanging.keys() == {"max_seconds"}
    for name, parameter in hanging.items():
        parent, [value] = parameter["parentName"], parameter["parentTriggerValues"]
        assert accepts(parent, value)
        assert parse_predict(named({**LEAST, parent: value, name: GOOD[name][0]}))
        with pytest.raises(UsageError, match=f"--{name} needs --{parent}"):
            parse_predict(named({**LEAST, name: GOOD[name][0]}))


def test_a_comma_is_part_of_a_pattern() -> None:
    options = parse_predict(named({**LEAST, "input": "gs://archive/{2025,2026}/"}))
    assert options.input == ("gs://archive/{2025,2026}/",)


@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_launched_as_a_template_it_writes_its_job_and_leaves_the_output_to_it(
    bucket: Bucket, bundle_path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.write(f"{bucket.path}/chips/0.jpg", unmarked_rgba_jpeg(picture(seed=0)))
    for file in Path(bundle_path).rglob("*"):
        if file.is_file():
            storage.write(f"{bucket.path}/bundle/{file.relative_to(bundle_path)}", file.read_bytes())
    template, image = (
        f"{bucket.path}/temp/launches/1/job_object",
        "europe-docker.pkg.dev/some-project/images/scenetags:1",
    )
    parameters = {
        "input": f"{bucket.path}/chips/",
        "model": f"{bucket.path}/bundle",
        "output": f"{bucket.path}/tagged",
        "sdk_container_image": image,
        **{name: parameter["defaultValue"] for name, parameter in PARAMETERS.items() if "defaultValue" in parameter},
    }
    assert all(accepts(name, value) for name, value in parameters.items())
    # In the words of a launcher's log. Nobody listens at the endpoint: to create a job would fail.
    launcher = {
        "job_name": "monday",
        "region": "europe-west1",
        "service_account_email": "tagger@some-project.iam.gserviceaccount.com",
        "runner": "DataflowRunner",
        "project": "some-project",
        "template_location": template,
        "temp_location": f"{bucket.path}/temp",
        "staging_location": f"{bucket.path}/staging",
        "labels": '{\n  "team" : "forest"\n}\n',
        "max_num_workers": "40",
        "machine_type": "n2-highcpu-16",
        "dataflow_endpoint": f"http://localhost:{free_port()}",
    }

    monkeypatch.setattr(sys, "argv", [str(MAIN_FILE), *named({**launcher, **parameters}), "--no_auth"])

    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(MAIN_FILE), run_name="__main__")

    assert end.value.code == 0, capsys.readouterr().err
    job = types.Job.from_json(storage.read(template), ignore_unknown_fields=False)
    assert (job.name, job.labels["team"]) == ("monday", "forest")
    [pool] = job.environment.worker_pools
    assert (pool.machine_type, pool.worker_harness_container_image) == ("n2-highcpu-16", image)
    assert storage.exists(job.environment.sdk_pipeline_options["options"]["pipelineUrl"])
    written, announced = [entry.path for entry in storage.walk(f"{bucket.path}/tagged")]
    assert written == f"{bucket.path}/tagged/_lock"
    assert announced.endswith("/run.json")
    lock = json.loads(storage.read(written))
    assert lock["left"] is True
    assert f"delete {written}" in lock["owner"]
    assert "the job template is written; when it ends, it writes" in capsys.readouterr().out
