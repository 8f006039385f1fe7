"""The facts about a bundle's training."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.quality.calibration import Calibration
from model.quality.history import Epoch
from model.quality.thresholds import Thresholds
from pipelines.images.rendering import NO_RENDERING, Rendering
from pipelines.inference.bundle import Bundle
from pipelines.inference.reference import Reference
from pipelines.labels import Finding, LabelSource


@dataclass(frozen=True)
class Network:
    """The network, and what it started from.

    Attributes:
      alpha: width of MobileNetV2.
      image_size: side of its images, in pixels.
      resize_filter: the filter that resizes images to that size.
      weights: "imagenet", a file of weights, a bundle, or None if it was trained from scratch.
      rendering: how rasters among its images became pictures.
    """

    alpha: float
    image_size: int
    resize_filter: str
    weights: str | Path | Bundle | None
    rendering: Rendering = NO_RENDERING

    @property
    def weights_name(self) -> str:
        """The name of the weights: "imagenet", "none", or that of the file or bundle without its folder."""
        path = self.weights.path if isinstance(self.weights, Bundle) else self.weights
        return "none" if path is None else _in_utf8(Path(path).name)

    @property
    def start_digest(self) -> str | None:
        """The digest of the bundle that it started from; None if it did not."""
        return self.weights.digest if isinstance(self.weights, Bundle) else None


@dataclass(frozen=True)
class Data:
    """The images, their labels and the split.

    Attributes:
      images: their folder, as an absolute path or in a bucket; only its name is published.
      label_file: the files of their labels; only their names are published.
      findings: problems with either, and what was done about them.
      repairs: number of images per repair of `images.decode`.
      validation_fraction: the share that was to be held out, 0 to 1; None if the user has chosen the images.
      split_flags: how the user has divided the images, as flags of `train`.
      train_targets: float32 [N, L], 1.0 if training image n has label l.
      validation_targets: float32 [M, L], of the held-out images.
      reference: what all of these images look like; None if there are too few to tell.
      side: the median of the images' shorter sides, in pixels, before they were resized.
      unjudged: labels of which nobody knows which held-out images have them.
      is_start_known: whether it is known which images the network had learnt before, so that none of them is held out.
    """

    images: str
    label_file: LabelSource
    findings: tuple[Finding, ...]
    repairs: Mapping[str, int]
    validation_fraction: float | None
    split_flags: Mapping[str, str]
    train_targets: NDArray[np.float32]
    validation_targets: NDArray[np.float32]
    side: int
    reference: Reference | None = None
    unjudged: tuple[str, ...] = ()
    is_start_known: bool = True

    @property
    def images_name(self) -> str:
        """The name of the images' folder without its parents."""
        return _in_utf8(Path(self.images).name)

    @property
    def label_file_names(self) -> list[str]:
        """The names of the label files without their folders."""
        return [_in_utf8(Path(path).name) for path in self.label_file.paths]

    @property
    def label_file_name(self) -> str:
        """The same in one text."""
        return ", ".join(self.label_file_names)

    @property
    def train_support(self) -> NDArray[np.int64]:
        """The number of training images with each label, int64 [L]."""
        support: NDArray[np.int64] = (self.train_targets > 0.5).sum(axis=0)
        return support


@dataclass(frozen=True)
class Training:
    """How the network was trained.

    Attributes:
      head_epochs: the maximum for the head alone.
      finetune_epochs: the maximum for the whole network.
      batch_size: images per step.
      seed: of split, initial weights and order.
      history: all epochs, at least one.
      kept_epoch: the epoch whose weights were measured on the held-out images, and are exported, or trained further.
      final_epochs: number of further epochs, on all images, held-out ones included.
      augment: how training images varied.
      loss: what was minimized: the value of the flag `--loss`.
      beta: of the F-beta by which epoch and thresholds were chosen.
      max_minutes: after which it was to end; None without a limit.
      criterion: how it was chosen, e.g. "the best F2 over samples on the held-out images".
      machine: what it was trained on, e.g. "2 CPU cores".
      mixed_precision: whether layers computed in float16; the bundle never does.
    """

    head_epochs: int
    finetune_epochs: int
    batch_size: int
    seed: int
    history: tuple[Epoch, ...]
    kept_epoch: int
    final_epochs: int
    augment: str
    loss: str
    beta: float
    max_minutes: float | None
    criterion: str
    machine: str
    mixed_precision: bool

    @property
    def seconds(self) -> float:
        """The time of all epochs together."""
        return sum(epoch.seconds for epoch in self.history)


@dataclass(frozen=True)
class Quantization:
    """How an int8 file was made, and what its network was like before.

    Attributes:
      calibration_images: number of training images that the activation ranges were found on.
      float32_probabilities: float32 [M, L], those of the network on the held-out images.
      float32_thresholds: the thresholds tuned for these.
    """

    calibration_images: int
    float32_probabilities: NDArray[np.float32]
    float32_thresholds: Thresholds


@dataclass(frozen=True)
class Facts:
    """Everything that a bundle and its model card report.

    Attributes:
      name: of the model.
      note: a remark about the training, in Markdown; may be empty.
      labels: L names, in the order of the model's outputs.
      calibration: the correction of its probabilities.
      probabilities: float32 [M, L], those of the model on the held-out images; if it has learnt these in the end, those
        before.
      thresholds: the least probability at which a label becomes a tag.
      quantization: of an int8 file; None if the exported model computes in float32.
    """

    name: str
    note: str
    labels: tuple[str, ...]
    network: Network
    data: Data
    training: Training
    calibration: Calibration
    probabilities: NDArray[np.float32]
    thresholds: Thresholds
    quantization: Quantization | None = None

    @property
    def judged(self) -> NDArray[np.bool_]:
        """The labels of which it is known which held-out images have them, bool [L]."""
        return ~np.isin(self.labels, self.data.unjudged)

    @property
    def too_few_to_calibrate(self) -> tuple[str, ...]:
        """The labels that had too few held-out images to have a bias of their own."""
        return tuple(itertools.compress(self.labels, ~self.calibration.enough))

    @property
    def quantization_name(self) -> str:
        """The value of the flag of `train`: "none" or "int8"."""
        return "none" if self.quantization is None else "int8"


def _in_utf8(name: str) -> str:
    """Return a file name in UTF-8, with bytes that are not UTF-8 escaped."""
    return name.encode("utf-8", "backslashreplace").decode()
