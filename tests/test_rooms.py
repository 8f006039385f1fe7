"""The rules of ARCHITECTURE.md are held by import-linter: they name every room, and each of them can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT

ALLOWED = {
    "pipelines",
    "pipelines.commandline",
    "pipelines.errors",
    "pipelines.images",
    "pipelines.inference",
    "pipelines.inference.bundle",
    "pipelines.inference.engines",
    "pipelines.inference.intervals",
    "pipelines.inference.probabilities",
    "pipelines.inference.mlm",
    "pipelines.inference.openvino_runtime",
    "pipelines.inference.operations",
    "pipelines.inference.precision",
    "pipelines.inference.reference",
    "pipelines.labels",
    "pipelines.results",
    "pipelines.results.files",
    "pipelines.results.outputs",
    "pipelines.results.outside",
    "pipelines.results.thresholds",
    "pipelines.results.whereabouts",
    "pipelines.storage",
    "pipelines.supervision",
    "pipelines.supervision.machine",
}
"""What `model` may import; of a room that is named whole, all of it."""

WHOLE = ("pipelines.commandline", "pipelines.images", "pipelines.labels", "pipelines.storage")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    if not program.exists():
        pytest.skip("import-linter is not installed: pip install 'scenetags[test]'")
    return subprocess.run(
        [program, "--no-logo", "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def modules(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*.py")):
        yield ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")


def test_what_model_may_not_enter_is_all_that_it_is_not_allowed() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [contract] = [contract for contract in linter["contracts"] if contract.get("source_modules") == ["model"]]
    forbidden = set(contract["forbidden_modules"])

    open_to_model = {
        module
        for module in modules(ROOT / "pipelines")
        if not any(module == name or module.startswith(f"{name}.") for name in (*forbidden, *WHOLE))
    }
    assert open_to_model <= ALLOWED, "name it in the last contract of pyproject.toml, or in ALLOWED here"
    assert not forbidden & ALLOWED


@pytest.mark.parametrize(
    ("module", "imported", "contract"),
    [
        ("pipelines/storage/local.py", "pipelines.output.run", "pipelines: each room knows only the rooms below it"),
        ("model/quality/metrics.py", "model.training.network", "model: each room knows only the rooms below it"),
        ("pipelines/output/run.py", "model.quality", "prediction works without training"),
        ("pipelines/images/layout.py", "apache_beam", "images knows neither Beam nor TensorFlow"),
        ("model/quality/metrics.py", "pipelines.reading.source", "model enters images"),
    ],
)
def test_a_wrong_import_fails(module: str, imported: str, contract: str, tmp_path: Path) -> None:
    for package in ("pipelines", "model"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / module
    path.write_text(f"{path.read_text()}\nimport {imported}\n")

    done = lint(tmp_path)

    assert done.returncode == 1, done.stdout
    kept, _, broken = done.stdout.partition("Broken contracts")
    assert " ".join(contract.split()) in " ".join(broken.split()), done.stdout
    assert "BROKEN" in kept


def test_the_tree_keeps_all_rules() -> None:
    done = lint(ROOT)

    assert done.returncode == 0, done.stdout
