"""Files in buckets, on real servers of the two kinds: fake-gcs-server and moto's."""

from __future__ import annotations

import io
import re
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat

import google.auth as google_auth
import pytest
from google.auth.credentials import AnonymousCredentials

from pipelines import storage
from pipelines.storage import amazon, google, stores
from pipelines.storage.buckets import _split
from pipelines.storage.errors import ConflictError
from tests.conftest import Bucket
from tests.pipelines.storage.disturbing import counting, first
from tools.proxy import RESET, Disturbance

ODD_NAMES = ("a b#c?d%25é [x]{y}*.jpg", "x/../y.jpg", "//first", "a%2Fb", "q&r=s+t", "森/🛰.jpg", "'\"", "x.")


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
    wanted = [f"{bucket.path}/{number}" for number in range(8)]
    for path in wanted:
        storage.write(path, b"")
    # Servers may put fewer names on a page than they are asked for: a thousand.
    page = Disturbance(ignored=("max-keys", "maxresults"), added="max-keys=3&maxResults=3")
    answers = chain([page, Disturbance(503)], repeat(page))
    bucket.proxy.disturb, requests = counting(lambda method, path: next(answers))

    assert [entry.path for entry in storage.walk(f"{bucket.path}/")] == wanted
    assert len(requests) == 4, f"three pages, one of which is refused once: {requests}"


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


def test_files_in_folders_below_a_folder_are_listed_and_no_others(bucket: Bucket) -> None:
    folder = f"{bucket.path}/predictions"
    for name in ("a.parquet", "day=1/b.parquet", "day=1/notes.txt", "year/month/c.parquet", "empty/"):
        storage.write(f"{folder}/{name}", b"data")
    storage.write(f"{bucket.path}/predictions too/d/e.parquet", b"data")

    assert list(storage.list_deeper(folder, ".parquet")) == [
        f"{folder}/day=1/b.parquet",
        f"{folder}/year/month/c.parquet",
    ]


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_what_is_too_large_for_one_request_is_written_in_parts_and_appears_whole_or_not_at_all(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No part but the last may have less.
    monkeypatch.setattr(amazon, "PART_SIZE", 5 << 20)
    monkeypatch.setattr(amazon, "MOST_PER_REQUEST", 5 << 20)
    data = bytes(range(256)) * (48 << 10)
    path = f"{bucket.path}/scene.tif"

    def write() -> None:
        with storage.create(path) as file:
            file.write(data)

    refused = "uploadId=.*partNumber=2|partNumber=2.*uploadId="
    bucket.proxy.disturb, requests = counting(lambda method, at: Disturbance(403 if re.search(refused, at) else None))
    with pytest.raises(PermissionError):
        write()
    assert not storage.exists(path)
    assert [request for request in requests if request.startswith("DELETE") and "uploadId" in request]

    answers = chain([503], repeat(None))
    bucket.proxy.disturb, requests = counting(
        lambda method, at: Disturbance(next(answers) if re.search(refused, at) else None)
    )
    write()
    assert len([request for request in requests if "partNumber" in request]) == 3 + 1
    assert storage.read(path) == data
