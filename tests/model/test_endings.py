"""How the commands end that write a bundle, if nobody reads what they print."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model import importing, train
from pipelines.commandline.printing import show

WORK = {"train": (train, "model.training.session.train"), "import": (importing, "model.foreign.session.import_model")}


def lose_reader(*_: Any) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    # Python keeps what it could not write, and tries again when the stream is closed.
    sys.stdout = os.fdopen(writing, "w", buffering=1)
    show("17 labels")


def lose_server(*_: Any) -> None:
    raise BrokenPipeError(32, "Broken pipe", "gs://bucket/a.jpg")


@pytest.mark.parametrize(
    ("fail", "code", "told"),
    [
        (lose_reader, 128 + signal.SIGPIPE, ""),
        (lose_server, 1, "stopped: gs://bucket/a.jpg: Broken pipe"),
    ],
)
@pytest.mark.parametrize("command", WORK)
def test_a_reader_that_goes_away_ends_a_command_silently_and_a_lost_server_does_not(
    command: str,
    fail: Callable[..., None],
    code: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module, work = WORK[command]
    monkeypatch.setattr(f"{module.__name__}.parse", lambda _: None)
    monkeypatch.setattr(work, fail)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    assert module.main([]) == code
    err = capsys.readouterr().err
    assert err.startswith(f"scenetags {command}: {told}") if told else not err


def test_a_training_whose_output_nobody_reads_ends_as_other_commands_do(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "labels.csv").write_text("image,tags\na,x\nnowhere,y\n")
    reading, writing = os.pipe()
    os.close(reading)
    flags = ["--images", str(tmp_path), "--labels", str(tmp_path / "labels.csv"), "--output", str(tmp_path / "bundle")]
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "train", *flags],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
