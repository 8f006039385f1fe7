"""Beam's options are read from the flags once, and are otherwise those of Beam."""

from __future__ import annotations

import copy
import pickle

import pytest
from apache_beam.options.pipeline_options import DebugOptions, GoogleCloudOptions, PipelineOptions, StandardOptions

from pipelines.runners.beam_flags import check_beam_flags

FLAGS = ["--runner=FlinkRunner", "--project=ours", "--impersonate_service_account=robot", "--experiments=a"]


@pytest.mark.parametrize("kind", PipelineOptions.__subclasses__(), ids=lambda kind: kind.__name__)
def test_a_view_has_beams_values_and_is_made_once(kind: type[PipelineOptions]) -> None:
    options = check_beam_flags(FLAGS)

    view = options.view_as(kind)

    assert type(view) is kind
    assert view.get_all_options() == PipelineOptions(FLAGS).view_as(kind).get_all_options()
    assert options.view_as(kind) is view


def test_views_share_what_is_changed() -> None:
    options = check_beam_flags(FLAGS)
    options.view_as(GoogleCloudOptions).project = "another"
    options.view_as(DebugOptions).experiments.append("b")

    assert options.view_as(StandardOptions).view_as(GoogleCloudOptions).project == "another"
    assert options.get_all_options()["project"] == "another"
    assert options.get_all_options()["experiments"] == ["a", "b"]


def test_a_copy_has_values_of_its_own() -> None:
    options = check_beam_flags(FLAGS)
    before = options.view_as(StandardOptions)

    copied = copy.deepcopy(options)
    copied.view_as(StandardOptions).runner = "another"

    assert (before.runner, copied.view_as(StandardOptions).runner) == ("FlinkRunner", "another")


def test_workers_are_told_no_account_to_impersonate() -> None:
    options = check_beam_flags(FLAGS)
    assert options.view_as(GoogleCloudOptions).impersonate_service_account == "robot"

    told = pickle.loads(pickle.dumps(options))

    assert told.view_as(GoogleCloudOptions).project == "ours"
    assert told.view_as(GoogleCloudOptions).impersonate_service_account is None
