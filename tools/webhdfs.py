"""A WebHDFS server on loopback, which shows a folder of this machine as HDFS shows its own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tools.serving import on_loopback


class WebHdfs:
    """The files, and how requests for them are answered.

    Attributes:
      flags: of Beam's, with which it is reached.
      denied: names of files that nobody may look at.
      drops: number of times that readers of a file lose their connection, by its name.
    """

    def __init__(self, folder: Path) -> None:
        self.flags: list[str] = []
        self.denied: set[str] = set()
        self.drops: dict[str, int] = {}
        self._folder = folder

    def answer(self, path: str, wanted: Mapping[str, str]) -> bytes:
        """Answer a request.

        Raises:
          RefusedError: it is refused.
          ConnectionError: it gets no answer.
        """
        file = self._folder / path.lstrip("/")
        if file.name in self.denied and wanted["op"] != "LISTSTATUS":
            raise RefusedError(HTTPStatus.FORBIDDEN, "AccessControlException", f"Permission denied: inode={path}")
        if not file.exists():
            raise RefusedError(HTTPStatus.NOT_FOUND, "FileNotFoundException", f"File does not exist: {path}")
        match wanted["op"]:
            case "GETFILESTATUS":
                return json.dumps({"FileStatus": _status(file, "")}).encode()
            case "LISTSTATUS":
                statuses = [_status(one, one.name) for one in sorted(file.iterdir())] if file.is_dir() else []
                return json.dumps(
                    {"FileStatuses": {"FileStatus": statuses or [_status(file, "")] * file.is_file()}}
                ).encode()
            case "OPEN":
                if self.drops.get(file.name, 0):
                    self.drops[file.name] -= 1
                    raise ConnectionAbortedError
                start = int(wanted.get("offset", 0))
                return file.read_bytes()[start:][: int(wanted["length"]) if "length" in wanted else None]
        raise RefusedError(HTTPStatus.BAD_REQUEST, "UnsupportedOperationException", wanted["op"])


class RefusedError(Exception):
    """A refused request: HTTP status, Java class and message."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[WebHdfs]:
    """Serve a folder as the root of HDFS."""
    served = WebHdfs(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            try:
                self._send(
                    HTTPStatus.OK,
                    served.answer(unquote(asked.path.removeprefix("/webhdfs/v1")), dict(parse_qsl(asked.query))),
                )
            except RefusedError as error:
                status, exception, message = error.args
                self._send(
                    status, json.dumps({"RemoteException": {"exception": exception, "message": message}}).encode()
                )
            except ConnectionAbortedError:
                self.close_connection = True

        def _send(self, status: HTTPStatus, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with on_loopback(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        served.flags = ["--hdfs_host=127.0.0.1", f"--hdfs_port={port}", "--hdfs_user=someone"]
        yield served


def _status(file: Path, name: str) -> dict[str, Any]:
    found = file.stat()
    kind, size = ("DIRECTORY", 0) if file.is_dir() else ("FILE", found.st_size)
    return {"pathSuffix": name, "type": kind, "length": size, "modificationTime": int(found.st_mtime * 1000)}
