"""Files in buckets, on real servers of the two kinds: fake-gcs-server and moto's."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from typing import Any

import botocore.exceptions
import botocore.parsers
import google.auth as google_auth
import pytest
import requests
from google.api_core.exceptions import Unauthorized
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import RefreshError

from pipelines import storage
from pipelines.storage import amazon, google, objects, patience, stores
from pipelines.storage.buckets import _split
from pipelines.storage.errors import ConflictError, CredentialsOutageError
from tests.conftest import Bucket
from tools.proxy import RESET, Disturb, Disturbance

ODD_NAMES = ("a b#c?d%25é [x]{y}*.jpg", "x/../y.jpg", "//first", "a%2Fb", "q&r=s+t", "森/🛰.jpg", "'\"", "x.")


def first(*statuses: int | None) -> Disturb:
    """Disturb the first requests with these statuses, and none after them."""
    coming = chain(statuses, repeat(None))
    return lambda method, path: Disturbance(next(coming))


def counting(disturb: Disturb) -> tuple[Disturb, list[str]]:
    """Also write down every request."""
    requests: list[str] = []

    def disturb_and_count(method: str, path: str) -> Disturbance:
        requests.append(f"{method} {path}")
        return disturb(method, path)

    return disturb_and_count, requests


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_survives(bucket: Bucket, name: str) -> None:
    path, moved = f"{bucket.path}/{name}", f"{bucket.path}/to/{name}"
    storage.write(path, b"data")

    assert storage.read(path) == b"data"
    [entry] = storage.walk(f"{bucket.path}/")
    assert (entry.path, entry.size) == (path, 4)
    assert storage.look_up(path) == entry

    storage.move(path, moved)
    assert [entry.path for entry in storage.walk(f"{bucket.path}/")] == [moved]
    storage.delete([moved])
    assert not storage.exists(moved)


def test_a_fingerprint_changes_with_the_object(bucket: Bucket) -> None:
    path = f"{bucket.path}/x"
    storage.write(path, b"old")
    before = storage.look_up(path)
    storage.write(path, b"new")

    assert storage.look_up(path).fingerprint != before.fingerprint


def test_folders_are_prefixes(bucket: Bucket) -> None:
    for name in ("a", "b.json", "b/c", "b/d/e", "bb/f", "_x-1/g", "_x-2/h"):
        storage.write(f"{bucket.path}/{name}", b"")

    assert storage.list_files(bucket.path) == [f"{bucket.path}/a", f"{bucket.path}/b.json"]
    assert storage.list_files(bucket.path, ".json") == [f"{bucket.path}/b.json"]
    assert storage.list_folders(bucket.path) == [f"{bucket.path}/{name}" for name in ("_x-1", "_x-2", "b", "bb")]
    assert storage.list_folders(bucket.path, "_x") == [f"{bucket.path}/_x-1", f"{bucket.path}/_x-2"]

    storage.delete_folder(f"{bucket.path}/b")
    assert storage.list_folders(bucket.path) == [f"{bucket.path}/{name}" for name in ("_x-1", "_x-2", "bb")]
    assert storage.list_files(f"{bucket.path}/no/such/folder") == []


def test_a_listing_of_many_pages_is_whole(bucket: Bucket) -> None:
    wanted = [f"{bucket.path}/{number:04}" for number in range(1010)]
    with ThreadPoolExecutor(8) as executor:
        list(executor.map(lambda path: storage.write(path, b""), wanted))
    bucket.proxy.disturb, requests = counting(first(None, 503))

    assert [entry.path for entry in storage.walk(f"{bucket.path}/")] == wanted
    assert len(requests) == 3, f"two pages, one of which is refused once: {requests}"


def test_a_new_object_is_there_when_it_is_closed_and_not_before(bucket: Bucket) -> None:
    path = f"{bucket.path}/x"
    file = storage.create(path)
    file.write(b"half of ")
    assert not storage.exists(path)
    file.write(b"it")
    file.close()
    assert storage.read(path) == b"half of it"

    def fail() -> None:
        with storage.create(f"{bucket.path}/y") as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    abandoned = storage.create(f"{bucket.path}/z")
    abandoned.write(b"half")
    del abandoned
    assert storage.list_files(bucket.path) == [path], "what was not finished is there"


def test_parts_of_a_large_object_are_read_without_the_rest(bucket: Bucket) -> None:
    path, data = f"{bucket.path}/x", bytes(range(256)) * 40_000
    storage.write(path, data)
    bucket.proxy.disturb, requests = counting(first())

    with storage.open_to_read(path) as file:
        assert file.seek(-3, 2) == len(data) - 3
        assert file.read() == data[-3:]
        file.seek(5_000_000)
        assert file.read(300) == data[5_000_000:5_000_300]
        assert file.tell() == 5_000_300
        file.seek(0)
        assert file.read() == data
    assert len(requests) == 4, f"once to look it up, and once for each part: {requests}"


def test_a_part_of_no_bytes_is_read(bucket: Bucket) -> None:
    storage.write(f"{bucket.path}/x", b"data")

    assert storage.read_range(f"{bucket.path}/x", 2, 0) == b""


def test_an_object_larger_than_the_limit_is_not_read(bucket: Bucket) -> None:
    storage.write(f"{bucket.path}/x", bytes(2_000_000))

    assert len(storage.read(f"{bucket.path}/x", 2_000_000)) == 2_000_000
    with pytest.raises(storage.FileTooLargeError, match="exceeds the limit of 1,999,999 bytes"):
        storage.read(f"{bucket.path}/x", 1_999_999)


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


def test_many_objects_are_deleted_by_few_requests(bucket: Bucket) -> None:
    paths = [f"{bucket.path}/{name}" for name in (*ODD_NAMES, "x&y;<z>", "a\rb")]
    for path in paths[:-1]:
        storage.write(path, b"")
    bucket.proxy.disturb, requests = counting(lambda method, path: Disturbance())

    storage.delete([*paths, f"{bucket.path}/was never there"])

    assert len(requests) == 1
    assert list(storage.walk(f"{bucket.path}/")) == []


@pytest.mark.parametrize("refusal", [501, 403, RESET])
def test_a_store_that_refuses_to_delete_many_objects_deletes_one_by_one(bucket: Bucket, refusal: int) -> None:
    paths = [f"{bucket.path}/{number}" for number in range(3)]
    for path in paths:
        storage.write(path, b"")
    bucket.proxy.disturb = lambda method, path: Disturbance(refusal if method == "POST" else None)

    storage.delete(paths)

    assert list(storage.walk(f"{bucket.path}/")) == []


def test_what_one_request_leaves_is_deleted_by_requests_of_its_own(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [f"{bucket.path}/{number}" for number in range(3)]
    for path in paths:
        storage.write(path, b"")
    objects, keys = stores.bucket_store(bucket.path)._objects, [_split(path)[1] for path in paths]
    if isinstance(objects, amazon.AmazonObjects):
        refusal = {"Errors": [{"Key": keys[1], "Code": "InternalError", "Message": ""}]}
        monkeypatch.setattr(objects._client, "delete_objects", lambda **_: refusal)
        assert set(objects.delete_all("archive", keys)) == {keys[1]}
        refusal["Errors"][0]["Key"] = "what XML made of a key"
        assert set(objects.delete_all("archive", keys)) == {*keys}

    monkeypatch.setattr(objects, "delete_all", lambda bucket, keys: keys)
    storage.delete(paths)

    assert list(storage.walk(f"{bucket.path}/")) == []


def test_objects_are_moved_side_by_side_and_the_missing_ones_named(bucket: Bucket) -> None:
    moves = [storage.Move(f"{bucket.path}/a{number}", f"{bucket.path}/to/b{number}") for number in range(4)]
    for number, move in enumerate(moves[1:]):
        storage.write(move.source, bytes(number))
    storage.write(moves[2].target, b"older")
    bucket.proxy.disturb, requests = counting(lambda method, path: Disturbance())

    assert storage.move_all(moves) == moves[:1]
    assert len(requests) == 4 + 1
    assert storage.list_sizes(f"{bucket.path}/to") == {move.target: size for size, move in enumerate(moves[1:])}
    assert storage.list_files(bucket.path) == []


def test_what_is_missing_is_not_synced(bucket: Bucket) -> None:
    paths = [f"{bucket.path}/{number}" for number in range(3)]
    for path in paths:
        storage.write(path, b"")
    bucket.proxy.disturb, requests = counting(lambda method, path: Disturbance())

    storage.sync_all(paths)
    assert len(requests) == 1
    with pytest.raises(FileNotFoundError):
        storage.sync_all([*paths, f"{bucket.path}/never written"])


def test_an_object_that_trickles_in_is_given_up(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "DEADLINE_SECONDS", 0.1)
    monkeypatch.setattr(patience, "SECONDS", 0.1)
    storage.write(f"{bucket.path}/x", bytes(1_000_000))
    bucket.proxy.disturb = lambda method, path: Disturbance(trickle=0.002)

    began = time.monotonic()
    with pytest.raises(storage.TransientError, match="bytes arrived in"):
        storage.read(f"{bucket.path}/x")
    assert time.monotonic() - began < 1.8, "all of it would take 2 s"


def test_what_is_gone_is_not_the_expected_version(bucket: Bucket) -> None:
    objects, (name, key) = stores.bucket_store(bucket.path)._objects, _split(f"{bucket.path}/x")
    version = objects.put(name, key, io.BytesIO(b"data"))
    objects.delete(name, key)

    with pytest.raises(ConflictError):
        objects.put(name, key, io.BytesIO(b"data"), version)


def test_threads_that_come_together_share_one_client(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[storage.Access] = []

    def make(access: storage.Access) -> None:
        made.append(access)
        time.sleep(0.1)

    monkeypatch.setattr(google, "GoogleObjects", make)
    monkeypatch.setattr(amazon, "AmazonObjects", make)

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(stores.bucket_store, [bucket.path] * 4))

    assert len(made) == 1


def test_requests_are_billed_to_the_project_of_the_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(google_auth, "default", lambda **_: (nobody, None))
    pays = storage.Access(requester_pays=True)

    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "payer")
    assert google.GoogleObjects(pays)._payer == "payer"
    assert google.GoogleObjects(storage.Access(requester_pays=True, project="other"))._payer == "other"
    assert google.GoogleObjects(storage.Access())._payer is None

    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    with pytest.raises(storage.NoAccessError, match="give --project"):
        google.GoogleObjects(pays)


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


def test_files_in_folders_below_a_folder_are_listed_and_no_others(bucket: Bucket) -> None:
    folder = f"{bucket.path}/predictions"
    for name in ("a.parquet", "day=1/b.parquet", "day=1/notes.txt", "year/month/c.parquet", "empty/"):
        storage.write(f"{folder}/{name}", b"data")
    storage.write(f"{bucket.path}/predictions too/d/e.parquet", b"data")

    assert list(storage.list_deeper(folder, ".parquet")) == [
        f"{folder}/day=1/b.parquet",
        f"{folder}/year/month/c.parquet",
    ]
