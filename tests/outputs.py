"""What tests ask of an output: its rows, failures and newest manifest, read by the one reader that there is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pipelines.output.run import FAILURES, PREDICTIONS
from pipelines.results.outputs import open_output


def rows(output: str | Path, table: str = PREDICTIONS) -> list[dict[str, Any]]:
    """Read a table's rows, in the order of their paths; none where there is no such table."""
    opened = open_output(str(output))
    if table == PREDICTIONS:
        found = opened.predictions().to_pylist() if opened.prediction_files else []
    else:
        found = opened.failures().to_pylist() if opened.failure_files else []
    return sorted(found, key=lambda row: str(row["path"]))


def rows_by_path(output: str | Path) -> dict[str, dict[str, Any]]:
    """Read the rows of both tables by their paths, without the names of their runs."""
    found = [*rows(output, PREDICTIONS), *rows(output, FAILURES)]
    by_path = {row["path"]: {name: value for name, value in row.items() if name != "run"} for row in found}
    assert len(by_path) == len(found), "an image has two rows"
    return by_path


def tagged(output: str | Path) -> list[str]:
    """Name the files that have a prediction."""
    return [os.path.basename(row["path"]) for row in rows(output)]


def failed(output: str | Path) -> dict[str, str]:
    """Give the reason of each failure by the name of its file."""
    return {os.path.basename(row["path"]): row["message"] for row in rows(output, FAILURES)}


def manifest(output: str | Path) -> dict[str, Any]:
    """Read the manifest of the newest run."""
    return dict(open_output(str(output)).manifests()[-1].described)


def accounts(output: str | Path) -> dict[str, Any]:
    """Read how the only run ended, and what it counted."""
    [only] = open_output(str(output)).manifests()
    return {"status": only.status, **only.accounts.counts}
