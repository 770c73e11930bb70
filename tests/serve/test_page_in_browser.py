"""The page in Chromium: a picture is dropped, points and heatmaps are shown, files are saved; nothing overflows or fails."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Tab, needs_chromium
from PIL import Image

from semalign.data.pts import read_pts
from semalign.serve.server import PageServer

LIMIT = 120.0  # seconds for any one answer, on a busy machine
READY = "document.body && document.body.dataset.ready === 'yes'"
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    opened = Tab(tmp_path_factory.mktemp("chromium"), LIMIT, READY, *CAMERA)
    yield opened
    opened.close()


def drop(tab: Tab, width: int = 300, height: int = 200, level: int = 90) -> None:
    """Drop a grey picture on the page."""
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (level, level, level + 20 if level else 0)).save(stream, "PNG")
    tab.evaluate(f"""(() => {{
      const bytes = Uint8Array.from(atob("{base64.b64encode(stream.getvalue()).decode()}"), c => c.charCodeAt(0));
      const carried = new DataTransfer();
      carried.items.add(new File([bytes], "holiday.png", {{ type: "image/png" }}));
      document.dispatchEvent(new DragEvent("drop", {{ dataTransfer: carried, bubbles: true, cancelable: true }}));
    }})()""")


OUTSIDE = """
[...document.querySelectorAll('body *')].filter(e => {
  const r = e.getBoundingClientRect();
  return r.width && (r.right > innerWidth + 1 || r.left < -1) && !e.closest('.unseen, svg');
}).map(e => e.tagName + '.' + e.className).slice(0, 5)
"""
FACES = "document.querySelectorAll('#overlay g').length"


def complaints(tab: Tab) -> list[dict[str, Any]]:
    kinds = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    return [event for event in tab.events if event.get("method") in kinds]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, True), (320, False)])
def test_a_picture_is_shown_with_points_and_a_heatmap(tab: Tab, server: PageServer, width: int, dark: bool) -> None:
    tab.show(server.url, width, dark)
    pixels = tab.screenshot()
    assert np.median(pixels) < 60 if dark else np.median(pixels) > 220
    drop(tab)
    tab.wait(f"{FACES} === 2")
    assert tab.evaluate("document.querySelectorAll('#overlay .dot').length") == 2 * 68
    assert tab.evaluate("document.getElementById('count').textContent") == "2 faces"
    # The landmark lies where the server said, to the pixel of the screen.
    tab.evaluate(
        "document.querySelectorAll('#overlay g')[0].querySelectorAll('.touch')[30].dispatchEvent(new Event('click'))"
    )
    tab.wait("!document.getElementById('map').hidden")
    assert tab.evaluate("document.getElementById('landmark').value") == "30"
    gap = tab.evaluate("""(() => {
      const [x, y] = result.faces[0].points[30], image = document.getElementById('picture').getBoundingClientRect();
      const dot = document.querySelector('.dot.chosen').getBoundingClientRect(), scale = image.width / result.width;
      const across = dot.x + dot.width / 2 - image.x, down = dot.y + dot.height / 2 - image.y;
      return Math.hypot(across - (x + 0.5) * scale, down - (y + 0.5) * scale);
    })()""")
    assert gap < 0.6
    assert tab.evaluate("document.querySelectorAll('#overlay image').length") == 1
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.evaluate(OUTSIDE) == []
    assert complaints(tab) == []
    requests = [e["params"]["request"]["url"] for e in tab.events if e.get("method") == "Network.requestWillBeSent"]
    assert requests[0] == server.url
    assert [url for url in requests if not url.startswith((server.url, "data:", f"blob:{server.url}"))] == []


def test_boxes_hide_what_they_name(tab: Tab, server: PageServer) -> None:
    tab.show(server.url, 1280, dark=False)
    drop(tab)
    tab.wait(f"{FACES} === 2")
    shown = "[...document.querySelectorAll('#overlay {}')].filter(e => getComputedStyle(e).display !== 'none').length"
    for box, kind in (("points", ".dot"), ("lines", "polyline")):
        assert tab.evaluate(shown.format(kind)) > 0
        tab.evaluate(f"document.getElementById('{box}').click()")
        assert tab.evaluate(shown.format(kind)) == 0


def test_saved_files_hold_the_points(tab: Tab, server: PageServer, tmp_path: Path) -> None:
    tab.show(server.url, 1280, dark=False)
    drop(tab)
    tab.wait(f"{FACES} === 2")
    points = np.array(tab.evaluate("result.faces[0].points"))
    (tmp_path / "face.pts").write_text(tab.evaluate("WRITERS.pts()"), encoding="utf-8")
    np.testing.assert_allclose(read_pts(tmp_path / "face.pts"), points, atol=1e-6)
    rows = tab.evaluate("WRITERS.csv()").splitlines()
    assert (rows[0], len(rows)) == ("face,landmark,name,x,y,confidence", 1 + 2 * 68)
    assert [float(value) for value in rows[31].split(",")[3:5]] == points[30].tolist()
    value = json.loads(tab.evaluate("WRITERS.json()"))
    assert (value["picture"], value["width"], value["model"]) == ("holiday", 300, "fake")
    assert value["faces"][0]["points"] == points.tolist()


def test_what_goes_wrong_is_said(tab: Tab, server: PageServer) -> None:
    tab.show(server.url, 1280, dark=False)
    drop(tab, level=0)
    tab.wait("document.getElementById('say').textContent === 'There is no face in this picture.'")
    tab.evaluate("""document.dispatchEvent(Object.assign(new Event('paste'), {clipboardData:
      {files: [new File(['nothing'], 'x.png', {type: 'image/png'})]}}))""")
    tab.wait("document.getElementById('say').textContent.startsWith('This is no picture that can be read')")


def test_the_camera_shows_frames_until_it_is_frozen(tab: Tab, server: PageServer) -> None:
    tab.show(server.url, 1280, dark=False)
    tab.evaluate("document.getElementById('camera').click()")
    tab.wait(f"turn > 2 && {FACES} === 2")
    assert tab.evaluate("document.getElementById('camera').textContent") == "Freeze"
    tab.evaluate("document.getElementById('camera').click()")
    assert tab.evaluate("stream === null && document.getElementById('video').srcObject === null") is True
    shown = tab.evaluate("document.getElementById('picture').src")
    tab.evaluate("choose(0, 5)")
    tab.wait("!document.getElementById('map').hidden")
    assert tab.evaluate("document.getElementById('picture').src") == shown  # no frame that was on its way came after
    assert complaints(tab) == []
