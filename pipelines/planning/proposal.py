"""What `scenetags plan` finds out and proposes."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.inference.intervals import Interval
from pipelines.inference.shift import Shift
from pipelines.planning.estimate import CloudRun, Costs, Speed
from pipelines.planning.precisions import Precisions
from pipelines.planning.sampling import BatchTrial


@dataclass(frozen=True)
class Count:
    """A name and how often it occurs."""

    name: str
    count: int


@dataclass(frozen=True)
class Reason:
    """A reason why images failed.

    Attributes:
      error: stage and error class.
      count: number of images.
      message: of one of them.
      path: of the same image.
    """

    error: str
    count: int
    message: str
    path: str


@dataclass(frozen=True)
class ListedInputs:
    """What the inputs hold.

    Attributes:
      inputs: number of images, and of inputs that cannot be images.
      bytes: total size of the images.
      not_listed: number of inputs that cannot be images, each of which becomes a failure.
      passed_over: number of files not named like images, by file name ending.
      listing_seconds: duration of the listing.
    """

    inputs: int
    bytes: int
    not_listed: int
    passed_over: tuple[Count, ...]
    listing_seconds: float


@dataclass(frozen=True)
class Sampled:
    """Results of the sample.

    Attributes:
      images: number of images.
      bytes: fetched.
      empty: number of windows of scenes with too little data.
      failed: number of failures.
      expected_failures: among all inputs, including those that could not be listed.
      reasons: of failures, including those that could not be listed.
      sources: formats of the tagged images.
      repairs: colour repairs of the tagged images.
      bytes_per_row: of output per tagged image; None if none was tagged.
      shift: how the tagged images differ from those that the model was trained on.
      cautions: reasons not to run it like this.
    """

    images: int
    bytes: int
    empty: int
    failed: int
    expected_failures: Interval
    reasons: tuple[Reason, ...]
    sources: tuple[Count, ...]
    repairs: tuple[Count, ...]
    bytes_per_row: float | None
    shift: Shift
    cautions: tuple[str, ...]


@dataclass(frozen=True)
class LocalRun:
    """A run on this machine.

    Attributes:
      cores: available to the run.
      load: load average of the minute before.
      speed: of the run.
      seconds: duration of the run.
      batch_size: proposed.
      reads_in_flight: proposed.
    """

    cores: int
    load: float
    speed: Speed
    seconds: float
    batch_size: int
    reads_in_flight: int


@dataclass(frozen=True)
class Asked:
    """Requirements for a cloud run; at most one is given.

    Attributes:
      workers: number of workers.
      hours: time limit.
    """

    workers: int | None = None
    hours: float | None = None


@dataclass(frozen=True)
class Plan:
    """A plan; the optional fields are None if no image in the sample could be tagged.

    Attributes:
      found: contents of the inputs.
      sampled: results of the sample.
      asked: requirements for a cloud run.
      engine: that ran the model.
      precision: in which it did.
      held: precision of the rows that the output holds; empty if it holds none, or they are to be replaced.
      units: of this processor, for bfloat16; empty if it has none.
      lacks_openvino: whether that is all that bfloat16 lacks here.
      reads_in_flight: used to read the sample.
      trials: of batch sizes.
      has_output: whether an output was named; otherwise the commands have a placeholder for it.
      precisions: the run in both; None if one of them cannot be, or the model runs on a GPU.
      seconds_per_image: cost per image.
      here: a run on this machine.
      cloud: a run on cloud workers; None also if the model ran on a GPU, which the known machine types lack.
      command: to run here.
      cloud_command: to run on Dataflow; None also if any file is only on this machine.
    """

    found: ListedInputs
    sampled: Sampled
    asked: Asked
    engine: str
    precision: str
    held: str
    units: str
    lacks_openvino: bool
    reads_in_flight: int
    trials: tuple[BatchTrial, ...]
    has_output: bool
    precisions: Precisions | None = None
    seconds_per_image: Costs | None = None
    here: LocalRun | None = None
    cloud: CloudRun | None = None
    command: str | None = None
    cloud_command: str | None = None
