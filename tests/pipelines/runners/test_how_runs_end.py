"""Which error a run that ended early is reported with: the user's, and never one that merely came before a bug."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.error import URLError

import pytest

from pipelines import predict, storage
from pipelines.errors import ExitCode
from pipelines.images.layout import DamagedImageError
from pipelines.output.tables import OutputError
from pipelines.reading.fetched import Fetched, Refusal
from pipelines.reading.source import ImageSource
from pipelines.records import ImageRef
from pipelines.runners import jobs
from pipelines.runners.job_errors import explain
from tests.pipelines.conftest import WriteChips


@pytest.fixture
def flags(chips: WriteChips, bundle_path: str, tmp_path: Path) -> list[str]:
    folder = chips([f"{number}.jpg" for number in range(12)])
    return [f"--input={folder}", f"--model={bundle_path}", f"--output={tmp_path / 'out'}", "--progress=off"]


def test_a_bug_that_comes_up_while_an_image_is_refused_is_no_error_of_the_users(
    flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(source: ImageSource, ref: ImageRef, waits: bool = True) -> Fetched | Refusal | None:
        try:
            raise DamagedImageError("truncated JPEG")
        except DamagedImageError:
            return len(ref.size)  # type: ignore[arg-type, return-value]

    monkeypatch.setattr(ImageSource, "fetch", fetch)
    with pytest.raises(TypeError, match="has no len"):
        predict.main(flags)


def test_credentials_that_are_lost_after_a_commit_end_with_code_1_and_how_to_resume(
    flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch, lost = ImageSource.fetch, storage.NoAccessError("no credentials for gs://")

    def fetch_while_allowed(source: ImageSource, ref: ImageRef, waits: bool = True) -> Fetched | Refusal | None:
        if ref.path.endswith("/9.jpg"):
            raise lost
        return fetch(source, ref, waits)

    def refuse(*_: object) -> None:
        raise lost

    monkeypatch.setattr(ImageSource, "fetch", fetch_while_allowed)
    monkeypatch.setattr(jobs, "mark", refuse)
    monkeypatch.setattr("pipelines.output.manifest.read_accounts", refuse)

    assert predict.main([*flags, "--checkpoint_every=4"]) == ExitCode.STOPPED
    printed = capsys.readouterr().err
    assert "stopped: no credentials for gs://; all finished waves are committed to" in printed
    assert "run the same command again to resume" in printed


def test_a_system_that_refuses_more_threads_is_one_line(
    flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("work_"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert predict.main(flags) == ExitCode.STOPPED
    assert capsys.readouterr().err == (
        "scenetags predict: stopped: the system refuses to start another thread; raise the limits on processes and "
        "memory (ulimit -u, -v, or the container's), or lower --processes, --reads_in_flight and --threads; this run "
        "committed nothing; run the same command again to start over\n"
    )


FRAMES = """\
Traceback (most recent call last):
  File "/usr/lib/pipelines/reading/source.py", line 90, in read
    return self.decode(data)
"""


def test_a_worker_s_bug_that_comes_up_while_an_error_is_handled_keeps_its_traceback() -> None:
    again = "\nDuring handling of the above exception, another exception occurred:\n\n"
    for first in ("pipelines.images.layout.DamagedImageError: truncated JPEG", "OSError: Input/output error"):
        assert explain(f"{FRAMES}{first}\n{again}{FRAMES}TypeError: object has no len [while running 'Read']") is None
    assert explain(f"{FRAMES}pipelines.images.layout.DamagedImageError: truncated JPEG [while running 'Read']") is None


@pytest.mark.parametrize("around", ["java.lang.Exception: the worker failed", "SystemExit: 1", "RuntimeError: failed"])
def test_what_a_runner_raises_around_a_worker_s_error_does_not_hide_it(around: str) -> None:
    error = explain(f"{FRAMES}pipelines.output.tables.OutputError: output x was taken over\n\n{FRAMES}{around}")

    assert isinstance(error, OutputError)


def test_a_job_server_that_cannot_be_had_is_one_line(
    flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("apache_beam.utils.subprocess_server.urlopen", refuse_download)

    assert predict.main([*flags, "--runner=FlinkRunner"]) == ExitCode.STOPPED

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("scenetags predict: stopped: Unable to fetch remote job server jar at https://")
    assert line.endswith("this run committed nothing; run the same command again to start over")


def refuse_download(*_: object, **__: object) -> None:
    try:
        raise OSError(-2, "Name or service not known")
    except OSError as error:
        raise URLError(error) from error


def test_a_worker_s_remedy_survives_the_step_that_beam_adds() -> None:
    told = "pipelines.output.tables.OutputError: output x was taken over [while running 'Commit']; choose another"
    error = explain(f"{FRAMES}{told}")

    assert isinstance(error, OutputError)
    assert str(error) == "output x was taken over; choose another"
