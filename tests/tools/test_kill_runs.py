"""Real runs, really killed; and the tool that looks for what they lose must see it when they do."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import predict
from pipelines.output.lock import LOCK
from pipelines.output.run import Accounts
from tests.image_files import picture, unmarked_rgba_jpeg
from tools import kill_runs
from tools.output_checks import Archive, BrokenGuaranteeError, judge, look, read_rows

TRIES = 4


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(100):
        (folder / f"{number}.jpg").write_bytes(unmarked_rgba_jpeg(picture(seed=number)))
    return folder


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do here what is not disturbed: a process of its own takes two seconds to begin."""

    def run(command: Sequence[str], output: Path) -> float:
        assert command[1:3] == ["-m", "pipelines.predict"]
        began: list[float] = []
        over = threading.Event()

        def watch() -> None:
            while not ((output / LOCK).exists() or over.wait(0.002)):
                pass
            began.append(time.monotonic())

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            code = predict.main(kill_runs._into(output, command)[3:])
            ended = time.monotonic()
        finally:
            over.set()
            watching.join()
        assert code == 0, f"the command ended with code {code}"
        return ended - began[0]

    monkeypatch.setattr(kill_runs, "_run_to_the_end", run)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("scenario", ["fresh", "changed", "overwrite"])
def test_a_killed_run_loses_nothing(
    scenario: str, images: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"--images={images}", f"--model={bundle_path}", f"--scenario={scenario}"]
    # By this seed the moment is in the middle of a run. One that has ended before, which a busy machine may well let
    # happen, was not killed, and proves nothing.
    for _ in range(TRIES):
        code = kill_runs.main([*arguments, "--times=1", "--checkpoint_every=20", "--seed=17"])

        printed = capsys.readouterr().out
        assert code == 0, printed
        assert "1 of 1 disrupted runs passed" in printed
        if "finished before" not in printed:
            break
    assert re.search(r"^  1  killed at \d+\.\d\d s: \d+ rows visible, then correct$", printed, re.MULTILINE), printed


def test_a_run_that_says_much_before_it_is_at_work_is_not_waited_for_in_vain(tmp_path: Path) -> None:
    script = "import pathlib, sys; sys.stderr.write('x' * 200_000); pathlib.Path(sys.argv[1]).touch(); sys.exit(3)"
    command = [sys.executable, "-c", script, f"{kill_runs._OUTPUT}/{LOCK}"]
    with pytest.raises(BrokenGuaranteeError, match=r"the command ended with exit code 3: x{200000}"):
        kill_runs._run_to_the_end(command, tmp_path)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_full_disk_loses_nothing(images: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [f"--images={images}", f"--model={bundle_path}", "--scenario=full_disk", "--checkpoint_every=20"]

    try:
        code = kill_runs.main([*arguments, "--times=1"])
    except SystemExit as refused:
        pytest.skip(str(refused))

    printed = capsys.readouterr().out
    assert code == 0, printed
    assert "stopped: No space left on device" in printed


def write(output: Path, table: str, paths: list[str], name: str = "x") -> None:
    (output / table).mkdir(parents=True, exist_ok=True)
    rows = pa.table({"path": paths, "p_a": pa.array([0.5] * len(paths), pa.float32()), "run": [name] * len(paths)})
    pq.write_table(rows, output / table / f"{name}.parquet")


def finish(output: Path, **changes: object) -> None:
    (output / "runs").mkdir(exist_ok=True)
    counts = asdict(Accounts(inputs=3, predictions=2, failures=1))
    manifest = {"run": "1", "status": "done", **counts, **changes}
    (output / "runs" / "1.json").write_text(json.dumps(manifest))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    undisturbed = tmp_path / "undisturbed"
    write(undisturbed, "predictions", ["a", "b"])
    write(undisturbed, "failures", ["c"])
    return Archive(tmp_path, (), undisturbed, read_rows(undisturbed), 1.0, 1000)


def good(output: Path) -> None:
    write(output, "predictions", ["b"], "another run")
    write(output, "predictions", ["a"])
    write(output, "failures", ["c"])
    finish(output)


def test_rows_of_other_files_and_runs_are_the_same_rows(archive: Archive, tmp_path: Path) -> None:
    good(tmp_path / "output")

    assert look(archive, tmp_path / "output") == 3
    judge(archive, tmp_path / "output")


BREACHES: dict[str, tuple[Callable[[Path], object], str]] = {
    "lost": (lambda output: (output / "predictions/x.parquet").unlink(), "images have lost their rows, e.g. a"),
    "doubled": (lambda output: write(output, "predictions", ["a"], "y"), "two rows in predictions, e.g. a"),
    "torn": (
        lambda output: (output / "predictions/x.parquet").write_bytes(b"PAR1"),
        "is damaged or not a Parquet file",
    ),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_the_tool_sees_what_no_reader_may_see(breach: str, archive: Archive, tmp_path: Path) -> None:
    good(tmp_path / "output")
    BREACHES[breach][0](tmp_path / "output")

    with pytest.raises(BrokenGuaranteeError, match=BREACHES[breach][1]):
        look(archive, tmp_path / "output")


ENDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "other rows": (lambda output: write(output, "predictions", ["d"], "y"), "1 rows of predictions differ, e.g. .*'d'"),
    "other failures": (lambda output: write(output, "failures", ["d"]), "2 rows of failures differ"),
    "a lock": (lambda output: (output / "_lock").touch(), "left behind: _lock"),
    "the accounts": (lambda output: finish(output, skipped=1), "manifest: done, 3 inputs, 4 rows"),
    "the end": (lambda output: finish(output, status="running"), "manifest: running"),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_tool_sees_a_wrong_end(end: str, archive: Archive, tmp_path: Path) -> None:
    good(tmp_path / "output")
    ENDS[end][0](tmp_path / "output")

    with pytest.raises(BrokenGuaranteeError, match=ENDS[end][1]):
        judge(archive, tmp_path / "output")
