"""The graph of the job: the steps that the design names, with nothing but names and rows between machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from apache_beam.internal import pickler
from apache_beam.internal.cloudpickle import cloudpickle
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as protos
from apache_beam.pvalue import PCollection
from apache_beam.runners.portability.fn_api_runner import translations
from apache_beam.transforms.environments import Environment
from apache_beam.typehints import typehints
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import PaneInfo

from pipelines.commandline.flags import parse_predict
from pipelines.inference.bundle import load_bundle
from pipelines.job.release import BoundToRelease
from pipelines.job.steps.listing import EarlierFile
from pipelines.listing.members import Archive
from pipelines.listing.pieces import Piece
from pipelines.output.earlier import EarlierPart
from pipelines.output.identities import Unlisted
from pipelines.output.merging import Group
from pipelines.output.run import Accounts, Run
from pipelines.output.stale import ReadThrough
from pipelines.output.written import StagedFile, Superseded
from pipelines.records import Failure, Image, Prediction
from pipelines.runners.distributed import build_job
from pipelines.runners.jobs import plan_tagging
from tests import image_files

STEPS = (
    "ListImages",
    "SkipTagged",
    "SpreadReads",
    "PredictImages",
    "WritePredictions",
    "WriteFailures",
    "MergeFiles",
    "WriteManifest",
)

SMALL = {
    Piece,
    Archive,
    ReadThrough,
    EarlierFile,
    EarlierPart,
    Failure,
    StagedFile,
    Group,
    Superseded,
    Unlisted,
    Accounts,
}
"""Names and rows, and what is told of files: what may go from machine to machine."""

LARGE = {Image, Prediction}
"""What stays on the machine that made it."""

REDISTRIBUTED = {Timestamp, PaneInfo}
"""What Beam's `Reshuffle` adds to its elements."""

RUNNERS_OWN = (common_urns.primitives.GROUP_BY_KEY.urn, common_urns.primitives.FLATTEN.urn)
"""Transforms that a runner does itself; whatever goes into them, or comes out, leaves the workers."""


@dataclass
class Graph:
    """A job as a runner gets it.

    Attributes:
      proto: the pipeline.
      stages: what a runner fuses, each the transforms that work in one go.
      types: of what flows, by the ids of the collections.
    """

    proto: protos.Pipeline
    stages: Sequence[Sequence[protos.PTransform]]
    types: dict[str, Any] = field(default_factory=dict)

    def applied(self, transform: str) -> Iterator[protos.PTransform]:
        """Give the parts of a step that do something, e.g. those of `PredictImages`."""
        for stage in self.stages:
            yield from (part for part in stage if transform in part.unique_name.split("/"))

    def crossing(self) -> dict[str, str]:
        """Give the ids of all collections that leave a stage, and the name of the transform that takes each."""
        made = {
            collection: number
            for number, stage in enumerate(self.stages)
            for part in stage
            for collection in part.outputs.values()
        }
        return {
            collection: part.unique_name
            for number, stage in enumerate(self.stages)
            for part in stage
            for name, collection in part.inputs.items()
            if made[collection] != number or part.spec.urn in RUNNERS_OWN or name in side_inputs(part)
        }


def side_inputs(part: protos.PTransform) -> set[str]:
    if part.spec.urn != common_urns.primitives.PAR_DO.urn:
        return set()
    return set(protos.ParDoPayload.FromString(part.spec.payload).side_inputs)


HINT = "type:nvidia-l4;count:1;install-nvidia-driver"


@pytest.fixture(scope="module", params=[(), ("--accelerator", HINT)], ids=["plain", "accelerator"])
def graph(bundle_path: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Graph:
    """Build the job as the command does for a distributed runner."""
    folder, bundle = tmp_path_factory.mktemp("graph"), load_bundle(bundle_path)
    image_files.write_chips(folder / "chips", ["0.jpg"])
    run = Run("20260101T000000Z-0001", str(folder / "out"), bundle, bundle.thresholds)
    flags = [f"--input={folder / 'chips'}", f"--model={bundle_path}", f"--output={run.output}", *request.param]
    options = parse_predict(
        [*flags, "--runner=PortableRunner", "--environment_type=EXTERNAL", "--environment_config=host:1"]
    )
    beam_options = PipelineOptions(options.beam_flags)
    pipeline = build_job(plan_tagging(run, options, beam_options), options, beam_options)
    # The environments of steps with hints are made of the one that the runner takes for all.
    environment = Environment.from_options(beam_options.view_as(PortableOptions))
    proto, context = pipeline.to_runner_api(return_context=True, default_environment=environment)
    collections: dict[str, PCollection[Any]] = {
        name: context.pcollections.get_by_id(name) for name in proto.components.pcollections
    }
    _, stages = translations.create_and_optimize_stages(
        proto, translations.standard_optimize_phases(), frozenset(RUNNERS_OWN)
    )
    types = {name: collection.element_type for name, collection in collections.items()}
    # A copy that fusion has put between two stages is of the type of what it copies.
    for part in (part for stage in stages for part in stage.transforms):
        [*sources] = [types[source] for source in part.inputs.values() if source in types]
        for made in part.outputs.values():
            types.setdefault(made, sources[0] if sources else typehints.Any)
    return Graph(proto, [stage.transforms for stage in stages], types)


def classes(hint: Any) -> set[Any]:
    """Give the classes of which a type is made, e.g. int and `ImageRef` of `tuple[int, Iterable[ImageRef]]`."""
    if isinstance(hint, typehints.UnionConstraint):
        return set().union(*map(classes, hint.union_types))
    inner = getattr(hint, "tuple_types", None) or getattr(hint, "inner_type", None)
    if inner is None:
        return {hint}
    return set().union(*map(classes, inner if isinstance(inner, tuple) else (inner,)))


def test_the_graph_has_the_steps_of_the_design_in_the_order_in_which_data_flows(graph: Graph) -> None:
    composites = {transform.unique_name.rpartition("/")[2] for transform in graph.proto.components.transforms.values()}
    assert set(STEPS) <= composites
    order = [part.unique_name for stage in graph.stages for part in stage]
    firsts = {step: min(order.index(part.unique_name) for part in graph.applied(step)) for step in STEPS}
    # Their own impulses wait for nothing.
    firsts["WriteManifest"] = order.index("TagImages/WriteManifest/Commit")
    firsts["MergeFiles"] = order.index("TagImages/MergeFiles/Plan")

    assert sorted(STEPS, key=firsts.__getitem__) == list(STEPS)


def test_all_that_flows_says_what_it_is(graph: Graph) -> None:
    for part in (part for stage in graph.stages for part in stage):
        for collection in part.outputs.values():
            assert typehints.Any not in classes(graph.types[collection]), f"{part.unique_name} gives anything"


def test_only_names_and_rows_leave_a_machine(graph: Graph) -> None:
    crossing = graph.crossing()
    assert len(crossing) > 8, "the graph was not looked at"
    met: set[Any] = set()
    for collection, taker in crossing.items():
        found = classes(graph.types[collection])
        assert not found & LARGE, f"{taker} takes {graph.types[collection]} of another stage"
        ours = {kind for kind in found if getattr(kind, "__module__", "").startswith("pipelines.")}
        assert ours <= SMALL, f"{taker} takes {graph.types[collection]} of another stage"
        met |= ours
    assert met == SMALL, "some way between two stages was not looked at"


def test_nothing_but_names_is_shuffled(graph: Graph) -> None:
    shuffles = [part for stage in graph.stages for part in stage if part.spec.urn == RUNNERS_OWN[0]]
    shuffled = [classes(graph.types[collection]) for part in shuffles for collection in part.inputs.values()]

    # The pieces, what was found in them, the partitions, what is read together, and names of files to merge.
    assert len(shuffled) == 5
    assert set().union(*shuffled) <= {
        int,
        str,
        bytes,
        ReadThrough,
        Piece,
        Archive,
        EarlierFile,
        EarlierPart,
        Group,
        type(None),
        *REDISTRIBUTED,
    }, shuffled


def test_images_are_read_predicted_and_written_in_one_stage(graph: Graph) -> None:
    [fused] = [stage for stage in graph.stages if any(part in graph.applied("PredictImages") for part in stage)]

    names = [part.unique_name for part in fused]
    # Failures have a stage of their own in Beam's fusion: names that cannot be images come from another machine.
    for step in ("PredictImages", "WritePredictions"):
        for part in graph.applied(step):
            assert part.unique_name in names
    assert not [name for name in names if "Skip" in name or "List" in name], "listing would be done by one worker"


@pytest.mark.parametrize("graph", [("--accelerator", HINT)], indirect=True, ids=["accelerator"])
def test_an_accelerator_is_asked_for_where_the_model_runs_and_nowhere_else(graph: Graph) -> None:
    accelerated = {
        name
        for stage in graph.stages
        for part in stage
        for name in part.unique_name.split("/")[:2]
        if HINT.encode() in graph.proto.components.environments[part.environment_id].resource_hints.values()
    }

    assert {"PredictImages", "WritePredictions"} <= accelerated
    assert not accelerated & {"ListImages", "SkipTagged", "MergeFiles", "WriteManifest"}


def test_every_step_of_ours_is_bound_to_its_release(graph: Graph) -> None:
    bound = set()
    for part in (part for stage in graph.stages for part in stage):
        if part.spec.urn == common_urns.primitives.PAR_DO.urn:
            step, *others = pickler.loads(protos.ParDoPayload.FromString(part.spec.payload).do_fn.payload)
            if isinstance(step, BoundToRelease):
                bound.add(type(step).__name__)
            else:
                assert b"pipelines" not in cloudpickle.dumps((step, others)), f"{part.unique_name} runs on any release"
    assert bound >= {
        "Divide",
        "ListPieces",
        "OpenListed",
        "SettlePartition",
        "PutInOrder",
        "ReadAndPredict",
        "WriteTable",
        "CloseWave",
    }
