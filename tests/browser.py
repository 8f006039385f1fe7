"""Drive the system's Chromium without a window, over a pipe: no server, no port and no package."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

_SECONDS = 20.0
_ATTEMPTS = 3
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class BrowserEndedError(Exception):
    """The browser has ended by itself."""


class Browser:
    """A browser with one tab.

    Attributes:
      requests: URLs that pages asked for.
      problems: what was written to the console, and exceptions.
    """

    def __init__(self, send: Callable[[bytes], object], receive: Callable[[], bytes]) -> None:
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._send, self._receive = send, receive
        self._number = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        # Keys are lost in a page that does not have the focus.
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol, and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._send(json.dumps(message).encode() + b"\0")
        while (answer := json.loads(self._receive())).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, page: Path, fragment: str = "") -> None:
        """Open a page from the disk, and wait until it shows its figures."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=f"{page.as_uri()}{fragment}")
        self.wait('document.querySelector("#found:not(:empty), #count:not(:empty), body:not(:has(script)) dd")')
        self.settle()

    def run(self, expression: str) -> Any:
        """Evaluate JavaScript in the page."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + _SECONDS
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"{condition} has not come true: {self.problems}"
            time.sleep(0.01)

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def text(self, selector: str) -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        """Click in the middle of an element, wherever it is."""
        find = f"document.querySelector({json.dumps(selector)})"
        x, y = self.run(
            f"(() => {{ const one = {find}; one.scrollIntoView({{ block: 'center' }}); "
            "const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)
        self.settle()

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key; `code` is its Windows virtual key code."""
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)
        self.settle()

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.settle()

    def picture(self, path: Path, whole: bool = True) -> None:
        """Save what the page looks like."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def serious(self, axe: str) -> list[list[str]]:
        """Return what axe-core finds in the page that is serious or worse."""
        found = self.run(
            f"{axe};axe.run().then(({{ violations }}) =>"
            "violations.map(({ id, impact, nodes }) => [id, impact, nodes[0].html]))"
        )
        return [one for one in found if one[1] in ("serious", "critical")]

    def _note(self, event: dict[str, Any]) -> None:
        told = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif event.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.problems.append(json.dumps(told))


@contextmanager
def browse(folder: Path) -> Iterator[Browser]:
    """Start a browser that keeps what it needs in a folder; skip the test where there is none."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    # On a busy machine, Chromium sometimes ends while it starts.
    for attempt in range(_ATTEMPTS):
        with ExitStack() as closing:
            try:
                browser = closing.enter_context(_started(program, folder / str(attempt)))
            except (BrokenPipeError, BrowserEndedError):
                if attempt == _ATTEMPTS - 1:
                    said = (folder / str(attempt) / "errors").read_text(errors="replace")
                    raise BrowserEndedError(f"{program} ended while it started: {said[-2000:]}") from None
                continue
            yield browser
            return


@contextmanager
def _started(program: str, folder: Path) -> Iterator[Browser]:
    commands, sending = os.pipe()
    receiving, answers = os.pipe()
    # Out of the way: the protocol reads from 3 and writes to 4.
    inner = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in (commands, answers)]

    def place() -> None:
        os.dup2(inner[0], 3)
        os.dup2(inner[1], 4)

    arguments = [
        "--headless=new",
        "--remote-debugging-pipe",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
    ]
    folder.mkdir()
    with (folder / "errors").open("wb") as errors:
        started = subprocess.Popen(
            [program, *arguments, f"--user-data-dir={folder}"],
            preexec_fn=place,
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
    for one in (commands, answers, *inner):
        os.close(one)
    with open(sending, "wb", buffering=0) as send, open(receiving, "rb") as receive:
        try:
            yield Browser(send.write, lambda: _until_zero(receive))
        finally:
            started.terminate()
            started.wait(10)


def _until_zero(file: Any) -> bytes:
    read = bytearray()
    while (piece := file.peek(1)) and b"\0" not in piece:
        read += file.read(len(piece))
    if not piece:
        raise BrowserEndedError("the browser has ended")
    read += file.read(piece.index(b"\0") + 1)
    return bytes(read[:-1])
