"""How jobs on Dataflow are waited for and end, and what is refused before and by the service."""

from __future__ import annotations

import os
import signal
import threading
import time
from http import HTTPStatus
from pathlib import Path

import pytest
from apache_beam.utils import retry
from google.cloud.dataflow_v1beta3 import types

from pipelines import storage
from pipelines.output.journal import staging_folders
from pipelines.output.staged import is_announced
from pipelines.runners import distributed
from pipelines.supervision import interruption
from tests.bundles import copy_with_reference
from tests.pipelines.runners.submitting import Submit, refused
from tools import job_service
from tools.emulators import free_port
from tools.job_service import Course, JobService, Refusal

REFUSAL = "pipelines.job.release.WorkerReleaseError: a worker runs scenetags 0.0.9"


def test_a_job_that_nobody_waits_for_keeps_its_output(
    submit: Submit, service: JobService, archive: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = f"{archive}/detached"
    service.course = job_service.running()

    assert submit("--no_wait_until_finish", output=output) == 0
    assert "the job continues on its own" in (told := capsys.readouterr().out)
    assert "says whether the images look like" not in told, "its bundle has no statistics"
    assert service.job.current_state != types.JobState.JOB_STATE_CANCELLED
    assert submit(output=output, job_name="another") == 2
    told = capsys.readouterr().err
    assert told.startswith(f"scenetags predict: output {output} is in use")
    assert f"delete {output}/_lock" in told
    assert len(service.submitted) == 1


def test_a_job_that_nobody_waits_for_says_where_the_verdict_on_its_images_will_stand(
    submit: Submit,
    service: JobService,
    archive: str,
    bundle_path: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, model = copy_with_reference(bundle_path, tmp_path / "known"), f"{archive}/known"
    for file in folder.rglob("*"):
        if file.is_file():
            storage.write(f"{model}/{file.relative_to(folder)}", file.read_bytes())
    service.course = job_service.running()
    command = "--no_wait_until_finish", "--fail_on_shift"
    assert submit(*command, model=model, output=f"{archive}/verdict") == 0
    written, where, what = capsys.readouterr().out.splitlines()
    assert written.startswith(f"the job continues on its own; when it ends, it writes {archive}/verdict/runs/")
    assert where == "its field `shift` says whether the images look like those that the model was trained on"
    assert what == "--fail_on_shift cannot set the exit code of a detached job"
    assert submit(*command, "--overwrite", model=model, output=f"{archive}/other", job_name="other") == 0
    assert capsys.readouterr().out.endswith("--fail_on_shift keeps the old rows if they do not\n")


def test_the_progress_of_a_job_that_is_waited_for_is_reported(
    submit: Submit, service: JobService, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "SECONDS_BETWEEN_LINES", 0.01)
    monkeypatch.setattr(interruption, "SECONDS_BETWEEN_LOOKS", 0.01)
    service.course = Course((types.JobState.JOB_STATE_RUNNING,) * 20 + (types.JobState.JOB_STATE_DONE,))
    service.counters = {
        **{("s1", "images_listed"): 5000, ("s1", "images_skipped"): 100},
        **{("s2", "images_failed"): 10, ("s3", "images_failed"): 1, ("s4", "images_tagged"): 1889},
    }

    # This job has not run.
    assert submit("--progress=auto") == 1
    told = capsys.readouterr().err
    assert "Dataflow job job-1 is running; Ctrl-C cancels it: https://console.cloud.google.com/dataflow/jobs/" in told
    assert "2,000 of 5,000 images, " in told
    assert ", 11 failures\n" in told
    assert "the job ended without writing a manifest" in told


def test_what_a_worker_refuses_with_is_said_as_it_was_raised(
    submit: Submit, service: JobService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.course = job_service.failed("Workflow failed.", f"Traceback (most recent call last):\n  ...\n{REFUSAL}")
    refused(capsys, submit(), "a worker runs scenetags 0.0.9")


@pytest.mark.parametrize(
    ("course", "why"),
    [
        (job_service.failed("Workflow failed. Causes: no quota for GPUs"), "no quota for GPUs"),
        (Course((types.JobState.JOB_STATE_RUNNING, types.JobState.JOB_STATE_CANCELLED)), "State: CANCELLED"),
    ],
    ids=["failed", "cancelled by somebody"],
)
def test_a_job_that_google_ends_is_a_run_that_stopped(
    course: Course, why: str, submit: Submit, service: JobService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.course = course
    assert submit() == 1
    told = capsys.readouterr().err
    assert why in told
    assert "Traceback" not in told
    assert "this run committed nothing; run the same command again to start over" in told


def interrupt_once_running(submit: Submit, service: JobService, **flags: str) -> int:
    """Submit a job, press Ctrl-C while it runs, and return the exit code."""
    service.course = job_service.running()

    def interrupt() -> None:
        while not service.submitted or service.job.current_state != types.JobState.JOB_STATE_RUNNING:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    user = threading.Thread(target=interrupt, daemon=True)
    user.start()
    code = submit(**flags)
    user.join()
    return code


def test_ctrl_c_cancels_the_job(submit: Submit, service: JobService, capsys: pytest.CaptureFixture[str]) -> None:
    assert interrupt_once_running(submit, service) == 130
    assert service.job.current_state == types.JobState.JOB_STATE_CANCELLED
    assert "Traceback" not in capsys.readouterr().err


def test_a_job_that_cannot_be_cancelled_is_said_to_run_and_keeps_what_it_stages(
    submit: Submit, service: JobService, archive: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service.keeps_running = Refusal(HTTPStatus.FORBIDDEN, "(e1f2): The caller lacks dataflow.jobs.cancel.")
    output = f"{archive}/kept"

    assert interrupt_once_running(submit, service, output=output) == 1

    told = capsys.readouterr().err
    assert "scenetags predict: the job was not cancelled and may still be running (" in told
    assert "The caller lacks dataflow.jobs.cancel." in told
    assert told.endswith("cancel it on the runner's own page, or let it end; the same command then recovers its rows\n")
    [staging] = staging_folders(output)
    assert is_announced(staging), "its rows could not be recovered"


def test_a_job_that_does_not_end_once_it_is_cancelled_is_said_to_run(
    submit: Submit, service: JobService, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "SECONDS_TO_CANCEL", 0.0)
    service.is_slow = True

    assert interrupt_once_running(submit, service) == 1
    assert "the job was cancelled, and has not ended after 0 seconds; cancel it" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["project", "region", "temp_location"])
def test_what_must_be_given_is_asked_for(
    flag: str, submit: Submit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOUDSDK_COMPUTE_REGION", raising=False)
    # A gcloud would be asked for the region.
    monkeypatch.setenv("PATH", "")
    refused(capsys, submit(**{flag: None}), f"Dataflow needs --{flag}: ")


@pytest.mark.parametrize("flag", ["input", "input_list", "model", "output"])
def test_paths_of_this_machine_are_refused(
    flag: str, submit: Submit, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code = submit(**{flag: str(tmp_path)})
    refused(capsys, code, f"--{flag} {tmp_path} is on this machine, where Dataflow's workers cannot reach it; use ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["temp_location", "staging_location", "template_location"])
def test_a_bucket_for_staging_that_is_missing_is_named(
    flag: str, submit: Submit, service: JobService, capsys: pytest.CaptureFixture[str]
) -> None:
    code = submit(**{flag: "gs://no-such-bucket/temp"})
    refused(capsys, code, f"--{flag} gs://no-such-bucket/temp: bucket no-such-bucket does not exist")
    assert service.submitted == []


def test_what_google_refuses_is_said_in_its_words(
    submit: Submit, service: JobService, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry.Clock, "sleep", lambda *_: pytest.fail("Beam tries again what was refused"))
    service.refusal = Refusal(HTTPStatus.FORBIDDEN, "(e1f2): The caller lacks dataflow.jobs.create.")
    refused(capsys, submit(), "the job cannot be submitted: (e1f2): The caller lacks dataflow.jobs.create.")


def test_a_service_that_cannot_be_reached_is_said(submit: Submit, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = f"http://localhost:{free_port()}"
    refused(
        capsys, submit(dataflow_endpoint=nobody), "the job cannot be submitted: HTTPConnectionPool(host='localhost'"
    )


def test_a_job_of_the_same_name_that_runs_is_named(
    submit: Submit, service: JobService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.course = job_service.running()
    service.answer(
        "POST", "/v1b3/projects/some-project/locations/europe-west1/jobs", b'{"name": "monday", "clientRequestId": "1"}'
    )
    code = submit(job_name="monday")
    refused(capsys, code, "the job cannot be submitted: There is already active job named monday with id: job-1.")


def test_what_beam_finds_wrong_with_its_flags_is_said_in_its_words(
    submit: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    code = submit(setup_file="/no/such/setup.py")
    refused(
        capsys, code, "the job cannot be submitted: The file /no/such/setup.py cannot be found. It was specified in"
    )
