"""Give the predictions of an output new tags from their probabilities, all or none of them, without the model.

Each file is rewritten next to the others, row group by row group. Then one journal moves all of them into place, as
that of a commit does: a run that is killed before it changes nothing, and after it, the next run completes the moves.
"""

from __future__ import annotations

import json
import logging
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines import storage
from pipelines.inference.probabilities import are_probabilities
from pipelines.inference.rules import NO_RULES, Rules
from pipelines.inference.tagging import choose_labels
from pipelines.output.commit import conclude
from pipelines.output.compatible import describe_file
from pipelines.output.footers import CONTENTS, FOOTER, described_choice
from pipelines.output.journal import Journal
from pipelines.output.lock import check_still_held, hold_output
from pipelines.output.manifest import describe_done
from pipelines.output.recovery import recover_rows
from pipelines.output.run import PREDICTIONS, RUNS, OutputRun
from pipelines.output.single_rows import Paths
from pipelines.output.tables import PARQUET_OPTIONS, ROWS_PER_GROUP, OutputError, check_folders, open_table, read_each
from pipelines.output.tags import list_tags, mark_tags
from pipelines.storage import Move
from pipelines.supervision import interruption

_TAGS, _PATH = "tags", "path"
_log = logging.getLogger(__name__)
_OF_ITS_OWN = (FOOTER.encode(), b"ARROW:schema", CONTENTS)
"""Metadata of a file that its rewritten copy does not take over."""


@dataclass(frozen=True)
class Retagging(OutputRun):
    """A run of `scenetags retag`.

    Attributes:
      bundle: digest of the bundle that made the predictions.
      labels: in the order of the model's outputs.
      thresholds: least probability of a tag, one per label.
      rules: for tags, beyond the thresholds.
      kept: thresholds that the output had when it was looked at, if some of them are to stay; None if none are.
    """

    bundle: str
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    rules: Rules = NO_RULES
    kept: tuple[float, ...] | None = None


class Changes(NamedTuple):
    """What new tags change, counted in predictions.

    Attributes:
      rows: predictions that were looked at.
      changed: those among them whose tags differ from before.
      before: int64[L], those with each tag before.
      gained: int64[L], those that did not have it.
      lost: int64[L], those that have it no longer.
    """

    rows: int
    changed: int
    before: NDArray[np.int64]
    gained: NDArray[np.int64]
    lost: NDArray[np.int64]

    def __add__(self, other: object) -> Changes:
        """Add the changes of other predictions."""
        if not isinstance(other, Changes):
            return NotImplemented
        return Changes(
            self.rows + other.rows,
            self.changed + other.changed,
            self.before + other.before,
            self.gained + other.gained,
            self.lost + other.lost,
        )

    @property
    def after(self) -> NDArray[np.int64]:
        """int64[L], predictions with each tag from now on."""
        return self.before + self.gained - self.lost


def no_changes(labels: Sequence[str]) -> Changes:
    """Return the changes of no predictions."""
    return Changes(0, 0, *(np.zeros(len(labels), np.int64) for _ in range(3)))


def retag(run: Retagging) -> Changes | None:
    """Give all predictions of an output the tags that thresholds and rules ask for.

    Returns:
      The changes; None if the output says that it has these tags already, and nothing was written.

    Raises:
      OutputError: another run is using the output; or a file in it is damaged, was not written by scenetags, or is of
        another model; or an image has two rows. No tag is changed.
      InterruptedRunError: a signal asked to stop; no tag is changed.
      OSError: the output cannot be written.
    """
    with hold_output(run) as finished:
        if finished:
            _log.warning(finished.told_finished())
        # With the tags that they have, no later run could.
        for recovered in recover_rows(run):
            for line in recovered.lines():
                _log.warning(line)
        outdated = _outdated(run)
        if not outdated:
            return None
        done = list(read_each(run.output, partial(_rewrite, run), outdated))
        changes = sum((changes for _, changes in done), no_changes(run.labels))
        moves = [Move(run.relative(staged), f"{PREDICTIONS}/{posixpath.basename(staged)}") for staged, _ in done]
        manifest = storage.join(run.staging, RUNS, f"{run.name}.json")
        storage.write(manifest, describe_done(run, _described(run, changes)))
        check_still_held(run)
        conclude(run, Journal(0, [*moves, Move(run.relative(manifest), run.relative(run.manifest))], []))
    return changes


def rehearse_retagging(run: Retagging) -> Changes | None:
    """Return what `retag` would; write nothing, and hold no lock.

    Raises:
      OutputError: as `retag`.
      InterruptedRunError: a signal asked to stop.
      OSError: the output cannot be read.
    """
    outdated = _outdated(run)
    counts = read_each(run.output, lambda path: _total(run, (changes for _, changes in _retagged(run, path))), outdated)
    return _total(run, counts) if outdated else None


def _outdated(run: Retagging) -> list[str]:
    """List the files of predictions whose footers name other thresholds or rules.

    Raises:
      OutputError: a file was not written by scenetags, is of another model, or is where its rows are not looked for; or
        there are no thresholds to keep; or an image has two rows, which would be counted twice.
    """
    check_folders(run.output)
    files = storage.list_files(storage.join(run.output, PREDICTIONS), ".parquet")
    footers = [footer for footer, _ in read_each(run.output, partial(describe_file, run.output), files)]
    for path, footer in zip(files, footers, strict=True):
        if (footer.bundle, footer.labels) != (run.bundle, run.labels):
            raise OutputError(
                f"output {run.output} holds predictions of several models, one of them in {path}",
                "keep each model in a folder of its own",
            )
    if run.kept is not None and (found := {footer.thresholds for footer in footers}) != {run.kept}:
        # The lock came after the look, and with it what a killed command had begun.
        if len(found) > 1:
            holds = f"output {run.output} holds predictions made with several thresholds"
            raise OutputError(holds, "choose one for all of them with --thresholds or --from")
        raise OutputError(f"output {run.output} was given different thresholds meanwhile", "run the same command again")
    wanted = (run.thresholds, run.rules)
    outdated = [
        path for path, footer in zip(files, footers, strict=True) if (footer.thresholds, footer.rules) != wanted
    ]
    if outdated:
        _refuse_doubles(run, files)
    return outdated


def _refuse_doubles(run: Retagging, files: Sequence[str]) -> None:
    paths = Paths()
    for some in _paths(files):
        paths.add(some)
    if (path := paths.find_double(_paths(files))) is not None:
        holds = f"{storage.join(run.output, PREDICTIONS)} has two rows for {path}"
        raise OutputError(holds, "move out the file that no run wrote")


def _paths(files: Sequence[str]) -> Iterator[pa.Array]:
    for path in files:
        with open_table(path) as parquet:
            if _PATH not in parquet.schema_arrow.names:
                raise _not_ours(path, "no column of paths")
            for batch in parquet.iter_batches(ROWS_PER_GROUP, columns=[_PATH], use_threads=False):
                interruption.check()
                yield batch.column(_PATH)


def _rewrite(run: Retagging, path: str) -> tuple[str, Changes]:
    """Write the rows of a file to a staged one with their new tags, and return its path and the changes."""
    staged = storage.join(run.staging, PREDICTIONS, posixpath.basename(path))
    with open_table(path) as parquet:
        schema = _with_choice(parquet.schema_arrow, run)
        # Arrow leaves out of the schema what was added to a file at its end: where its rows lie.
        more_metadata = {key: value for key, value in parquet.metadata.metadata.items() if key not in _OF_ITS_OWN}
    changes = no_changes(run.labels)
    with storage.create(staged) as file, pq.ParquetWriter(file, schema, **PARQUET_OPTIONS) as writer:
        for table, more in _retagged(run, path):
            # One row group for each of the file's: their statistics are what queries skip rows by.
            writer.write_table(table, row_group_size=max(1, table.num_rows))
            changes += more
        writer.add_key_value_metadata(more_metadata)
    return staged, changes


def _retagged(run: Retagging, path: str) -> Iterator[tuple[pa.Table, Changes]]:
    """Yield the row groups of a file with their new tags, and what changes in each.

    Raises:
      OutputError: the file is damaged, or its tags or probabilities are not as scenetags writes them.
      InterruptedRunError: the run was asked to stop.
    """
    with open_table(path) as parquet:
        footer = json.loads(parquet.schema_arrow.metadata[FOOTER.encode()])
        columns = footer.get("columns") or {label: f"p_{label}" for label in run.labels}
        for group in range(parquet.num_row_groups):
            interruption.check()
            table = parquet.read_row_group(group, use_threads=False)
            place = table.schema.get_field_index(_TAGS)
            probabilities = _probabilities(path, table, [columns[label] for label in run.labels])
            if place < 0 or table.schema.field(place).type not in _LISTS:
                raise _not_ours(path, "no column of tags")
            before = mark_tags(table[_TAGS].combine_chunks(), run.labels)
            after = choose_labels(probabilities, run.labels, run.thresholds, run.rules)
            field = table.schema.field(place)
            tags = list_tags(after, run.labels, field.type)
            yield table.set_column(place, field, tags), _compare(before, after)


_LISTS = (pa.list_(pa.field("element", pa.string())), pa.list_(pa.string()))
"""Types of a column of tags: as it is written, and as Arrow reads it where the file does not name the items."""


def _probabilities(path: str, table: pa.Table, columns: Sequence[str]) -> NDArray[np.float32]:
    """Return the probabilities of all labels: float32[N, L].

    Raises:
      OutputError: one of them is none.
    """
    if any(table.schema.field(column).type != pa.float32() for column in columns):
        raise _not_ours(path, "probabilities of another type")
    # Nulls become NaN, which is no probability either.
    probabilities = np.column_stack([table[column].to_numpy() for column in columns])
    if not are_probabilities(probabilities).all():
        raise _not_ours(path, "a value that is not a probability")
    return probabilities


def _not_ours(path: str, holds: str) -> OutputError:
    return OutputError(f"{path} holds {holds}, so scenetags did not write it", "move it elsewhere")


def _with_choice(schema: pa.Schema, run: Retagging) -> pa.Schema:
    """Let the footer say what tags were chosen by, and leave all else in it as it is."""
    metadata: dict[bytes, bytes] = schema.metadata
    footer = json.loads(metadata[FOOTER.encode()])
    kept = {name: value for name, value in footer.items() if name not in ("rules", "retagged")}
    chosen = {**kept, "thresholds": list(run.thresholds), **described_choice(run.rules, retagged=True)}
    return schema.with_metadata({**metadata, FOOTER.encode(): json.dumps(chosen).encode()})


def _compare(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Changes:
    gained, lost = after & ~before, before & ~after
    changed = int((gained | lost).any(axis=1).sum())
    return Changes(len(before), changed, before.sum(axis=0), gained.sum(axis=0), lost.sum(axis=0))


def _total(run: Retagging, changes: Iterator[Changes]) -> Changes:
    return sum(changes, no_changes(run.labels))


def _described(run: Retagging, changes: Changes) -> Mapping[str, Any]:
    """Return what the manifest says of a retagging."""
    counts = {
        "before": changes.before,
        "after": changes.after,
        "gained": changes.gained,
        "lost": changes.lost,
    }
    tags = {name: dict(zip(run.labels, numbers.tolist(), strict=True)) for name, numbers in counts.items()}
    return {
        "bundle": {"digest": run.bundle},
        "thresholds": dict(zip(run.labels, run.thresholds, strict=True)),
        **({"rules": run.rules.described()} if run.rules else {}),
        "retagged": {"predictions": changes.rows, "changed": changes.changed, **tags},
    }
