"""What Dataflow asks of a job, and the defaults that we give it."""

from __future__ import annotations

import re
import sys

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from google.api_core.exceptions import Forbidden
from google.auth.exceptions import RefreshError

from pipelines.commandline.flags import parse_predict
from pipelines.commandline.parser import UsageError
from pipelines.runners.dataflow import check_dataflow_options, is_dataflow, name_job, refusals_reported

PATHS = ("--input=gs://archive/scenes.tar::2026/*.jpg", "--model=s3://models/amazon", "--output=gs://tagged")
NEEDED = ("--project=some-project", "--region=europe-west1", "--temp_location=gs://archive/temp")


def checked(*flags: str) -> GoogleCloudOptions:
    """Give Beam's options after the check."""
    options = parse_predict([*PATHS, *flags])
    beam_options = PipelineOptions(list(options.beam_flags))
    check_dataflow_options(options, beam_options)
    return beam_options.view_as(GoogleCloudOptions)


@pytest.mark.parametrize("runner", ["DataflowRunner", "dataflow", "apache_beam.runners.dataflow.DataflowRunner"])
def test_dataflow_is_known_by_all_names_that_beam_knows(runner: str) -> None:
    assert is_dataflow(PipelineOptions([f"--runner={runner}"]))


@pytest.mark.parametrize("flags", [[], ["--runner=FlinkRunner"], ["--runner=DirectRunner"]])
def test_other_runners_are_not_dataflow(flags: list[str]) -> None:
    assert not is_dataflow(PipelineOptions(flags))


def test_buckets_of_both_kinds_can_be_read_and_written() -> None:
    assert checked(*NEEDED).project == "some-project"


@pytest.mark.parametrize(("given", "other"), [("temp", "staging"), ("staging", "temp")])
def test_one_folder_serves_for_temporary_files_and_for_staging(given: str, other: str) -> None:
    google = checked("--project=some-project", "--region=europe-west1", f"--{given}_location=gs://archive/place")
    assert getattr(google, f"{other}_location") == "gs://archive/place"


def test_the_region_of_the_environment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDSDK_COMPUTE_REGION", "europe-north1")
    assert checked("--project=some-project", "--temp_location=gs://archive/temp").region == "europe-north1"


@pytest.mark.parametrize("path", ["s3://archive/temp", "temp", "gs://archive", "gs://archive/"])
def test_a_place_in_which_beam_cannot_stage_is_refused(path: str) -> None:
    with pytest.raises(
        UsageError, match=rf"--temp_location {re.escape(path)}: .* in gs:// only; use a folder such as gs://BUCKET"
    ):
        checked("--project=some-project", "--region=europe-west1", f"--temp_location={path}")


def test_the_name_and_the_label_of_a_job_are_made_of_what_google_allows() -> None:
    options = PipelineOptions([])
    name_job(options, "20261125T041838Z-9F_2")
    google = options.view_as(GoogleCloudOptions)
    assert google.job_name == "scenetags-20261125t041838z-9f2"
    assert [re.fullmatch("scenetags-version=[-_a-z0-9]{1,63}", label) is not None for label in google.labels] == [True]


def test_the_users_name_and_labels_are_kept() -> None:
    options = PipelineOptions(["--job_name=monday", "--labels=team=forest"])
    name_job(options, "20261125T041838Z-9F_2")
    google = options.view_as(GoogleCloudOptions)
    assert google.job_name == "monday"
    assert google.labels[-1] == "team=forest"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Forbidden("(e1f2): You may not\ncreate jobs."), "(e1f2): You may not create jobs."),  # type: ignore[no-untyped-call]
        (RefreshError("invalid_grant: expired"), "invalid_grant: expired"),  # type: ignore[no-untyped-call]
        (OSError("Could not upload to GCS path gs://archive/temp"), "Could not upload to GCS path gs://archive/temp"),
    ],
)
def test_a_refusal_of_any_kind_becomes_one_line(error: Exception, told: str) -> None:
    with pytest.raises(UsageError) as refused, refusals_reported():
        raise error
    assert str(refused.value) == f"the job cannot be submitted: {told}"


def test_a_library_that_is_missing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apache_beam.runners.dataflow.internal.apiclient", None)
    with pytest.raises(UsageError, match=r"pip install 'scenetags\[dataflow\]'$"):
        checked(*NEEDED)


def test_an_error_of_our_own_is_no_refusal() -> None:
    with pytest.raises(ValueError, match=r"^not enough values$"), refusals_reported():
        raise ValueError("not enough values")
