"""Workers that are not this process: what they have of it, what they refuse, and that their rows are the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import predict
from pipelines.inference.bundle import LITERT_MODEL
from pipelines.inference.predictor import Predictor
from pipelines.job.release import running_release
from pipelines.runners import jobs
from tests.image_files import encode, exif, picture, unmarked_rgba_jpeg
from tests.outputs import accounts, rows_by_path
from tools.workers import ROOT, Cluster, Server, worker_pool

CHIPS = 40

Predict = Callable[..., int]


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    """Draw images of several kinds, and some that are none."""
    folder = tmp_path / "chips"
    folder.mkdir()
    for seed in range(CHIPS):
        kind = ("jpeg", "png", "tiff", "webp")[seed % 4]
        drawn = picture(seed=seed)
        data = encode(drawn, kind) if seed % 8 < 4 else unmarked_rgba_jpeg(drawn)
        (folder / f"{seed:02}.{kind}").write_bytes(data)
    # Of this one Pillow warns.
    (folder / "exif.jpg").write_bytes(encode(picture(), "jpeg", exif=exif(6)[:18]))
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("not an image")
    (folder / "notes.txt").write_text("not named like one")
    return folder


@pytest.fixture
def flags(chips: Path, tmp_path: Path, bundle_path: str) -> list[str]:
    """Name images in a folder, in an archive that can only be gone through, and in a list."""
    with tarfile.open(tmp_path / "more.tar.gz", "w:gz") as archive:
        archive.add(chips, "more")
    (tmp_path / "list.txt").write_text("chips/00.jpeg\nmore.tar.gz::more/01.png\ngone.jpg\n")
    named = [f"--input={chips}", f"--input={tmp_path}/more.tar.gz", f"--input_list={tmp_path}/list.txt"]
    return [*named, f"--model={bundle_path}", "--max_failure_rate=1", "--progress=off"]


def test_workers_share_nothing_with_this_process(
    workers: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(path: str) -> None:
        import json
        import os
        import sys

        facts = {"pid": os.getpid(), "folder": os.listdir(), "environment": dict(os.environ), "modules": [*sys.modules]}
        with open(path, "w") as file:
            json.dump(facts, file)

    monkeypatch.setenv("SCENETAGS_CANARY", "sings")

    with beam.Pipeline(options=PipelineOptions(list(workers.flags))) as pipeline:
        _ = pipeline | beam.Create([str(tmp_path / "facts.json")]) | beam.Map(tell)

    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["pid"] != os.getpid()
    assert facts["folder"] == []
    assert facts["environment"].keys() <= {"PATH", "HOME", "PYTHONPATH", "LC_CTYPE"}
    assert not {"pytest", "tests.conftest"} & set(facts["modules"])


@pytest.mark.parametrize("more", [[], ["--isolate_decoding"]], ids=["plain", "isolated"])
def test_rows_of_other_processes_are_the_same_bit_for_bit(
    workers: Cluster, flags: list[str], tmp_path: Path, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sing(self: Predictor, images: Any) -> Any:
        raise AssertionError("the launching process has predicted something")

    assert predict.main([*flags, f"--output={tmp_path}/local"]) == 0
    expected = rows_by_path(tmp_path / "local")
    monkeypatch.setattr(Predictor, "predict", sing)
    before = workers.started

    assert predict.main([*flags, f"--output={tmp_path}/remote", *workers.flags, *more]) == 0

    found = rows_by_path(tmp_path / "remote")
    assert found.keys() == expected.keys()
    for path, row in expected.items():
        assert found[path] == row
    assert len(found) == 2 * (CHIPS + 3) + 1
    assert accounts(tmp_path / "remote") == accounts(tmp_path / "local")
    assert workers.started - before == 1
    assert sorted(os.listdir(tmp_path / "remote")) == ["failures", "predictions", "runs"]
    assert "PIL" not in workers.workers.log.read_text(), (
        "a warning of each damaged image would fill the log of a cluster"
    )


def test_paths_are_those_of_the_folder_in_which_the_command_was_given(
    workers: Cluster, chips: Path, tmp_path: Path, bundle_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bundle_path, tmp_path / "bundle")
    (tmp_path / "list.txt").write_text("chips/00.jpeg\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    named = ["--input=chips/*[1-3].???", "--input=~/chips/04.jpeg", "--input_list=list.txt"]

    assert predict.main([*named, "--model=bundle", "--output=out", "--progress=off", *workers.flags]) == 0

    assert {os.path.dirname(path) for path in rows_by_path(tmp_path / "out")} == {str(chips)}
    assert {"00.jpeg", "01.png", "04.jpeg"} <= {os.path.basename(path) for path in rows_by_path(tmp_path / "out")}


def test_a_bundle_that_is_replaced_after_the_launch_is_refused_in_one_line(
    workers: Cluster,
    flags: list[str],
    bundle_copy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(jobs, "check_engine", lambda *_: (bundle_copy / LITERT_MODEL).write_bytes(b"another"))

    assert predict.main([*flags, f"--model={bundle_copy}", f"--output={tmp_path}/out", *workers.flags]) == 2

    said = capsys.readouterr().err
    assert said.startswith(f"scenetags predict: bundle {bundle_copy}: {LITERT_MODEL} is damaged: ")
    assert said.count("\n") == 1, said
    assert not (tmp_path / "out").exists()


class Others(NamedTuple):
    """A cluster whose workers import what they are given.

    Attributes:
      cluster: whose pool looks for the package behind a link.
      link: to the folder that holds the package.
    """

    cluster: Cluster
    link: Path

    def give(self, package: Path) -> None:
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(package)


@pytest.fixture(scope="module")
def others(jobs: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Others]:
    folder = tmp_path_factory.mktemp("others")
    link = folder / "package"
    link.symlink_to(ROOT)
    with worker_pool(folder / "pool", package=link) as pool:
        yield Others(Cluster(jobs, pool), link)


def alter_version(package: Path) -> None:
    folder = package / "scenetags-9.9.9.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: scenetags\nVersion: 9.9.9\n")


def rename_a_step(package: Path) -> None:
    steps = package / "pipelines/job/steps/listing.py"
    steps.write_text(steps.read_text().replace("ListPieces", "PieceList"))
    transforms = package / "pipelines/job/transforms.py"
    transforms.write_text(transforms.read_text().replace("ListPieces", "PieceList"))


def rename_what_small_steps_call(package: Path) -> None:
    for path in package.rglob("*.py"):
        path.write_text(path.read_text().replace("is_streamed", "lies_in_stream"))


def make_it_older_than_releases(package: Path) -> None:
    # Were the file deleted, that of an editable installation would be found in its place.
    (package / "pipelines/job/release.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'pipelines.job.release'\")\n"
    )


@pytest.mark.parametrize(
    ("alter", "line"),
    [
        (alter_version, "a worker runs scenetags 9.9.9 (code "),
        (rename_a_step, f"but the job was launched with {running_release()}; build the workers' image from"),
        (
            rename_what_small_steps_call,
            f"but the job was launched with {running_release()}; build the workers' image from",
        ),
        (make_it_older_than_releases, "scenetags is missing on the workers, or older than in the launching process; "),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_workers_with_another_release_refuse_in_one_line(
    others: Others,
    flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    alter: Callable[[Path], None],
    line: str,
) -> None:
    package = tmp_path / "package"
    shutil.copytree(ROOT / "pipelines", package / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    alter(package)
    others.give(package)
    before = others.cluster.started

    assert predict.main([*flags, f"--output={tmp_path}/out", *others.cluster.flags]) == 2
    assert others.cluster.started == before + 1

    said = capsys.readouterr().err
    assert said.startswith("scenetags predict: ")
    assert line in said
    assert said.count("\n") == 1, said
    assert not (tmp_path / "out").exists()


def test_a_job_that_is_interrupted_commits_nothing_and_is_done_by_the_next_one(
    workers: Cluster, tmp_path: Path, bundle_path: str
) -> None:
    count = 1500
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips/0.jpg").write_bytes(unmarked_rgba_jpeg(picture()))
    for number in range(1, count):
        os.link(tmp_path / "chips/0.jpg", tmp_path / f"chips/{number}.jpg")
    out = tmp_path / "out"
    flags = [f"--input={tmp_path}/chips", f"--model={bundle_path}", f"--output={out}", "--progress=off"]
    command = [sys.executable, "-m", "pipelines.predict", *flags, *workers.flags]

    job = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    before = workers.started
    while job.poll() is None and workers.started == before:
        time.sleep(0.05)
    job.send_signal(signal.SIGINT)
    said = job.communicate(timeout=60)[1]

    assert job.returncode == 130, said
    assert "interrupted by SIGINT; this run committed nothing" in said
    assert predict.main(flags) == 0
    assert len(rows_by_path(out)) == count
    # Beam's own job service goes on with a job that was cancelled, and what it still writes is never committed.
    assert sorted(name for name in os.listdir(out) if not name.startswith("_staging")) == [
        "failures",
        "predictions",
        "runs",
    ]
