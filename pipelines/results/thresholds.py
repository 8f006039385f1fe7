"""Read the thresholds that a user names for the labels of a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines import storage
from pipelines.errors import ScenetagsError, quantity
from pipelines.results.labels import check_label, some_labels
from pipelines.storage.strict_json import without_repeats

_MOST_BYTES = 1 << 26
_SHOWN = 5


class ThresholdsError(ScenetagsError):
    """Thresholds that are not understood, or do not fit the labels of a model."""


def read_thresholds(named: str, labels: Sequence[str]) -> tuple[float, ...]:
    """Return a threshold for each label.

    Args:
      named: a number for all labels; or a JSON file, local or in a bucket: an object with a number for each label, the
        manifest of a bundle, or the manifest of a run.
      labels: of the model.

    Raises:
      ThresholdsError: the file cannot be read, or has no threshold for a label.
      UnknownLabelError: it names a label that the model does not have.
    """
    try:
        value = float(named)
    except ValueError:
        by_label = _by_label(named, _read(named))
    else:
        by_label = dict.fromkeys(labels, value)
    for label, threshold in by_label.items():
        # Not `isinstance`: to Python, true is a number.
        if type(threshold) not in (int, float) or not 0 <= threshold <= 1:
            of_label = f" of {label}" if label in labels and len(set(map(str, by_label.values()))) > 1 else ""
            raise ThresholdsError(f"--thresholds {named}: {threshold!r}{of_label} is not a number from 0 to 1")
    for label in by_label:
        check_label(label, labels, f"--thresholds {named}")
    if missing := [label for label in labels if label not in by_label]:
        raise ThresholdsError(
            f"--thresholds {named} has no threshold for {some_labels(missing, _SHOWN)}", "add one for each label"
        )
    return tuple(float(by_label[label]) for label in labels)


def _read(named: str) -> Any:
    try:
        return json.loads(storage.read(storage.normalize(named), _MOST_BYTES), object_pairs_hook=without_repeats)
    except FileNotFoundError:
        raise ThresholdsError(
            f"--thresholds {named}: no such file", "give a JSON file, or a number from 0 to 1"
        ) from None
    except OSError as error:
        raise ThresholdsError(f"--thresholds {named} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        nested, digits = isinstance(error, RecursionError), "set_int_max_str_digits" in str(error)
        reason = "it is nested too deeply" if nested else "a number has too many digits" if digits else error
        raise ThresholdsError(f"--thresholds {named} is not JSON: {reason}") from error


def _by_label(named: str, described: Any) -> Mapping[str, Any]:
    """Find the thresholds in a file: the whole of it, or the part of a bundle's or of a run's manifest."""
    match described:
        case {"labels": [*labels], "thresholds": [*thresholds]} if len(labels) == len(thresholds):
            return dict(zip(map(str, labels), thresholds, strict=True))
        case {"labels": [*labels], "thresholds": [*thresholds]}:
            raise ThresholdsError(
                f"--thresholds {named} has {quantity(len(labels), 'label')} and "
                f"{quantity(len(thresholds), 'threshold')}"
            )
        case {"thresholds": dict(thresholds)}:
            return thresholds
        case dict():
            return described
    raise ThresholdsError(f"--thresholds {named} is not a JSON object", 'write {"LABEL": 0.5, ...}')
