"""A commit to a bucket takes one request per file: what the benchmark measures."""

from __future__ import annotations

import pytest

from benchmarks import commits
from pipelines.storage import stores


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_commit_takes_one_request_per_file(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "")
    stores.open_store.cache_clear()
    commit = commits.measure(scheme, 50, 0.001)
    stores.open_store.cache_clear()

    assert commit.requests["copy"] == 50
    assert sum(commit.requests.values()) - 50 <= 8, commit.requests
