"""A browser, and what finds the faults of a page in it."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser, browse


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start a browser, which shows all pages one after the other."""
    with browse(tmp_path_factory.mktemp("profile")) as browser:
        browser.resize(1280, 900)
        yield browser


@pytest.fixture(scope="session")
def axe(pytestconfig: pytest.Config) -> str:
    """Fetch axe-core, which finds what a screen reader or weak eyes cannot use, and keep it for later sessions."""
    kept = getattr(pytestconfig, "cache", None)
    if kept is None:
        pytest.skip("pytest has no cache to keep axe-core in")
    cache = Path(str(kept.mkdir("axe-core")))
    script = cache / "axe.min.js"
    if not script.exists():
        try:
            command = ["npm", "pack", "axe-core@4.10.3", "--silent", f"--pack-destination={cache}"]
            subprocess.run(command, check=True, capture_output=True, timeout=30)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"axe-core cannot be fetched from npm: {error}")
        with tarfile.open(next(cache.glob("axe-core-*.tgz"))) as packed:
            member = packed.extractfile("package/axe.min.js")
            assert member
            script.write_bytes(member.read())
    return script.read_text()
