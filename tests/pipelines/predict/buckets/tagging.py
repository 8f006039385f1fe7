"""Run `scenetags predict` in a bucket, and read what it wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipelines import predict
from tests import outputs
from tests.conftest import Bucket

CHIPS = 22
Predict = Callable[..., int]


def run(*arguments: str, **flags: Any) -> int:
    return predict.main([*(f"--{name}={value}" for name, value in flags.items()), "--progress=off", *arguments])


def in_bucket(bucket: Bucket, *arguments: str, **flags: Any) -> int:
    """Run with everything in the bucket, unless the flags say otherwise."""
    here = {"input": given(bucket, "chips"), "model": given(bucket, "bundle"), "output": f"{bucket.path}/out"}
    return run(*arguments, **{**here, **flags})


def given(bucket: Bucket, name: str) -> str:
    """Name the folder of the chips or of the bundle, which all tests find in the bucket, and none changes."""
    return f"{bucket.path.rpartition('/')[0]}/given/{name}"


def rows(output: str, table: str = "predictions") -> list[dict[str, Any]]:
    """Read a table's rows by the names of the images, without what differs from storage to storage and run to run."""
    found = outputs.rows(output, table)
    for row in found:
        row["path"] = row["path"].rpartition("/")[2]
        del row["run"], row["fingerprint"]
    return sorted(found, key=lambda row: str(row["path"]))
