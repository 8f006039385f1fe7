"""The flags on labels say the same to every command."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.training import settings
from pipelines import report
from pipelines.commandline.labels import add_labels, read_label_source
from pipelines.commandline.parser import Parser, UsageError
from pipelines.labels import LabelOptions, LabelSource


def read(*argv: str, required: bool = True) -> LabelSource | None:
    parser = Parser("scenetags x", "")
    add_labels(parser, "what they are for", required)
    return read_label_source(parser.parse_args(argv))


def test_the_flags_name_files_and_columns() -> None:
    assert read("--labels=a.csv", "--labels", "b/") == LabelSource(("a.csv", "b/"))
    flags = ("--image_column=Photo", "--tags_column=First", "--tags_column=Second", "--separator=, ")
    options = LabelOptions(image_column="Photo", tags_columns=("First", "Second"), separator=", ")
    assert read("--labels=a.csv", *flags) == LabelSource(("a.csv",), options)
    assert read(required=False) is None


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--separator=;"], "--image_column, --tags_column and --separator are about --labels; name the label file"),
        (["--labels=a", "--image_column=b", "--image_column=c"], "--image_column is given twice"),
    ],
)
def test_what_the_flags_cannot_mean_is_refused(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(*argv, required=False)


def test_training_takes_the_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels.csv").touch()
    where = [f"--images={tmp_path}", f"--output={tmp_path / 'bundle'}"]
    told = settings.parse([*where, f"--labels={tmp_path / 'labels.csv'}", "--tags_column=Seen"]).labels
    assert told == LabelSource((str(tmp_path / "labels.csv"),), LabelOptions(tags_columns=("Seen",)))
    assert settings.parse([*where, "--labels=folders"]).labels == LabelSource(("folders",))
    assert report.main(["out", "--html=x.html", "--tags_column=Seen"]) == 2
    assert "--separator are about --labels" in capsys.readouterr().err
