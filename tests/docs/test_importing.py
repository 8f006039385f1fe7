"""What docs/importing.md says to try works as it is written there, and prints what the page says."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import cli
from pipelines.inference.bundle import load_bundle
from tests import ROOT, outputs
from tests.image_files import encode, picture

markdown_it = pytest.importorskip(
    "markdown_it", reason="markdown-it-py is not installed: pip install 'scenetags[test]'"
)

TRY = (ROOT / "docs" / "importing.md").read_text().partition("## Try it\n")[2].partition("\n## ")[0]


def blocks(language: str) -> list[str]:
    tokens = markdown_it.MarkdownIt("commonmark").parse(TRY)
    return [token.content for token in tokens if token.type == "fence" and token.info == language]


def lines(text: str) -> set[str]:
    """Give the lines of a text without the figures and digests, in which models differ."""
    return set(re.sub(r"\b[0-9a-f]{12}\b|[\d.]+(e-\d+)?", "#", text).splitlines())


def test_the_model_of_the_demo_is_imported(
    bundle_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(bundle_path, tmp_path / "demo/bundle")
    chips = tmp_path / "demo/chips/jpg"
    chips.mkdir(parents=True)
    labels = load_bundle(bundle_path).labels
    for number in range(12):
        (chips / f"chip_{number}.png").write_bytes(encode(picture(40, 40, seed=number), "PNG"))
    rows = [f"chip_{number},{labels[number % len(labels)]}\n" for number in range(12)]
    (chips.parent / "labels.csv").write_text("image_name,tags\n" + "".join(rows))
    monkeypatch.chdir(tmp_path)

    written = "".join(blocks("sh")).replace("\\\n", " ")
    [write_labels, *commands] = written.splitlines()
    subprocess.run(["sh", "-ec", write_labels.replace("python", shlex.quote(sys.executable), 1)], check=True)
    for command in commands:
        assert cli.main(shlex.split(command)[1:]) == 0, command

    [shown] = blocks("")
    agrees, thresholds, quality, _, bundle = shown.replace("/home/you/scenetags", str(tmp_path)).splitlines()
    assert lines("\n".join((agrees, thresholds, quality, bundle))) <= lines(capsys.readouterr().out)
    assert load_bundle("demo/imported").labels == load_bundle("demo/imported2").labels == labels
    assert len(outputs.rows("demo/tagged_imported")) == 12
