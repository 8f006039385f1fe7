"""Compare the images of several runs, by their manifests and rows, with those that their model was trained on."""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import pyarrow as pa

from pipelines import storage
from pipelines.errors import ScenetagsError
from pipelines.inference.reference import read_reference
from pipelines.inference.shift import Seen, Shift, compare, read_seen
from pipelines.output.manifest import MOST_BYTES, Ending
from pipelines.output.replacing import listed_again
from pipelines.output.run import PREDICTIONS, RUNS, Accounts, Run
from pipelines.output.tables import ROWS_PER_GROUP, OutputError, open_table, read_each

_Manifest = Mapping[str, Any]


def compare_overwrite(run: Run, accounts: Accounts) -> Shift:
    """Compare the images whose rows an overwrite has gathered in its shadow folder with its training images.

    Args:
      run: an overwrite, of which all waves are committed.
      accounts: of all of them.

    Raises:
      OutputError: a file of the shadow folder is damaged.
      OSError: the output cannot be read.
    """
    if not accounts.skipped:
        return compare(run.bundle.reference, accounts.seen)
    earlier = listed_again(run)
    partly = {storage.join(run.folder, file) for file in earlier.files_with_unlisted()}
    rows: Counter[str] = Counter()
    for file in storage.list_files(storage.join(run.folder, PREDICTIONS), ".parquet"):
        rows += count_rows_of_runs(run.folder, [file], earlier.is_listed if file in partly else None)
    return _compare_tagged(run, rows)


def compare_run(run: Run, accounts: Accounts, ending: Ending) -> Shift:
    """Compare the images of a run that has ended, and of earlier runs that it resumes, with its training images."""
    if ending.unlike:
        return ending.unlike
    # The rows that an overwrite resumes are in the output once it has replaced the old ones.
    if accounts.skipped and not ending.kept_old:
        with suppress(OSError, ScenetagsError), storage.hurried():
            files = storage.list_files(storage.join(run.output, PREDICTIONS), ".parquet")
            return _compare_tagged(run, count_rows_of_runs(run.output, files))
    return compare(run.bundle.reference, accounts.seen)


def _compare_tagged(run: Run, rows: Mapping[str, int]) -> Shift:
    manifests = storage.list_files(storage.join(run.output, RUNS), ".json")
    of_rows = [path for path in manifests if posixpath.basename(path).removesuffix(".json") in rows]
    return compare_runs(read_each(run.output, _read_manifest, of_rows), rows, run.bundle.digest)


def compare_runs(manifests: Iterable[_Manifest], rows: Mapping[str, int], bundle: str) -> Shift:
    """Compare the images that runs with a bundle have tagged with its training images.

    A run counts for as many images as have rows still: others were tagged anew, for an `--overwrite` or since they
    changed. Which of them these are is not known, so they are taken to be like all images of the run.

    Args:
      manifests: of the runs of an output, as JSON.
      rows: predictions in the output, by the name of the run that tagged them.
      bundle: digest of the bundle.
    """
    reference, seen = None, Seen()
    for manifest in manifests:
        # Some are without a reference, of another version, or of a stranger.
        with suppress(AttributeError, KeyError, TypeError, ValueError):
            if manifest["bundle"]["digest"] == bundle:
                reference = reference or read_reference(manifest["reference"])
                seen = seen.and_also(read_seen(manifest["shift"]).of_at_most(rows.get(manifest["run"], 0)))
    return compare(reference, seen)


def count_rows_of_runs(folder: str, files: Iterable[str], counts: Callable[[str], bool] | None = None) -> Counter[str]:
    """Count predictions by the name of the run that tagged them.

    Args:
      folder: of the tables.
      files: with predictions, in it.
      counts: whether the row of an image counts, by its path; None if all do.

    Raises:
      OutputError: a file is damaged, or scenetags did not write it.
      OSError: a file cannot be read.
    """
    rows: Counter[str] = Counter()
    for of_file in read_each(folder, partial(_count_rows, counts=counts), files):
        rows.update(of_file)
    return rows


def _count_rows(path: str, counts: Callable[[str], bool] | None) -> Counter[str]:
    rows: Counter[str] = Counter()
    columns = ["run", "path"] if counts else ["run"]
    with open_table(path) as parquet:
        if not {*columns} <= {*parquet.schema_arrow.names}:
            raise OutputError(f"{path} has no column run, so scenetags did not write it")
        for batch in parquet.iter_batches(ROWS_PER_GROUP, columns=columns, use_threads=False):
            if counts:
                batch = batch.filter(pa.array(map(counts, batch["path"].to_pylist()), pa.bool_()))
            for run in batch["run"].cast(pa.string()).value_counts().to_pylist():
                rows[run["values"]] += run["counts"]
    return rows


def _read_manifest(path: str) -> _Manifest:
    # A file of a stranger counts for nothing.
    with suppress(ValueError, RecursionError, storage.FileTooLargeError):
        described = json.loads(storage.read(path, MOST_BYTES))
        if isinstance(described, dict):
            return described
    return {}
