"""`scenetags predict --runner=DataflowRunner` up to the door of Google's service, kept by a stand-in on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from apache_beam.portability.api import beam_runner_api_pb2 as beam_proto
from apache_beam.runners.dataflow import dataflow_runner
from apache_beam.utils import retry
from google.cloud.dataflow_v1beta3 import types

from pipelines import predict, storage
from pipelines.runners import distributed
from pipelines.runners.staging import package_files
from tests.image_files import picture, unmarked_rgba_jpeg
from tools import job_service
from tools.emulators import Emulator, environment, free_port
from tools.job_service import Course, JobService, Refusal

PLACES = {"input": "chips", "model": "bundle", "output": "out", "temp_location": "temp"}

LOAD_STEPS = """
import json, sys
packages, libraries, staged = sys.argv[1:]
sys.path += [packages, libraries]
from apache_beam.internal import pickler
from apache_beam.portability.api import beam_runner_api_pb2 as proto
pickler.set_library("cloudpickle")
with open(staged, "rb") as file:
    pipeline = proto.Pipeline.FromString(file.read())
loaded = []
for step in pipeline.components.transforms.values():
    if step.spec.urn == "beam:transform:pardo:v1":
        do_fn = pickler.loads(proto.ParDoPayload.FromString(step.spec.payload).do_fn.payload)[0]
        loaded.append(type(do_fn).__module__)
import pipelines
from importlib.metadata import version
print(json.dumps({"steps": loaded, "from": pipelines.__file__, "version": version("scenetags")}))
"""

PAR_DO = "beam:transform:pardo:v1"

REFUSAL = "pipelines.job.release.WorkerReleaseError: a worker runs scenetags 0.0.9"

Submit = Callable[..., int]


class Submission(NamedTuple):
    """What has been submitted.

    Attributes:
      job: the request.
      pipeline: that was staged for it.
    """

    job: types.Job
    pipeline: beam_proto.Pipeline

    @property
    def staged(self) -> dict[str, str]:
        """Paths of the files that workers are to fetch, by their names."""
        packages = self.job.environment.worker_pools[0].packages
        return {package.name: package.location.replace("storage.googleapis.com", "gs:/") for package in packages}


@pytest.fixture(scope="module")
def archive(emulators: Mapping[str, Emulator], bundle_path: str) -> Iterator[str]:
    """Put two chips and the bundle into a folder of a bucket."""
    emulator = emulators["gs"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment("gs", emulator.host).items():
            patch.setenv(name, value)
        storage._store.cache_clear()
        folder = f"{emulator.bucket}/{uuid.uuid4().hex}"
        for seed in range(2):
            storage.write(f"{folder}/chips/{seed}.jpg", unmarked_rgba_jpeg(picture(seed=seed)))
        for file in Path(bundle_path).rglob("*"):
            if file.is_file():
                storage.write(f"{folder}/bundle/{file.relative_to(bundle_path)}", file.read_bytes())
        # Beam asks for the job every five seconds, and waits longer before it tries again what has failed.
        patch.setattr(dataflow_runner, "time", SimpleNamespace(sleep=lambda _: time.sleep(0.01), time=time.time))
        patch.setattr(retry.Clock, "sleep", lambda *_: None)
        yield folder
    storage._store.cache_clear()


@pytest.fixture(scope="module")
def anywhere(archive: str) -> Iterator[JobService]:
    """Serve all tests of this module that look at one submission."""
    with job_service.serve() as serving:
        yield serving


@pytest.fixture
def service() -> Iterator[JobService]:
    """Serve one test."""
    with job_service.serve() as serving:
        yield serving


@pytest.fixture
def submit(archive: str, service: JobService) -> Submit:
    """Submit a job of the archive to the service of this test, unless the flags say otherwise."""

    def run(*arguments: str, **flags: str | None) -> int:
        return submit_to(service, archive, *arguments, **flags)

    return run


@pytest.fixture(scope="module")
def submission(archive: str, anywhere: JobService) -> Submission:
    """Submit a job with no more flags than there must be."""
    submit_to(anywhere, archive)
    return submitted(anywhere)


def submit_to(service: JobService, archive: str, *arguments: str, **flags: str | None) -> int:
    given: dict[str, str | None] = {name: f"{archive}/{folder}" for name, folder in PLACES.items()}
    given |= {"project": "some-project", "region": "europe-west1", "dataflow_endpoint": service.endpoint, **flags}
    written = [f"--{name}={value}" for name, value in given.items() if value is not None]
    return predict.main([*written, "--runner=DataflowRunner", "--no_auth", "--progress=off", *arguments])


def submitted(service: JobService) -> Submission:
    path = service.job.environment.sdk_pipeline_options["options"]["pipelineUrl"]
    return Submission(service.job, beam_proto.Pipeline.FromString(storage.read(path)))


def test_one_job_is_created_where_the_flags_say(submission: Submission, anywhere: JobService) -> None:
    assert [(sent.project, sent.region) for sent in anywhere.submitted] == [("some-project", "europe-west1")]
    assert submission.job.type_ == types.JobType.JOB_TYPE_BATCH


def test_a_job_has_the_name_of_its_run_and_a_label_with_the_version(submission: Submission) -> None:
    assert submission.job.name.startswith("scenetags-20")
    assert dict(submission.job.labels) == {"scenetags-version": "0-1-0"}


def test_all_that_workers_are_to_fetch_is_in_the_bucket(submission: Submission) -> None:
    (environment,) = submission.pipeline.components.environments.values()
    assert len(environment.dependencies) == len(submission.staged) >= 2
    for dependency in environment.dependencies:
        fetched = beam_proto.ArtifactUrlPayload.FromString(dependency.type_payload)
        name = beam_proto.ArtifactStagingToRolePayload.FromString(dependency.role_payload).staged_name
        assert fetched.url == submission.staged[name]
        assert hashlib.sha256(storage.read(fetched.url)).hexdigest() == fetched.sha256, name
    assert "scenetags-0.1.0-py3-none-any.whl" in storage.read(submission.staged["extra_packages.txt"]).decode()


def test_the_staged_package_is_what_runs_here_and_loads_every_step(submission: Submission, tmp_path: Path) -> None:
    wheel = tmp_path / "scenetags-0.1.0-py3-none-any.whl"
    wheel.write_bytes(storage.read(submission.staged[wheel.name]))
    (tmp_path / "pipeline.pb").write_bytes(submission.pipeline.SerializeToString())
    packages = tmp_path / "packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--target", packages, wheel], check=True)
    installed = {str(path.relative_to(packages)): path.read_bytes() for path in packages.rglob("*.py")}
    assert installed == dict(package_files())

    # Without -S the checkout would be on the path, by its editable install.
    command = [sys.executable, "-I", "-S", "-c", LOAD_STEPS]
    arguments = [str(packages), sysconfig.get_path("purelib"), str(tmp_path / "pipeline.pb")]
    loading = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert loading.returncode == 0, loading.stderr
    loaded = json.loads(loading.stdout)
    assert loaded["from"] == str(packages / "pipelines" / "__init__.py")
    assert loaded["version"] == "0.1.0"
    assert loaded["steps"].count("pipelines.job.steps") >= 5


def test_the_graph_has_the_steps_of_the_design(submission: Submission) -> None:
    components = submission.pipeline.components
    names = {step.unique_name for step in components.transforms.values()}
    assert names >= {
        "ListImages/List",
        "TagImages/SkipTagged/Skip",
        "TagImages/SpreadReads",
        "TagImages/ReadImages/Read",
        "TagImages/PredictProbabilities/Predict",
        "TagImages/WritePredictions/Write",
        "TagImages/WriteFailures/Write",
        "TagImages/WriteManifest/Commit",
    }


def test_workers_are_as_the_flags_want_them(submit: Submit, service: JobService) -> None:
    submit(
        "--labels=team=forest",
        "--labels=scenetags-version=mine",
        "--experiments=use_something",
        "--dataflow_service_options=enable_prime",
        "--resource_hints=min_ram=12GB",
        "--resource_hints=accelerator=type:nvidia-l4;count:1;install-nvidia-driver",
        job_name="monday",
        machine_type="n2-highcpu-16",
        num_workers="2",
        max_num_workers="40",
        service_account_email="tagger@some-project.iam.gserviceaccount.com",
        subnetwork="regions/europe-west1/subnetworks/inner",
    )
    sent = submitted(service)
    assert sent.job.name == "monday"
    assert dict(sent.job.labels) == {"team": "forest", "scenetags-version": "mine"}
    assert "use_something" in sent.job.environment.experiments
    assert "enable_prime" in sent.job.environment.service_options
    assert sent.job.environment.service_account_email.startswith("tagger@")
    (pool,) = sent.job.environment.worker_pools
    assert (pool.machine_type, pool.num_workers, pool.autoscaling_settings.max_num_workers) == ("n2-highcpu-16", 2, 40)
    assert pool.subnetwork == "regions/europe-west1/subnetworks/inner"
    (environment,) = sent.pipeline.components.environments.values()
    assert environment.resource_hints == {
        "beam:resources:min_ram_bytes:v1": b"12000000000",
        "beam:resources:accelerator:v1": b"type:nvidia-l4;count:1;install-nvidia-driver",
    }


def test_accelerators_are_asked_for_where_images_are_read_predicted_and_written(
    submit: Submit, service: JobService
) -> None:
    submit("--accelerator=type:nvidia-l4;count:1;install-nvidia-driver")
    components = submitted(service).pipeline.components
    accelerated = {"beam:resources:accelerator:v1": b"type:nvidia-l4;count:1;install-nvidia-driver"}
    hinted = {
        step.unique_name.partition("/ParDo(")[0]
        for step in components.transforms.values()
        if step.spec.urn == PAR_DO and components.environments[step.environment_id].resource_hints == accelerated
    }
    assert hinted == {
        "TagImages/ReadImages/Read",
        "TagImages/PredictProbabilities/Predict",
        "TagImages/WritePredictions/Write",
        "TagImages/WriteFailures/Write",
    }


def test_a_process_of_a_worker_takes_up_one_share_at_a_time(submit: Submit, service: JobService) -> None:
    submit()
    assert submitted(service).job.environment.worker_pools[0].num_threads_per_worker == 1
    assert "use_multiple_sdk_containers" in submitted(service).job.environment.experiments


def test_the_user_may_have_a_process_take_up_more(submit: Submit, service: JobService) -> None:
    submit(number_of_worker_harness_threads="3")
    assert submitted(service).job.environment.worker_pools[0].num_threads_per_worker == 3


def test_one_process_has_all_of_an_accelerator(
    submit: Submit, service: JobService, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = "--accelerator=type:nvidia-l4;count:1;install-nvidia-driver"
    submit(gpu)
    assert "no_use_multiple_sdk_containers" in submitted(service).job.environment.experiments
    assert "use_multiple_sdk_containers" not in submitted(service).job.environment.experiments
    capsys.readouterr()
    refused(capsys, submit(gpu, flexrs_goal="COST_OPTIMIZED"), "--accelerator cannot be had with --flexrs_goal")


def test_a_job_that_nobody_waits_for_keeps_its_output(
    submit: Submit, service: JobService, archive: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = f"{archive}/detached"
    service.course = job_service.running()

    assert submit("--no_wait_until_finish", output=output) == 0
    assert "the job runs on by itself" in capsys.readouterr().out
    assert service.job.current_state != types.JobState.JOB_STATE_CANCELLED
    assert submit(output=output, job_name="another") == 2
    told = capsys.readouterr().err
    assert told.startswith(f"scenetags predict: output {output} is in use")
    assert f"delete {output}/_lock" in told
    assert len(service.submitted) == 1


def test_a_job_that_is_waited_for_is_told_of(
    submit: Submit, service: JobService, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "SECONDS_BETWEEN_LINES", 0.1)
    service.course = Course((types.JobState.JOB_STATE_RUNNING,) * 100 + (types.JobState.JOB_STATE_DONE,))
    service.counters = {
        **{("s1", "images_listed"): 5000, ("s1", "images_skipped"): 100},
        **{("s2", "images_failed"): 10, ("s3", "images_failed"): 1, ("s4", "images_tagged"): 1889},
    }

    # This job has not run.
    assert submit("--progress=auto") == 1
    told = capsys.readouterr().err
    assert "Dataflow job job-1 is at work; Ctrl-C cancels it: https://console.cloud.google.com/dataflow/jobs/" in told
    assert "2,000 of 5,000 images, " in told
    assert ", 11 failures\n" in told
    assert "the job has ended and left no manifest" in told


def test_the_request_shows_nobody_the_keys_of_s3(submit: Submit, service: JobService) -> None:
    keys = {"s3_access_key_id": "opensesame1", "s3_secret_access_key": "opensesame2", "s3_session_token": "opensesame3"}
    submit(**keys)
    assert "opensesame" not in types.Job.to_json(service.job)


def test_workers_of_no_image_are_given_the_package_and_those_of_an_image_are_not(
    submission: Submission, submit: Submit, service: JobService
) -> None:
    submit("--sdk_container_image=europe-docker.pkg.dev/some-project/images/scenetags:1")
    (pool,) = submission.job.environment.worker_pools
    assert "/beam_python3" in pool.worker_harness_container_image
    assert [name for name in submission.staged if name.endswith(".whl")] == ["scenetags-0.1.0-py3-none-any.whl"]
    (pool,) = service.job.environment.worker_pools
    assert pool.worker_harness_container_image == "europe-docker.pkg.dev/some-project/images/scenetags:1"
    assert [name for name in submitted(service).staged if name.endswith(".whl")] == []


def test_a_dry_run_submits_and_stages_nothing(
    submit: Submit, service: JobService, archive: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit("--dry_run", output=f"{archive}/dry", temp_location=f"{archive}/dry_temp") == 0
    assert service.submitted == []
    assert [entry.path for entry in storage.walk(f"{archive}/dry")] == []
    assert "nothing was submitted or written" in capsys.readouterr().out


def test_a_template_is_written_and_no_job_created(submit: Submit, service: JobService, archive: str) -> None:
    assert submit(template_location=f"{archive}/templates/tag", output=f"{archive}/later") == 0
    assert service.submitted == []
    template = types.Job.from_json(storage.read(f"{archive}/templates/tag"), ignore_unknown_fields=False)
    assert template.environment.worker_pools[0].packages
    assert storage.exists(template.environment.sdk_pipeline_options["options"]["pipelineUrl"])


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
    assert "run the same command again to resume" in told


def test_ctrl_c_cancels_the_job(submit: Submit, service: JobService, capsys: pytest.CaptureFixture[str]) -> None:
    service.course = job_service.running()

    def interrupt() -> None:
        while not service.submitted or service.job.current_state != types.JobState.JOB_STATE_RUNNING:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    user = threading.Thread(target=interrupt, daemon=True)
    user.start()
    assert submit() == 130
    user.join()
    assert service.job.current_state == types.JobState.JOB_STATE_CANCELLED
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["project", "region", "temp_location"])
def test_what_must_be_given_is_asked_for(
    flag: str, submit: Submit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOUDSDK_COMPUTE_REGION", raising=False)
    # A gcloud would be asked for the region.
    monkeypatch.setenv("PATH", "")
    refused(capsys, submit(**{flag: None}), f"Dataflow needs --{flag}, e.g. ")


@pytest.mark.parametrize("flag", ["input", "input_list", "model", "output"])
def test_paths_of_this_machine_are_refused(
    flag: str, submit: Submit, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code = submit(**{flag: str(tmp_path)})
    refused(
        capsys, code, f"--{flag} {tmp_path} is on this machine, where Dataflow's workers cannot reach it; see gs://"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["temp_location", "staging_location", "template_location"])
def test_a_bucket_for_staging_that_is_missing_is_named(
    flag: str, submit: Submit, service: JobService, capsys: pytest.CaptureFixture[str]
) -> None:
    code = submit(**{flag: "gs://no-such-bucket/temp"})
    refused(capsys, code, f"--{flag} gs://no-such-bucket/temp: there is no bucket no-such-bucket")
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


def refused(capsys: pytest.CaptureFixture[str], code: int, why: str) -> None:
    """See that a command ended with one line."""
    told = capsys.readouterr()
    assert code == 2, told.err
    assert told.err.startswith(f"scenetags predict: {why}")
    assert told.err.count("\n") == 1, told.err
