"""The page in Chromium, at desktop and phone widths, light and dark: nothing overflows, fails or is fetched."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from semalign.report import write_report

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# Puts the ends of the pipe where the browser looks for them, descriptors 3 and 4, and becomes the browser.
LAUNCH = """
import fcntl, os, sys
asked, answers = (fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3])
os.dup2(asked, 3), os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
LIMIT = 90.0  # seconds for any one answer, on a busy machine

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt install chromium)")


class Tab:
    """One page of a Chromium that is spoken to through its debugging pipe: JSON messages that end in a zero byte."""

    def __init__(self, profile: Path) -> None:
        asked, self.to_browser = os.pipe()
        self.from_browser, answers = os.pipe()
        command = [sys.executable, "-c", LAUNCH, str(asked), str(answers), str(CHROMIUM), *FLAGS]
        command += [f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(command, pass_fds=(asked, answers), stderr=subprocess.DEVNULL)
        os.close(asked)
        os.close(answers)
        os.set_blocking(self.from_browser, False)
        self.count, self.buffer, self.session = 0, b"", ""
        self.events: list[dict[str, Any]] = []
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.count += 1
        message: dict[str, Any] = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self.count:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + LIMIT
        while b"\0" not in self.buffer:
            assert time.monotonic() < end, "Chromium does not answer"
            assert self.process.poll() is None, "Chromium has ended"
            try:
                self.buffer += os.read(self.from_browser, 1 << 16)
            except BlockingIOError:
                time.sleep(0.01)
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def evaluate(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def show(self, page: Path, width: int, dark: bool) -> None:
        """Load a page at a width, with a light or a dark colour scheme preferred."""
        self.events.clear()
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page.as_uri())
        end = time.monotonic() + LIMIT
        while self.evaluate("document.readyState + location.protocol") != "completefile:":
            assert time.monotonic() < end, "the page does not load"
            time.sleep(0.05)

    def screenshot(self) -> np.ndarray:
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    def close(self) -> None:
        os.close(self.to_browser)  # the browser ends with its pipe
        os.close(self.from_browser)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    opened = Tab(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pages(demo_run: Path, real_run: Path) -> dict[str, Path]:
    return {"demo": write_report(demo_run), "real": write_report(real_run)}


# What sticks out at the sides, apart from what scrolls within a frame of its own or is meant for screen readers.
OUTSIDE = """
[...document.querySelectorAll('body *')].filter(e => {
  const r = e.getBoundingClientRect();
  return r.width && (r.right > innerWidth + 1 || r.left < -1) && !e.closest('.scroll, pre, .skip, .unseen, svg');
}).map(e => e.tagName + '.' + e.className).slice(0, 5)
"""


@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [("demo", 1280, False), ("demo", 1280, True), ("demo", 390, True), ("demo", 320, False), ("real", 390, False)],
)
def test_nothing_overflows_or_goes_wrong(tab: Tab, pages: dict[str, Path], name: str, width: int, dark: bool) -> None:
    tab.show(pages[name], width, dark)
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.evaluate(OUTSIDE) == []
    assert tab.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)") is True
    told = [
        event
        for event in tab.events
        if event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    ]
    assert told == []
    requests = [e["params"]["request"]["url"] for e in tab.events if e.get("method") == "Network.requestWillBeSent"]
    assert requests[0] == pages[name].as_uri()
    assert [url for url in requests[1:] if not url.startswith("data:")] == []
    pixels = tab.screenshot()
    assert pixels.shape[1] == width
    assert np.median(pixels) < 60 if dark else np.median(pixels) > 240


def test_text_is_large_enough_on_a_phone(tab: Tab, pages: dict[str, Path]) -> None:
    tab.show(pages["demo"], 390, dark=False)
    smallest = tab.evaluate("""Math.min(...[...document.querySelectorAll('svg.chart text')].map(t =>
      parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a))""")
    assert smallest >= 7.0  # letters of the close-ups' frames
    charts = tab.evaluate("""Math.min(...[...document.querySelectorAll('.plot svg.chart text')].map(t =>
      parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a))""")
    assert charts >= 9.5


def test_marks_can_be_hidden_without_scripts(tab: Tab, pages: dict[str, Path]) -> None:
    tab.show(pages["demo"], 1280, dark=False)
    visible = (
        "[...document.querySelectorAll('#faces g[id*=\"-{kind}\"]')].filter(e => e.getClientRects().length).length"
    )
    for kind in ("annotation", "found", "truth", "movement"):
        query = visible.format(kind=kind)
        shown = tab.evaluate(query)
        assert shown > 0
        tab.evaluate(f"document.getElementById('show-{kind}').click()")
        assert tab.evaluate(query) == 0
        assert tab.evaluate(f"document.getElementById('show-{kind}').getClientRects().length") == 1
        tab.evaluate(f"document.getElementById('show-{kind}').click()")
        assert tab.evaluate(query) == shown
