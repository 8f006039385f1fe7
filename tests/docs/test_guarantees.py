"""The page of guarantees names tests that exist, and what it says of the code as a whole is true."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from tests import ROOT

PAGE = ROOT / "docs" / "guarantees.md"
NAMED = sorted(set(re.findall(r"\btest_\w+", PAGE.read_text())))

UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


@pytest.fixture(scope="module")
def tests() -> Counter[str]:
    """Count the tests of each name, in whatever file they are."""
    return Counter(
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef)
    )


@pytest.mark.parametrize("test", NAMED)
def test_every_named_test_exists_once(test: str, tests: Counter[str]) -> None:
    assert tests[test] == 1, f"{PAGE.name} names {test}"


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 40


@pytest.mark.parametrize("package", ["pipelines", "model"])
def test_nothing_is_read_as_a_pickle(package: str) -> None:
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(parse(path)):
            match node:
                case ast.Import(names=names):
                    imported = {name.name.split(".")[0] for name in names}
                case ast.ImportFrom(module=str(module)):
                    imported = {module.split(".")[0]}
                case _:
                    imported = set()
            assert not imported & UNPICKLERS, f"{path.name} imports {imported & UNPICKLERS}"
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert ast.unparse(node.value) == "False", f"{path.name}, line {node.value.lineno}"
            if isinstance(node, ast.Attribute):
                assert node.attr != "read_pickle", f"{path.name}, line {node.lineno}"


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), path.name)
