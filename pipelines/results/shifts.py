"""Compare the images of runs with those that their model was trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import storage
from pipelines.errors import ScenetagsError
from pipelines.inference.reference import read_reference
from pipelines.inference.shift import Seen, Shift, compare
from pipelines.output.run import Accounts, Run
from pipelines.output.tables import ROWS_PER_GROUP, open_table, read_each
from pipelines.results.outputs import Manifest, NoOutputError, Output, open_output


def compare_run(run: Run, accounts: Accounts) -> Shift:
    """Compare the images of a run that has ended, and of earlier runs that it resumes, with its training images."""
    # The rows that an overwrite resumes are in the output once it has replaced the old ones.
    if accounts.skipped and (not run.overwrite or accounts.may_replace(run.max_failure_rate)):
        with suppress(OSError, ScenetagsError), storage.hurried():
            output = open_output(run.output)
            return compare_runs(output.manifests(), count_rows_of_runs(output), run.bundle.digest)
    return compare(run.bundle.reference, accounts.seen)


def compare_runs(manifests: Iterable[Manifest], rows: Mapping[str, int], bundle: str) -> Shift:
    """Compare the images that runs with a bundle have tagged with its training images.

    A run counts for as many images as have rows still: others were tagged anew, for an `--overwrite` or since they
    changed. Which of them these are is not known, so they are taken to be like all images of the run.

    Args:
      manifests: of the runs of an output.
      rows: predictions in the output, by the name of the run that tagged them.
      bundle: digest of the bundle.
    """
    reference, seen = None, Seen()
    for manifest in manifests:
        try:
            if manifest.described["bundle"]["digest"] != bundle:
                continue
            reference, left = reference or read_reference(manifest.described["reference"]), rows.get(manifest.run, 0)
        except (KeyError, TypeError, ValueError):
            # Without a reference, of another version, or of a stranger.
            continue
        seen = seen.and_also(manifest.accounts.seen.of_at_most(left))
    return compare(reference, seen)


def count_rows_of_runs(output: Output) -> Counter[str]:
    """Count the predictions of an output by the name of the run that tagged them.

    Raises:
      NoOutputError: scenetags did not write a file.
      OutputError: a file is damaged.
      OSError: a file cannot be read.
    """
    rows: Counter[str] = Counter()
    for of_file in read_each(output.path, _count_rows_of_runs, output.prediction_files):
        rows.update(of_file)
    return rows


def _count_rows_of_runs(path: str) -> Counter[str]:
    rows: Counter[str] = Counter()
    with open_table(path) as parquet:
        if "run" not in parquet.schema_arrow.names:
            raise NoOutputError(f"{path} has no column run, so scenetags did not write it")
        for batch in parquet.iter_batches(ROWS_PER_GROUP, columns=["run"], use_threads=False):
            for run in pc.value_counts(batch["run"].cast(pa.string())).to_pylist():
                rows[run["values"]] += run["counts"]
    return rows
