"""What docs/analytics.md shows is run: commands, Python and questions, on an output that has labels of the demo."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from model.synthetic.chips import write_chips
from pipelines import cli
from pipelines.inference.bundle import load_bundle
from pipelines.output.run import Run, new_run_name
from pipelines.records import Failure
from tests import ROOT
from tests.pipelines.results.tagged_outputs import image, run_of, write

PAGE = (ROOT / "docs" / "analytics.md").read_text()
LABELS = ("agriculture", "bare_ground", "clear", "cloudy", "habitation", "haze", "primary", "road", "water")


class Question(NamedTuple):
    """A statement, and the columns and rows of the answer that follows it."""

    statement: str
    columns: list[str]
    rows: int


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def questions() -> Iterator[Question]:
    asked = PAGE.partition("## Questions")[2]
    for statement, answer in re.findall(r"^```sql\n(.*?)^```\n\n((?:\|[^\n]*\n?)+)", asked, re.MULTILINE | re.DOTALL):
        header, _, *rows = answer.strip().splitlines()
        yield Question(statement, header.strip("| ").split(" | "), len(rows))


@pytest.fixture
def demo(bundle_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write an output of a few images in the place of the demo's, and go there."""
    bundle = load_bundle(bundle_path)
    run = Run(new_run_name(), "", bundle, bundle.thresholds)
    here = run_of(run, tmp_path / "demo/tagged", LABELS, 0.3)
    images = tmp_path / "demo/chips/jpg"
    images.mkdir(parents=True)
    rows = []
    for number in range(8):
        file = images / f"chip_{number}.jpg"
        file.write_bytes(bytes([number]))
        rows.append(image(str(file), [0.31, 0, 0.95, 0, number / 8, 0, 0.9, 0.95 - number / 10, 0.4]))
    failed = [Failure(f"{images}/{error}.jpg", "decode", error, "it is", "1-1") for error in ("Empty", "Damaged")]
    write(here, rows, failed)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_damaged_files_join_the_output_of_the_demo(
    bundle_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(bundle_path, tmp_path / "demo/bundle")
    write_chips(tmp_path / "demo/chips", 2, 1)
    monkeypatch.chdir(tmp_path)
    predict = ["predict", "--model=demo/bundle", "--output=demo/tagged", "--progress=off"]
    assert cli.main([*predict, "--input=demo/chips/jpg"]) == 0
    *files, added = blocks("sh")[0].splitlines()
    subprocess.run(["sh", "-ec", "\n".join(files)], check=True)

    # Two of four files are more failures than is usual; of the demo's 402 they are not.
    assert cli.main([*shlex.split(added)[1:], "--max_failure_rate=0.5", "--progress=off"]) == 0

    capsys.readouterr()
    assert cli.main(["ddl", "duckdb", "demo/tagged"]) == 0
    [(statement, answer)] = re.findall(r"\*\*Why did images fail\?.*?```sql\n(.*?)```\n\n(.*?)\n\n", PAGE, re.DOTALL)
    with duckdb.connect() as database:
        database.execute(capsys.readouterr().out)
        rows = database.execute(statement).fetchall()
    assert [f"| {' | '.join(map(str, row))} |" for row in rows] == answer.splitlines()[2:]


def test_commands_do_what_they_say(demo: Path, capfd: pytest.CaptureFixture[str]) -> None:
    commands = [line.partition(" > ")[0] for block in blocks("sh")[1:] for line in block.splitlines()]
    assert len(commands) > 10

    for command in commands:
        words = shlex.split(command)
        assert words[0] == "scenetags"
        code, (printed, error) = cli.main(words[1:]), capfd.readouterr()
        assert code == 0, f"{command}: {error}"
        if "--sql" in words:
            assert printed.replace(str(demo), "/home/you/scenetags") in PAGE
        if words[-2].startswith("--") and words[-2] != "--location":
            assert Path(words[-1]).exists() or words[-2] == "--min"


@pytest.mark.parametrize("code", blocks("python"), ids=["pandas", "polars", "pyarrow"])
def test_python_runs(demo: Path, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "analytics.md", "exec"), {})

    assert capsys.readouterr().out.strip()


def test_questions_are_answered(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ddl", "duckdb", "demo/tagged"]) == 0
    with duckdb.connect() as database:
        database.execute(capsys.readouterr().out)
        asked = list(questions())
        assert len(asked) >= 12
        for question in asked:
            found = database.execute(question.statement)
            columns = [column[0] for column in found.description or ()]
            assert columns == question.columns, question.statement
            assert found.fetchall(), question.statement
