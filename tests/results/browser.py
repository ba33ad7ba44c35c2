"""A headless Chromium that opens a page and tells what came of it.

It is driven over the DevTools protocol on two pipes (`--remote-debugging-pipe`), so every message
of the console and every request is seen, and the width of a phone can be set.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-extensions", "--mute-audio", "--disable-dev-shm-usage"),
)


def program() -> str | None:
    """The browser of this machine; None: there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@dataclass(frozen=True)
class Seen:
    """What a page did while it was open.

    Attributes:
        console: errors and warnings of the console, uncaught errors, refusals of the policy.
        requests: addresses asked for.
        marks: id of each plot -> marks drawn in it: paths, points, bars, pictures.
        text: what one reads on the page.
        overflow_px: how far the page is wider than its window.
    """

    console: list[str]
    requests: list[str]
    marks: dict[str, int]
    text: str
    overflow_px: int


MARKS = """
Object.fromEntries([...document.querySelectorAll('.plot')].map(plot => [plot.id, plot
  .querySelectorAll('.scatterlayer path.js-line, .scatterlayer .points path, .scatterlayer '
    + '.fills path, .barlayer .point path, .heatmaplayer image').length]))
"""
DRAWN = """
new Promise((done, fail) => { const start = Date.now(); (function look() {
  if (document.body && document.body.dataset.drawn) { done(Number(document.body.dataset.drawn)); }
  else if (Date.now() - start > 40000) { fail(new Error('not drawn')); }
  else { setTimeout(look, 50); } }()); })
"""


class Browser:
    """A browser with one page."""

    def __init__(self, profile: Path) -> None:
        """Start it, with its files in `profile`."""
        found = program()
        assert found is not None
        to_child, self._write = os.pipe()
        self._read, from_child = os.pipe()

        def as_three_and_four() -> None:
            # Copies first: one of the two may be 3 or 4 already.
            read, write = os.dup(to_child), os.dup(from_child)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self._process = subprocess.Popen(
            [found, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            close_fds=False,
            preexec_fn=as_three_and_four,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_child)
        os.close(from_child)
        self._rest, self._last = b"", 0
        self._told: list[dict[str, Any]] = []
        targets = self._call("Target.getTargets")["targetInfos"]
        target = next(each["targetId"] for each in targets if each["type"] == "page")
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session: str | None = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None
        self._call("Browser.close")
        self._process.wait(SECONDS)
        os.close(self._write)
        os.close(self._read)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer.get("result", {})
                return result
            if "method" in answer:
                self._told.append(answer)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 16)
            assert more, "the browser ended"
            self._rest += more
        one, self._rest = self._rest.split(b"\0", 1)
        message: dict[str, Any] = json.loads(one)
        return message

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, of a promise when it is kept."""
        found = self._call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def open(self, page: Path, width: int) -> Seen:
        """Open a file and wait until its plots are drawn.

        Args:
            page: an HTML file that says in `data-drawn` when it is done.
            width: of the window, px; below 600 it is a phone.
        """
        phone = width < 600
        self._call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": phone},
        )
        self._told.clear()
        went = self._call("Page.navigate", url=page.resolve().as_uri())
        assert "errorText" not in went, went
        self.run(DRAWN)
        marks = self.run(MARKS)
        text = self.run("document.body.innerText")
        wider = self.run("document.documentElement.scrollWidth - window.innerWidth")
        return Seen(self._console(), self._requests(), marks, text, max(0, wider))

    def _console(self) -> list[str]:
        said = []
        for event in self._told:
            about = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                said.append(str(about["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded":
                said.append(about["entry"]["text"])
            elif event["method"] == "Runtime.consoleAPICalled":
                said.append(f"{about['type']}: {about['args']}")
        return said

    def _requests(self) -> list[str]:
        sent = (e for e in self._told if e["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def picture(self, file: Path) -> None:
        """Write a PNG of the whole page."""
        shot = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))
