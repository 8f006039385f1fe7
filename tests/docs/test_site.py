"""The site of the documentation builds, and no dead link gets through."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

pytest.importorskip("mkdocs", reason="MkDocs is not installed: pip install 'scenetags[docs]'")


def build(checkout: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy the pages of this checkout; everything else is only linked to."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name == "docs":
            shutil.copytree(path, folder / "docs")
        elif path.suffix == ".md":
            shutil.copy(path, folder)
        else:
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "site"
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_builds(site: Path) -> None:
    for page in ("index", "readme", "architecture", "contributing", "changelog", "output", "guarantees"):
        assert (site / f"{page}.html").is_file(), page
    assert not list(site.rglob("*.py"))


def test_code_in_tables_is_shown_as_it_is_typed(site: Path) -> None:
    training = (site / "training.html").read_text()
    assert "<code>7z x -so train-jpg.tar.7z | tar xf -</code>" in training
    for page in site.glob("*.html"):
        cells = re.findall(r"<td.*?</td>", page.read_text(), re.DOTALL)
        assert not [cell for cell in cells if r"\|" in cell], page.name


def test_the_first_page_shows_the_example_of_the_readme(site: Path) -> None:
    first, readme = ((site / f"{name}.html").read_text() for name in ("index", "readme"))
    [table] = re.findall(r"<table>.*?chip_10\.jpg.*?</table>", readme, re.DOTALL)
    assert table in first


PLANTED = [
    ("docs/speed.md", "[a page](missing.md)", "missing.md"),
    ("docs/speed.md", "[a heading](output.md#no-such-heading)", "#no-such-heading"),
    ("docs/speed.md", "[a file](../pipelines/missing.py)", "../pipelines/missing.py"),
    ("docs/speed.md", "[an absolute path](/docs/output.md)", "/docs/output.md"),
    ("README.md", "[a page](docs/absent.md)", "absent.md"),
    ("README.md", "[a heading](CONTRIBUTING.md#no-heading-either)", "#no-heading-either"),
    ("docs/orphan.md", "A page that is not in the navigation.", "orphan.md"),
]
"""Pages, faults that are planted at their ends, and what the warning of each names."""


def test_each_dead_link_and_each_orphan_page_is_a_warning_that_fails_the_build(checkout: Path) -> None:
    for page, fault, _ in PLANTED:
        with open(checkout / page, "a") as file:
            file.write(f"\n{fault}\n")

    done = build(checkout, checkout.parent / "site")

    assert done.returncode != 0
    warnings = re.findall(r"WARNING .*(?:\n +.*)*", done.stderr)
    assert len(warnings) == len(PLANTED)
    for _, _, culprit in PLANTED:
        assert len([warning for warning in warnings if culprit in warning]) == 1, culprit
