"""Stores and policies that allow less than an account of one's own does."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import botocore.awsrequest
import pytest

from pipelines import storage, tag
from pipelines.storage import amazon, stores
from pipelines.storage.buckets import _split
from tests import ROOT
from tests.conftest import Bucket
from tests.pipelines.predict.buckets.tagging import CHIPS, given, in_bucket, rows, run

Headers = Mapping[str, str]


def action_of(method: str, path: str, headers: Headers) -> set[str]:
    """Name the actions that a policy must allow for a request, in the words of its cloud."""
    if deletes_many(method, path):
        return {"storage.objects.delete"} if path.startswith("/batch/") else {"s3:DeleteObject"}
    path, _, query = path.partition("?")
    if path.startswith(("/storage/", "/upload/", "/download/", "/b/")):
        if "/rewriteTo/" in path or "/copyTo/" in path:
            return {"storage.objects.get", "storage.objects.create", "storage.objects.delete"}
        if method == "GET" and re.search(r"/o/?$", path):
            return {"storage.objects.list"}
        writes = {"storage.objects.create", "storage.objects.delete"}
        return {"GET": {"storage.objects.get"}, "DELETE": {"storage.objects.delete"}}.get(method, writes)
    if path.count("/") == 1:
        return {"s3:ListBucket" if method == "GET" and "list-type=2" in query else f"s3: {method} {query}"}
    if "x-amz-copy-source" in headers:
        return {"s3:GetObject", "s3:PutObject"}
    return {{"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"}[method]}


def deletes_many(method: str, path: str) -> bool:
    """Return whether a request deletes objects whose names are not in its path."""
    return method == "POST" and (path.startswith("/batch/") or path.endswith("?delete"))


def documented(scheme: str) -> tuple[set[str], set[str]]:
    """Return which actions docs/storage.md says are needed for what is read, and for an output."""
    table = (ROOT / "docs" / "storage.md").read_text().partition("### The least that a policy must allow")[2]
    row = next(line for line in table.splitlines() if line.startswith(f"| `{scheme}://`"))
    read, written = (set(re.findall(r"`([\w.]+[:.]\w[\w.]*)`", cell)) for cell in row.split("|")[2:4])
    return read, written


def test_the_documented_policy_is_all_that_a_run_needs(
    everywhere: Bucket, own_chips: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, writing = documented(everywhere.path[:2])
    used: set[str] = set()

    def judge(method: str, path: str, headers: Headers) -> int | None:
        needed = action_of(method, path, headers)
        used.update(needed)
        # Of what is uploaded to gs:// the name is not in the path.
        to_output = "/out" in unquote(path) or path.startswith("/upload/") or deletes_many(method, path)
        return None if needed <= (writing if to_output else reading) else 403

    everywhere.proxy.judge = judge
    assert in_bucket(everywhere, input=own_chips) == 0, capsys.readouterr().err
    everywhere.proxy.judge = lambda method, path, headers: None
    storage.write(f"{own_chips}/0.jpg", storage.read(f"{own_chips}/1.jpg"))
    everywhere.proxy.judge = judge
    assert in_bucket(everywhere, input=own_chips) == 0, capsys.readouterr().err
    assert in_bucket(everywhere, "--overwrite", input=own_chips, threshold=0.9) == 0, capsys.readouterr().err
    assert used == reading | writing, "the documents allow what is not needed"


def keeping(where: str) -> Callable[[str, str, Headers], int | None]:
    """Refuse to delete what has this in its name."""

    def judge(method: str, path: str, headers: Headers) -> int | None:
        return 403 if deletes_many(method, path) or (method == "DELETE" and where in unquote(path)) else None

    return judge


def test_an_output_in_which_nothing_may_be_deleted_is_refused_before_anything_is_written(
    everywhere: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    everywhere.proxy.judge = keeping("")

    assert in_bucket(everywhere) == 2
    said = capsys.readouterr().err
    assert f"http://{everywhere.proxy.host} does not allow deletes in " in said
    assert "allow s3:DeleteObject or storage.objects.delete there" in said
    assert said.count("\n") == 1, said
    assert list(storage.walk(f"{everywhere.path}/out")) == []


def test_a_run_that_could_not_move_its_rows_says_so_and_the_next_one_does(
    everywhere: Bucket, capsys: pytest.CaptureFixture[str], expected: list[dict[str, Any]]
) -> None:
    everywhere.proxy.judge = keeping("/_staging-")

    assert in_bucket(everywhere) == 1
    said = capsys.readouterr().err
    assert "its last wave is committed, but some of its rows still wait in " in said
    assert said.count("\n") == 1, said

    everywhere.proxy.judge = lambda method, path, headers: None
    assert in_bucket(everywhere) == 0
    assert f"{CHIPS} skipped as already tagged" in capsys.readouterr().out
    assert rows(f"{everywhere.path}/out") == expected


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_a_store_that_knows_no_newer_checksums_can_hold_everything(
    everywhere: Bucket, expected: list[dict[str, Any]]
) -> None:
    sent: list[str] = []

    def judge(method: str, path: str, headers: Headers) -> int | None:
        if method == "PUT" and "x-amz-copy-source" not in headers:
            sent.append(headers.get("content-md5", ""))
        newer = ("x-amz-checksum-crc", "x-amz-checksum-sha", "x-amz-sdk-checksum", "x-amz-trailer")
        return 501 if any(name.startswith(newer) for name in headers) else None

    everywhere.proxy.judge = judge
    assert in_bucket(everywhere) == 0
    assert rows(f"{everywhere.path}/out") == expected
    assert sent
    assert all(sent), "something was written without any checksum"


@pytest.fixture
def public(everywhere: Bucket) -> Iterator[Bucket]:
    """Let everybody read the bucket."""
    objects: Any = stores.bucket_store(everywhere.path)._objects
    client = objects._client
    allowed = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
    client.put_bucket_policy(Bucket="archive", Policy=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
    client.put_bucket_acl(Bucket="archive", ACL="public-read")
    yield everywhere
    client.delete_bucket_policy(Bucket="archive")
    client.put_bucket_acl(Bucket="archive", ACL="private")


@pytest.mark.parametrize(("bucket", "runner"), [("s3", "local"), ("s3", "portable")], indirect=True)
def test_public_buckets_are_read_without_credentials_and_the_output_is_not(
    public: Bucket, runner: Sequence[str], emulators: Any, expected: list[dict[str, Any]]
) -> None:
    request = urllib.request.Request(f"http://{emulators['s3'].host}/mine", method="PUT")
    urllib.request.urlopen(request, timeout=5).close()
    signed: dict[str, set[bool]] = {"archive": set(), "mine": set()}

    def judge(method: str, path: str, headers: Headers) -> None:
        signed[path.strip("/").partition("/")[0].partition("?")[0]].add("authorization" in headers)

    public.proxy.judge = judge
    output = f"s3://mine/{public.path.rpartition('/')[2]}"
    assert in_bucket(public, *runner, "--anonymous", output=output) == 0
    assert signed == {"archive": {False}, "mine": {True}}
    assert rows(output) == expected


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_without_any_credentials_public_buckets_are_read(
    public: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: list[dict[str, Any]]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    stores.open_store.cache_clear()

    assert in_bucket(public, "--anonymous", output=tmp_path / "out") == 0
    assert rows(str(tmp_path / "out")) == expected
    assert tag.main([given(public, "chips/"), f"--model={given(public, 'bundle')}", "--anonymous"]) == 0


def test_google_s_public_buckets_are_asked_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    from google import auth
    from google.auth.credentials import AnonymousCredentials

    from pipelines.storage.google import GoogleObjects

    def refuse(**_: object) -> None:
        raise AssertionError("credentials were looked for")

    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr(auth, "default", refuse)

    assert isinstance(GoogleObjects(storage.Access(anonymous=True))._client._credentials, AnonymousCredentials)


def test_anonymous_reading_that_somebody_pays_for_is_refused(
    tmp_path: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = {"input": "s3://b/x", "model": bundle_path, "output": tmp_path / "out"}
    assert run("--anonymous", "--requester_pays", **flags) == 2
    assert "--anonymous and --requester_pays cannot be combined" in capsys.readouterr().err


POINT = "arn:aws:s3:us-west-2:123456789012:accesspoint"


@pytest.mark.parametrize(
    ("path", "bucket"),
    [
        (f"s3://{POINT}/name/a/b.jpg", f"{POINT}:name"),
        (f"s3://{POINT}:name/a/b.jpg", f"{POINT}:name"),
        ("s3://arn:aws:s3::123456789012:accesspoint/m.mrap/a/b.jpg", "arn:aws:s3::123456789012:accesspoint:m.mrap"),
        (
            "s3://arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-1/accesspoint/name/a/b.jpg",
            "arn:aws:s3-outposts:eu-west-1:123456789012:outpost:op-1:accesspoint:name",
        ),
    ],
)
def test_an_access_point_is_a_bucket(path: str, bucket: str) -> None:
    normal = storage.normalize(path)
    assert normal == f"s3://{bucket}/a/b.jpg"
    assert storage.normalize(normal) == normal
    assert _split(path) == (bucket, "a/b.jpg")
    assert storage.bucket_of(path) == f"s3://{bucket}"
    assert storage.normalize(path.removesuffix("/a/b.jpg")) == f"s3://{bucket}"


@pytest.mark.parametrize("path", ["s3://user:secret@host/x", "s3://a:b/x", "s3://arn:aws:s3:::bucket/x"])
def test_other_colons_in_buckets_are_refused(path: str) -> None:
    with pytest.raises(storage.UnsupportedStorageError, match="no bucket has a colon in its name"):
        storage.normalize(path)


def test_requests_go_to_the_access_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    objects = amazon.AmazonObjects(storage.Access(s3=(("region_name", "us-west-2"),)))
    asked: list[tuple[str, Any]] = []

    def answer(request: Any, **_: object) -> Any:
        asked.append((request.url, request.headers.get("x-amz-copy-source")))
        said = b"<CopyObjectResult/>"
        raw = type("Raw", (), {"stream": lambda self, **_: iter([said])})()
        return botocore.awsrequest.AWSResponse(request.url, 200, {"ETag": '"1"', "Content-Length": "4"}, raw)

    objects._client.meta.events.register("before-send.s3", answer)
    bucket, key = _split(f"s3://{POINT}/name/a/b.jpg")
    assert objects.look_up(bucket, key).path == f"s3://{POINT}:name/a/b.jpg"
    objects.copy(bucket, key, "a/c.jpg")

    host = "https://name-123456789012.s3-accesspoint.us-west-2.amazonaws.com"
    copied = f"{POINT}/name/object/a/b.jpg".encode()
    assert [url for url, _ in asked] == [f"{host}/a/b.jpg", f"{host}/a/c.jpg"]
    assert unquote(asked[1][1]).encode() == copied
