"""No message, report or page says `1 images`: whatever counts goes through `quantity`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import cli
from pipelines.errors import quantity
from tests import ROOT, image_files

# What follows a value that is not a count: function words, verbs in the singular, and nouns after an adjective.
_ENDS_A_COUNT = re.compile(
    """(a|all|allows|already|an|and|applies|are|as|at|but|by|computes|contains|cost|costs|could|differ|differs|does|ends|exceeds|fits|for|from|get|gives
    |has|have|holds|if|in|instead|is|it|its|knows|leaves|lies|lists|looks|matches|may|names|needs|no|not|occurs|of|on|or|over|overlaps|per
    |reads|returns|says|scales|shows|takes|than|that|the|these|this|times|to|was|were|which|whose|with|without|would)""",
    re.VERBOSE,
)
_ADJECTIVES_SHOWN = 2
# Format specifications of what is measured: `1.0 minutes` is English.
_MEASURED = re.compile(r"\.[1-9]f|%|e$")
# Texts, not counts, where the code shows it by nothing but their names.
_TEXTS = re.compile(r"^(holds|theirs|got|kind|title|.*\.title|.*\.run|join\(.*|FORMATS.*|'.*)$")


def plural(words: str) -> str | None:
    """Return the plural with which a text goes on after a value; None if there is none."""
    following = re.match(r"(?: [A-Za-z][\w-]*)+", words)
    for word in following[0].split()[: _ADJECTIVES_SHOWN + 1] if following else ():
        if _ENDS_A_COUNT.fullmatch(word.lower()):
            return None
        if re.fullmatch(r"[A-Za-z-]+[^s\W]s", word):
            return word
    return None


def counts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each value in an f-string that a plural follows."""
    for string in ast.walk(tree):
        values = string.values if isinstance(string, ast.JoinedStr) else []
        for before, value, after in zip([None, *values], values, values[1:], strict=False):
            if not isinstance(value, ast.FormattedValue) or not isinstance(after, ast.Constant):
                continue
            text, then = ast.unparse(value.value), str(after.value)
            is_constant = text.rpartition(".")[2].isupper()
            # Of 64 x 48 pixels.
            is_size = isinstance(before, ast.Constant) and str(before.value).endswith(" x ")
            is_measured = value.format_spec is not None and _MEASURED.search(ast.unparse(value.format_spec)[2:-1])
            if plural(then) and not (is_constant or is_size or is_measured or _TEXTS.match(text)):
                yield value.lineno, f"{{{text}}}{then[:40]}"


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ('f"{n:,} images"', True),
        ('f"all {n} held-out images"', True),
        ('f"{n} of its {total} files are missing"', True),
        ('f"{n / 60:.0f} minutes"', True),
        ('f"{n} of the images"', False),
        ('f"{path} is one of the files"', False),
        ('f"at most {MOST:,} files"', False),
        ('f"{seconds:.1f} minutes"', False),
        ('f"{width} x {height} pixels"', False),
        ("f\"{quantity(n, 'image')} in files\"", False),
    ],
)
def test_a_count_without_quantity_is_found(source: str, is_found: bool) -> None:
    assert bool(list(counts(ast.parse(source)))) == is_found


def test_all_counts_in_messages_go_through_quantity() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for package in ("pipelines", "model")
        for path in sorted(Path(ROOT, package).rglob("*.py"))
        for line, text in counts(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found


def test_no_module_makes_plurals_of_its_own() -> None:
    own = re.compile(r"""['"]s['"] (\*|if|else)|['"]['"] if [^"']*(== 1|> 1)[^"']* else ['"]s['"]""")
    files = [path for package in ("pipelines", "model") for path in Path(ROOT, package).rglob("*.py")]
    assert not [path for path in files if own.search(path.read_text(encoding="utf-8"))]


def test_all_counts_on_pages_go_through_quantity() -> None:
    pages = sorted(Path(ROOT, "pipelines/results/assets").glob("*.js"))
    found = [
        f"{path.name}: {value[0]}"
        for path in pages
        for value in re.finditer(r"\$\{number\([^`]*?\)\}([^`$]*)", path.read_text(encoding="utf-8"))
        if plural(value[1])
    ]
    assert pages
    assert not found


def test_one_is_singular_and_any_other_number_plural() -> None:
    assert [quantity(number, "image") for number in (0, 1, 2, 2000)] == [
        "0 images",
        "1 image",
        "2 images",
        "2,000 images",
    ]
    assert [quantity(number, "entry is", "entries are") for number in (1, 2)] == ["1 entry is", "2 entries are"]


def test_what_is_said_of_one_image_is_singular(
    bundle_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One image that is tagged and one that fails, in every command that counts images."""
    image_files.write_chips(tmp_path / "chips", ["one.jpg"])
    (tmp_path / "chips/broken.jpg").write_bytes(b"")
    (tmp_path / "labels.csv").write_text("image_name,tags\none,blue\n")
    chips, output, model = str(tmp_path / "chips"), str(tmp_path / "out"), ["--model", bundle_path]
    tagging = ["--output", output, *model, "--progress=off", "--max_failure_rate=1"]
    first = ["--input", f"{chips}/one.jpg"]
    for words in (
        ["plan", *first, *model, "--output", output],
        ["predict", *first, *tagging],
        ["predict", "--input", chips, *tagging],
        ["plan", "--input", chips, *model],
        ["tag", f"{chips}/one.jpg", *model],
        ["query", output],
        ["query", output, "--copy_to", str(tmp_path / "copies")],
        ["query", output, "--label_studio", str(tmp_path / "tasks.json")],
        ["retag", output, "--thresholds", "0.01"],
        ["compare", output, output],
        ["report", output, "--html", str(tmp_path / "report.html"), "--labels", str(tmp_path / "labels.csv")],
        ["ddl", "duckdb", output],
    ):
        assert cli.main(words) == 0, words
    printed = capsys.readouterr()
    said = printed.out + printed.err
    ones = re.findall(r"(?<![\d.,x-])1(?: [A-Za-z][\w-]*)+", said)
    assert len(ones) > 10, said
    assert not [one for one in ones if plural(one[1:])]
