"""Accounts that add up and balance, and the manifest that holds them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import storage
from pipelines.inference.bundle import load_bundle
from pipelines.output import manifest
from pipelines.output import run as ledger
from pipelines.output.run import Accounts, Run

counts = st.integers(0, 10**9)
tallies = st.dictionaries(st.text(max_size=5), st.integers(1, 10**6), max_size=4).map(Counter)
accounts = st.builds(Accounts, counts, counts, counts, counts, counts, tallies, tallies, tallies, tallies)


@given(one=accounts, other=accounts)
def test_accounts_add_up(one: Accounts, other: Accounts) -> None:
    total = one + other

    assert total.inputs - total.predictions == (one.inputs - one.predictions) + (other.inputs - other.predictions)
    assert all(total.tags[tag] == one.tags.get(tag, 0) + other.tags.get(tag, 0) for tag in (*one.tags, *other.tags))
    if one.balanced and other.balanced:
        assert total.balanced


@pytest.mark.parametrize("part", ["predictions", "failures", "skipped", "empty"])
def test_a_lost_or_doubled_row_unbalances_the_accounts(part: str) -> None:
    balanced = Accounts(inputs=10, predictions=1, failures=2, skipped=3, empty=4)
    assert balanced.balanced
    for change in (-1, 1):
        assert not replace(balanced, **{part: getattr(balanced, part) + change}).balanced, f"{part} {change:+}"


def test_the_rate_of_failures_is_a_share_of_the_archive_in_the_first_run_and_in_every_later_one() -> None:
    assert Accounts(inputs=100, predictions=99, failures=1).failure_rate == 0.01
    assert Accounts(inputs=100, failures=1, skipped=99).failure_rate == 0.01
    assert Accounts().failure_rate == 0


@given(written=accounts)
def test_accounts_come_back_from_the_manifest(run_once: Run, written: Accounts) -> None:
    storage.write(run_once.manifest, manifest.describe(run_once, written, "done"))

    assert manifest.read_accounts(run_once.manifest) == written


@pytest.fixture(scope="session")
def run_once(tmp_path_factory: pytest.TempPathFactory, bundle_path: str) -> Run:
    bundle = load_bundle(bundle_path)
    return Run("run", str(tmp_path_factory.mktemp("manifests")), bundle, bundle.thresholds)


def test_names_of_runs_sort_by_age() -> None:
    names = [ledger.new_run_name() for _ in range(100)]

    assert [name.rsplit("-", 1)[0] for name in names] == sorted(name.rsplit("-", 1)[0] for name in names)
    assert len({name.rsplit("-", 1)[0] for name in names}) > 1, "runs of one second differ by more than chance"


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b"[" * 100_000], ids=["empty", "list", "binary", "nested"])
def test_what_is_no_manifest_has_no_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "stranger.json"
    path.write_bytes(content)

    assert manifest.find_content(str(path)) is None
    with pytest.raises(ValueError, match=r"."):
        manifest.read_content(str(path))


def test_a_file_too_large_for_a_manifest_has_no_content_and_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "_MOST_BYTES", 10)
    path = tmp_path / "large.json"
    path.write_bytes(b'{"status": "done"}')

    assert manifest.find_content(str(path)) is None
    with pytest.raises(storage.FileTooLargeError, match="limit"):
        manifest.read_content(str(path))


def test_a_manifest_that_is_missing_has_no_content_but_one_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    assert manifest.find_content(str(tmp_path / "none.json")) is None
    with pytest.raises(IsADirectoryError):
        manifest.find_content(str(tmp_path))
