"""The help pages of `train` and `evaluate` appear at once: nothing slow is imported before arguments are parsed."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = {"numpy", "PIL", "pyarrow", "tensorflow", "keras", "ai_edge_litert", "apache_beam", "matplotlib", "tenacity"}


@pytest.mark.parametrize("module", ["model.train", "model.evaluate", "model.importing"])
def test_help_imports_no_slow_library(module: str) -> None:
    script = f"""
import sys, {module}
try:
    {module}.main(["--help"])
except SystemExit:
    print(*sys.modules, file=sys.stderr)
"""
    printed = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert printed.stdout.startswith("usage: scenetags ")
    assert module in printed.stderr.split()
    assert not SLOW & set(printed.stderr.split())
