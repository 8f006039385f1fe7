"""Compare the images of several runs, by their manifests and rows, with those that their model was trained on."""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from pipelines import storage
from pipelines.errors import ScenetagsError
from pipelines.inference.reference import read_reference
from pipelines.inference.shift import Seen, Shift, compare, read_seen
from pipelines.output.identities import Unlisted
from pipelines.output.manifest import Ending, find_content
from pipelines.output.run import PREDICTIONS, RUNS, Accounts, Run
from pipelines.output.tables import ROWS_PER_GROUP, OutputError, open_table, read_each

_Manifest = Mapping[str, Any]


def compare_overwrite(run: Run, accounts: Accounts, dropped: Iterable[Unlisted]) -> Shift:
    """Compare the images whose rows an overwrite has gathered in its shadow folder with its training images.

    Args:
      run: an overwrite, of which all waves are committed.
      accounts: of all of them.
      dropped: rows of the shadow folder whose images it did not list; they do not count.

    Raises:
      OutputError: a file of the shadow folder is damaged.
      OSError: the output cannot be read.
    """
    if not accounts.skipped:
        return compare(run.bundle.reference, accounts.seen)
    files = storage.list_files(storage.join(run.folder, PREDICTIONS), ".parquet")
    return _compare_tagged(run, count_rows_of_runs(run.folder, files, dropped))


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
    return compare_runs(filter(None, read_each(run.output, find_content, of_rows)), rows, run.bundle.digest)


def compare_runs(manifests: Iterable[_Manifest], rows: Mapping[str, int], bundle: str) -> Shift:
    """Compare the images that runs with a bundle have tagged with its training images.

    A run counts for as many images as still have rows: others were tagged again, for an `--overwrite` or because they
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


def count_rows_of_runs(folder: str, files: Iterable[str], dropped: Iterable[Unlisted] = ()) -> Counter[str]:
    """Count predictions by the name of the run that tagged them.

    Args:
      folder: of the tables.
      files: with predictions, in it.
      dropped: rows in it that do not count.

    Raises:
      OutputError: a file is damaged, or scenetags did not write it.
      OSError: a file cannot be read.
    """
    without: dict[str, list[Unlisted]] = defaultdict(list)
    for rows in dropped:
        without[storage.join(folder, rows.file)].append(rows)
    counted: Counter[str] = Counter()
    for of_file in read_each(folder, lambda path: _count_rows(path, without.get(path, ())), files):
        counted.update(of_file)
    return counted


def _count_rows(path: str, dropped: Sequence[Unlisted]) -> Counter[str]:
    counted: Counter[str] = Counter()
    columns = ["run", *["path"] * bool(dropped)]
    with open_table(path) as parquet:
        if not {*columns} <= {*parquet.schema_arrow.names}:
            raise OutputError(f"{path} has no column run, so scenetags did not write it")
        for batch in parquet.iter_batches(ROWS_PER_GROUP, columns=columns, use_threads=False):
            table = pa.Table.from_batches([batch])
            for rows in dropped:
                table = rows.keep_others(table)
            for run in table["run"].cast(pa.string()).value_counts().to_pylist():
                counted[run["values"]] += run["counts"]
    return counted
