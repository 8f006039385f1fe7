"""The wheel that workers without scenetags are given."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions

from pipelines.runners.staging import pack_wheel, package_files, stage_package

RELEASE = f"scenetags-{metadata.version('scenetags')}"

PACK = "import sys; from pipelines.runners import staging; print(staging.__file__); staging.pack_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_the_wheel_is_named_as_pip_wants_it(wheel: Path) -> None:
    assert wheel.name == f"{RELEASE}-py3-none-any.whl"


def test_the_same_code_is_packed_to_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    assert pack_wheel(tmp_path).read_bytes() == wheel.read_bytes()


def test_what_is_installed_from_the_wheel_packs_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    subprocess.run([*pip, packages, wheel], check=True)
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    command = [sys.executable, "-c", PACK]
    told = subprocess.run(
        [*command, tmp_path], env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert told.startswith(f"{packages}{os.sep}")
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_wheel_holds_the_code_and_nothing_that_python_left_beside_it(contents: dict[str, bytes]) -> None:
    code = {name: data for name, data in contents.items() if ".dist-info/" not in name}
    assert code == dict(package_files())
    assert {"pipelines/predict.py", "pipelines/storage/google.py", "model/train.py"} <= code.keys()
    # Besides the code there is the page of the map.
    assert {Path(name).suffix for name in code} == {".py", ".html", ".css", ".js"}


def test_the_record_lists_every_file_with_its_digest(contents: dict[str, bytes]) -> None:
    recorded = dict(line.split(",", 1) for line in contents[f"{RELEASE}.dist-info/RECORD"].decode().splitlines())
    assert recorded.pop(f"{RELEASE}.dist-info/RECORD") == ","
    assert recorded == {
        name: f"sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')},{len(data)}"
        for name, data in contents.items()
        if not name.endswith("/RECORD")
    }


def test_the_dependencies_are_those_that_run_here_but_beam_is_the_workers_own(contents: dict[str, bytes]) -> None:
    lines = contents[f"{RELEASE}.dist-info/METADATA"].decode().splitlines()
    required = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    assert {f"{name}=={metadata.version(name)}" for name in ("ai-edge-litert", "numpy", "pillow")} <= set(required)
    assert [line for line in required if "==" not in line] == ["apache-beam>=2.77"]
    assert [line for line in required if "extra ==" in line] == []
    assert {f"{name}=={metadata.version(name)}" for name in ("boto3", "pyproj")} <= set(required)
    assert [line for line in required if line.startswith(("tensorflow", "pytest", "google-cloud-dataflow"))] == []


def test_what_the_wheel_is_called_by_is_the_command(contents: dict[str, bytes]) -> None:
    assert contents[f"{RELEASE}.dist-info/entry_points.txt"].decode().split() == [
        *("[console_scripts]", "scenetags", "=", "pipelines.cli:main")
    ]
    assert contents[f"{RELEASE}.dist-info/top_level.txt"] == b"model\npipelines\n"


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--extra_package=mine-1.0.tar.gz",),
        ("--requirements_file=requirements.txt",),
        ("--sdk_location=container",),
        ("--prebuild_sdk_container_engine=cloud_build",),
        ("--environment_type=EXTERNAL", "--environment_config=localhost:50000"),
    ],
    ids=lambda flags: " ".join(flags) or "no flags",
)
def test_workers_are_given_the_package(flags: tuple[str, ...], wheel: Path, tmp_path: Path) -> None:
    options = PipelineOptions(list(flags))
    stage_package(options, tmp_path)
    *others, package = options.view_as(SetupOptions).extra_packages
    assert Path(package).read_bytes() == wheel.read_bytes()
    assert [f"--extra_package={other}" for other in others] == [flag for flag in flags if "extra_package" in flag]


@pytest.mark.parametrize(
    "flag",
    [
        "--sdk_container_image=images/scenetags:1",
        "--worker_harness_container_image=images/scenetags:1",
        "--environment_config=images/scenetags:1",
        "--environment_options=docker_container_image=images/scenetags:1",
        "--setup_file=elsewhere/setup.py",
        "--extra_package=elsewhere/scenetags-0.2.0.tar.gz",
        "--extra_package=gs://builds/scenetags-0.2.0-py3-none-any.whl",
    ],
)
def test_workers_whose_package_the_user_brings_are_given_none(flag: str, tmp_path: Path) -> None:
    options = PipelineOptions([flag])
    before = options.view_as(SetupOptions).extra_packages
    stage_package(options, tmp_path)
    assert options.view_as(SetupOptions).extra_packages == before
    assert list(tmp_path.iterdir()) == []
