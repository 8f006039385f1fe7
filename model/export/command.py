"""Write the command that repeats a training with the same files."""

from __future__ import annotations

import re
import shlex

from model.quality.facts import Facts
from model.quality.fbeta import BETA

_LINE_BREAKS = re.compile(r"[^\S\t ]+")


def write_command(facts: Facts) -> str:
    """Return the command with its flags, for a shell."""
    data, options = facts.data, facts.data.label_file.options
    flags: list[tuple[str, object]] = [
        ("images", data.images_name),
        *(("labels", name) for name in data.label_file_names),
        *([("image_column", options.image_column)] if options.image_column else []),
        *(("tags_column", name) for name in options.tags_columns),
        *([("separator", options.separator)] if options.separator else []),
        *_other_flags(facts).items(),
    ]
    # Nothing else is replaced: a separator may be a tab, and the name of a column may have two spaces.
    words = (f"--{name} {shlex.quote(_LINE_BREAKS.sub(' ', str(value)))}" for name, value in flags)
    return " ".join(["scenetags train", *words, *[str(facts.network.rendering)] * bool(facts.network.rendering)])


def _other_flags(facts: Facts) -> dict[str, object]:
    """Return the flags of the training by their names, but for images and labels."""
    return {
        "output": "bundle",
        "name": facts.name,
        "image_size": facts.network.image_size,
        "alpha": f"{facts.network.alpha:g}",
        **({"fit": fit} if (fit := facts.network.resize_filter.partition("+")[2]) else {}),
        "weights": facts.network.weights_name,
        "head_epochs": facts.training.head_epochs,
        "finetune_epochs": facts.training.finetune_epochs,
        "final_epochs": facts.training.final_epochs,
        "batch_size": facts.training.batch_size,
        **({"validation_fraction": f"{share:g}"} if (share := facts.data.validation_fraction) is not None else {}),
        **facts.data.split_flags,
        "seed": facts.training.seed,
        **({"augment": facts.training.augment} if facts.training.augment != "orientations" else {}),
        **({"loss": facts.training.loss} if facts.training.loss != "bce" else {}),
        **({"beta": f"{facts.training.beta:g}"} if facts.training.beta != BETA else {}),
        **({"max_minutes": f"{limit:g}"} if (limit := facts.training.max_minutes) is not None else {}),
        "quantize": facts.quantization_name,
    }
