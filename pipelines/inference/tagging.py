"""Turn probabilities into tags."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.inference.rules import NO_RULES, Rules


def choose_tags(
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
    thresholds: Sequence[float],
    rules: Rules = NO_RULES,
) -> list[tuple[str, ...]]:
    """Return the tags of images, a tuple of labels each, in the order of `labels`; arguments as in `choose_labels`."""
    names = np.asarray(labels, object)
    return [tuple(names[row]) for row in choose_labels(probabilities, labels, thresholds, rules)]


def choose_labels(
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
    thresholds: Sequence[float],
    rules: Rules = NO_RULES,
) -> NDArray[np.bool_]:
    """Choose the labels whose probability reaches their threshold, as far as the rules admit them.

    Args:
      probabilities: float32[N, L].
      labels: L names.
      thresholds: L numbers, 0 to 1; compared as float32, the precision of the written probabilities, so that a query on
        the `p_` columns finds the same tags.
      rules: for some of the labels.

    Returns:
      bool[N, L]: whether a label is a tag of an image.
    """
    chosen = probabilities >= np.asarray(thresholds, np.float32)
    for group in (*rules.exclusive, rules.alone):
        _keep_most_probable(chosen, probabilities, _columns(group, labels))
    if rules.alone:
        alone = _columns(rules.alone, labels)
        others = np.setdiff1d(np.arange(len(labels)), alone)
        chosen[np.ix_(chosen[:, alone].any(axis=1), others)] = False
    return chosen


def _columns(group: Sequence[str], labels: Sequence[str]) -> NDArray[np.intp]:
    """Return the columns of labels, in the order of all of them: of equal probabilities, the first is kept."""
    return np.array(sorted(labels.index(label) for label in group), np.intp)


def _keep_most_probable(
    chosen: NDArray[np.bool_], probabilities: NDArray[np.float32], columns: NDArray[np.intp]
) -> None:
    """Of the labels in these columns, leave at most one chosen for each image."""
    if not len(columns):
        return
    of_chosen = np.where(chosen[:, columns], probabilities[:, columns], -1)
    [images] = np.nonzero(chosen[:, columns].any(axis=1))
    chosen[:, columns] = False
    chosen[images, columns[of_chosen.argmax(axis=1)[images]]] = True
