"""The commands of docs/dataflow.md, run by a shell that knows only stand-ins, which take down what they are given."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.commandline.flags import parse_predict
from pipelines.plan import parse_plan
from pipelines.planning import machines
from pipelines.runners.beam_flags import check_beam_flags
from tests import ROOT
from tests.deployment.flex_template import PARAMETERS, accepts

markdown_it = pytest.importorskip(
    "markdown_it", reason="markdown-it-py is not installed: pip install 'scenetags[test]'"
)

PAGE = ROOT / "docs" / "dataflow.md"

STAND_INS = ("bq", "date", "docker", "duckdb", "gcloud", "jq", "make", "mkdir", "pip", "scenetags", "tail")

STAND_IN = """#!/bin/sh
{ for word in "${0##*/}" "$@"; do printf '%s\\1' "$word" | tr '\\n' ' '; done; echo; } >>"$TAKEN_DOWN"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("docs")


@pytest.fixture(scope="module")
def commands(folder: Path) -> list[list[str]]:
    """Run all commands of the page, from the first to the last, in one shell."""
    programs = folder / "programs"
    programs.mkdir()
    for name in STAND_INS:
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    for name in ("cat", "tr"):
        os.symlink(str(shutil.which(name)), programs / name)
    tokens = markdown_it.MarkdownIt("commonmark").parse(PAGE.read_text())
    script = "\n".join(token.content for token in tokens if token.type == "fence" and token.info == "sh")
    (folder / "work").mkdir()
    done = subprocess.run(
        ["/bin/sh", "-eu"],
        input=script,
        cwd=folder / "work",
        env={"PATH": str(programs), "TAKEN_DOWN": str(folder / "taken_down")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"a command of {PAGE.name} is none, or not known here: {done.stderr}"
    lines = (folder / "taken_down").read_text().splitlines()
    return [line.split("\1")[:-1] for line in lines]


def of(commands: Sequence[Sequence[str]], *words: str) -> list[Sequence[str]]:
    """Select commands by their first words, and give what comes after these."""
    return [command[len(words) :] for command in commands if tuple(command[: len(words)]) == words]


def flags(words: Sequence[str]) -> dict[str, list[str]]:
    """Sort the values of flags that are written `--name=value` by their names."""
    found: dict[str, list[str]] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if separator and name.startswith("--"):
            found.setdefault(name, []).append(value)
    return found


def test_what_scenetags_is_asked_to_predict_it_takes(commands: list[list[str]]) -> None:
    jobs = of(commands, "scenetags", "predict")
    assert len(jobs) >= 4
    for words in jobs:
        options = parse_predict(words)
        check_beam_flags(options.beam_flags)
        for path in (*options.input, options.model, options.output):
            assert path.startswith("gs://my-project-tagging/"), words


def test_the_rehearsal_is_the_job_itself(commands: list[list[str]]) -> None:
    rehearsal, job, *_ = of(commands, "scenetags", "predict")
    assert rehearsal == [*job, "--dry_run"]


def test_what_scenetags_is_asked_to_plan_it_takes(commands: list[list[str]]) -> None:
    plans = of(commands, "scenetags", "plan")
    assert plans
    for words in plans:
        check_beam_flags(parse_plan(words).job.beam_flags)


def test_no_other_command_of_scenetags_is_there(commands: list[list[str]]) -> None:
    assert {words[0] for words in of(commands, "scenetags")} == {"predict", "plan"}


def test_a_template_is_launched_with_parameters_that_it_has(commands: list[list[str]]) -> None:
    launches = of(commands, "gcloud", "dataflow", "flex-template", "run")
    assert launches
    for words in launches:
        check_parameters(dict(parameter.split("=", 1) for parameter in flags(words)["--parameters"]))


def test_what_the_scheduler_sends_is_what_google_reads(commands: list[list[str]], folder: Path) -> None:
    types: Any = pytest.importorskip("google.cloud.dataflow_v1beta3.types")
    [words] = of(commands, "gcloud", "scheduler", "jobs", "create", "http")
    [name] = flags(words)["--message-body-from-file"]
    message = (folder / "work" / name).read_text()
    launch = types.LaunchFlexTemplateRequest.from_json(message, ignore_unknown_fields=False).launch_parameter
    assert launch.environment.service_account_email == "scenetags-worker@my-project.iam.gserviceaccount.com"
    check_parameters(json.loads(message)["launchParameter"]["parameters"])
    [built] = of(commands, "gcloud", "dataflow", "flex-template", "build")
    assert launch.container_spec_gcs_path == built[0]


def check_parameters(given: Mapping[str, str]) -> None:
    """See that a launch gives what a template asks for, and nothing that it does not know."""
    required = {name for name, parameter in PARAMETERS.items() if not parameter.get("isOptional")}
    assert required <= given.keys() <= PARAMETERS.keys()
    for name, value in given.items():
        assert accepts(name, value), f"{name}={value}"


def test_the_template_is_built_of_files_that_are_here(commands: list[list[str]]) -> None:
    [words] = of(commands, "gcloud", "dataflow", "flex-template", "build")
    [metadata] = flags(words)["--metadata-file"]
    assert (ROOT / metadata).is_file()
    assert flags(words)["--image"] == ["europe-west1-docker.pkg.dev/my-project/scenetags/scenetags:0.1.0"]


def test_what_make_and_pip_are_asked_for_is_there(commands: list[list[str]]) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {words[0] for words in of(commands, "make")} <= targets
    extras = set(re.findall(r'^ {8}"(\w+)": \[', (ROOT / "setup.py").read_text(), re.MULTILINE))
    asked = "\n".join(word for words in of(commands, "make") + of(commands, "pip") for word in words)
    named = {extra for names in re.findall(r"EXTRAS=(\S+)|\.\[(\S+)\]", asked) for extra in "".join(names).split(",")}
    assert named <= extras
    assert "gpu" in named


def test_what_the_page_points_to_is_there() -> None:
    text = PAGE.read_text()
    headings = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        if not path:
            assert anchor in headings, target
        elif "://" not in path:
            assert (PAGE.parent / path).is_file(), target
    for name in re.findall(r"tests/[\w/]+\.py", text):
        assert (ROOT / name).is_file(), name


def test_prices_are_those_of_the_plan() -> None:
    text = PAGE.read_text()
    assert f"${machines.DOLLARS_PER_VCPU_HOUR} per vCPU-hour, ${machines.DOLLARS_PER_GB_HOUR} per GB-hour" in text
    assert f"--machine_type={machines.DEFAULT_MACHINE}" in text
