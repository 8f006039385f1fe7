"""The image: its Dockerfile fits the project, and its steps, done in empty folders, install a job that works there."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dockerfile_parse import DockerfileParser
from PIL import Image

from tests import ROOT
from tests.deployment.dockerfile import build, is_sent, moved, read_stages, run
from tests.outputs import rows

STAGES = read_stages()
FINAL = STAGES[-1]
ENVIRONMENT: dict[str, str] = DockerfileParser(str(ROOT)).envs


def read_lock() -> dict[str, set[str]]:
    """Read the versions that the lock file allows, of each package."""
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE):
        versions.setdefault(canonical(name), set()).add(version)
    return versions


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def argument_of_setup(name: str) -> Any:
    nodes = ast.walk(ast.parse((ROOT / "setup.py").read_text()))
    return next(ast.literal_eval(node.value) for node in nodes if isinstance(node, ast.keyword) and node.arg == name)


def test_the_worker_program_is_that_of_the_locked_beam() -> None:
    [locked] = read_lock()["apache-beam"]
    [tag] = [stage.image.rpartition(":")[2] for stage in STAGES if stage.image.startswith("apache/beam_")]
    assert tag == locked, f"requirements.lock has Beam {locked}, the Dockerfile {tag}: change its first FROM"


def test_one_python_throughout() -> None:
    [locked] = re.findall(r"--python-version (\S+)", (ROOT / "Makefile").read_text())
    for stage in STAGES:
        [version] = re.findall(r"beam_python(\S+)_sdk|python(\d+)-template|^python:(\d+\.\d+)", stage.image)
        assert "".join(version).replace(".", "") == locked.replace(".", ""), f"{stage.image} is not of Python {locked}"
    folders = set(re.findall(r"/python(\d+\.\d+)", "\n".join(stage.commands for stage in STAGES)))
    assert folders == {locked}


@pytest.mark.parametrize("image", sorted({stage.image for stage in STAGES}))
def test_images_are_named_by_a_tag_that_stays(image: str) -> None:
    tag = image.rpartition(":")[2]
    assert re.fullmatch(r"(?!.*latest).*\d.*", tag), f"{image} may be another one tomorrow"


@pytest.mark.parametrize(
    "source", [source for stage in STAGES for copy in stage.copies if not copy.stage for source in copy.sources]
)
def test_what_is_copied_is_there_and_reaches_the_engine(source: str) -> None:
    path = ROOT / source
    files = [*path.rglob("*.py")] if path.is_dir() else [path]
    assert [file for file in files if file.is_file()], f"the project has no {source}"
    kept_back = [str(file) for file in files if not is_sent(file.relative_to(ROOT))]
    assert not kept_back, f".dockerignore keeps back {kept_back}"


@pytest.mark.parametrize(
    "path", ["tests/conftest.py", ".git/HEAD", ".venv/pyvenv.cfg", "pipelines/__pycache__/cli.pyc"]
)
def test_nothing_else_reaches_the_engine(path: str) -> None:
    assert not is_sent(Path(path))


def test_dependencies_are_installed_before_any_package_is_copied() -> None:
    """A change of code builds upon the layer of the dependencies."""
    [build] = [stage for stage in STAGES if stage.name == "build"]
    [first, *_] = [copy for copy in build.copies if not copy.stage]
    assert sorted(first.sources) == ["pyproject.toml", "requirements.lock", "setup.py"]


def test_stages_copy_from_stages() -> None:
    names = {stage.name for stage in STAGES} | {""}
    assert {copy.stage for stage in STAGES for copy in stage.copies} <= names


def test_nothing_is_compiled_or_fetched_but_by_pip() -> None:
    commands = "\n".join(stage.commands for stage in STAGES)
    assert not re.search(r"\b(apt|apt-get|apk|gcc|make|curl|wget|git)\b", commands)
    assert "pip" not in FINAL.commands, "what builds belongs into the stage before"


def test_a_worker_starts_with_beams_program() -> None:
    [entrypoint] = FINAL.values("ENTRYPOINT")
    assert json.loads(entrypoint) == ["/opt/apache/beam/boot"]
    assert "/opt/apache/beam/boot" in FINAL.files


def test_a_flex_template_finds_launcher_and_main_file() -> None:
    wanted = {"/opt/google/dataflow/python_template_launcher", ENVIRONMENT["FLEX_TEMPLATE_PYTHON_PY_FILE"]}
    assert wanted <= FINAL.files


def test_the_labels_are_those_of_setup_py() -> None:
    labels = DockerfileParser(str(ROOT)).labels
    assert labels["org.opencontainers.image.title"] == argument_of_setup("name")
    assert labels["org.opencontainers.image.version"] == argument_of_setup("version")
    assert labels["org.opencontainers.image.licenses"] == argument_of_setup("license")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Do what the Dockerfile says, which takes half a minute where pip has downloaded the packages before."""
    root = tmp_path_factory.mktemp("image")
    download = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(root / "index"),
        "bracex",
    ]
    if subprocess.run(download, capture_output=True, check=False).returncode:
        pytest.skip("pip reaches no index of packages")
    yield build(STAGES, root)
    shutil.rmtree(root)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


@pytest.mark.installation
def test_the_image_tags_images(image: Path, empty: Path, bundle_path: str, tmp_path: Path) -> None:
    chips = tmp_path / "chips"
    chips.mkdir()
    for name, colour in (("green", (0, 200, 0)), ("blue", (0, 0, 200))):
        Image.new("RGB", (48, 48), colour).save(chips / f"{name}.png")
    flags = f"--input {chips} --model {bundle_path} --output {tmp_path / 'tagged'}"
    done = run(f"scenetags predict {flags}", image, empty)
    assert done.returncode == 0, done.stderr
    found = rows(tmp_path / "tagged")
    assert {Path(row["path"]).stem: row["tags"] for row in found} == {"green": ["green"], "blue": ["blue"]}
    assert not list(empty.iterdir()), "something was left in the working folder"


@pytest.mark.installation
def test_the_main_file_of_the_flex_template_is_predict(image: Path, empty: Path) -> None:
    main = moved(" " + ENVIRONMENT["FLEX_TEMPLATE_PYTHON_PY_FILE"], image)
    done = run(f"python {main} --help", image, empty)
    assert done.returncode == 0, done.stderr
    assert "--input_list" in done.stdout


@pytest.mark.installation
def test_the_image_has_the_versions_of_the_lock_and_no_others(image: Path, empty: Path) -> None:
    listed = json.loads(run("python -m pip list --format json", image, empty).stdout)
    versions = {canonical(package["name"]): package["version"] for package in listed}
    allowed = read_lock() | {"scenetags": {argument_of_setup("version")}}
    of_the_base_image = {"pip", "setuptools"}
    others = {name: version for name, version in versions.items() if version not in allowed.get(name, ())}
    assert others.keys() <= of_the_base_image, f"not as requirements.lock has it: {others}"


@pytest.mark.installation
@pytest.mark.parametrize(
    "module",
    ["apache_beam.runners.worker.sdk_worker_main", "apache_beam.runners.dataflow.dataflow_runner", "boto3", "pip"],
)
def test_the_image_has_what_workers_and_launcher_import(image: Path, empty: Path, module: str) -> None:
    done = run(f"python -c 'import {module}'", image, empty)
    assert done.returncode == 0, done.stderr


@pytest.mark.installation
def test_the_image_has_no_tensorflow(image: Path, empty: Path) -> None:
    assert "No module named 'tensorflow'" in run("python -c 'import tensorflow'", image, empty).stderr


@pytest.mark.installation
def test_every_module_comes_with_bytecode(image: Path) -> None:
    [packages] = (image / "usr" / "local" / "lib").glob("python*/site-packages")
    for name in ("pipelines", "pipelines/storage", "model", "apache_beam/runners/worker", "numpy"):
        modules = {path.stem for path in (packages / name).glob("*.py")}
        compiled = {path.name.partition(".")[0] for path in (packages / name / "__pycache__").glob("*.pyc")}
        assert modules <= compiled, f"{name}: no bytecode of {modules - compiled}"


def make_image(engines: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "image", *(f"{name}={value}" for name, value in variables.items())]
    return subprocess.run(
        command, cwd=ROOT, env={"PATH": f"{engines}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )


def write_engine(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_make_image_without_an_engine_says_what_it_needs(tmp_path: Path) -> None:
    for name in ("docker", "podman"):
        write_engine(tmp_path, name, "exit 1")
    made = make_image(tmp_path)
    assert made.returncode == 2
    assert made.stdout == "make image needs docker or podman with its engine running; see docker info\n"


def test_make_image_takes_the_engine_that_runs(tmp_path: Path) -> None:
    write_engine(tmp_path, "docker", "exit 1")
    write_engine(tmp_path, "podman", 'echo "$@"')
    made = make_image(tmp_path, IMAGE="registry/scenetags:1", EXTRAS="dataflow,gpu")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith(
        "build --platform linux/amd64 --build-arg EXTRAS=dataflow,gpu --tag registry/scenetags:1 "
    )
