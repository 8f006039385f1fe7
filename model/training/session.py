"""One training, from a label file to a bundle."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import os
import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data import reference
from model.export import bundle as export
from model.export import quantization
from model.quality import calibration, facts, metrics, thresholds
from model.quality.fbeta import title
from model.quality.history import HEAD, Epoch
from model.quality.thresholds import Thresholds
from model.training import figures, fitting, identity, network, phases, reading, splitting
from model.training.opening import open_workspace
from model.training.settings import Settings
from model.training.start import Start, read_weights
from model.training.workspace import Workspace
from pipelines.commandline.parser import UsageError
from pipelines.commandline.printing import show
from pipelines.errors import quantity
from pipelines.inference.bundle import Bundle
from pipelines.supervision.machine import available_cores, native_messages_muted


class _Setup(NamedTuple):
    """What a training needs besides its data.

    Attributes:
      settings: of the command.
      workspace: where epochs are committed.
      precision: of the computation.
      start: the bundle's network to start from, if any.
      ends_at: time of the monotonic clock, in seconds, at which the last epoch should have ended.
    """

    settings: Settings
    workspace: Workspace
    precision: network.Precision
    start: Start | None
    ends_at: float


class _Outcome(NamedTuple):
    """What came of a training.

    Attributes:
      best: the epoch whose weights were measured.
      final_epochs: number of further epochs, on all images.
      calibrated: the correction of its probabilities.
      probabilities: float32 [M, L], corrected ones of the held-out images, before the network has learnt these.
      thresholds: tuned on them.
    """

    best: Epoch
    final_epochs: int
    calibrated: calibration.Calibration
    probabilities: NDArray[np.float32]
    thresholds: Thresholds


def train(settings: Settings) -> None:
    """Read the images, train on them, measure and export; resume where an earlier attempt was interrupted.

    Raises:
      LabelError: the label file cannot be used.
      DatasetError: the images cannot be used.
      WorkspaceError: an unfinished training with different settings is in the way.
      WeightsError, BundleError: the initial weights cannot be used.
      ExportError: the export failed its checks, or cannot be written.
      DivergedError: no epoch had a finite loss.
      NotANumberError: the trained network gives NaN.
      OutOfMemoryError: the GPU's memory is too small.
    """
    ends_at = time.monotonic() + 60 * (settings.max_minutes or math.inf)
    _check_installed()
    found = reading.find(settings)
    # Errors of its own included: without a GPU it reports one.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with native_messages_muted():
        import keras
    if settings.quantize == "int8":
        quantization.check_available()
    start = read_weights(settings)
    precision: network.Precision = "mixed_float16" if network.on_gpu() else "float32"
    folder = settings.output.with_name(f"{settings.output.name}.training")
    with open_workspace(folder, identity.describe(settings, found, precision), settings.beta) as workspace:
        data = reading.read(found, settings, workspace)
        keras.utils.set_random_seed(settings.seed)
        try:
            bundle = _train(data, _Setup(settings, workspace, precision, start, ends_at))
        except (fitting.DivergedError, calibration.NotANumberError):
            workspace.discard()  # it would diverge again
            raise
        workspace.clear()
    figures.print_quality(bundle, settings)
    figures.print_quality_in_bfloat16(bundle, data.validation, settings.beta, data.judged)
    show(f"bundle {bundle.digest[:12]} written to {settings.output}; history and logs: {folder}")


def _train(data: reading.Data, setup: _Setup) -> Bundle:
    """Train on the data and export the result."""
    settings, training = setup.settings, _begin(data, setup)
    show("(kept) marks an epoch whose weights would be exported if training ended with it")
    planned = phases.plan(
        from_scratch=settings.weights is None,
        head_epochs=settings.head_epochs,
        finetune_epochs=settings.finetune_epochs,
    )
    best = training.run(planned)
    if not phases.has_ended(planned[-1], training.history):
        show(f"ended after epoch {len(training.history)} because of --max_minutes {settings.max_minutes:g}")
    if best.phase == HEAD and any(epoch.phase != HEAD for epoch in training.history):
        show(f"the network of epoch {best.epoch} is kept: fine-tuning did no better on the held-out images")
    outcome = _measure(training, best, settings)
    outcome = outcome._replace(final_epochs=_learn_all(training, outcome, settings))
    model = _in_float32(training.model, settings)
    network.calibrate(model, outcome.calibrated.correction)
    learnt = _gather(settings, data, training, outcome)
    ranges = data.training if settings.quantize == "int8" else None
    images = data.learnt.with_images(data.held_out_digests) if outcome.final_epochs else data.learnt
    return export.export(model, settings.output, learnt, data.validation, ranges, images)


def _measure(training: fitting.Training, best: Epoch, settings: Settings) -> _Outcome:
    """Measure the network on the held-out images, and calibrate it."""
    truth = training.validation.targets > 0.5
    measured = _in_float32(training.model, settings)
    probabilities = fitting.predict(measured, training.validation, settings.batch_size)
    calibrated = calibration.fit(truth, probabilities, training.judged)
    corrected = calibrated.correction.apply(probabilities)
    tuned = thresholds.tune(truth, corrected, settings.beta, training.judged)
    return _Outcome(best, 0, calibrated, corrected, tuned)


def _learn_all(training: fitting.Training, outcome: _Outcome, settings: Settings) -> int:
    """Learn the held-out images, too, if wanted; return the number of epochs for which the exported network has.

    Not for an int8 file: its own thresholds and figures are yet to be measured on images that it has not learnt.
    """
    if not settings.final_epochs or settings.quantize == "int8":
        return 0

    def score(probabilities: NDArray[np.float32]) -> float:
        corrected = outcome.calibrated.correction.apply(probabilities)
        tags = corrected >= outcome.thresholds.each.astype(np.float32)
        return metrics.fbeta_over_samples(training.validation.targets > 0.5, tags, settings.beta)

    if training.learn_all(phases.final(settings.final_epochs, outcome.best.phase), score):
        return settings.final_epochs
    tried = any(epoch.phase == phases.ON_ALL for epoch in training.history)
    if tried:
        show("--final_epochs undone: the network did no better on the held-out images afterwards")
    else:
        show(f"--final_epochs skipped: --max_minutes {settings.max_minutes:g} leaves no time")
    return 0


def _gather(settings: Settings, data: reading.Data, training: fitting.Training, outcome: _Outcome) -> facts.Facts:
    """Gather the facts about the training for the bundle."""
    return facts.Facts(
        name=settings.name,
        note=settings.note,
        labels=data.labels,
        network=facts.Network(
            settings.alpha, settings.image_size, settings.resize_filter, settings.weights, settings.rendering
        ),
        data=facts.Data(
            images=settings.images,
            label_file=settings.labels,
            findings=data.findings,
            repairs=data.repairs,
            validation_fraction=settings.validation_fraction,
            split_flags=splitting.flags(settings),
            train_targets=data.training.targets,
            validation_targets=data.validation.targets,
            side=data.side,
            reference=reference.gather(data.training, data.validation),
            unjudged=data.unjudged,
            is_start_known=data.learnt.is_complete,
        ),
        training=facts.Training(
            head_epochs=settings.head_epochs,
            finetune_epochs=settings.finetune_epochs,
            batch_size=settings.batch_size,
            seed=settings.seed,
            # Epochs on all images count only if the exported network has them.
            history=tuple(epoch for epoch in training.history if outcome.final_epochs or epoch.phase != phases.ON_ALL),
            kept_epoch=outcome.best.epoch,
            final_epochs=outcome.final_epochs,
            augment=settings.augment,
            loss=settings.loss,
            beta=settings.beta,
            max_minutes=settings.max_minutes,
            criterion=(
                f"the last of its phase within one standard error of the best {title(settings.beta)} over samples on "
                "the held-out images, and not below the phase before"
            ),
            machine="GPU" if network.on_gpu() else f"CPU, {quantity(available_cores(), 'core')}",
            mixed_precision=training.model.dtype_policy.name != "float32",
        ),
        calibration=outcome.calibrated,
        probabilities=outcome.probabilities,
        thresholds=outcome.thresholds,
    )


def _check_installed() -> None:
    """Fail right away if a library is missing that would otherwise be missed after hours."""
    for module in ("tensorflow", "imagehash", "matplotlib"):
        if importlib.util.find_spec(module) is None:
            raise UsageError(f"{module} is not installed", "run pip install 'scenetags[train]'")


def _begin(data: reading.Data, setup: _Setup) -> fitting.Training:
    """Build the network, and find out how far an interrupted attempt got."""
    settings = setup.settings
    history = list(setup.workspace.read_history())
    if history:
        show(f"resuming after epoch {history[-1].epoch} of an interrupted training ({setup.workspace.folder})")
    model = network.build(
        data.training.targets.mean(axis=0),
        image_size=settings.image_size,
        alpha=settings.alpha,
        weights=None if isinstance(settings.weights, Bundle) else settings.weights,
        precision=setup.precision,
    )
    if setup.start is not None:
        setup.start.put_into(model, data.labels)
        show(*setup.start.describe(data.labels))
    return fitting.Training(
        model=model,
        training=data.training,
        validation=data.validation,
        batch_size=settings.batch_size,
        seed=settings.seed,
        workspace=setup.workspace,
        history=history,
        augment=settings.augment,
        loss=settings.loss,
        beta=settings.beta,
        judged=data.judged,
        ends_at=setup.ends_at,
    )


def _in_float32(model: Any, settings: Settings) -> Any:
    """Return a network with the same weights that computes in float32, as bundles do."""
    if model.dtype_policy.name == "float32":
        return model
    frequencies = np.full(model.output_shape[-1], 0.5, np.float32)
    plain = network.build(frequencies, image_size=settings.image_size, alpha=settings.alpha, weights=None)
    plain.set_weights(model.get_weights())
    return plain
