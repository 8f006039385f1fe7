"""Choose the rows that a report shows: for each tag those that say most about it, strange ones, and some at random."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.output.footers import Footer
from pipelines.results.report.tally import Rows
from pipelines.results.report.truth import Told

SUREST, LEAST_SURE, JUST_OVER, JUST_UNDER = "surest", "least sure", "just over", "just under"
MISSED, WRONG = "missed", "wrong"
STRANGEST, REPAIRED, AT_RANDOM = "strangest", "repaired", "at random"

_OF_A_TAG = 12
"""Rows of a kind that are kept for each tag; in the end, the images of all kinds have to share the page."""
_OF_A_REPAIR = 12
_OF_THE_STRANGEST = 48
_MOST_REPAIRS = 50
_SHARE_AT_RANDOM = 6
"""At least one in so many is drawn at random: the others say little about what is usual."""
_TIE = 1e-9
"""What chance may add to a probability: enough to choose among equal ones, and less than between any two near 1."""


class Group(NamedTuple):
    """Why a row is shown.

    Attributes:
      kind: one of the kinds above.
      of: the tag or the repair that it is an example of; empty for the strangest and those at random.
    """

    kind: str
    of: str = ""


class Chosen(NamedTuple):
    """A row that is shown.

    Attributes:
      row: its columns.
      groups: why.
      probabilities: float32[L].
      tags: bool[L].
      truth: bool[L], what its labels say; None if they say nothing.
      novelty: how strange it is; None if it is not known.
    """

    row: Mapping[str, Any]
    groups: tuple[Group, ...]
    probabilities: NDArray[np.float32]
    tags: NDArray[np.bool_]
    truth: NDArray[np.bool_] | None
    novelty: float | None


class Best:
    """The rows with the largest keys so far, in descending order."""

    def __init__(self, most: int) -> None:
        """Begin with no rows.

        Args:
          most: rows that are kept.
        """
        self._most = most
        self._keys = np.empty(0)
        self.rows = np.empty(0, np.int64)

    def offer(self, keys: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
        """Keep those of further rows whose keys are larger; a key of minus infinity is none."""
        least = self._keys[-1] if len(self._keys) == self._most else -np.inf
        better = np.flatnonzero(keys > least)
        if not len(better):
            return
        keys, rows = np.concatenate([self._keys, keys[better]]), np.concatenate([self.rows, rows[better]])
        order = np.argsort(-keys, kind="stable")[: self._most]
        self._keys, self.rows = keys[order], rows[order]


class Chooser:
    """Chooses among rows that come in pieces, and holds the content of only those that may be shown."""

    def __init__(self, footer: Footer, seed: int, most: int) -> None:
        """Begin with no rows.

        Args:
          footer: what the rows were made with.
          seed: of what is left to chance.
          most: rows to choose.
        """
        self._labels = footer.labels
        self._thresholds = np.asarray(footer.thresholds, np.float32)
        self._most = most
        self._chance = np.random.default_rng(seed)
        self._best: dict[Group, Best] = {Group(AT_RANDOM): Best(most)} if most else {}
        self._held: dict[int, Chosen] = {}

    def offer(self, rows: Rows, told: Told | None = None) -> None:
        """Consider further rows.

        Args:
          rows: the rows.
          told: what their labels say; None without labels.
        """
        if not self._most:
            return
        numbers = rows.first + np.arange(rows.batch.num_rows)
        chance = self._chance.random(len(numbers))
        self._best[Group(AT_RANDOM)].offer(chance, numbers)
        strange = np.where(np.isnan(rows.novelty), -np.inf, rows.novelty + chance * _TIE)
        self._best.setdefault(Group(STRANGEST), Best(_OF_THE_STRANGEST)).offer(strange, numbers)
        for group, keys in self._keys(rows, chance * _TIE, told):
            self._best.setdefault(group, Best(_OF_A_TAG)).offer(keys, numbers)
        for name, having in self._repaired(rows.batch):
            keys = np.where(having, chance, -np.inf)
            self._best.setdefault(Group(REPAIRED, name), Best(_OF_A_REPAIR)).offer(keys, numbers)
        self._hold(rows, told)

    def choose(self, by_frequency: Sequence[str]) -> list[Chosen]:
        """Return the rows that are shown: the first of every group, then the second of every group, and so on.

        Args:
          by_frequency: labels, those first that come first if there is not enough room for all.
        """
        rank = {label: place for place, label in enumerate(by_frequency)}
        groups = sorted(
            (group for group in self._best if group.kind != AT_RANDOM), key=lambda group: rank.get(group.of, -1)
        )
        at_random = self._best[Group(AT_RANDOM)].rows.tolist() if self._best else []
        certain = self._most // _SHARE_AT_RANDOM
        taken: dict[int, list[Group]] = {row: [] for row in at_random[:certain]}
        for place in range(max(_OF_A_TAG, _OF_A_REPAIR, _OF_THE_STRANGEST)):
            for group in groups:
                rows = self._best[group].rows.tolist()
                if place < len(rows) and (rows[place] in taken or len(taken) < self._most):
                    taken.setdefault(rows[place], []).append(group)
        for place, row in enumerate(at_random):
            # As they come: those that follow after one was left out would be no sample of all rows.
            if place >= certain and row not in taken and len(taken) >= self._most:
                break
            taken.setdefault(row, []).append(Group(AT_RANDOM))
        return [self._held[row]._replace(groups=tuple(of_row)) for row, of_row in taken.items()]

    def _keys(
        self, rows: Rows, tie: NDArray[np.float64], told: Told | None
    ) -> Iterator[tuple[Group, NDArray[np.float64]]]:
        """Yield how well each row is an example of each kind, for each tag."""
        for place, label in enumerate(self._labels):
            exact, least = rows.probabilities[place], self._thresholds[place]
            sure = exact.astype(np.float64)
            over = exact >= least
            yield Group(SUREST, label), sure + tie
            yield Group(LEAST_SURE, label), tie - sure
            yield Group(JUST_OVER, label), np.where(over, tie - sure, -np.inf)
            yield Group(JUST_UNDER, label), np.where(over, -np.inf, sure + tie)
            if told:
                yield Group(MISSED, label), np.where(told.tags[place], tie - sure, -np.inf)
                yield (
                    Group(WRONG, label),
                    np.where(told.known & told.measured[place] & ~told.tags[place], sure + tie, -np.inf),
                )

    def _repaired(self, batch: pa.RecordBatch) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        repairs = batch.column("repairs")
        lengths = pc.fill_null(pc.list_value_length(repairs), 0).to_numpy(zero_copy_only=False)
        names, row_of = repairs.flatten(), np.repeat(np.arange(batch.num_rows), lengths)
        there = sum(group.kind == REPAIRED for group in self._best)
        for name in pc.unique(names).to_pylist():
            if name is None or (Group(REPAIRED, name) not in self._best and there >= _MOST_REPAIRS):
                continue
            there += Group(REPAIRED, name) not in self._best
            having = np.zeros(batch.num_rows, np.bool_)
            having[row_of[pc.equal(names, name).to_numpy(zero_copy_only=False)]] = True
            yield name, having

    def _hold(self, rows: Rows, told: Told | None) -> None:
        """Hold the content of rows that may be shown, and of no others."""
        wanted = np.unique(np.concatenate([best.rows for best in self._best.values()]))
        held = {int(row): self._held[row] for row in wanted[wanted < rows.first]}
        places = wanted[wanted >= rows.first] - rows.first
        contents = rows.batch.take(pa.array(places)).select(_shown(rows.batch)).to_pylist()
        for place, content in zip(places.tolist(), contents, strict=True):
            truth = told.tags[:, place].copy() if told and told.known[place] else None
            novelty = None if np.isnan(rows.novelty[place]) else float(rows.novelty[place])
            held[rows.first + place] = Chosen(
                content, (), rows.probabilities[:, place].copy(), rows.tagged[:, place].copy(), truth, novelty
            )
        self._held = held


def _shown(batch: pa.RecordBatch) -> Iterable[str]:
    columns = ("path", "width", "height", "source", "repairs", "fingerprint", "scene", "run")
    return [name for name in columns if name in batch.schema.names]
