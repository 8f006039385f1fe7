"""One import, from the file of a model to a bundle."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.data import dataset, reference
from model.data.dataset import Examples
from model.export import bundle as export
from model.export import card as export_card
from model.export import descriptions, quantization
from model.foreign import card, choices, disorder, judging
from model.foreign.facts import Import, Measured, metrics_summary, training_summary
from model.foreign.judging import Doubt
from model.foreign.opening import digest, open_original
from model.foreign.original import Original, Wanted
from model.foreign.samples import Samples, draw_samples, read_names, read_samples
from model.foreign.scaling import Scaling
from model.foreign.settings import OutputKind, Settings
from model.quality import curves, reliability, thresholds
from model.quality.fbeta import title
from model.quality.metrics import measure
from model.quality.never_given import lay_out_never_given
from pipelines.commandline.parser import UsageError
from pipelines.commandline.printing import log, show
from pipelines.errors import quantity
from pipelines.inference.bundle import GOLDEN, LITERT_MODEL, MODEL_CARD, SAVED_MODEL, Bundle, Description, load_bundle
from pipelines.inference.probabilities import are_probabilities
from pipelines.results.thresholds import read_thresholds
from pipelines.supervision.machine import native_messages_muted

NAME = "scenetags import"

_FLAT = 0.5
SCALINGS: tuple[Scaling, ...] = ("unit", "symmetric", "imagenet", "none")


def import_model(settings: Settings) -> None:
    """Open a model, check it on images, and write it as a bundle, completely or not at all.

    Raises:
      ForeignError: the model cannot be imported.
      UsageError: the command line does not say enough of it, or contradicts it.
      LabelError, DatasetError: the images or their labels cannot be used.
      ExportError: the bundle differs from the original, or cannot be written.
    """
    _check_installed(settings)
    names = read_names(settings.labels)
    given = None if settings.thresholds is None else read_thresholds(settings.thresholds, names)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with native_messages_muted():
        import keras  # noqa: F401 - TensorFlow, which reports on the machine when it is imported

        original = open_original(settings.model, Wanted(len(names), settings.image_size))
    scaling = choices.choose_scaling(settings, original)
    with tempfile.TemporaryDirectory() as cache, export.full_float32():
        samples = _samples(settings, names, original.image_size, Path(cache))
        for finding in samples.findings:
            show(str(finding))
        with native_messages_muted():
            outputs = original.answer(samples.images, scaling)
        kind = choices.choose_kind(settings, original, outputs)
        expected = _probabilities(outputs, kind)
        with export.written_whole(settings.output) as folder:
            original.write(folder, scaling, sigmoid=kind == "logits")
            answers, difference = _check_agreement(folder, samples.images, expected)
            _write_golden(folder, samples.images, answers)
            measured, chosen, chosen_from = _measure(folder, names, given, samples, settings.beta)
            mixed = _find_disorder(names, samples, measured)
            ignorant = None if mixed or given else _find_ignorance(samples, measured, chosen)
            # With labels of other outputs, no scaling can be told by them.
            told = samples._replace(truth=None) if mixed else samples
            of_labels = tuple(doubt for doubt in (mixed, ignorant) if doubt is not None)
            facts = Import(
                name=settings.name,
                labels=names,
                source=settings.model.resolve().name.encode("utf-8", "backslashreplace").decode(),
                format=original.format,
                package=original.package,
                digest=digest(settings.model),
                image_size=original.image_size,
                resize_filter=dataset.RESIZE_FILTER,
                scaling=scaling,
                output_kind=kind,
                are_shares=judging.are_shares(expected),
                is_int8=original.is_int8,
                thresholds=chosen,
                thresholds_from=chosen_from,
                checked_images=len(samples.images),
                are_real=samples.given is not None,
                difference=difference,
                doubts=(*of_labels, *_doubts(original, scaling, kind, told, outputs, chosen)),
                findings=samples.findings,
                measured=measured,
                reference=None if samples.given is None else reference.gather(samples.given),
            )
            _describe(folder, facts)
    _report(load_bundle(str(settings.output)), facts, settings)


def _check_installed(settings: Settings) -> None:
    for module in ("tensorflow", *(["matplotlib"] if settings.labels_csv else [])):
        if importlib.util.find_spec(module) is None:
            raise UsageError(f"{module} is not installed", "run pip install 'scenetags[train]'")


def _samples(settings: Settings, names: tuple[str, ...], image_size: int, cache: Path) -> Samples:
    if settings.images is None:
        return draw_samples(image_size)
    return read_samples(settings.images, settings.labels_csv, names, image_size, cache)


def _probabilities(outputs: NDArray[np.float32], kind: OutputKind) -> NDArray[np.float32]:
    """Turn outputs, float32 [N, L], into probabilities, in NumPy and not in the graph."""
    if kind == "probabilities":
        return outputs
    return np.asarray(0.5 + 0.5 * np.tanh(outputs.astype(np.float64) / 2), np.float32)


def _check_agreement(
    folder: Path, images: NDArray[np.uint8], expected: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float]:
    """Return the probabilities of the LiteRT file, float32 [N, L], and their largest difference from the expected ones.

    Raises:
      ExportError: those of a file differ by more than `export.TOLERANCE`.
    """
    examples = Examples(images, np.arange(len(images)), np.zeros(expected.shape, np.float32))
    answers = {LITERT_MODEL: quantization.predict(folder / LITERT_MODEL, examples, "checking")}
    if (folder / SAVED_MODEL).is_dir():
        answers[SAVED_MODEL] = export.saved_model(folder, images)
    differences = {name: float(np.abs(found - expected).max()) for name, found in answers.items()}
    for name, difference in differences.items():
        if not difference <= export.TOLERANCE:  # NaN is refused too
            raise export.ExportError(
                f"{name} differs from the original by {difference:.2g} on {quantity(len(images), 'image')} "
                f"(at most {export.TOLERANCE:.0e} is allowed); no bundle written"
            )
    return answers[LITERT_MODEL], max(differences.values())


def _write_golden(folder: Path, images: NDArray[np.uint8], answers: NDArray[np.float32]) -> None:
    chosen = dataset.spread(len(images), export.GOLDEN_IMAGES)
    np.savez_compressed(folder / GOLDEN, pixels=images[chosen], probabilities=answers[chosen])


def _measure(
    folder: Path, names: tuple[str, ...], given: tuple[float, ...] | None, samples: Samples, beta: float
) -> tuple[Measured | None, NDArray[np.float64], str]:
    """Return how good the bundle's model is, its thresholds, and where these are from."""
    flat = np.full(len(names), _FLAT) if given is None else np.array(given)
    source = "0.5 for each label, as nothing is known of better ones" if given is None else "those given to the import"
    if samples.given is None or samples.judged is None:
        return None, flat, source
    probabilities = quantization.predict(folder / LITERT_MODEL, samples.given, "measuring")
    truth = samples.given.targets > 0.5
    if given is None:
        flat, source = (
            thresholds.tune(truth[:, : len(names)], probabilities, beta, samples.judged).each,
            "tuned on these images, so the figures flatter a little",
        )
    # As in `evaluate`: labels that the model does not know are missed, and those that nobody judged are not measured.
    every = (*names, *samples.unknown)
    of_unknown = np.full((len(truth), len(samples.unknown)), np.nan, np.float32)
    tags = np.concatenate([probabilities >= flat.astype(np.float32), np.zeros(of_unknown.shape, np.bool_)], axis=1)
    known = np.append(samples.judged, np.zeros(len(samples.unknown), np.bool_))
    counted = np.append(samples.judged, np.ones(len(samples.unknown), np.bool_))
    scores = measure(every, truth, tags, np.concatenate([probabilities, of_unknown], axis=1), beta, counted)
    truth, probabilities = truth[:, known], probabilities[:, samples.judged]
    return Measured(scores, known, reliability.measure(truth, probabilities), truth, probabilities), flat, source


def _find_disorder(names: tuple[str, ...], samples: Samples, measured: Measured | None) -> Doubt | None:
    """Find out whether the outputs tell other labels of the user's images than those that they are named for."""
    if measured is None or samples.judged is None:
        return None
    judged = tuple(name for name, is_judged in zip(names, samples.judged, strict=True) if is_judged)
    return disorder.find_disorder(judged, measured.truth, measured.probabilities)


def _find_ignorance(samples: Samples, measured: Measured | None, tuned: NDArray[np.float64]) -> Doubt | None:
    """Find out whether tags at thresholds that were tuned on the user's images, float64 [L], tell nothing of these."""
    if measured is None or samples.judged is None:
        return None
    thresholds_of_judged = tuned[samples.judged]
    return disorder.find_ignorance(measured.truth, measured.probabilities, thresholds_of_judged, measured.scores.beta)


def _doubts(
    original: Original,
    scaling: Scaling,
    kind: OutputKind,
    samples: Samples,
    outputs: NDArray[np.float32],
    chosen: NDArray[np.float64],
) -> Iterator[Doubt]:
    """Yield reasons to believe that the model does not get what it was trained on."""
    if kind == "logits" and are_probabilities(outputs).all():
        yield Doubt("all outputs are from 0 to 1, as probabilities are", "--output_kind may be probabilities")
    misfit = None if original.input_range is None else judging.find_misfit(scaling, original.input_range)
    if misfit:
        yield misfit
    if samples.given is None:
        return
    probabilities = _probabilities(outputs, kind)
    nonsense = judging.find_nonsense(probabilities, chosen)
    if nonsense:
        yield nonsense
    if original.scales_itself is None:
        by_scaling = {scaling: probabilities}
        with native_messages_muted():
            for other in SCALINGS:
                if other != scaling:
                    by_scaling[other] = _probabilities(original.answer(samples.images, other), kind)
        truth = samples.truth
        if truth is not None and samples.judged is not None:
            truth = truth[:, samples.judged]
            by_scaling = {name: probabilities[:, samples.judged] for name, probabilities in by_scaling.items()}
        better = judging.find_better(scaling, by_scaling, truth)
        if better:
            yield better


def _describe(folder: Path, facts: Import) -> None:
    """Add curves and descriptions to a bundle."""
    made_with = export.versions() | {facts.package: importlib.metadata.version(facts.package)}
    if facts.measured is not None:
        measured = facts.measured
        drawn = curves.draw_precision_recall(measured.of_judged, measured.truth, measured.probabilities)
        (folder / export_card.PRECISION_RECALL).write_bytes(drawn)
    description = Description(
        name=facts.name,
        labels=facts.labels,
        thresholds=facts.thresholds.tolist(),
        image_size=facts.image_size,
        resize_filter=facts.resize_filter,
        training=training_summary(facts),
        metrics=metrics_summary(facts),
        versions=made_with,
        reference=facts.reference,
    )
    descriptions.write(folder, card.write(facts, made_with), description)


def _report(bundle: Bundle, facts: Import, settings: Settings) -> None:
    """Print what was imported, and what speaks against it."""
    images = "of your images" if facts.are_real else "chips drawn by code"
    show(
        f"{facts.format}, {facts.image_size} px, {quantity(len(facts.labels), 'label')}; it agrees with the original "
        f"within {facts.difference:.1e} on {facts.checked_images} {images}"
    )
    if facts.are_shares:
        show("the probabilities of an image sum to 1 (softmax); tags are still given by thresholds")
    show(f"thresholds: {facts.thresholds_from}")
    if facts.measured is not None:
        scores = facts.measured.scores
        fbeta = f"{title(scores.beta)} over samples {scores.fbeta_over_samples:.3f}"
        show(f"{fbeta} on {quantity(scores.images, 'image')}; more in {MODEL_CARD}")
        show(*lay_out_never_given(facts.measured.never_given))
    for doubt in facts.doubts:
        log(f"{NAME}: {doubt.what}; {doubt.remedy}", severity="WARNING")
    show(f"bundle {bundle.digest[:12]} written to {settings.output}")
