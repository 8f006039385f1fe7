"""What the end of a distributed job means, by what its runner tells."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pipelines import predict
from pipelines.errors import ExitCode
from pipelines.inference.bundle import BundleError
from pipelines.job.release import WorkerReleaseError
from pipelines.listing import InputError
from pipelines.output.tables import OutputError
from pipelines.runners.job_errors import JobFailedError, explain
from tests import image_files

WORKER = """\
Pipeline job-1 failed in state FAILED: java.lang.RuntimeException: Error received from SDK harness for instruction 5: \
Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1498, in apache_beam.runners.common.DoFnRunner.process
  File "pipelines/steps.py", line 52, in process
    yield from something
{error} [while running 'TagImages/PredictImages/Predict-ptransform-31']

\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient.handle(FnApiControlClient.java:180)
"""


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        ("pipelines.inference.bundle.BundleError: bundle a: b was replaced", BundleError, "bundle a: b was replaced"),
        ("pipelines.listing.lookup.InputError: no images in x", InputError, "no images in x"),
        ("pipelines.output.tables.OutputError: y is damaged", OutputError, "y is damaged"),
        ("pipelines.job.release.WorkerReleaseError: a worker runs z", WorkerReleaseError, "a worker runs z"),
        ("OSError: [Errno 28] No space left on device", OSError, "[Errno 28] No space left on device"),
        ("PermissionError: [Errno 13] Permission denied: '/out'", OSError, "[Errno 13] Permission denied: '/out'"),
        ("pipelines.storage.errors.TransientError: no answer", OSError, "no answer"),
        (
            "ModuleNotFoundError: No module named 'pipelines.job.release'",
            WorkerReleaseError,
            "scenetags is missing on the workers",
        ),
    ],
)
def test_what_a_worker_raises_comes_out_as_it_was_raised(raised: str, kind: type[Exception], message: str) -> None:
    error = explain(WORKER.format(error=raised))

    assert type(error) is kind
    assert str(error).startswith(message)
    assert "while running" not in str(error)


def test_the_last_refusal_counts() -> None:
    first = WORKER.format(error="FileNotFoundError: x")
    error = explain(f"{first}\nDuring handling of the above exception, another exception occurred:\n" + first + "x\n")
    assert isinstance(error, OSError)
    error = explain(first + WORKER.format(error="pipelines.inference.bundle.BundleError: no bundle in x"))
    assert isinstance(error, BundleError)


def test_a_bug_is_reported_in_full() -> None:
    assert explain(WORKER.format(error="TypeError: 'int' object is not iterable")) is None


def test_a_traceback_without_a_frame_of_ours_is_reported_in_one_line() -> None:
    error = explain(
        "Pipeline job-1 failed in state FAILED: Error running pipeline.\nTraceback (most recent call last):\n"
        '  File "apache_beam/runners/portability/local_job_service.py", line 283, in _run_job\n'
        "RuntimeError: Channel closed prematurely.\n"
    )

    assert isinstance(error, JobFailedError)
    assert str(error) == "RuntimeError: Channel closed prematurely."


def test_an_end_without_a_traceback_is_the_runners_word() -> None:
    error = explain("Dataflow pipeline failed. State: FAILED, Error:\nQuota exceeded: 8 of 8 CPUs in use")

    assert isinstance(error, JobFailedError)
    assert str(error) == "Dataflow pipeline failed. State: FAILED, Error: Quota exceeded: 8 of 8 CPUs in use"


def test_unreachable_workers_are_reported_in_one_line() -> None:
    error = explain(
        "Traceback (most recent call last):\n  File x\n"
        "grpc._channel._InactiveRpcError: <_InactiveRpcError of RPC that terminated with:\n"
        '\tstatus = StatusCode.UNAVAILABLE\n\tdetails = "failed to connect to all addresses"\n>'
    )

    assert isinstance(error, JobFailedError)
    assert str(error) == "the runner and its workers cannot reach each other: failed to connect to all addresses"


@pytest.mark.parametrize(
    ("flags", "refusal"),
    [
        (["--dry_run"], "--dry_run needs a distributed --runner"),
        (["--accelerator", "type:nvidia-l4;count:1"], "--accelerator needs a distributed --runner"),
        (["--accelerator", "nvidia-l4"], "--accelerator nvidia-l4 is not of the form type:T;count:N"),
        (["--commit_every", "5000"], "--commit_every needs a distributed --runner; use --checkpoint_every 5000"),
        (["--threads", "0"], "--threads 0: not a whole number from 1 to 1,024"),
        (["--template_location", "gs://bucket/job"], "--template_location needs --runner=DataflowRunner"),
        (["--runner=PortableRunner", "--fail_fast"], "--fail_fast needs a local run"),
        (["--no_wait_until_finish"], "--no_wait_until_finish needs --runner=DataflowRunner"),
        (
            ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL"],
            "Option external_service_address is required",
        ),
        (["--runner=PortableRunner", "--job_endpoint=here"], "--job_endpoint here is not of the form HOST:PORT"),
    ],
)
def test_options_a_runner_cannot_honour_are_refused_in_one_line(
    bundle_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], refusal: str
) -> None:
    image_files.write_chips(tmp_path / "chips", ["0.jpg"])
    where = ["--input", str(tmp_path / "chips"), "--model", bundle_path, "--output", str(tmp_path / "out")]

    assert predict.main([*where, *flags]) == ExitCode.WRONG_USAGE
    told = capsys.readouterr().err
    assert told.startswith(f"scenetags predict: {refusal}")
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_job_service_is_reported_at_once(
    bundle_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as unused:
        # Bound and not listening, so that nobody else can answer there.
        unused.bind(("localhost", 0))
        endpoint = f"localhost:{unused.getsockname()[1]}"
        where = ["--input", str(tmp_path), "--model", bundle_path, "--output", str(tmp_path / "out")]

        assert predict.main([*where, "--runner=PortableRunner", f"--job_endpoint={endpoint}"]) == ExitCode.WRONG_USAGE
    assert f"--job_endpoint {endpoint}: no job service answers (" in capsys.readouterr().err
