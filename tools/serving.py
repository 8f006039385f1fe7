"""Serve HTTP on loopback while a block runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer


@contextmanager
def on_loopback(server: ThreadingHTTPServer) -> Iterator[int]:
    """Serve in a thread until the block ends, then close the server; gives its port."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
