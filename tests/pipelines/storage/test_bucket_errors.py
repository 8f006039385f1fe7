"""Errors of buckets: what passes is tried again, what does not is not, and those of libraries become ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import botocore.exceptions
import botocore.parsers
import pytest
import requests
from google.api_core.exceptions import Unauthorized
from google.auth.exceptions import RefreshError

from pipelines import storage
from pipelines.storage import amazon, google, objects, patience
from pipelines.storage.errors import CredentialsOutageError
from tests.conftest import Bucket
from tests.pipelines.storage.disturbing import counting, first
from tools.proxy import RESET, Disturbance

WORK: dict[str, Callable[[str], object]] = {
    "read": lambda path: storage.read(path),
    "write": lambda path: storage.write(path, b"data"),
    "look_up": lambda path: storage.look_up(path),
    "walk": lambda path: list(storage.walk(path)),
}


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("status", [408, 429, 500, 503, 504, 520, RESET])
def test_what_passes_is_not_seen(bucket: Bucket, work: str, status: int) -> None:
    path = f"{bucket.path}/x"
    storage.write(path, b"data")
    undisturbed = WORK[work](path)
    bucket.proxy.disturb = first(status, status)

    assert WORK[work](path) == undisturbed or work == "look_up"
    bucket.proxy.disturb = first()
    assert storage.read(path) == b"data"


@pytest.mark.parametrize(
    ("status", "kind"), [(403, PermissionError), (404, FileNotFoundError), (400, OSError), (501, OSError)]
)
def test_what_does_not_pass_is_not_tried_again(bucket: Bucket, status: int, kind: type[OSError]) -> None:
    bucket.proxy.disturb, requests = counting(lambda method, path: Disturbance(status))

    with pytest.raises(kind, match=f"({status})") as refused:
        storage.read(f"{bucket.path}/x")

    assert not isinstance(refused.value, storage.TransientError)
    assert len(requests) == 1


def test_patience_has_an_end_and_a_hurry_has_none_at_all(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.2)
    bucket.proxy.disturb, requests = counting(lambda method, path: Disturbance(503))

    with pytest.raises(storage.TransientError, match="503"):
        storage.read(f"{bucket.path}/x")
    tries = len(requests)
    assert tries > 2
    with storage.hurried(), pytest.raises(storage.TransientError):
        storage.read(f"{bucket.path}/x")
    assert len(requests) == tries + 1


def test_an_object_that_trickles_in_is_given_up(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "DEADLINE_SECONDS", 0.1)
    monkeypatch.setattr(patience, "SECONDS", 0.1)
    storage.write(f"{bucket.path}/x", bytes(5_000_000))
    bucket.proxy.disturb = lambda method, path: Disturbance(trickle=0.002)

    began = time.monotonic()
    with pytest.raises(storage.TransientError, match="bytes arrived in"):
        storage.read(f"{bucket.path}/x")
    assert time.monotonic() - began < 9, "all of it would take 10 s"


def refused_by_s3(code: str) -> botocore.exceptions.ClientError:
    answer = {"Error": {"Code": code, "Message": "told"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return botocore.exceptions.ClientError(answer, "GetObject")


@pytest.mark.parametrize(
    ("provider", "error", "kind"),
    [
        (amazon, refused_by_s3("RequestTimeout"), storage.TransientError),
        (amazon, refused_by_s3("OperationAborted"), storage.TransientError),
        (amazon, refused_by_s3("InvalidRequest"), OSError),
        (amazon, refused_by_s3("ExpiredToken"), storage.NoAccessError),
        (amazon, refused_by_s3("InvalidAccessKeyId"), storage.NoAccessError),
        (amazon, KeyError("ETag"), storage.TransientError),
        (amazon, botocore.parsers.ResponseParserError("not XML"), storage.TransientError),
        (google, Unauthorized("Invalid Credentials"), storage.NoAccessError),  # type: ignore[no-untyped-call]
        (amazon, botocore.exceptions.UnauthorizedSSOTokenError(), storage.NoAccessError),
        (amazon, botocore.exceptions.PartialCredentialsError(provider="env", cred_var="x"), storage.NoAccessError),
        (google, RefreshError("503", retryable=True), CredentialsOutageError),  # type: ignore[no-untyped-call]
        (google, requests.exceptions.InvalidSchema("localhost:4443/x"), storage.NoAccessError),
        (google, RefreshError("revoked"), storage.NoAccessError),  # type: ignore[no-untyped-call]
    ],
)
def test_errors_of_libraries_become_ours(provider: Any, error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind) as told, provider._translated_errors():
        raise error

    assert type(told.value) is kind
