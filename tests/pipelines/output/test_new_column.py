"""Adding a column takes one entry in one file: schema, rows, help and documentation follow from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.output.schema import PREDICTION_COLUMNS
from tests import ROOT
from tests.outputs import rows
from tests.pipelines.conftest import WriteChips

SOURCE = """\
    Column(
        "source",
"""

MEGAPIXELS = """\
    Column(
        "megapixels",
        "float32",
        "millions of pixels of the upright image",
        _of_prediction(lambda prediction: prediction.width * prediction.height / 1e6),
    ),
"""

USE = """
import contextlib, io, json, sys
import pipelines
from pipelines import cli
from tools import document_columns

done = cli.main(["predict", "--progress=off", *sys.argv[1:]])
with contextlib.redirect_stdout(io.StringIO()) as help_page, contextlib.suppress(SystemExit):
    cli.main(["predict", "--help"])
document_columns.main()
print("\\n" + json.dumps({"from": pipelines.__file__, "done": done, "help": help_page.getvalue()}))
"""


def test_a_column_that_is_declared_is_in_rows_schema_help_and_documentation(
    chips: WriteChips, bundle_path: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    for package in ("pipelines", "model"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    schema = copy / "pipelines" / "output" / "schema.py"
    before, source, after = schema.read_text().partition(SOURCE)
    assert source, "the entry of `source` is written otherwise"
    schema.write_text(before + MEGAPIXELS + source + after)
    for folder in ("docs", "tools"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    flags = [f"--input={chips(['a.jpg', 'b.jpg'])}", f"--model={bundle_path}", f"--output={tmp_path / 'out'}"]

    told = subprocess.run(
        [sys.executable, "-c", USE, *flags],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 0, told.stderr
    facts = json.loads(told.stdout.splitlines()[-1])
    assert facts["from"] == str(copy / "pipelines" / "__init__.py"), "the copy does not run"
    assert facts["done"] == 0, told.stderr
    found = rows(tmp_path / "out")
    assert [row["megapixels"] for row in found] == pytest.approx([row["width"] * row["height"] / 1e6 for row in found])
    assert len(found) == 2
    declared = [column.name for column in PREDICTION_COLUMNS]
    before_it = declared[declared.index("source") - 1]
    names = list(found[0])
    assert names[names.index("source") - 2 : names.index("source") + 1] == [before_it, "megapixels", "source"]
    assert f"{before_it}, megapixels, source" in " ".join(facts["help"].split())
    page = (copy / "docs" / "output.md").read_text()
    assert "| `megapixels` | `float32` | millions of pixels of the upright image |" in page.splitlines()
