"""Credentials that cannot be fetched for a moment, or are refused for good, from endpoints on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.exceptions
import botocore.utils
import pytest
from google.auth import _exponential_backoff
from google.auth.exceptions import DefaultCredentialsError, OAuthError, RefreshError, TransportError
from google.oauth2.credentials import Credentials

from pipelines import storage
from pipelines.storage import amazon, google, patience, stores
from pipelines.storage.errors import CredentialsOutageError
from pipelines.storage.locks import leases
from tests.conftest import Bucket
from tests.pipelines.waiting import wait_for
from tools.issuer import Issuer, issuing, valid

_TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"


@pytest.fixture
def issuer(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Issuer]:
    """Reach the bucket with credentials of an endpoint that can be told what to answer."""
    # The libraries ask again themselves, after seconds.
    monkeypatch.setattr(botocore.utils.ContainerMetadataFetcher, "SLEEP_TIME", 0)
    monkeypatch.setattr(_exponential_backoff, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    (tmp_path / "token").write_text("token")
    monkeypatch.setenv(_TOKEN_FILE, str(tmp_path / "token"))
    with issuing() as issuer:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", issuer.url)
        if bucket.path.startswith("gs://"):
            # With an emulator, Google's library takes no credentials from its environment.
            objects: Any = stores.bucket_store(bucket.path)._objects
            refreshed = Credentials(None, "refresh", None, issuer.url, "client", "secret")  # type: ignore[no-untyped-call]
            objects._client._http.credentials = refreshed
        yield issuer


def answering(*answers: tuple[int, str]) -> Callable[[], tuple[int, str]]:
    """Give these answers first, and valid ones after them."""
    coming = iter(answers)
    return lambda: next(coming, None) or valid()


WORK: dict[str, Callable[[str], object]] = {
    "read": lambda path: storage.read(path),
    "write": lambda path: storage.write(path, b"data"),
    "look_up": lambda path: storage.look_up(path),
    "walk": lambda path: list(storage.walk(path)),
}


def test_an_outage_of_credentials_is_not_seen(bucket: Bucket, issuer: Issuer) -> None:
    storage.write(f"{bucket.path}/x", b"data")
    outage = [(500, "disturbed"), (503, "{}"), (429, "{}"), (200, "<html>"), (200, "[]"), (200, "{}")]

    for work in WORK.values():
        issuer.answer = answering(*outage)
        work(f"{bucket.path}/x")
    assert storage.read(f"{bucket.path}/x") == b"data"


def test_a_lock_survives_an_outage_of_credentials(
    bucket: Bucket, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.01)
    path, lost = f"{bucket.path}/_lock", 0

    def lose() -> tuple[int, str]:
        nonlocal lost
        lost += 1
        return (500, "disturbed") if lost < 10 else valid()

    with storage.lock(path, "the first"):
        issuer.answer = lose
        wait_for(lambda: lost >= 10)
        before = storage.look_up(path)
        wait_for(lambda: storage.look_up(path) != before)
    assert not storage.exists(path)


def test_an_outage_of_credentials_that_does_not_pass_is_one_line(
    bucket: Bucket, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write(f"{bucket.path}/x", b"data")
    monkeypatch.setattr(patience, "SECONDS", 0.1)
    issuer.answer = lambda: (500, '{"error": "disturbed\\nby a test", "Token": "hush"}')

    with pytest.raises(storage.NoAccessError, match=r"^no credentials for .*; run `") as told:
        storage.read(f"{bucket.path}/x")
    assert "\n" not in str(told.value)
    assert "hush" not in str(told.value)


def test_credentials_that_are_refused_are_not_asked_for_again(bucket: Bucket, issuer: Issuer) -> None:
    storage.write(f"{bucket.path}/x", b"data")
    asked = 0

    def refuse() -> tuple[int, str]:
        nonlocal asked
        asked += 1
        return 403, '{"error": "invalid_grant", "code": 403}'

    issuer.answer = refuse
    for number, work in enumerate(WORK.values(), 1):
        with pytest.raises(storage.NoAccessError, match="no credentials for"):
            work(f"{bucket.path}/x")
        assert asked <= 3 * number, "boto3 itself asks three times"
    # What cannot be cleaned up is left.
    storage.delete_folder(bucket.path)


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_an_object_is_not_missing_because_a_token_is(
    bucket: Bucket, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write(f"{bucket.path}/x", b"data")
    monkeypatch.setattr(patience, "SECONDS", 0.1)
    (tmp_path / "token").unlink()

    with pytest.raises(storage.NoAccessError, match=r"no credentials for s3://: FileNotFoundError"):
        storage.exists(f"{bucket.path}/x")


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_a_process_may_start_in_an_outage_of_credentials(bucket: Bucket, issuer: Issuer) -> None:
    issuer.answer = answering(*[(500, "disturbed")] * 10)

    storage.write(f"{bucket.path}/x", b"data")
    assert storage.read(f"{bucket.path}/x") == b"data"


def of_s3(code: str, status: int) -> botocore.exceptions.ClientError:
    answer = {"Error": {"Code": code, "Message": "told"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(answer, "AssumeRole")


def container(said: str) -> Any:
    return botocore.exceptions.CredentialRetrievalError(provider="container-role", error_msg=said)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (of_s3("InternalError", 500), True),
        (of_s3("Throttling", 429), True),
        (of_s3("AccessDenied", 403), False),
        (of_s3("ExpiredToken", 400), False),
        (container("Received non 200 response 500 from container metadata"), True),
        (container("Received non 200 response 404 from container metadata"), False),
        (container("Connect timeout on endpoint URL"), True),
        (RuntimeError("the refreshed credentials are still expired"), True),
        (KeyError("Expiration"), True),
        (PermissionError(13, "Permission denied"), True),
        (botocore.exceptions.NoCredentialsError(), False),
        (botocore.exceptions.LoginRefreshRequired(), False),
    ],
)
def test_it_is_known_which_errors_of_credentials_pass_in_s3(error: Exception, passes: bool) -> None:
    assert isinstance(amazon._no_credentials(error), CredentialsOutageError) == passes


@pytest.mark.parametrize(
    ("kind", "said", "passes"),
    [
        (TransportError, "port=443): Max retries exceeded", True),
        (TransportError, "metadata service. Response status: 503\nResponse details: 404 bytes", True),
        (TransportError, "metadata service. Status: 404 Response:\nb''", False),
        (RefreshError, "port=443): timed out", True),
        (RefreshError, '"Unable to acquire impersonated credentials", {"error": {"code": 503}}', True),
        (RefreshError, '"Unable to acquire impersonated credentials", {"error": {"code": 403}}', False),
        (RefreshError, "invalid_grant: Bad Request", False),
        (OAuthError, "<html>502 Bad Gateway</html>", True),
        (OAuthError, "Error code invalid_request: no audience", False),
        (DefaultCredentialsError, "Your default credentials were not found.", False),
    ],
)
def test_it_is_known_which_errors_of_credentials_pass_in_gs(kind: Any, said: str, passes: bool) -> None:
    assert isinstance(google._no_credentials(kind(said)), CredentialsOutageError) == passes
