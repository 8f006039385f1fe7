"""Proxy a server on loopback and disturb its traffic: delays, refusals, lost conditions, connections that break off."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from tools.serving import on_loopback

RESET = -1
"""In place of a status: send half of the response, then reset the connection."""


class Disturbance(NamedTuple):
    """What is done to a request.

    Attributes:
      status: with which it is refused; `RESET` to reset the connection midway; None to let it pass.
      seconds: delay before anything else.
      trickle: seconds per kilobyte of the response.
      ignored: headers and query parameters that the server does not see, in lower case.
      added: to the query that the server sees, e.g. `max-keys=10`.
    """

    status: int | None = None
    seconds: float = 0.0
    trickle: float = 0.0
    ignored: Collection[str] = ()
    added: str = ""


_PART = b"Content-Type: application/http\n"

Disturb = Callable[[str, str], Disturbance]
"""Decides what is done to a request, given its method and its path with the query."""


class Proxy:
    """A proxy for one server.

    `disturb` can be replaced while it serves, and so can `judge`, which also sees the headers, with names in lower
    case, and returns the status of a refusal.
    """

    def __init__(self, server: str) -> None:
        """Create a proxy for a server, given as host and port."""
        self.server = server
        self.disturb: Disturb = lambda method, path: Disturbance()
        self.judge: Callable[[str, str, Mapping[str, str]], int | None] = lambda method, path, headers: None
        self.host = ""


@contextlib.contextmanager
def before(server: str, port: int = 0) -> Iterator[Proxy]:
    """Run a proxy.

    Args:
      server: host and port of the server.
      port: on which the proxy listens; by default any free port.
    """
    proxy = Proxy(server)

    class Handler(_Handler):
        def pass_on(self) -> None:
            self.serve(proxy)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on  # noqa: N815

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            """Ignore clients that disconnect midway, as killed ones do."""

    with on_loopback(Server(("127.0.0.1", port), Handler)) as served:
        proxy.host = f"127.0.0.1:{served}"
        yield proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Otherwise every response waits 40 ms for the acknowledgement of its headers.
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self._upstream: http.client.HTTPConnection | None = None

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        if self._upstream:
            self._upstream.close()

    def handle_expect_100(self) -> bool:
        # The client waits for this line, so it must not stay in a buffer.
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.wfile.flush()
        return True

    def log_message(self, *_: object) -> None:
        pass

    def serve(self, proxy: Proxy) -> None:
        body = self._read_body()
        disturbance = proxy.disturb(self.command, self.path)
        asked = {name.lower(): value for name, value in self.headers.items()}
        if (status := proxy.judge(self.command, self.path, asked)) is not None:
            disturbance = Disturbance(status)
        time.sleep(disturbance.seconds)
        if disturbance.status is not None and disturbance.status != RESET:
            self._answer(disturbance.status, [], b"disturbed")
            return
        if self._upstream is None:
            self._upstream = http.client.HTTPConnection(proxy.server, timeout=60)
        path = _without(self.path, disturbance.ignored)
        if disturbance.added:
            path += ("&" if "?" in path else "?") + disturbance.added
        if path.startswith("/batch/"):
            # fake-gcs-server passes over parts without a name, and Google's library names none.
            body = body.replace(_PART, _PART + b"Content-ID: <part>\n")
        self._upstream.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
        ignored = {"connection", "transfer-encoding", "content-length", "expect", *disturbance.ignored}
        for name, value in self.headers.items():
            if name.lower() not in ignored:
                self._upstream.putheader(name, value)
        self._upstream.putheader("Content-Length", str(len(body)))
        self._upstream.endheaders(body)
        answer = self._upstream.getresponse()
        data = answer.read()
        dropped = ("connection", "transfer-encoding", "content-length", "keep-alive", "date", "server")
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in dropped]
        if disturbance.status == RESET:
            self._break_off(answer.status, headers, data)
        else:
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self._answer(answer.status, headers, data, length, disturbance.trickle)

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        data: bytes,
        length: str | None = None,
        trickle: float = 0.0,
    ) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            at_once = 1000 if trickle else len(data) or 1
            for place in range(0, len(data), at_once):
                self.wfile.write(data[place : place + at_once])
                self.wfile.flush()
                time.sleep(trickle)
        self.wfile.flush()

    def _break_off(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        self.send_response(status)
        for name, value in [*headers, ("Content-Length", str(len(data) + 1))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        self.wfile.flush()
        # A linger time of 0 makes the kernel send a reset instead of closing in order.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


def _without(path: str, ignored: Collection[str]) -> str:
    """Remove parameters from the query of a path."""
    bare, mark, query = path.partition("?")
    kept = [part for part in query.split("&") if part.partition("=")[0].lower() not in ignored]
    return bare + mark + "&".join(kept)
