"""Chromium for tests of pages, spoken to through its debugging pipe; no driver is needed."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

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
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt install chromium)")


class Tab:
    """One page of a Chromium that is spoken to through its debugging pipe: JSON messages that end in a zero byte.

    Args:
        profile: an empty folder of its own.
        limit: seconds for any one answer, on a busy machine.
        ready: an expression that is true once a page is loaded.
        flags: more of Chromium's.
    """

    def __init__(self, profile: Path, limit: float, ready: str, *flags: str) -> None:
        self.limit, self.ready = limit, ready
        asked, self.to_browser = os.pipe()
        self.from_browser, answers = os.pipe()
        command = [sys.executable, "-c", LAUNCH, str(asked), str(answers), str(CHROMIUM), *FLAGS, *flags]
        command += [f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(command, pass_fds=(asked, answers), stderr=subprocess.DEVNULL)
        os.close(asked)
        os.close(answers)
        os.set_blocking(self.from_browser, False)
        self.count, self.buffer, self.session = 0, b"", ""
        self.events: list[dict[str, Any]] = []
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.count += 1
        message: dict[str, Any] = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to_browser, data) :]
        while (answer := self._receive()).get("id") != self.count:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + self.limit
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
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        end = time.monotonic() + self.limit
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.05)

    def show(self, url: str, width: int, dark: bool) -> None:
        """Load a page at a width, with a light or a dark colour scheme preferred."""
        self.events.clear()
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        self.wait(self.ready)

    def screenshot(self) -> np.ndarray:
        """What is seen, (h, w, 3) uint8 RGB."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return np.array(Image.open(io.BytesIO(data)).convert("RGB"))

    def close(self) -> None:
        os.close(self.to_browser)  # the browser ends with its pipe
        os.close(self.from_browser)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
