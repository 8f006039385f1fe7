"""The example of a list in docs/storage.md does what the page says, and its table has all types of kept columns."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from model.synthetic.chips import write_chips
from pipelines import cli
from pipelines.listing.lists.kept import TYPES, Wanted, find_types
from tests import ROOT, outputs

LISTS = (ROOT / "docs" / "storage.md").read_text().partition("## Lists of images\n")[2].partition("\n## ")[0]


def run(block: str) -> None:
    """Run a block of commands: those of scenetags here, and all others in a shell."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for part in re.split(r"^(scenetags .*)\n", block, flags=re.MULTILINE):
        if part.startswith("scenetags "):
            assert cli.main([*shlex.split(part)[1:], "--progress=off"]) == 0, part
        elif part:
            subprocess.run(["sh", "-ec", part], check=True, env=environment)


def test_columns_of_a_list_become_columns_of_the_output(
    bundle_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bundle_path, tmp_path / "demo/bundle")
    write_chips(tmp_path / "demo/chips", 2, 1)
    monkeypatch.chdir(tmp_path)

    for block in re.findall(r"^```sh\n(.*?)^```", LISTS, re.MULTILINE | re.DOTALL):
        run(block)

    rows = outputs.rows_by_path("demo/tagged_list")
    shown = re.findall(r"^\| /home/you/scenetags/(\S+) \|.*\| ... \| (\w+) \| (\S+) \|$", LISTS, re.MULTILINE)
    assert shown == [
        (path.removeprefix(f"{tmp_path}/"), row["site_id"], str(row["date"])) for path, row in sorted(rows.items())
    ]
    assert {type(row["date"]) for row in rows.values()} == {date}
    [site] = outputs.rows("demo/tagged_site")
    assert site["site_id"] == "007"


def test_the_table_has_all_types_of_kept_columns() -> None:
    table = LISTS.partition("| type | cells such as |")[2]
    cells = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))

    assert set(cells) == set(TYPES)
    for kind, examples in cells.items():
        for cell in re.findall("`([^`]+)`", examples):
            [found] = find_types([Wanted("cell")], [[cell]], typed=False)
            assert found.type == kind, cell
