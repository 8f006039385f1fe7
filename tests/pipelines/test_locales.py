"""Names of files are UTF-8 in every locale."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.listing import InputError, list_images
from tests import ROOT

ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(params=["ASCII", "ISO-8859-1"])
def locale(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Make the environment of a locale whose encoding is not UTF-8."""
    if request.param == "ASCII":
        return ASCII
    if not shutil.which("localedef") or not os.path.exists("/usr/share/i18n/charmaps"):
        pytest.skip("no locale can be made here")
    subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", tmp_path / "de_DE.ISO-8859-1"], check=True, capture_output=True
    )
    return {"LOCPATH": str(tmp_path), "LC_ALL": "de_DE.ISO-8859-1"}


def test_a_name_is_the_same_in_every_locale(locale: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips/ä.jpg").touch()
    tell = """
import sys
from pipelines import cli, tag
from pipelines.listing import list_images
tag.main = lambda argv: print(*(ascii(item.path) for item in list_images(argv))) or 0
sys.exit(cli.main())
"""
    (tmp_path / "scenetags").write_text(tell)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0", **locale}

    done = subprocess.run(
        [sys.executable, tmp_path / "scenetags", "tag", tmp_path / "chips/*.jpg"], env=environment, capture_output=True
    )

    assert done.stdout.endswith(b"/chips/\\xe4.jpg'\n"), (done.stdout, done.stderr)


def test_a_process_that_reads_other_names_refuses_to_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-1")

    with pytest.raises(InputError, match="names of files are read as iso8859-1, not as UTF-8; set PYTHONUTF8=1"):
        list(list_images([str(tmp_path)]))
