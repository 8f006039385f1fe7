"""Print the figures of a bundle when its training ends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from model.data import dataset
from model.quality import metrics
from model.quality.fbeta import key, title
from model.quality.never_given import lay_out_never_given
from model.training.settings import Settings
from pipelines.commandline.printing import show
from pipelines.errors import ScenetagsError, quantity
from pipelines.inference.bundle import Bundle, BundleError
from pipelines.inference.engines import Engine, open_engine
from pipelines.inference.precision import can_bfloat16

_AT_ONCE = 64
"""Images per call of an engine; they are read from the disk one call at a time."""


def print_quality(bundle: Bundle, settings: Settings) -> None:
    """Print how good the exported model is on the held-out images, and what int8 cost."""
    measured, beta = bundle.metrics, settings.beta
    show(*(f"caution: {caution}" for caution in measured["cautions"]))
    show(*lay_out_never_given(measured["never_given"]))
    fbeta, of_frequencies = (measured[key(name, beta)] for name in ("fbeta_over_samples", "fbeta_of_frequencies"))
    show(
        f"held-out images: {title(beta)} over samples {fbeta:.3f} "
        f"(label frequencies alone: {of_frequencies:.3f}); more in {settings.output / 'MODEL_CARD.md'}"
    )
    if epochs := bundle.training["final_epochs"]:
        counted = quantity(epochs, "epoch")
        show(f"the exported network was then trained for {counted} more, on all images, including these")
    before, after = measured["uncalibrated"], measured["calibrated"]
    show(
        f"calibration: expected error of a probability {after['expected_calibration_error']:.3f} "
        f"({before['expected_calibration_error']:.3f} before), log loss {after['log_loss']:.3f} "
        f"({before['log_loss']:.3f} before)"
    )
    cost = measured["cost_of_int8"]
    if cost:
        in_float32 = cost[key("float32_fbeta_over_samples", beta)]
        show(
            f"int8 cost: {title(beta)} over samples was {in_float32:.3f} in float32; probabilities differ by "
            f"{cost['mean_difference']:.3f} on average, {cost['largest_difference']:.2f} at most"
        )


def print_quality_in_bfloat16(
    bundle: Bundle, validation: dataset.Examples, beta: float, judged: NDArray[np.bool_]
) -> None:
    """Print how good the exported model is on the held-out images in bfloat16, if this machine can compute in it.

    Args:
      bundle: exported, with L labels.
      validation: the held-out images.
      beta: of the F-beta.
      judged: bool [L], the labels of which it is known which held-out images have them.
    """
    if not can_bfloat16("openvino", bundle):
        return
    try:
        engine = open_engine(bundle, precision="bfloat16")
        fbeta = _fbeta(bundle, engine, validation, beta, judged)
        measured = f"{title(beta)} over samples {fbeta:.3f} on the same images"
        if bundle.training["final_epochs"]:
            in_float32 = _fbeta(bundle, open_engine(bundle), validation, beta, judged)
            measured += f", which the network has since been trained on; in float32 {in_float32:.3f}"
    except BundleError as error:
        show(f"do not use this bundle in bfloat16: {error.message}")
        return
    except ScenetagsError as error:
        # Such as too little memory: the bundle is written, and measured in float32.
        show(f"not measured in bfloat16: {error}")
        return
    show(f"in bfloat16 (predict --precision bfloat16): {measured}")


def _fbeta(bundle: Bundle, engine: Engine, examples: dataset.Examples, beta: float, judged: NDArray[np.bool_]) -> float:
    parts = [examples.rows[at : at + _AT_ONCE] for at in range(0, len(examples.rows), _AT_ONCE)]
    with ThreadPoolExecutor(engine.calls) as executor:
        predicted = executor.map(lambda rows: engine.predict(examples.pixels[rows]), parts)
        tags = np.concatenate(list(predicted)) >= np.array(bundle.thresholds, np.float32)
    return metrics.fbeta_over_samples(examples.targets > 0, tags & judged, beta)
