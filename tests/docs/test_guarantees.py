"""The page of guarantees names tests that exist, and what it says of the code as a whole is true."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests import ROOT

PAGE = ROOT / "docs" / "guarantees.md"
NAMED = sorted(set(re.findall(r"(\w+\.py)::(\w+)", PAGE.read_text())))

UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


@pytest.mark.parametrize(("module", "test"), NAMED)
def test_every_named_test_exists(module: str, test: str) -> None:
    tests = {node.name for node in parse(ROOT / "tests" / module).body if isinstance(node, ast.FunctionDef)}

    assert test in tests, f"{PAGE.name} names {module}::{test}"


def test_no_test_is_named_in_a_way_that_is_not_checked() -> None:
    assert len(NAMED) > 40
    assert set(re.findall(r"\btest_\w+", PAGE.read_text())) == {
        name for module, test in NAMED for name in (test, module.removesuffix(".py"))
    }


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
