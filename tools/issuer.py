"""Issue temporary credentials on loopback: to boto3 as a container's endpoint does, and to Google's library."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tools.serving import on_loopback

_LIFETIME = timedelta(seconds=3)


class Issuer:
    """An endpoint of credentials so short-lived that every request needs new ones; `answer` can be replaced."""

    def __init__(self, host: str) -> None:
        """Describe an endpoint.

        Args:
          host: and port.
        """
        self.url = f"http://{host}/"
        self.answer: Callable[[], tuple[int, str]] = valid


def valid() -> tuple[int, str]:
    """Return the status and content of an answer that both libraries understand."""
    expires = (datetime.now(UTC) + _LIFETIME).strftime("%Y-%m-%dT%H:%M:%SZ")
    amazon = {"AccessKeyId": "nobody", "SecretAccessKey": "nothing", "Token": "none", "Expiration": expires}
    return 200, json.dumps({**amazon, "access_token": "none", "expires_in": _LIFETIME.seconds})


@contextlib.contextmanager
def issuing() -> Iterator[Issuer]:
    """Run an endpoint."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content = issuer.answer()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with on_loopback(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        issuer = Issuer(f"127.0.0.1:{port}")
        yield issuer
