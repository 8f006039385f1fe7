"""Write the model card: what a bundle was trained on, how good it is, and what it is not for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

from model.export.command import write_command
from model.export.markdown import number as _number
from model.export.markdown import plain as _plain
from model.export.markdown import table as _table
from model.quality import curves
from model.quality.calibration import MIN_IMAGES
from model.quality.facts import Facts, Network, Quantization
from model.quality.fbeta import title
from model.quality.measuring import CostOfInt8, Quality
from model.quality.metrics import Scores
from model.quality.reliability import BINS
from pipelines.errors import quantity

TRAINING_CURVES = "training.png"
PRECISION_RECALL = "precision_recall.png"
RELIABILITY = "reliability.png"

_NOT_FOR = """\
- Imagery unlike its training data: a different sensor, resolution, season, region or processing.
- Labels with few images in the table above: their probabilities mean little.
- Where things are, how large they are or how they changed: it only says whether a chip shows them.
- Decisions about people, land or law unless a person has looked at the image."""

_VARIED = {
    "orientations": "each image was randomly turned, mirrored, cropped and relit in every epoch",
    "flips": "each image was randomly mirrored left to right, cropped and relit in every epoch",
    "none": "images were not varied",
}
_LOSSES = {
    "bce": "binary cross-entropy",
    "weighted": "binary cross-entropy, weighted for rare labels",
    "asymmetric": "asymmetric loss",
}


def write(facts: Facts, quality: Quality, versions: Mapping[str, str]) -> str:
    """Return a model card in Markdown; `versions` are those of the packages that made the bundle."""
    return "\n".join(_lines(facts, quality, versions)) + "\n"


def tags_never_given(scores: Scores, never_given: Mapping[str, str]) -> Iterator[str]:
    """List the labels that none of the images measured was given, with the reason of each."""
    if never_given:
        yield from ("", "Tags that none of these images was given, and the highest probability of any:", "")
    for of_label in scores.labels:
        if of_label.label in never_given:
            why = never_given[of_label.label]
            yield f"- {_plain(of_label.label)}, {_number(of_label.highest_probability)}: {why}."


def _lines(facts: Facts, quality: Quality, versions: Mapping[str, str]) -> Iterator[str]:
    network = facts.network
    int8 = ", rounded to int8" if facts.quantization else ""
    yield f"# {_plain(facts.name)}"
    yield ""
    if quality.cautions:
        yield from ("**Caution:**", "", *(f"- {_plain(caution)}." for caution in quality.cautions), "")
    yield (
        f"A multi-label tagger for satellite image chips: MobileNetV2 (alpha {network.alpha:g}) at "
        f"{network.image_size} px, {_origin(network)}{int8}. It gives each chip a probability for each of "
        f"{quantity(len(facts.labels), 'label')}; a label becomes a tag if its probability reaches the threshold in "
        "the table below."
    )
    if facts.note:
        yield ""
        # Line by line, so that any Markdown in it stays inside the quotation.
        yield from (f"> {line}".rstrip() for line in facts.note.splitlines())
    yield from ("", "## Quality on the held-out images", "")
    yield from _quality(quality)
    if epochs := facts.training.final_epochs:
        yield ""
        yield (
            f"All figures are those of the network before it learnt the held-out images, too (`--final_epochs "
            f"{epochs}`). Measured on them once more, it would look better than it is."
        )
    yield from ("", "### Calibration", "")
    yield from _calibration(facts, quality)
    if facts.quantization and quality.cost_of_int8:
        yield from ("", "### Cost of int8", "")
        yield from _cost(facts.quantization, quality.scores, quality.cost_of_int8)
    yield from ("", "### Labels", "")
    yield from _labels(facts, quality)
    yield from ("", "## Data", "")
    yield from _data(facts)
    yield from ("", "## Training", "")
    yield from _training(facts)
    yield from end(versions)


def end(versions: Mapping[str, str]) -> Iterator[str]:
    """Write the end of any card: what a model is not for, and the packages that made the bundle."""
    yield from ("", "## What it is not for", "", _NOT_FOR, "", "## Versions", "")
    yield ", ".join(f"{_plain(name)} {_plain(version)}" for name, version in versions.items())


def _quality(quality: Quality) -> Iterator[str]:
    scores = quality.scores
    fbeta = f"{title(scores.beta)} over samples"
    rows = [
        (f"**{fbeta}, at the bundle's thresholds**", f"**{scores.fbeta_over_samples:.3f}**"),
        (
            f"{fbeta}, at the best flat threshold ({quality.best_flat_threshold:.2f})",
            _number(quality.fbeta_at_best_flat),
        ),
        (f"{fbeta}, at a flat 0.5", _number(quality.fbeta_at_half)),
        (f"{fbeta}, predicting the training frequencies", _number(quality.fbeta_of_frequencies)),
        ("micro F1", _number(scores.micro_f1)),
        ("macro F1", _number(scores.macro_f1)),
        ("mean average precision", _number(scores.mean_average_precision)),
    ]
    if quality.fbeta_of_frozen_head is not None:
        rows.insert(4, (f"{fbeta}, the frozen head before fine-tuning", _number(quality.fbeta_of_frozen_head)))
    yield from _table(("measure", "value"), rows)
    yield ""
    yield (
        f"Thresholds and epoch were chosen on these same {quantity(scores.images, 'image')}, so the figures flatter a "
        "little. Each baseline is measured at the flat threshold that is best for it. F1, precision and recall are at "
        "the bundle's thresholds."
    )


def _calibration(facts: Facts, quality: Quality) -> Iterator[str]:
    before, after = quality.uncalibrated, quality.calibrated
    pairs = {
        "expected calibration error": (before.expected_calibration_error, after.expected_calibration_error),
        "Brier score": (before.brier_score, after.brier_score),
        "log loss (binary cross-entropy)": (before.log_loss, after.log_loss),
    }
    rows = [(name, *(f"{value:.4f}" for value in pair)) for name, pair in pairs.items()]
    yield from _table(("measure", "before", "calibrated"), rows)
    yield ""
    yield (
        f"{_correction(facts)} In the column *calibrated* each image has a correction that was fitted without it; only "
        "the epoch and the strength of the correction were chosen with it. The expected calibration error is over "
        f"{BINS} equal bins, all labels together; the fewer the images, the more chance adds to it."
    )
    yield from ("", f"![How often a label is there, by its probability]({RELIABILITY})")
    if facts.too_few_to_calibrate:
        yield ""
        yield (
            f"Too few to calibrate, with fewer than {MIN_IMAGES} held-out images that have the label, or that lack it: "
            f"{', '.join(map(_plain, facts.too_few_to_calibrate))}. These labels share one bias; their probabilities "
            "rank images, but are not to be taken at their word."
        )


def _correction(facts: Facts) -> str:
    temperature, biases = facts.calibration.correction
    if temperature == 1 and not biases.any():
        return "Probabilities are as trained: in cross-validation no correction did better."
    own = int(facts.calibration.enough.sum()) if facts.calibration.own_biases else 0
    return (
        f"After training, log-odds were divided by the temperature {temperature:.2f} and moved by a bias, "
        f"{own:,} of the {quantity(len(biases), 'label')} by one of their own, to fit the held-out images."
    )


def _cost(quantization: Quantization, scores: Scores, cost: CostOfInt8) -> Iterator[str]:
    rows = [
        (
            f"{title(scores.beta)} over samples",
            f"{scores.fbeta_over_samples:.3f}",
            f"{cost.float32_fbeta_over_samples:.3f}",
        ),
        (
            "mean average precision",
            _number(scores.mean_average_precision),
            _number(cost.float32_mean_average_precision),
        ),
    ]
    yield from _table(("measure", "int8", "float32"), rows)
    yield ""
    yield (
        "The file `model.tflite` was rounded to 8-bit integers, with the ranges of "
        f"{quantity(quantization.calibration_images, 'training image')}. All figures in this card are those of this "
        "file; only the last column shows the network before rounding, at thresholds tuned for it. Probabilities "
        f"differ by {cost.mean_difference:.3f} on average and by {cost.largest_difference:.2f} at most. The file "
        "runs on CPUs (engine `litert`), about twice as fast as float32 on those with VNNI (`grep vnni "
        "/proc/cpuinfo`), and hardly faster, or even slower, on most others."
    )


def _labels(facts: Facts, quality: Quality) -> Iterator[str]:
    columns = ("label", "training images", "held-out images", "threshold", "precision", "recall", "average precision")
    rows = [
        (
            _plain(scores.label),
            f"{images:,}",
            f"{scores.support:,}",
            f"{threshold:.2f}",
            *map(_number, (scores.precision, scores.recall, scores.average_precision)),
        )
        for scores, images, threshold in zip(
            quality.scores.labels, facts.data.train_support, facts.thresholds.each, strict=True
        )
    ]
    yield from _table(columns, rows)
    yield from tags_never_given(quality.scores, quality.never_given)
    drawn = curves.labels_with_curve(quality.scores)
    yield from ("", f"![Precision-recall curve of each label]({PRECISION_RECALL})")
    left_out = [_plain(scores.label) for scores in quality.scores.labels if scores not in drawn]
    if left_out:
        yield ""
        yield (
            f"Labels without a curve, because they have fewer than {curves.MIN_POSITIVES} held-out images or are not "
            f"among the {curves.MAX_LABELS} most frequent: {', '.join(left_out)}."
        )


def _data(facts: Facts) -> Iterator[str]:
    data = facts.data
    train, held_out = len(data.train_targets), len(data.validation_targets)
    yield (
        f"{quantity(train, 'image')} to train on and {held_out:,} held out ({held_out / (train + held_out):.0%}), from "
        f"the folder {_plain(data.images_name)} with the label file {_plain(data.label_file_name)}. {_split(facts)}"
    )
    if data.findings:
        yield from ("", "Problems with images and labels:", "")
        yield from (f"- {_plain(str(finding))}" for finding in data.findings)
    repairs = ", ".join(f"`{name}` on {count:,}" for name, count in sorted(data.repairs.items()))
    yield ""
    yield (
        "Colours: every image was decoded by `pipelines.images`, the code that also decodes for prediction, and "
        f"resized from {data.side:,} px (the median of the shorter sides) to {facts.network.image_size} px "
        f"({facts.network.resize_filter}). Repairs made: "
        f"{repairs or 'none, all images were plain RGB'}."
    )
    if data.reference:
        yield "`predict` compares its images with the training images, and reports if they differ (`shift`, `novelty`)."
    if facts.network.rendering:
        yield f"Rasters were shown with `{facts.network.rendering}`; prediction shows them alike."


def _split(facts: Facts) -> str:
    flags = facts.data.split_flags
    groups = " or ".join(f"`{name}`" for name in flags if name.startswith("group"))
    if facts.data.validation_fraction is None:
        return f"The user chose which to hold out ({', '.join(f'`{name}`' for name in flags)})."
    together = f"; groups of images were kept together ({groups})" if groups else ""
    return (
        "They were split by iterative stratification, with each label about as frequent on both sides (seed "
        f"{facts.training.seed}){together}."
    )


def _training(facts: Facts) -> Iterator[str]:
    training = facts.training
    rows = []
    for name, group in groupby(training.history, key=lambda epoch: epoch.phase):
        epochs = list(group)
        numbers = dict.fromkeys(str(epoch.epoch) for epoch in (epochs[0], epochs[-1]))
        rate = max(epoch.learning_rate for epoch in epochs)
        minutes = sum(epoch.seconds for epoch in epochs) / 60
        rows.append((name, " to ".join(numbers), f"{rate:.2g}", f"{minutes:.1f}"))
    yield from _table(("phase", "epochs", "highest learning rate", "minutes"), rows)
    yield from ("", f"![Loss and quality by epoch]({TRAINING_CURVES})", "")
    from_there = (
        "From there, training continued on all images to those of the last epoch. " if training.final_epochs else ""
    )
    yield (
        f"The {'measured network' if from_there else 'bundle'} has the weights of epoch {training.kept_epoch}: "
        f"{training.criterion}. {from_there}Batches of "
        f"{quantity(training.batch_size, 'image')}; {_VARIED[training.augment]}; "
        f"Adam on {_LOSSES[training.loss]}. It took {training.seconds / 60:.1f} minutes in total on "
        f"{_plain(training.machine)}, in {'mixed precision' if training.mixed_precision else 'float32'}. To repeat it "
        "with the same files:"
    )
    yield from ("", "```sh", write_command(facts), "```")


def _origin(network: Network) -> str:
    if network.weights is None:
        return "trained from scratch"
    if network.weights == "imagenet":
        return "started from the ImageNet weights of Keras"
    if network.start_digest is not None:
        return f"started from the bundle {_plain(network.weights_name)} ({network.start_digest[:12]})"
    return f"started from the weights in {_plain(network.weights_name)}"
