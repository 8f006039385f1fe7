"""The `train` command: labelled images in, a bundle out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import card, dataset, export, fitting, labels, metrics, network, thresholds
from model.commandline import UsageError
from model.settings import Settings, parse

RESIZE_FILTER = "bilinear"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        settings = parse(sys.argv[1:] if argv is None else argv)
        train(settings)
    except (UsageError, labels.LabelError, network.WeightsError) as error:
        print(f"scenetags train: {error}", file=sys.stderr)
        return 2
    except (export.ExportError, fitting.DivergedError) as error:
        print(f"scenetags train: {error}", file=sys.stderr)
        return 1
    return 0


def train(settings: Settings) -> None:
    """Read the images, train on them, measure and export.

    Raises:
      LabelError: the label file or the images cannot be used.
      WeightsError: the pretrained weights cannot be used.
      ExportError: the exported files do not agree with one another.
      DivergedError: training came to nothing.
    """
    matched = _match(settings)
    read = _read(matched.paths, settings.image_size)
    tags = [matched.tags[index] for index in read.indices]
    vocabulary = labels.vocabulary(tags)
    if not vocabulary or len(tags) < 2:
        raise labels.LabelError(
            f"{settings.labels}: {len(tags)} images with {len(vocabulary)} labels: too few to train on"
        )
    examples = dataset.Examples(read.pixels, labels.multi_hot(tags, vocabulary))
    split = dataset.split(len(tags), settings.validation_fraction, settings.seed)
    training, validation = examples.take(split.train), examples.take(split.validation)
    print(f"{len(split.train)} images to train on, {len(split.validation)} held out, {len(vocabulary)} labels")

    model, loss = _fit(training, validation, settings)
    probabilities = model.predict(validation.pixels, batch_size=settings.batch_size, verbose=0)
    truth = validation.targets > 0.5
    threshold = thresholds.best_flat(truth, probabilities)
    facts = card.Facts(
        name=settings.name,
        labels=vocabulary,
        alpha=settings.alpha,
        image_size=settings.image_size,
        resize_filter=RESIZE_FILTER,
        weights=_describe(settings.weights),
        head_epochs=settings.head_epochs,
        finetune_epochs=settings.finetune_epochs,
        batch_size=settings.batch_size,
        note=settings.note,
        seed=settings.seed,
        threshold=threshold,
        f2=metrics.f2_over_samples(truth, probabilities >= threshold),
        f2_of_frequencies=_f2_of_frequencies(training.targets, truth),
        loss=loss,
        train_targets=training.targets,
        validation_targets=validation.targets,
        repairs=read.repairs,
        unreadable=len(read.unreadable),
    )
    sealed = export.export(model, settings.output, facts, validation.pixels)
    print(f"held-out images: F2 over samples {facts.f2:.3f} (label frequencies alone: {facts.f2_of_frequencies:.3f})")
    print(f"bundle {sealed.digest[:12]} written to {settings.output}")


def _match(settings: Settings) -> labels.LabelledImages:
    matched = labels.match(labels.read_rows(settings.labels), settings.images)
    for what, names in (
        ("rows without an image", matched.rows_without_image),
        ("images without a row", matched.images_without_row),
    ):
        if names:
            print(f"{len(names)} {what}, left out: {labels.some_names(names)}")
    return matched


def _read(paths: Sequence[Path], image_size: int) -> dataset.PixelsRead:
    read = dataset.read_pixels(paths, image_size, RESIZE_FILTER)
    if read.unreadable:
        first = read.unreadable[0]
        print(f"{len(read.unreadable)} unreadable images, left out; the first: {first.path.name}: {first.reason}")
    for repair, count in sorted(read.repairs.items()):
        print(f"{count} of {len(paths)} images repaired: {repair}")
    return read


def _fit(training: dataset.Examples, validation: dataset.Examples, settings: Settings) -> tuple[Any, float]:
    """Build and train the network; return it with its best weights, and their validation loss."""
    _import_tensorflow()
    import keras

    keras.utils.set_random_seed(settings.seed)
    model = network.build(
        training.targets.mean(axis=0),
        image_size=settings.image_size,
        alpha=settings.alpha,
        weights=settings.weights,
    )
    phases = fitting.plan(
        from_scratch=settings.weights is None,
        head_epochs=settings.head_epochs,
        finetune_epochs=settings.finetune_epochs,
    )
    loss = fitting.fit(model, phases, training, validation, batch_size=settings.batch_size, seed=settings.seed)
    return model, loss


def _import_tensorflow() -> None:
    """Import TensorFlow without the messages its C++ side writes on every machine without a GPU."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Some of them are written before that variable is read: only a closed standard error keeps them back.
    with open(os.devnull, "w") as nowhere:
        stderr = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _f2_of_frequencies(train_targets: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Score the answer that looks at no image: every label as probable as it was in training."""
    frequencies = np.broadcast_to(train_targets.mean(axis=0), truth.shape)
    return metrics.f2_over_samples(truth, frequencies >= thresholds.best_flat(truth, frequencies))


def _describe(weights: str | Path | None) -> str:
    if weights is None:
        return "trained from scratch"
    if weights == "imagenet":
        return "started from the ImageNet weights of Keras"
    return f"started from the weights in {Path(weights).name}"


if __name__ == "__main__":
    sys.exit(main())
