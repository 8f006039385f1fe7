"""`scenetags predict --runner=DataflowRunner` up to the door of Google's service, kept by a stand-in on loopback."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from apache_beam.portability.api import beam_runner_api_pb2 as beam_proto
from google.cloud.dataflow_v1beta3 import types

from pipelines import storage
from pipelines.credentials import KEYS
from pipelines.runners.staging import PACKAGES, package_files
from tests.pipelines.runners.submitting import PAR_DO, Submission, Submit, refused, submitted
from tools.job_service import JobService

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
    files = [path for package in PACKAGES for path in (packages / package).rglob("*") if path.is_file()]
    installed = {str(path.relative_to(packages)): path.read_bytes() for path in files}
    assert installed == dict(package_files())

    # Without -S the checkout would be on the path, by its editable install.
    command = [sys.executable, "-I", "-S", "-c", LOAD_STEPS]
    arguments = [str(packages), sysconfig.get_path("purelib"), str(tmp_path / "pipeline.pb")]
    loading = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert loading.returncode == 0, loading.stderr
    loaded = json.loads(loading.stdout)
    assert loaded["from"] == str(packages / "pipelines" / "__init__.py")
    assert loaded["version"] == "0.1.0"
    assert sum(name.startswith("pipelines.job.steps.") for name in loaded["steps"]) >= 5


def test_the_graph_has_the_steps_of_the_design(submission: Submission) -> None:
    components = submission.pipeline.components
    names = {step.unique_name for step in components.transforms.values()}
    assert names >= {
        "ListImages/List",
        "SkipTagged/Settle",
        "SpreadReads",
        "TagImages/PredictImages/Predict",
        "TagImages/WritePredictions",
        "TagImages/WriteFailures",
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
    # What puts their names in order is in the same place, or these would cross once more.
    assert hinted == {
        "SpreadReads/InOrder",
        "TagImages/PredictImages/Predict",
        "TagImages/WritePredictions",
        "TagImages/WriteFailures",
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
    refused(capsys, submit(gpu, flexrs_goal="COST_OPTIMIZED"), "--accelerator and --flexrs_goal cannot be combined")


@pytest.mark.parametrize("flag", KEYS)
def test_a_job_is_given_no_keys(
    flag: str, submit: Submit, service: JobService, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, submit(f"--{flag}", "opensesame"), f"--{flag} would be stored with the job")
    assert service.submitted == []


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
