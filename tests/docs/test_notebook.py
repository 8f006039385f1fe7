"""The quickstart notebook runs from its first cell to its last, on chips that it draws and on the user's own images."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pandas as pd
import pytest

from pipelines.inference.bundle import load_bundle
from pipelines.labels import LabelError
from tests import ROOT, image_files

NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"
SMALL = {"COUNT": 48, "CHIP_SIZE": 64, "IMAGE_SIZE": 32, "EPOCHS": 1}
OWN_LABELS = ("reed bed", "open water", "haze")

HERE = """
import sys as _sys
_sys.path.insert(0, {root!r})
import importlib as _importlib
from tests.model.small import small_networks as _small_networks
_alone = run

def run(module, *words, **flags):
    if words[:1] and words[0] in {here!r}:
        with _small_networks():
            arguments = [*words, *(f"--{{name}}={{value}}" for name, value in flags.items())]
            code = _importlib.import_module(module).main(arguments)
        if code:
            raise subprocess.CalledProcessError(code, arguments)
    else:
        _alone(module, *words, **flags)
"""
"""A cell that has some commands run in the notebook's own process, on a small network: to start takes them seconds."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def committed() -> Any:
    return nbformat.read(NOTEBOOK, as_version=nbformat.NO_CONVERT)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def executed(committed: Any, folder: Path, tensorflow: Any) -> Any:
    """Execute the notebook in an empty folder, with small parameters, and then once more with images of the user's."""
    (folder / "mine").mkdir()
    write_images(folder / "mine")
    own = {"IMAGES": str(folder / "mine"), "LABELS": str(folder / "mine.csv"), "WORK": "of_mine"}
    notebook = copy.deepcopy(committed)
    notebook.cells = [
        *cells(committed, SMALL, "train"),
        *cells(committed, {**SMALL, **own}, "train", "evaluate"),
    ]
    for other in notebook.cells[len(notebook.cells) // 2 :]:
        other.id = f"own-{other.id}"
    working = folder / "working"
    working.mkdir()
    with pytest.MonkeyPatch.context() as environment:
        write_kernel(folder / "jupyter" / "kernels" / "project")
        environment.setenv("JUPYTER_PATH", str(folder / "jupyter"))
        # History and profile of IPython would go into the home folder.
        environment.setenv("IPYTHONDIR", str(folder / "ipython"))
        resources = {"metadata": {"path": str(working)}}
        client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="project", resources=resources)
        failure = None
        try:
            client.execute()
        except nbclient.exceptions.CellExecutionError as error:
            # It quotes the cell, what the cell had printed, and the error.
            failure = _COLOURS.sub("", str(error))
    if failure:
        pytest.fail(failure, pytrace=False)
    return notebook


def cells(committed: Any, values: Mapping[str, object], *here: str) -> list[Any]:
    """Copy the notebook's cells, with other parameters, and with some commands run in the process of the notebook."""
    notebook = copy.deepcopy(committed)
    parameters = cell(notebook, "parameters")
    for name, value in values.items():
        parameters.source, count = re.subn(
            rf"^{name} = (\".*?\"|\S+)", f"{name} = {value!r}", parameters.source, flags=re.MULTILINE
        )
        assert count == 1, f"the notebook has no parameter {name}"
    source = HERE.format(root=str(ROOT), here=here)
    within = nbformat.v4.new_code_cell(source, id="here")  # type: ignore[no-untyped-call]
    notebook.cells.insert(1 + notebook.cells.index(cell(notebook, "commands")), within)
    return list(notebook.cells)


def write_images(folder: Path) -> None:
    """Write images in folders, as somebody may have them, and next to them their labels in a layout of its own."""
    rows = []
    for number in range(30):
        name = f"{'river' if number % 2 else 'coast'}/Aerial {number:02}.png"
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(image_files.encode(image_files.picture(40, 56, seed=number), "PNG"))
        rows.append(f'{name},"{OWN_LABELS[number % 3]}, {OWN_LABELS[2]}",2026-05-{number + 1:02}\n')
    folder.with_name("mine.csv").write_text("File Name,Labels,Day\n" + "".join(rows))


def write_kernel(folder: Path) -> None:
    """Describe a kernel that is this very interpreter, whatever kernels are installed for the user."""
    folder.mkdir(parents=True)
    arguments = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (folder / "kernel.json").write_text(
        json.dumps({"argv": arguments, "display_name": "project", "language": "python"})
    )


def cell(notebook: Any, name: str) -> Any:
    return next(cell for cell in notebook.cells if cell.id == name)


def text(cell: Any) -> str:
    """Join what a cell has printed."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def test_the_notebook_is_valid_and_committed_without_outputs(committed: Any) -> None:
    nbformat.validate(committed)
    assert (committed.nbformat, committed.nbformat_minor) == (4, 5)
    codes = [cell for cell in committed.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in codes)
    assert [cell.id for cell in codes if "parameters" in cell.metadata.get("tags", [])] == ["parameters"]
    # Nothing of the machine on which somebody last ran it.
    assert set(committed.metadata) == {"kernelspec", "language_info"}
    assert committed.metadata.kernelspec.name == "python3"


def test_the_cells_are_named_by_what_they_do(committed: Any) -> None:
    # Jupyter gives a new cell eight random hexadecimal digits.
    assert not [cell.id for cell in committed.cells if re.fullmatch(r"[0-9a-f]{8}", cell.id)]


def test_every_code_cell_runs(executed: Any) -> None:
    codes = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in codes] == list(range(1, len(codes) + 1))


def test_the_second_variant_tags_the_images_that_the_users_own_csv_names(executed: Any, folder: Path) -> None:
    work = folder / "working" / "of_mine"
    assert not (work / "chips").exists(), "no chips are drawn"
    assert set(load_bundle(str(work / "bundle")).labels) == set(OWN_LABELS)
    held_out = pd.read_csv(work / "held_out.csv")["File Name"]
    tagged = pd.read_parquet(work / "tagged" / "predictions")["path"]
    assert sorted(tagged) == sorted(str(folder / "mine" / name) for name in held_out)
    assert len(tagged) == 6
    assert "6 images measured" in text(cell(executed, "own-evaluate"))
    assert "says nothing about real imagery" not in cell(executed, "own-card").outputs[0].data["text/markdown"]


def test_it_shows_that_tensorflow_sees_black_where_we_do_not(executed: Any) -> None:
    levels = re.findall(
        r"repaired: unmarked_rgba_jpeg; mean level (\d+), in TensorFlow (\d+)", text(cell(executed, "look"))
    )
    assert len(levels) == 6
    assert all(int(ours) > 20 and int(theirs) == 0 for ours, theirs in levels)


def test_it_tags_the_images_held_out_and_no_others(executed: Any, folder: Path) -> None:
    work = folder / "working" / "quickstart"
    held_out = pd.read_csv(work / "held_out.csv")["image_name"]
    trained_on = pd.read_csv(work / "train.csv")["image_name"]
    tagged = pd.read_parquet(work / "tagged" / "predictions")["path"].map(lambda path: Path(path).stem)
    assert set(tagged) == set(held_out)
    assert len(held_out) == 10
    assert sorted([*held_out, *trained_on]) == sorted(f"chip_{number}" for number in range(SMALL["COUNT"]))


def test_it_ends_with_the_measures_and_the_card_of_its_bundle(executed: Any, folder: Path) -> None:
    bundle = load_bundle(str(folder / "working" / "quickstart" / "bundle"))
    assert bundle.image_size == SMALL["IMAGE_SIZE"]
    assert "F2 over samples" in text(cell(executed, "evaluate"))
    card = cell(executed, "card").outputs[0].data["text/markdown"]
    assert "says nothing about real imagery" in card
    assert f"# {bundle.name}" in card


def test_it_shows_pictures(executed: Any) -> None:
    for name in ("look", "pictures"):
        assert any("image/png" in output.get("data", {}) for output in cell(executed, name).outputs), name


def test_it_writes_into_its_work_folder_only(executed: Any, folder: Path) -> None:
    assert {path.name for path in (folder / "working").iterdir()} == {"quickstart", "of_mine"}


def test_a_command_that_fails_stops_the_notebook(
    committed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {"WORK": str(tmp_path / "work")}
    exec(cell(committed, "commands").source, names)
    with pytest.raises(subprocess.CalledProcessError, match="exit status 2"):
        names["run"]("pipelines.cli", "predict", "--input", "nowhere")
    assert "scenetags predict: " in capsys.readouterr().out


def test_labels_of_which_no_image_is_held_out_stop_the_notebook(committed: Any, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image_name,tags\n" + "".join(f"other_{row},clear\n" for row in range(9)))
    names = {"WORK": tmp_path, "labels": tmp_path / "labels.csv", "images": tmp_path, "paths": [tmp_path / "a.jpg"]}
    with pytest.raises(LabelError, match="no row names an image"):
        exec(cell(committed, "held-out").source, names)
