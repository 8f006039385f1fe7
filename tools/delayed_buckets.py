"""A bucket in memory that answers each request after a delay, for benchmarks: `python -m tools.delayed_buckets`.

The emulators of `tools.emulators` look through all objects for each request, so that 20,000 take them hours. This one
knows what a commit asks of gs:// and s3://, and nothing else. It prints its host. `/requests` tells how many requests
it has answered, and of which kinds; `/objects` takes names of objects to begin with.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import subprocess
import sys
import urllib.request
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import md5
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

from tools.emulators import BUCKET, Emulator

_PAGE = 1000
_REWRITE = re.compile(rf"/storage/v1/b/{BUCKET}/o/([^/]+)/rewriteTo/b/{BUCKET}/o/([^/]+)")
_OBJECT = re.compile(rf"(?:/download)?/storage/v1/b/{BUCKET}/o/([^/]+)")
_PART = re.compile(rb"\nDELETE \S*?/o/([^/?\s]+)")
_KEY = re.compile(r"<Key>(.*?)</Key>", re.DOTALL)


class Request(NamedTuple):
    """An HTTP request; names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    """What a request is answered with, and the kind of request for the statistics."""

    kind: str
    body: bytes = b""
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = {}


class Bucket:
    """The objects of a bucket, as both kinds of store tell of them."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.answered: Counter[str] = Counter()

    def answer(self, request: Request) -> Answer:
        """Do what a request asks for."""
        if request.path == "/requests":
            return Answer("", json.dumps(self.answered).encode())
        if request.path == "/objects":
            self.objects.update(dict.fromkeys(json.loads(request.body), b"content"))
            return Answer("")
        google = request.path.startswith(("/storage/", "/download/", "/upload/", "/batch/"))
        answer = self._google(request) if google else self._amazon(request)
        self.answered[answer.kind] += 1
        return answer

    def _google(self, request: Request) -> Answer:
        if request.path.startswith("/batch/"):
            return self._batch([unquote(key.decode()) for key in _PART.findall(request.body)])
        if request.path.startswith("/upload/"):
            boundary = request.headers["content-type"].partition("boundary=")[2].strip('"').encode()
            described, data = (part.split(b"\r\n\r\n", 1)[1][:-2] for part in request.body.split(b"--" + boundary)[1:3])
            key = json.loads(described)["name"]
            self.objects[key] = data
            return Answer("write", json.dumps(self._described(key)).encode())
        if moved := _REWRITE.fullmatch(request.path):
            source, target = map(unquote, moved.groups())
            if source not in self.objects:
                return _missing("copy")
            self.objects[target] = self.objects[source]
            size = str(len(self.objects[target]))
            done = {"done": True, "totalBytesRewritten": size, "objectSize": size, "resource": self._described(target)}
            return Answer("copy", json.dumps(done).encode())
        if found := _OBJECT.fullmatch(request.path):
            key = unquote(found[1])
            if request.method == "DELETE":
                return _missing("delete") if self.objects.pop(key, None) is None else Answer("delete")
            if key not in self.objects:
                return _missing("look up")
            if request.query.get("alt") == "media":
                return self._content(request, key)
            return Answer("look up", json.dumps(self._described(key)).encode())
        keys, folders, following = self._page(request.query, request.query.get("pageToken", ""))
        listed = {"items": [self._described(key) for key in keys], "prefixes": folders}
        return Answer("list", json.dumps({**listed, **({"nextPageToken": following} if following else {})}).encode())

    def _amazon(self, request: Request) -> Answer:
        key = unquote(request.path).removeprefix(f"/{BUCKET}").lstrip("/")
        if request.method == "POST" and "delete" in request.query:
            for deleted in _KEY.findall(request.body.decode()):
                self.objects.pop(unescape(deleted), None)
            return Answer("delete many", b"<DeleteResult/>")
        if not key:
            return self._amazon_page(request)
        if request.method == "PUT":
            source = unquote(request.headers.get("x-amz-copy-source", "")).removeprefix(BUCKET).lstrip("/")
            if source and source not in self.objects:
                return _missing("copy")
            self.objects[key] = self.objects[source] if source else request.body
            said = f"<CopyObjectResult><ETag>{_etag(self.objects[key])}</ETag></CopyObjectResult>" if source else ""
            return Answer("copy" if source else "write", said.encode(), headers={"ETag": _etag(self.objects[key])})
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return Answer("delete", status=HTTPStatus.NO_CONTENT)
        if key not in self.objects:
            return _missing("look up")
        return self._content(request, key)

    def _amazon_page(self, request: Request) -> Answer:
        keys, folders, following = self._page(request.query, request.query.get("continuation-token", ""))
        listed = [
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[key])}</Size>"
            f"<ETag>{_etag(self.objects[key])}</ETag></Contents>"
            for key in keys
        ]
        listed += [f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in folders]
        listed += [f"<NextContinuationToken>{escape(following)}</NextContinuationToken>"] if following else []
        return Answer("list", f"<ListBucketResult>{''.join(listed)}</ListBucketResult>".encode())

    def _page(self, query: Mapping[str, str], after: str) -> tuple[list[str], list[str], str]:
        """Return keys, folders, and after which key the next page begins; empty if this is the last one."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        every = sorted(self.objects)
        keys: list[str] = []
        folders: set[str] = set()
        for key in every[bisect_left(every, max(prefix, after + "\0" if after else "")) :]:
            if not key.startswith(prefix):
                break
            below, further, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            if further:
                folders.add(prefix + below + delimiter)
            elif len(keys) == _PAGE:
                return keys, sorted(folders), keys[-1]
            else:
                keys.append(key)
        return keys, sorted(folders), ""

    def _content(self, request: Request, key: str) -> Answer:
        data = self.objects[key]
        headers = {"ETag": _etag(data), "x-goog-generation": "1"}
        first, _, last = request.headers.get("range", "").removeprefix("bytes=").partition("-")
        if request.method == "HEAD":
            return Answer("look up", data, headers=headers)
        if first and int(first) >= len(data):
            return Answer("read", status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        part = data[int(first or 0) : int(last) + 1 if last else None]
        if not first:
            return Answer("read", part, headers=headers)
        headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
        return Answer("read", part, HTTPStatus.PARTIAL_CONTENT, headers)

    def _batch(self, keys: list[str]) -> Answer:
        parts = []
        for key in keys:
            status = HTTPStatus.NOT_FOUND if self.objects.pop(key, None) is None else HTTPStatus.NO_CONTENT
            parts.append(
                f"--part\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {status} {status.phrase}\r\n\r\n\r\n"
            )
        body = "".join(parts) + "--part--\r\n"
        return Answer("delete many", body.encode(), headers={"Content-Type": "multipart/mixed; boundary=part"})

    def _described(self, key: str) -> dict[str, str]:
        return {"name": key, "bucket": BUCKET, "size": str(len(self.objects[key])), "generation": "1"}


def _missing(kind: str) -> Answer:
    return Answer(kind, status=HTTPStatus.NOT_FOUND)


def _etag(data: bytes) -> str:
    return f'"{md5(data, usedforsecurity=False).hexdigest()}"'


async def _serve(bucket: Bucket, delay: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            request = await _receive(reader, writer)
            if request.path not in ("/requests", "/objects"):
                await asyncio.sleep(delay)
            answer = bucket.answer(request)
            headers = {"Content-Length": str(len(answer.body)), **answer.headers}
            lines = [
                f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
                *(f"{n}: {v}" for n, v in headers.items()),
            ]
            writer.write("\r\n".join([*lines, "", ""]).encode())
            writer.write(b"" if request.method == "HEAD" else answer.body)
            await writer.drain()


async def _receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
    if "expect" in headers:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    url = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    return Request(method, url.path, query, headers, body)


async def _listen(delay: float) -> None:
    bucket = Bucket()
    server = await asyncio.start_server(lambda *streams: _serve(bucket, delay, *streams), "127.0.0.1", limit=1 << 20)
    print("127.0.0.1:" + str(server.sockets[0].getsockname()[1]), flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def delayed(scheme: str, seconds: float) -> Iterator[Emulator]:
    """Run a bucket in a process of its own, which answers each request after so many seconds."""
    command = [sys.executable, "-m", "tools.delayed_buckets", f"--delay={seconds}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            yield Emulator(scheme, server.stdout.readline().strip())
        finally:
            server.kill()


def put_objects(emulator: Emulator, names: Sequence[str]) -> None:
    """Put objects into a bucket at once."""
    request = urllib.request.Request(f"http://{emulator.host}/objects", json.dumps(names).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=10):
        pass


def answered(emulator: Emulator) -> Counter[str]:
    """Return how many requests a bucket has answered, by kind."""
    with urllib.request.urlopen(f"http://{emulator.host}/requests", timeout=10) as answer:
        return Counter(json.load(answer))


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m tools.delayed_buckets", description=__doc__)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds before each answer (default 0.05)")
    asyncio.run(_listen(parser.parse_args().delay))


if __name__ == "__main__":
    main()
