"""The page in Chromium, at desktop and phone widths, light and dark: nothing overflows, fails or is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Tab, needs_chromium

from semalign.report import write_report

LIMIT = 90.0  # seconds for any one answer, on a busy machine
READY = "document.readyState + location.protocol === 'completefile:'"

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    opened = Tab(tmp_path_factory.mktemp("chromium"), LIMIT, READY)
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
    tab.show(pages[name].as_uri(), width, dark)
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
    tab.show(pages["demo"].as_uri(), 390, dark=False)
    smallest = tab.evaluate("""Math.min(...[...document.querySelectorAll('svg.chart text')].map(t =>
      parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a))""")
    assert smallest >= 7.0  # letters of the close-ups' frames
    charts = tab.evaluate("""Math.min(...[...document.querySelectorAll('.plot svg.chart text')].map(t =>
      parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a))""")
    assert charts >= 9.5


def test_marks_can_be_hidden_without_scripts(tab: Tab, pages: dict[str, Path]) -> None:
    tab.show(pages["demo"].as_uri(), 1280, dark=False)
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
