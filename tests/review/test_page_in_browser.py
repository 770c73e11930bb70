"""The review page in Chromium: filters, keys, dragging, undo, two people, a killed server, export; nothing overflows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audits import KIND
from browser import Tab, needs_chromium
from reviewing import reviewing

from semalign.auditing import Audit, Decisions
from semalign.auditing.decisions import ACCEPT, FLAG, MOVE, REJECT

LIMIT = 120.0  # seconds for any one answer, on a busy machine
READY = "document.body && document.body.dataset.ready === 'yes'"

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    opened = Tab(tmp_path_factory.mktemp("chromium"), LIMIT, READY)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def leave(request: pytest.FixtureRequest) -> Iterator[None]:
    """No page of a test asks a server that has ended while the next test looks for complaints."""
    yield
    if "tab" in request.fixturenames:
        request.getfixturevalue("tab").page.goto("about:blank")


def press(tab: Tab, *keys: str) -> None:
    """Press keys, and wait until what they ask for is on disk."""
    for key in keys:
        tab.page.keyboard.press(key)
    tab.evaluate("window.review.busy.then(() => null)")


def text(tab: Tab, name: str) -> str:
    return str(tab.evaluate(f"document.getElementById('{name}').textContent"))


def face_of(tab: Tab) -> int:
    return int(tab.evaluate("window.review.face.face"))


def only(tab: Tab, kind: str) -> None:
    """Choose a kind by its key."""
    for _ in range(20):
        if tab.evaluate("window.review.list.filter.kind") == kind:
            return
        press(tab, "t")
    raise AssertionError(f"no key leads to {kind}")


def complaints(tab: Tab) -> list[dict[str, Any]]:
    kinds = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    return [event for event in tab.events if event.get("method") in kinds]


OUTSIDE = """
[...document.querySelectorAll('body *')].filter(e => {
  const r = e.getBoundingClientRect();
  const seen = e.checkVisibility({ opacityProperty: true });
  return r.width && seen && (r.right > innerWidth + 1 || r.left < -1) && !e.closest('svg');
}).map(e => e.tagName + '.' + e.className).slice(0, 5)
"""


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (2560, True), (390, False)])
def test_the_page_fits_and_shows_the_first_face(tab: Tab, folder: Path, width: int, dark: bool) -> None:
    with reviewing(folder) as server:
        tab.show(server.url, width, dark)
        colour = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert colour == ("rgb(17, 22, 28)" if dark else "rgb(255, 255, 255)")
        assert tab.evaluate("window.review.stage.picture.bitmap.width") > 100
        # Where a point is drawn: the pixel of the picture lies under it, at the screen's full resolution.
        assert tab.evaluate("""(() => {
          const stage = window.review.stage, p = stage.face.annotations[30], canvas = stage.canvas;
          const [x, y] = stage.toScreen(p), q = stage.toImage({ x, y });
          const sharp = canvas.width === Math.round(canvas.clientWidth * devicePixelRatio);
          return sharp && Math.hypot(p[0] - q[0], p[1] - q[1]) < 1e-6;
        })()""")
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert tab.evaluate(OUTSIDE) == []
        assert complaints(tab) == []
        requests = [e["params"]["request"]["url"] for e in tab.events if e.get("method") == "Network.requestWillBeSent"]
        assert [url for url in requests if not url.startswith((server.url, "data:"))] == []


def test_a_kind_is_gone_through_by_keys_alone(tab: Tab, folder: Path, drawn: tuple[Path, Audit]) -> None:
    audit = drawn[1]
    with reviewing(folder) as server:
        tab.show(server.url, 1280, dark=False)
        only(tab, "misplaced")
        rows = set(np.flatnonzero(audit.face_kind == KIND["misplaced"]).tolist())
        assert len(rows) == tab.evaluate("window.review.list.total") == 3
        seen = [face_of(tab)]
        for key in ("a", "r"):
            press(tab, key)
            seen.append(face_of(tab))
        press(tab, "f")
        assert set(seen) == rows
        store = Decisions(folder, audit.ids, 68)
        assert [store.standing.face[row] for row in seen] == [ACCEPT, REJECT, FLAG]
        press(tab, "u", "u")
        store.refresh()
        assert [store.standing.face[row] for row in seen] == [ACCEPT, -1, -1]
        assert face_of(tab) == seen[1]
        assert text(tab, "gained") != "0.0 %"
        press(tab, "d")
        assert tab.evaluate("window.review.list.filter.state") == "done"
        assert [item["face"] for item in tab.evaluate("window.review.list.items")] == seen[:1]
        store.close()
        assert complaints(tab) == []


def test_points_are_accepted_dragged_and_nudged(tab: Tab, folder: Path, drawn: tuple[Path, Audit]) -> None:
    audit = drawn[1]
    with reviewing(folder) as server:
        tab.show(server.url, 1280, dark=True)
        press(tab, "2")
        item = tab.evaluate("window.review.list.items[0]")
        press(tab, "Enter")
        store = Decisions(folder, audit.ids, 68)
        assert store.standing.point[item["face"], item["landmark"]] == ACCEPT
        item = tab.evaluate("window.review.list.current")
        corner = tab.evaluate("(r => [r.x, r.y])(document.getElementById('canvas').getBoundingClientRect())")
        place = tab.evaluate("(s => s.toScreen(s.face.proposals[s.selected]))(window.review.stage)")
        zoom = tab.evaluate("window.review.stage.view.zoom")
        x, y = corner[0] + place[0], corner[1] + place[1]
        tab.page.mouse.move(x, y)
        tab.page.mouse.down()
        tab.page.mouse.move(x + 20, y - 10, steps=3)
        tab.page.mouse.up()
        tab.evaluate("window.review.busy.then(() => null)")
        store.refresh()
        row, landmark = item["face"], item["landmark"]
        assert store.standing.point[row, landmark] == MOVE
        wanted = audit.proposals[row, landmark] + np.array([20, -10]) / zoom
        np.testing.assert_allclose(store.standing.moved[row, landmark], wanted, atol=0.01)
        press(tab, "Shift+ArrowRight", "Shift+ArrowRight")
        tab.wait(f"window.review.face.moved[{landmark}][0] > {wanted[0] + 1.5 / zoom}")
        store.refresh()
        np.testing.assert_allclose(store.standing.moved[row, landmark], wanted + np.array([2, 0]) / zoom, atol=0.01)
        press(tab, "a")  # what was moved by hand stays
        store.refresh()
        assert store.standing.point[row, landmark] == MOVE
        assert tab.evaluate("window.review.list.index") == 2
        store.close()
        assert complaints(tab) == []


def test_comparing_zooming_and_help(tab: Tab, folder: Path) -> None:
    with reviewing(folder) as server:
        tab.show(server.url, 1280, dark=False)
        both = tab.screenshot()
        press(tab, "c")
        assert text(tab, "mode").startswith("Before")
        assert (tab.screenshot() != both).any()
        press(tab, "c", "c")
        zoom = tab.evaluate("window.review.stage.view.zoom")
        press(tab, "+")
        assert tab.evaluate("window.review.stage.view.zoom") == pytest.approx(1.35 * zoom)
        tab.page.mouse.move(640, 400)
        tab.page.mouse.wheel(0, -300)
        tab.wait(f"window.review.stage.view.zoom > {1.4 * zoom}")
        press(tab, "0")
        assert tab.evaluate("window.review.stage.view.zoom") == pytest.approx(zoom)
        press(tab, "?")
        assert "accept the proposal" in text(tab, "keys")
        press(tab, "Escape")
        press(tab, "/")
        assert tab.evaluate("document.activeElement.name") == "state"
        press(tab, "Escape")
        press(tab, "m", "n", "l", "e", "z", "h", "g")
        assert complaints(tab) == []


def test_many_at_once_after_a_confirmation_that_says_how_many(
    tab: Tab, folder: Path, drawn: tuple[Path, Audit]
) -> None:
    with reviewing(folder) as server:
        tab.show(server.url, 1280, dark=False)
        press(tab, "2")
        only(tab, "slipped")
        count = tab.evaluate("window.review.list.total")
        tab.page.keyboard.press("b")
        tab.wait("document.getElementById('ask').open")
        assert text(tab, "ask-title") == f"Accept {count} points?"
        tab.page.keyboard.press("Escape")
        tab.evaluate("window.review.busy.then(() => null)")
        store = Decisions(folder, drawn[1].ids, 68)
        assert list(store.history()) == []
        tab.page.keyboard.press("b")
        tab.wait("document.getElementById('ask').open")
        tab.page.keyboard.press("Enter")
        tab.wait("!document.getElementById('ask').open")
        tab.evaluate("window.review.busy.then(() => null)")
        store.refresh()
        assert (store.standing.point == ACCEPT).sum() == count
        press(tab, "u")
        store.refresh()
        assert (store.standing.point == ACCEPT).sum() == 0
        store.close()
        assert complaints(tab) == []


def test_two_people_see_each_other(tab: Tab, folder: Path) -> None:
    with reviewing(folder) as server:
        tab.show(server.url, 1280, dark=False)
        other = tab.browser.new_page()
        try:
            other.goto(server.url)
            other.wait_for_selector("body[data-ready=yes]", timeout=1000 * LIMIT)
            tab.wait("!document.getElementById('else').hidden")
            assert text(tab, "else") == "also open: Ann"
            first = face_of(tab)
            other.keyboard.press("a")
            tab.wait("window.review.face.verdict === 0")
            tab.wait("document.querySelector('.row.decided') !== null")
            assert face_of(tab) == first
            assert text(tab, "verdict") == "✓ Accepted"
            tab.wait("document.getElementById('else').hidden")
        finally:
            other.close()
        assert complaints(tab) == []


def test_the_export_is_started_and_what_it_says_is_shown(tab: Tab, folder: Path) -> None:
    asked: list[Path] = []

    def export(where: Path) -> Mapping[str, Any]:
        asked.append(where)
        return {"folder": "clean", "changed points": 1234}

    with reviewing(folder, export=export) as server:
        tab.show(server.url, 1280, dark=False)
        tab.evaluate("document.getElementById('export').click()")
        tab.wait("document.getElementById('ask').open")
        assert text(tab, "ask-body") == "folderclean" + "changed points1,234"
        assert asked == [folder]
    with reviewing(folder) as server:
        tab.show(server.url, 1280, dark=False)
        assert tab.evaluate("document.getElementById('export').hidden")


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_a_killed_server_loses_nothing_and_the_page_says_that_it_is_gone(tab: Tab, folder: Path) -> None:
    started: list[subprocess.Popen[str]] = []

    def start(port: str) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "semalign", "review", str(folder), "--port", port, "--name", "Ann"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().split(" ")[0]

    process, url = start("0")
    try:
        tab.show(url, 1280, dark=False)
        done = []
        for _ in range(3):
            done.append(face_of(tab))
            press(tab, "a")
        here = face_of(tab)
        process.send_signal(signal.SIGKILL)
        process.wait()
        press(tab, "a")
        assert "does not answer" in text(tab, "alarm")
        assert face_of(tab) == here  # it does not go on as if it were done
        process, _ = start(url.split(":")[2].rstrip("/"))
        tab.wait("document.getElementById('alarm').hidden")
        press(tab, "a")
        done.append(here)
        tab.show(url, 1280, dark=False)
        press(tab, "d")
        assert {item["face"] for item in tab.evaluate("window.review.list.items")} == set(done)
    finally:
        for one in started:
            one.kill()
            one.communicate()


def test_a_token_is_asked_for_and_then_kept(tab: Tab, folder: Path) -> None:
    with reviewing(folder, host="0.0.0.0") as server:
        page = tab.browser.new_page()
        plain = f"http://127.0.0.1:{server.port}/"
        answer = page.goto(plain)
        assert answer is not None and answer.status == 401
        page.goto(f"{plain}?token={server.token}")
        page.wait_for_selector("body[data-ready=yes]", timeout=1000 * LIMIT)
        assert page.url == plain
        assert page.evaluate("document.cookie") == ""
        page.reload()
        page.wait_for_selector("body[data-ready=yes]", timeout=1000 * LIMIT)
        page.close()
