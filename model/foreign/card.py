"""Write the model card of an imported model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from model.export.card import PRECISION_RECALL, end, tags_never_given
from model.export.markdown import number, plain, table
from model.foreign.facts import Import, Measured
from model.quality.fbeta import title
from pipelines.errors import quantity

_SCALINGS = {
    "unit": "0 to 1 (pixels / 255)",
    "symmetric": "-1 to 1 (pixels / 127.5 - 1)",
    "imagenet": "by ImageNet's means and standard deviations",
    "none": "0 to 255, as they are",
}


def write(facts: Import, versions: Mapping[str, str]) -> str:
    """Return a model card in Markdown; `versions` are those of the packages that made the bundle."""
    return "\n".join(_lines(facts, versions)) + "\n"


def _lines(facts: Import, versions: Mapping[str, str]) -> Iterator[str]:
    yield f"# {plain(facts.name)}"
    yield ""
    yield (
        f"A multi-label tagger for image chips at {facts.image_size} px, trained elsewhere and imported from "
        f"{plain(facts.source)}. It gives each chip a probability for each of {quantity(len(facts.labels), 'label')}; "
        "a label becomes a tag if its probability reaches the threshold in the table below. Nothing is known here "
        "about the images that it was trained on."
    )
    if facts.doubts:
        yield from ("", "## Doubts", "", "On import, its answers gave reason to believe that it is used wrongly:", "")
        yield from (f"- {plain(doubt.what)}; {plain(doubt.remedy)}." for doubt in facts.doubts)
    yield from ("", "## Quality", "")
    yield from _quality(facts)
    yield from ("", "### Labels", "")
    yield from _labels(facts)
    yield from ("", "## Import", "")
    yield from _import(facts)
    yield from end(versions)


def _quality(facts: Import) -> Iterator[str]:
    if facts.measured is None:
        yield "Not measured: the import was given no labelled images. `scenetags evaluate` measures predictions."
        return
    scores, reliability = facts.measured.scores, facts.measured.reliability
    rows = [
        (f"**{title(scores.beta)} over samples, at the bundle's thresholds**", f"**{scores.fbeta_over_samples:.3f}**"),
        ("micro F1", number(scores.micro_f1)),
        ("macro F1", number(scores.macro_f1)),
        ("mean average precision", number(scores.mean_average_precision)),
        ("expected calibration error", f"{reliability.expected_calibration_error:.4f}"),
        ("Brier score", f"{reliability.brier_score:.4f}"),
        ("log loss", f"{reliability.log_loss:.4f}"),
    ]
    yield from table(("measure", "value"), rows)
    yield ""
    yield (
        f"Measured on {quantity(scores.images, 'image')} given to the import. If the model was trained on some of "
        f"them, the figures flatter. Thresholds: {facts.thresholds_from}."
    )
    if facts.findings:
        yield from ("", "Problems with images and labels:", "")
        yield from (f"- {plain(str(finding))}" for finding in facts.findings)


def _labels(facts: Import) -> Iterator[str]:
    if facts.measured is None:
        rows = [
            (plain(label), f"{threshold:.2f}") for label, threshold in zip(facts.labels, facts.thresholds, strict=True)
        ]
        yield from table(("label", "threshold"), rows)
        yield ""
        yield f"Thresholds: {facts.thresholds_from}."
        return
    yield from _measured_labels(facts, facts.measured)


def _measured_labels(facts: Import, measured: Measured) -> Iterator[str]:
    # A label that the model does not know has none.
    unknown = len(measured.scores.labels) - len(facts.labels)
    thresholds = [*(f"{threshold:.2f}" for threshold in facts.thresholds), *[number(None)] * unknown]
    rows = [
        (
            plain(scores.label),
            f"{scores.support:,}",
            threshold,
            *map(number, (scores.precision, scores.recall, scores.average_precision)),
        )
        for scores, threshold in zip(measured.scores.labels, thresholds, strict=True)
    ]
    yield from table(("label", "images", "threshold", "precision", "recall", "average precision"), rows)
    yield from tags_never_given(measured.scores, measured.never_given)
    yield from ("", f"![Precision-recall curve of each label]({PRECISION_RECALL})")


def _import(facts: Import) -> Iterator[str]:
    outputs = "probabilities" if facts.output_kind == "probabilities" else "logits, which get a sigmoid"
    rows = [
        ("file", plain(facts.source)),
        ("format", plain(facts.format)),
        ("SHA-256", facts.digest),
        ("pixels are scaled to", _SCALINGS[facts.scaling]),
        ("outputs", outputs),
        ("computes in", "int8" if facts.is_int8 else "float32"),
    ]
    yield from table(("", "value"), rows)
    yield ""
    images = "of the user's images" if facts.are_real else "chips drawn by code"
    yield (
        f"Bundle and original, run by {facts.package}, agree within {facts.difference:.1e} on "
        f"{facts.checked_images} {images}. Images are resized with the filter {facts.resize_filter}; that of its "
        "training is unknown."
    )
    if facts.reference:
        yield ""
        yield (
            f"Prediction compares its images with {facts.reference.images:,} that were given to the import, and "
            "reports if they are unlike (`shift`, `novelty`)."
        )
    if facts.are_shares:
        yield ""
        yield (
            "The probabilities of an image sum to 1: the model chooses one label per image (softmax). Tags are still "
            "given by thresholds, so an image can get none, and gets more than one only at low thresholds."
        )
