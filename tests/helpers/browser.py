"""Chromium for tests of pages, driven by Playwright."""

from __future__ import annotations

import io
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

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
)
EVENTS = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Network.requestWillBeSent")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt install chromium)")


class Tab:
    """One page of the Chromium that is installed; no browser of Playwright's own is needed.

    Args:
        profile: an empty folder of its own.
        limit: seconds for any one answer, on a busy machine.
        ready: an expression that is true once a page is loaded.
        flags: more of Chromium's.

    Attributes:
        events: what the browser's debugging protocol said since the page was shown: requests, errors, the console.
    """

    def __init__(self, profile: Path, limit: float, ready: str, *flags: str) -> None:
        self.limit, self.ready = limit, ready
        self.events: list[dict[str, Any]] = []
        self.driver = sync_playwright().start()
        try:
            self.browser = self.driver.chromium.launch_persistent_context(
                profile, executable_path=CHROMIUM, args=[*FLAGS, *flags], timeout=1000 * limit
            )
            self.page = self.browser.new_page()
            self.page.set_default_timeout(1000 * limit)
            self.session = self.browser.new_cdp_session(self.page)
            for event in EVENTS:
                self.session.on(event, lambda value, name=event: self._note(name, value))
            for domain in ("Log", "Runtime", "Network"):
                self.session.send(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def _note(self, name: str, value: dict[str, Any]) -> None:
        self.events.append({"method": name, "params": value})

    def evaluate(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def wait(self, expression: str) -> None:
        """Playwright's own way of waiting is a script in the page, which a page that allows none refuses."""
        end = time.monotonic() + self.limit
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            self.page.wait_for_timeout(50)

    def show(self, url: str, width: int, dark: bool) -> None:
        """Load a page at a width, with a light or a dark colour scheme preferred."""
        self.events.clear()
        self.page.set_viewport_size({"width": width, "height": 900})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.session.send("Emulation.setDeviceMetricsOverride", size)
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        self.page.goto(url)
        self.wait(self.ready)

    def screenshot(self) -> np.ndarray:
        """What is seen, (h, w, 3) uint8 RGB."""
        return np.array(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))

    def close(self) -> None:
        if hasattr(self, "browser"):
            self.browser.close()
        self.driver.stop()
