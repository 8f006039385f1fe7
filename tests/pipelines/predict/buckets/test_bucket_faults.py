"""`scenetags predict` on buckets that disturb, refuse or are taken over, through a proxy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from model import evaluate
from pipelines import storage, tag
from pipelines.storage import patience, stores
from pipelines.storage.locks import watching
from tests.conftest import Bucket
from tests.pipelines.conftest import on_both_runners
from tests.pipelines.predict.buckets.tagging import CHIPS, in_bucket, rows, run
from tools.proxy import RESET, Disturbance


def test_one_image_that_we_may_not_read_is_one_failure(everywhere: Bucket, tmp_path: Path) -> None:
    everywhere.proxy.disturb = lambda method, path: Disturbance(403 if "17.jpg" in path else None)

    assert in_bucket(everywhere, output=tmp_path / "out") == 0

    [failure] = rows(str(tmp_path / "out"), "failures")
    assert (failure["path"], failure["stage"], failure["error"]) == ("17.jpg", "read", "PermissionError")
    assert "(403)" in failure["message"]
    assert len(rows(str(tmp_path / "out"))) == CHIPS - 1


@on_both_runners
def test_faults_that_pass_leave_no_trace(
    everywhere: Bucket, runner: Sequence[str], expected: list[dict[str, Any]]
) -> None:
    random = Random(1)
    faults = 0

    def disturb(method: str, path: str) -> Disturbance:
        nonlocal faults
        if random.random() > 0.05:
            return Disturbance()
        faults += 1
        return Disturbance(random.choice([503, 429, RESET]))

    everywhere.proxy.disturb = disturb

    assert in_bucket(everywhere, *runner, checkpoint_every=20) == 0
    everywhere.proxy.disturb = lambda method, path: Disturbance()
    assert rows(f"{everywhere.path}/out") == expected
    assert rows(f"{everywhere.path}/out", "failures") == []
    assert faults > 3


def test_an_output_that_answers_no_more_ends_the_run_in_one_line_and_loses_nothing(
    everywhere: Bucket,
    expected: list[dict[str, Any]],
    chips: Path,
    bundle_path: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.1)
    monkeypatch.setattr(watching, "STALE_SECONDS", 0.05)
    runs = 0

    def disturb(method: str, path: str) -> Disturbance:
        nonlocal runs
        # The manifest of the second wave does not come through, and nothing does after it.
        runs += method in ("PUT", "POST") and "%2Fruns%2F" in path + path.replace("/", "%2F")
        return Disturbance(503 if runs > 1 else None)

    everywhere.proxy.disturb = disturb
    assert in_bucket(everywhere, input=chips, model=bundle_path, checkpoint_every=20) == 1

    said = capsys.readouterr().err
    assert said.startswith("scenetags predict: stopped: ")
    assert "(503)" in said
    assert said.count("\n") == 1, said

    everywhere.proxy.disturb = lambda method, path: Disturbance()
    assert in_bucket(everywhere, input=chips, model=bundle_path) == 0
    assert rows(f"{everywhere.path}/out") == expected


def test_a_run_whose_output_another_one_took_over_commits_nothing_more(
    everywhere: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock, staged = f"{everywhere.path}/out/_lock", f"{everywhere.path}/out/_staging-B/predictions/B.parquet"
    write = storage.write

    def take_over(path: str, data: bytes) -> None:
        if "/runs/" in path:
            write(lock, json.dumps({"owner": "run B, process 1 on mars"}).encode())
            write(staged, b"rows that run B has not committed yet")
        write(path, data)

    monkeypatch.setattr(storage, "write", take_over)

    assert in_bucket(everywhere, checkpoint_every=20) == 1
    assert "was taken over by run B, process 1 on mars" in capsys.readouterr().err
    assert len(rows(f"{everywhere.path}/out")) == 20
    assert storage.exists(lock), "the lock of the other run was deleted"
    assert storage.exists(staged), "rows of the other run were deleted"


def test_a_store_that_cannot_keep_a_lock_is_refused_in_one_line(
    everywhere: Bucket, chips: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    everywhere.proxy.disturb = lambda method, path: Disturbance(ignored=("if-match", "ifgenerationmatch"))

    assert in_bucket(everywhere, input=chips, model=bundle_path) == 2

    said = capsys.readouterr().err
    assert said.startswith(
        f"scenetags predict: http://{everywhere.proxy.host} does not honour conditional writes, so two "
    )
    assert said.count("\n") == 1, said
    assert list(storage.walk(f"{everywhere.path}/out")) == []


def test_without_credentials_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, chips: Path, bundle_path: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    stores.open_store.cache_clear()

    for scheme in ("s3", "gs"):
        for exit_code in (
            run(input=chips, model=bundle_path, output=f"{scheme}://bucket/out"),
            tag.main([f"{scheme}://bucket/x.jpg", f"--model={bundle_path}"]),
            evaluate.main([f"--predictions={scheme}://bucket/out", "--labels=labels.csv"]),
        ):
            assert exit_code == 2
        said = capsys.readouterr().err
        assert said.count(f"no credentials for {scheme}://: ") == 3
        assert said.count("\n") == 3, said


def test_a_bucket_that_refuses_at_any_moment_ends_the_run_in_one_line(
    everywhere: Bucket,
    chips: Path,
    bundle_path: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every fourth request of a short run once is the first that is refused for good."""
    monkeypatch.setattr(patience, "SECONDS", 0.0)
    monkeypatch.setattr(watching, "STALE_SECONDS", 0.01)
    for number in range(3, CHIPS):
        (chips / f"{number}.jpg").unlink()
    output = f"{everywhere.path}/out"
    assert in_bucket(everywhere, input=chips, model=bundle_path, output=output) == 0
    begun = {entry.path: storage.read(entry.path) for entry in storage.walk(f"{output}/")}
    (chips / "0.jpg").write_bytes((chips / "1.jpg").read_bytes())
    refused_at = 0
    while True:
        # Each round begins alike: what a refused run has left would take requests to recover.
        storage.delete([entry.path for entry in storage.walk(f"{output}/")])
        for path, data in begun.items():
            storage.write(path, data)
        capsys.readouterr()
        requests = 0

        def refuse(method: str, path: str) -> Disturbance:
            nonlocal requests
            requests += 1
            return Disturbance(503 if requests > refused_at else None)  # noqa: B023 - it is called in this round

        everywhere.proxy.disturb = refuse
        code = in_bucket(everywhere, input=chips, model=bundle_path, output=output)
        everywhere.proxy.disturb = lambda method, path: Disturbance()
        said = capsys.readouterr().err
        lines = [line for line in said.splitlines() if "is locked by" not in line]
        if code == 0:
            break
        assert code in (1, 2), said
        assert len(lines) == 1, f"refused after {refused_at} requests: {said}"
        assert "(503)" in said
        refused_at += 4
    assert refused_at > 20
    assert len(rows(output)) == 3
