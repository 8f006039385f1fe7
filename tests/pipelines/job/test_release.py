"""Steps of the pipeline are taken up by the release that sent them, and by no other."""

from __future__ import annotations

import pickle
import pickletools
import re

import pytest
from apache_beam.internal import pickler

from pipelines.images import DecodeSettings
from pipelines.images.rendering import NO_RENDERING
from pipelines.inference.ahead import Model
from pipelines.job import release
from pipelines.job.predicting import PredictSettings
from pipelines.job.release import BoundToRelease, Release, WorkerReleaseError, running_release
from pipelines.job.steps.images import ReadAndPredict
from pipelines.job.steps.listing import Divide, ListPieces, OpenListed
from pipelines.job.steps.rows import CloseWave, WriteTable
from pipelines.job.steps.settling import LeaveOutTagged, PutInOrder, SettlePartition
from pipelines.listing.inputs import Inputs
from pipelines.listing.scenes import CutSettings
from pipelines.output.run import Run, Wave
from pipelines.output.writing import PredictionTable
from pipelines.scenes.grid import Grid


def steps(run: Run) -> list[BoundToRelease]:
    return [
        Divide(run, Inputs(["chips"]), Wave()),
        ListPieces(run),
        OpenListed(run, CutSettings(Grid(64, 64), NO_RENDERING, 1000)),
        SettlePartition(run, Wave()),
        LeaveOutTagged(run),
        PutInOrder(),
        ReadAndPredict(run, PredictSettings(Model("bundle", "digest"), DecodeSettings(32, "bilinear", 1000))),
        WriteTable(PredictionTable(), run),
        CloseWave(run, Wave()),
    ]


def described(step: BoundToRelease) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", repr(vars(step)))


def test_every_step_arrives_as_it_was_sent(run: Run) -> None:
    for step in steps(run):
        arrived = pickler.loads(pickler.dumps(step))

        assert type(arrived) is type(step)
        assert described(arrived) == described(step), type(step).__name__


@pytest.mark.parametrize(
    "other", [Release("9.9.9", running_release().code), Release(running_release().version, "another code")]
)
def test_every_step_is_refused_by_another_release(run: Run, other: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = [pickler.dumps(step) for step in steps(run)]
    launcher = running_release()
    monkeypatch.setattr(release, "running_release", lambda: other)
    for pickled in sent:
        with pytest.raises(WorkerReleaseError) as refusal:
            pickler.loads(pickled)
        assert str(other) in str(refusal.value)
        assert str(launcher) in str(refusal.value)


def test_another_release_need_not_know_the_step_to_refuse_it(run: Run) -> None:
    for step in steps(run):
        named = [
            argument
            for opcode, argument, _ in pickletools.genops(pickle.dumps(step))
            if opcode.name in ("SHORT_BINUNICODE", "BINUNICODE", "GLOBAL")
        ]
        assert named[:2] == ["pipelines.job.release", "_take_up"], type(step).__name__
        assert type(step).__name__ not in named
