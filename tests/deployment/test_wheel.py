"""A wheel of the project, installed without the tree, in a folder whose user has packages of the same names."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from model.synthetic.chips import write_chips
from pipelines.results.outputs import open_output
from tests import ROOT
from tests.deployment.dockerfile import run

pytestmark = pytest.mark.installation

OWN = 'raise RuntimeError("a package of the user\'s own was imported")\n'


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel of what setup.py names, and install it into an environment that knows no checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    for name in ("pipelines", "model"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    # Without what an editable installation leaves next to them.
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, tree)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(tree)], capture_output=True, text=True, check=False
    )
    if "No matching distribution" in built.stderr or "Connection" in built.stderr:
        pytest.skip("pip reaches no index of packages")
    assert built.returncode == 0, built.stderr
    image = folder / "image"
    # A pip of its own would take longer to install than the wheel.
    venv.create(image / "usr" / "local")
    [wheel] = folder.glob("*.whl")
    python = image / "usr" / "local" / "bin" / "python"
    subprocess.run([*pip, "--python", str(python), "install", "--no-deps", str(wheel)], check=True)
    [packages] = (image / "usr" / "local" / "lib").glob("python*/site-packages")
    # The dependencies are those of the tests. A folder that is named so has its own .pth files left alone, among them
    # that of the editable installation.
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return image


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Make a folder with chips, and with packages that are named like ours and like those that ours import."""
    (tmp_path / "json.py").write_text(OWN)
    for name in ("pipelines", "model", "apache_beam", "numpy", "PIL"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(OWN)
    write_chips(tmp_path / "chips", 24, seed=1, size=48)
    return tmp_path


def test_it_trains_predicts_and_evaluates(installed: Path, work: Path, tensorflow: object) -> None:
    for command in (
        "scenetags train --images chips/jpg --labels chips/labels.csv --output bundle --weights none --alpha 0.35 "
        "--image_size 32 --finetune_epochs 1",
        "scenetags predict --input chips/jpg --model bundle --output tagged --isolate_decoding",
        "scenetags evaluate --predictions tagged --labels chips/labels.csv",
        "scenetags tag chips/jpg/chip_0.jpg --model bundle",
        "scenetags plan --input chips/jpg --model bundle --sample 4",
    ):
        done = run(command, installed, work)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert open_output(str(work / "tagged")).predictions(["path"]).num_rows == 24


def test_what_pages_are_made_of_is_in_it(installed: Path) -> None:
    [folder] = installed.glob("usr/local/lib/python*/site-packages/pipelines/results/assets")
    assert {path.name for path in folder.iterdir()} == {
        path.name for path in (ROOT / "pipelines/results/assets").iterdir()
    }
