"""What a bundle tells of its training and its quality: gathered, measured, and laid out for `bundle.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.labels.match import NAMES_SHOWN, Finding
from model.quality import metrics, thresholds
from model.quality.history import Epoch
from model.quality.metrics import Scores
from model.quality.thresholds import Thresholds


@dataclass(frozen=True)
class Network:
    """The network, and what it started from.

    Attributes:
      alpha: width of MobileNetV2.
      image_size: side of its images, in pixels.
      resize_filter: by which images are brought to that size.
      weights: "imagenet", a file of weights, or None where it was trained from scratch.
    """

    alpha: float
    image_size: int
    resize_filter: str
    weights: str | Path | None

    @property
    def weights_name(self) -> str:
        """What the weights are called: "imagenet", "none", or the file's name without its folder."""
        return "none" if self.weights is None else _in_utf8(Path(self.weights).name)


@dataclass(frozen=True)
class Data:
    """The images, their labels and the split.

    Attributes:
      images: the folder they are from; only its name is told.
      label_file: the file their labels are from; only its name is told.
      findings: what was amiss with either, and what became of it.
      repairs: on how many images each repair of `images.decode` was made.
      validation_fraction: the share that was to be held out, 0 to 1.
      train_targets: float32 [N, L], 1.0 where training image n has label l.
      validation_targets: float32 [M, L], of the held-out images.
    """

    images: Path
    label_file: Path
    findings: tuple[Finding, ...]
    repairs: Mapping[str, int]
    validation_fraction: float
    train_targets: NDArray[np.float32]
    validation_targets: NDArray[np.float32]

    @property
    def images_name(self) -> str:
        """The last name of the images' folder, which may be given as "." too."""
        return _in_utf8(self.images.resolve().name)

    @property
    def label_file_name(self) -> str:
        """The last name of the label file."""
        return _in_utf8(self.label_file.name)

    @property
    def train_support(self) -> NDArray[np.int64]:
        """How many training images have each label, int64 [L]."""
        support: NDArray[np.int64] = (self.train_targets > 0.5).sum(axis=0)
        return support


@dataclass(frozen=True)
class Training:
    """How the network was trained.

    Attributes:
      head_epochs: the most that the head alone was to have.
      finetune_epochs: the most that the whole network was to have.
      batch_size: images a step.
      seed: of split, first weights and order.
      history: the epochs there were, at least one.
      kept_epoch: the one of them whose weights are exported.
      criterion: by which it was chosen, e.g. "the best F2 over samples on the held-out images".
      machine: what it was trained on, e.g. "2 CPU cores".
      mixed_precision: whether layers computed in float16; the bundle never does.
    """

    head_epochs: int
    finetune_epochs: int
    batch_size: int
    seed: int
    history: tuple[Epoch, ...]
    kept_epoch: int
    criterion: str
    machine: str
    mixed_precision: bool

    @property
    def kept(self) -> Epoch:
        """The epoch whose weights are exported."""
        return next(epoch for epoch in self.history if epoch.epoch == self.kept_epoch)

    @property
    def seconds(self) -> float:
        """What all epochs took together."""
        return sum(epoch.seconds for epoch in self.history)


@dataclass(frozen=True)
class Quantization:
    """What an int8 file was made with, and what it was before.

    Attributes:
      calibration_images: training images by which the range of each activation was found.
      float32_probabilities: float32 [M, L], the network's of the held-out images.
      float32_thresholds: those tuned for them.
    """

    calibration_images: int
    float32_probabilities: NDArray[np.float32]
    float32_thresholds: Thresholds


@dataclass(frozen=True)
class Facts:
    """All that a bundle and its model card tell.

    Attributes:
      name: what people call the model.
      note: a remark of whoever trained it, in Markdown; may be empty.
      labels: L names, in the order of the model's outputs.
      probabilities: float32 [M, L], the exported model's of the held-out images.
      thresholds: from which probability a label counts as a tag.
      quantization: of an int8 file; None where the exported model computes in float32.
    """

    name: str
    note: str
    labels: tuple[str, ...]
    network: Network
    data: Data
    training: Training
    probabilities: NDArray[np.float32]
    thresholds: Thresholds
    quantization: Quantization | None = None

    @property
    def quantization_name(self) -> str:
        """What the flag of `train` calls it: "none" or "int8"."""
        return "none" if self.quantization is None else "int8"


@dataclass(frozen=True)
class CostOfInt8:
    """What quantization cost on the held-out images, at thresholds tuned for each of the two.

    Attributes:
      float32_f2_over_samples: the network's before.
      float32_mean_average_precision: likewise; None where no label occurs.
      mean_difference: by how much the probabilities differ from those before, on average.
      largest_difference: by how much one of them does, at most.
    """

    float32_f2_over_samples: float
    float32_mean_average_precision: float | None
    mean_difference: float
    largest_difference: float


@dataclass(frozen=True)
class Quality:
    """How good a model is on the held-out images, beside what takes less effort; F2 is over samples, 0 to 1.

    Attributes:
      scores: at the bundle's thresholds.
      validation_loss: binary cross-entropy, as measured after the epoch that was kept; of an int8 file, its own.
      best_flat_threshold: the one threshold for all labels that is best for these very images.
      f2_at_best_flat: F2 at that one.
      f2_at_half: F2 at 0.5 for all labels.
      f2_of_frequencies: F2 of predicting for every image how frequent each label is in training, at the flat threshold
          that is best for it.
      f2_of_frozen_head: F2 of the head on the frozen network, at its best flat threshold; None where there was no such
          phase, or no other.
      cost_of_int8: None where the exported model computes in float32.
    """

    scores: Scores
    validation_loss: float
    best_flat_threshold: float
    f2_at_best_flat: float
    f2_at_half: float
    f2_of_frequencies: float
    f2_of_frozen_head: float | None
    cost_of_int8: CostOfInt8 | None


def measure(facts: Facts) -> Quality:
    """Measure a model on its held-out images."""
    truth, probabilities = facts.data.validation_targets > 0.5, facts.probabilities
    frequencies = np.broadcast_to(facts.data.train_targets.mean(axis=0), truth.shape)
    flat = thresholds.best_flat(truth, probabilities)
    tags = _tags(probabilities, facts.thresholds)
    phases = {epoch.phase for epoch in facts.training.history}
    of_head = [epoch.validation_f2 for epoch in facts.training.history if epoch.phase == "head"]
    return Quality(
        scores=metrics.measure(facts.labels, truth, tags, probabilities),
        validation_loss=(
            metrics.binary_crossentropy(truth, probabilities)
            if facts.quantization
            else facts.training.kept.validation_loss
        ),
        best_flat_threshold=flat,
        f2_at_best_flat=metrics.f2_over_samples(truth, probabilities >= flat),
        f2_at_half=metrics.f2_over_samples(truth, probabilities >= 0.5),
        f2_of_frequencies=metrics.f2_over_samples(truth, frequencies >= thresholds.best_flat(truth, frequencies)),
        f2_of_frozen_head=max(filter(math.isfinite, of_head), default=None) if len(phases) > 1 else None,
        cost_of_int8=_cost(facts.quantization, truth, probabilities) if facts.quantization else None,
    )


def _tags(probabilities: NDArray[np.float32], thresholds: Thresholds) -> NDArray[np.bool_]:
    # As float32, like the probabilities: so prediction compares them too.
    return np.asarray(probabilities >= thresholds.each.astype(np.float32))


def _cost(before: Quantization, truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> CostOfInt8:
    differences = np.abs(probabilities - before.float32_probabilities)
    tags = _tags(before.float32_probabilities, before.float32_thresholds)
    return CostOfInt8(
        float32_f2_over_samples=metrics.f2_over_samples(truth, tags),
        float32_mean_average_precision=metrics.mean_average_precision(truth, before.float32_probabilities),
        mean_difference=float(differences.mean()),
        largest_difference=float(differences.max()),
    )


def training_summary(facts: Facts) -> dict[str, Any]:
    """Tell how the model was trained, for `bundle.json`: what is not a number is null, and times are in seconds."""
    data, training = facts.data, facts.training
    findings = [
        {"what": finding.what, "count": len(finding.names), "names": list(finding.names[:NAMES_SHOWN])}
        for finding in data.findings
    ]
    return {
        "architecture": "MobileNetV2",
        "alpha": facts.network.alpha,
        "weights": facts.network.weights_name,
        "image_folder": data.images_name,
        "label_file": data.label_file_name,
        "train_images": len(data.train_targets),
        "validation_images": len(data.validation_targets),
        "findings": findings,
        "repairs": dict(data.repairs),
        "validation_fraction": data.validation_fraction,
        "head_epochs": training.head_epochs,
        "finetune_epochs": training.finetune_epochs,
        "batch_size": training.batch_size,
        "seed": training.seed,
        "history": [{name: _defined(value) for name, value in epoch._asdict().items()} for epoch in training.history],
        "kept_epoch": training.kept_epoch,
        "criterion": training.criterion,
        "seconds": training.seconds,
        "machine": training.machine,
        "mixed_precision": training.mixed_precision,
        "quantization": facts.quantization_name,
        "calibration_images": facts.quantization.calibration_images if facts.quantization else None,
        "note": facts.note,
    }


def metrics_summary(facts: Facts, quality: Quality) -> dict[str, Any]:
    """Tell how good the model is on the held-out images, for `bundle.json`: what is not defined is null."""
    summary = quality.scores.to_json()
    of_labels = {
        label: {"train_images": int(images), "threshold": float(threshold), **summary["labels"][label]}
        for label, images, threshold in zip(facts.labels, facts.data.train_support, facts.thresholds.each, strict=True)
    }
    others = asdict(quality)
    del others["scores"]
    return {**summary, **{name: _defined(value) for name, value in others.items()}, "labels": of_labels}


def _in_utf8(name: str) -> str:
    """Write the name of a file so that it can be told; not every name is in UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()


def _defined(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
