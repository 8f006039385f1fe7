"""Settle what the file of a model does not say: from the command line, never by a guess."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.foreign.original import Original
from model.foreign.scaling import Scaling
from model.foreign.settings import OutputKind, Settings
from pipelines.commandline.parser import UsageError
from pipelines.inference.probabilities import are_probabilities


def choose_scaling(settings: Settings, original: Original) -> Scaling:
    """Return how pixels are scaled for a model.

    Raises:
      UsageError: nobody says it, or the model contradicts the command line.
    """
    if original.scales_itself is None:
        if settings.scaling is None:
            raise UsageError(
                "--scaling is missing, and the file does not say how pixels were scaled in training",
                "add --scaling unit (0 to 1), symmetric (-1 to 1), imagenet or none (0 to 255)",
            )
        return settings.scaling
    if settings.scaling not in (None, "none"):
        raise UsageError(
            f"--scaling {settings.scaling}: the model takes pixels of 0 to 255 ({original.scales_itself})",
            "use --scaling none, or omit it",
        )
    return "none"


def choose_kind(settings: Settings, original: Original, outputs: NDArray[np.float32]) -> OutputKind:
    """Return what a model's outputs are.

    Args:
      settings: the command line.
      original: the model.
      outputs: float32 [N, L], of some images.

    Raises:
      UsageError: nobody says it, or the model contradicts the command line.
    """
    lowest, highest = float(outputs.min()), float(outputs.max())
    if not np.isfinite(outputs).all():
        raise UsageError(
            f"{settings.model.name}: some of its outputs are not numbers", "check --scaling, and the file itself"
        )
    if original.activation is not None:
        if settings.output_kind == "logits":
            raise UsageError(
                f"--output_kind logits: the model ends in a {original.activation}",
                "use --output_kind probabilities, or omit it",
            )
        if not are_probabilities(outputs).all():
            raise UsageError(
                f"{settings.model.name} ends in a {original.activation}: its outputs are from {lowest:.3g} to "
                f"{highest:.3g}, but a {original.activation} gives 0 to 1",
                "check --scaling, and the file itself",
            )
        return "probabilities"
    if settings.output_kind == "probabilities" and not are_probabilities(outputs).all():
        raise UsageError(
            f"--output_kind probabilities: the outputs are from {lowest:.3g} to {highest:.3g}, but "
            "probabilities are from 0 to 1",
            "use --output_kind logits if they get a sigmoid where the model was made",
        )
    if settings.output_kind is None:
        raise UsageError(
            "--output_kind is missing, and the file does not say what its outputs are (here from "
            f"{lowest:.3g} to {highest:.3g})",
            "add --output_kind probabilities, or logits if they get a sigmoid where the model was made",
        )
    return settings.output_kind
