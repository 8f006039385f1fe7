"""Compare the tags and probabilities of two outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.output.footers import Footer
from pipelines.results.comparing.matching import BY_LABEL, MATCHED, count, matched, rows
from pipelines.results.files import NoOutputError
from pipelines.results.outputs import Output

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

GAINED, LOST = "gained", "lost"

MOST_SHOWN = 20
"""Images among the largest changes."""

_DIGITS = 6


class Images(NamedTuple):
    """Which images two outputs have predictions of.

    Attributes:
      both: in A and in B.
      only_a: in A alone.
      only_b: in B alone.
      failed_in_b: of those only in A, images that are failures in B.
      failed_in_a: the reverse.
      replaced: of those in both, images whose file is a different version.
      other_tags: of those in both, images whose tags differ.
    """

    both: int
    only_a: int
    only_b: int
    failed_in_b: int
    failed_in_a: int
    replaced: int
    other_tags: int


class TagChanges(NamedTuple):
    """What became of a tag, in images that both outputs have.

    Attributes:
      tag: the label.
      kept: images with the tag in both.
      gained: in B alone.
      lost: in A alone.
      mean_change: of the probability, without its sign; None if one of the models does not know the label.
      largest_change: likewise.
    """

    tag: str
    kept: int
    gained: int
    lost: int
    mean_change: float | None
    largest_change: float | None


class Change(NamedTuple):
    """The change of a probability in an image.

    Attributes:
      path: of the image.
      tag: whose probability it is.
      a: the probability in A; None if its model does not know the label.
      b: and in B.
      fingerprint: of the image in B.
    """

    path: str
    tag: str
    a: float | None
    b: float | None
    fingerprint: str


class Comparison(NamedTuple):
    """What two outputs have in common, and what not.

    Attributes:
      images: which they have.
      tags: changes by tag, in the order of the labels of A, then those that only B has.
      largest: the images whose probabilities changed most, the largest change first.
      only_a: labels that only the model of A knows.
      only_b: and only that of B.
      examples: by tag and `GAINED` or `LOST`, some of these images, the largest change first.
    """

    images: Images
    tags: Sequence[TagChanges]
    largest: Sequence[Change]
    only_a: Sequence[str]
    only_b: Sequence[str]
    examples: Mapping[tuple[str, str], Sequence[Change]]

    @property
    def changed(self) -> float:
        """Share of all tags in A or in B that are in only one of them, 0 to 1."""
        differing = sum(tag.gained + tag.lost for tag in self.tags)
        every = differing + sum(tag.kept for tag in self.tags)
        return differing / every if every else 0.0

    def described(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "images": self.images._asdict(),
            "changed": round(self.changed, _DIGITS),
            "labels_only_in_a": list(self.only_a),
            "labels_only_in_b": list(self.only_b),
            "tags": [{**tag._asdict(), **self._described_rates(tag)} for tag in self.tags],
            "largest_changes": [
                {"path": change.path, "tag": change.tag, "a": change.a, "b": change.b} for change in self.largest
            ],
        }

    def rates(self, tag: TagChanges) -> tuple[float, float]:
        """Return the shares of the images in both that have a tag in A and in B, 0 to 1."""
        return (tag.kept + tag.lost) / self.images.both, (tag.kept + tag.gained) / self.images.both

    def _described_rates(self, tag: TagChanges) -> Mapping[str, float]:
        rate_a, rate_b = self.rates(tag)
        return {"rate_a": round(rate_a, _DIGITS), "rate_b": round(rate_b, _DIGITS)}


def compare(
    outputs: Sequence[Output], footers: Sequence[Footer], tags: Sequence[str] = (), examples: int = 0
) -> Comparison:
    """Compare two outputs.

    Args:
      outputs: A and B.
      footers: what their predictions were made with.
      tags: to look at; all labels of both models if there are none.
      examples: images to name for each tag that was gained, and for each that was lost.

    Raises:
      NoOutputError: they have no image in common, or one of them cannot be read.
      OutputError: a file is damaged.
    """
    of_a, of_b = (footer.labels for footer in footers)
    labels = tuple(tags) or tuple(dict.fromkeys((*of_a, *of_b)))
    with matched(outputs, footers, labels) as database:
        images = _images(database)
        if not images.both:
            for name, output in zip("ab", outputs, strict=True):
                if not count(database, f"SELECT count(*) FROM {name}"):
                    raise NoOutputError(f"{output.path} has no predictions")
            a, b = (rows(database, f"SELECT min(path) FROM {name}")[0][0] for name in "ab")
            raise NoOutputError(
                f"{outputs[0].path} and {outputs[1].path} have no image in common; the first has e.g. {a}, the "
                f"second {b}",
                "images are matched by their paths: tag the same archive under the same path",
            )
        shared = [number for number, label in enumerate(labels) if label in of_a and label in of_b]
        return Comparison(
            images,
            _tags(database, labels),
            _largest(database, labels, shared),
            [label for label in labels if label not in of_b],
            [label for label in labels if label not in of_a],
            _examples(database, labels, examples) if examples else {},
        )


def differing(footers: Sequence[Footer]) -> list[str]:
    """Name what two outputs were made with differently: `model`, `precision`, `thresholds`, `rules`."""
    a, b = footers
    same = {
        "model": a.bundle == b.bundle,
        "precision": a.precision == b.precision,
        "thresholds": (a.labels, a.thresholds) == (b.labels, b.thresholds),
        "rules": a.rules == b.rules,
    }
    return [name for name, is_same in same.items() if not is_same]


def _images(database: DuckDBPyConnection) -> Images:
    others = "a.fingerprint IS DISTINCT FROM b.fingerprint"
    counts = f"count(*), count(*) FILTER (WHERE {others}), count(*) FILTER (WHERE a.tags <> b.tags)"
    [[both, replaced, other_tags]] = rows(database, f"SELECT {counts} FROM {MATCHED}")
    only_a, only_b = (count(database, f"SELECT count(*) FROM {name}") - both for name in "ab")
    # An output has one row for each image, so what failed in it is not among its predictions.
    failed_in_b, failed_in_a = (
        count(database, f"SELECT count(*) FROM {one} SEMI JOIN failed_{other} USING (path)")
        for one, other in ("ab", "ba")
    )
    return Images(both, only_a, only_b, failed_in_b, failed_in_a, replaced, other_tags)


def _tags(database: DuckDBPyConnection, labels: Sequence[str]) -> list[TagChanges]:
    found = rows(
        database,
        "SELECT number, count(*) FILTER (WHERE tag_a AND tag_b), count(*) FILTER (WHERE tag_b AND NOT tag_a), "
        f"count(*) FILTER (WHERE tag_a AND NOT tag_b), avg(change), max(change) FROM {BY_LABEL} "
        "GROUP BY number ORDER BY number",
    )
    return [
        TagChanges(labels[number], kept, gained, lost, _rounded(mean), _rounded(largest))
        for number, kept, gained, lost, mean, largest in found
    ]


def _largest(database: DuckDBPyConnection, labels: Sequence[str], shared: Sequence[int]) -> list[Change]:
    if not shared:
        return []
    # Of all labels that both models know: for the others, there is no difference.
    largest = "list_max([abs(pair[2] - pair[1]) for pair in list_zip(a.probabilities, b.probabilities)])"
    found = rows(
        database,
        f"SELECT path, b.fingerprint, a.probabilities, b.probabilities FROM {MATCHED} "
        f"ORDER BY {largest} DESC, path LIMIT {MOST_SHOWN}",
    )
    changes = []
    for path, fingerprint, of_a, of_b in found:
        by_tag = ((labels[number], of_a[number], of_b[number]) for number in shared)
        tag, a, b = max(by_tag, key=lambda change: abs(change[2] - change[1]))
        if a != b:
            changes.append(Change(path, tag, round(a, _DIGITS), round(b, _DIGITS), fingerprint or ""))
    return changes


def _examples(
    database: DuckDBPyConnection, labels: Sequence[str], most: int
) -> dict[tuple[str, str], Sequence[Change]]:
    """Choose images for each tag: the largest changes; of equal ones, the last by their paths."""
    found = rows(
        database,
        "SELECT number, tag_b, arg_max({'path': path, 'a': a, 'b': b, 'fingerprint': fingerprint}, "
        f"{{'change': coalesce(change, 0), 'path': path}}, {most}) FROM {BY_LABEL} WHERE tag_a <> tag_b "
        "GROUP BY number, tag_b",
    )
    examples: dict[tuple[str, str], Sequence[Change]] = {
        (label, kind): [] for label in labels for kind in (GAINED, LOST)
    }
    for number, is_gained, chosen in found:
        label = labels[number]
        examples[label, GAINED if is_gained else LOST] = [
            Change(one["path"], label, one["a"], one["b"], one["fingerprint"] or "") for one in chosen
        ]
    return examples


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, _DIGITS)
