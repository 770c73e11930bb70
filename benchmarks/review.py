"""How fast `semalign review` is on many faces.

    python benchmarks/review.py [--faces 100000] [--steps 200] [--folder DIR]

An audit of so many faces of 68 points is generated; their pictures are 64 drawn ones of 640 pixels, each of them linked to
many faces, so that every face is read from a file and cut. Measured are: seconds to prepare the queues, once per audit;
seconds from the start of the command to the first answer of the page, as a process of its own; milliseconds until a decision is
on disk and answered, by HTTP; and, in Chromium with `--browser`, milliseconds from a key to the next face on the canvas, of
which most were fetched before, while a person looks at each face for a third of a second. The folder is kept and used again.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from tempfile import gettempdir
from typing import Annotated

import numpy as np
import typer
from harness import Row, finish, run, track
from PIL import Image

PICTURES = 64
LOOKED = 330  # milliseconds for which a face is looked at
WAITING = 600.0  # seconds for the first answer


def main(
    faces: Annotated[int, typer.Option(help="How many.")] = 100_000,
    steps: Annotated[int, typer.Option(help="Decisions, and faces that are gone through.")] = 200,
    folder: Annotated[
        Path | None, typer.Option(help="Where the audit lies; default: the system's temporary folder.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Measure the page in Chromium as well.")] = False,
) -> None:
    place = folder or Path(gettempdir()) / f"semalign-review-{faces}"
    generate(place, faces)
    (place / "decisions.sqlite").unlink(missing_ok=True)
    shutil.rmtree(place / "review", ignore_errors=True)
    rows: list[Row] = []
    with serving(place) as (_, seconds):
        rows.append({"what": "open, queues not prepared", "unit": "s", "median": seconds, "95 %": "", "count": 1})
    opened = []
    for _ in range(3):
        with serving(place) as (_, seconds):
            opened.append(seconds)
    rows.append({"what": "open, queues prepared", "unit": "s"} | spread(opened))
    with serving(place) as (where, _):
        rows.append({"what": "decision on disk", "unit": "ms"} | spread(decide(where, steps)))
        rows.append(
            {"what": "queue filtered", "unit": "ms"}
            | spread(ask(where, steps // 4, "queue=points&region=mouth&move=0.01"))
        )
        rows.append({"what": "picture cut, not fetched before", "unit": "ms"} | spread(cut(where, steps, faces)))
        if browser:
            rows.append({"what": "next face in the page", "unit": "ms"} | spread(page(where, steps)))
    finish("review", [{"faces": faces} | row for row in rows])


def spread(values: list[float]) -> Row:
    return {"median": median(values), "95 %": float(np.percentile(values, 95)), "count": len(values)}


def generate(folder: Path, faces: int) -> None:
    """Write an audit, unless it is there."""
    from semalign.auditing import KINDS, Audit, write_audit
    from semalign.schemes import load_scheme
    from semalign.synthetic import FaceSettings, SynthesisSettings, face_of

    if (folder / "audit.json").is_file():
        return
    settings = SynthesisSettings(count=PICTURES, test_count=0, face=FaceSettings(size=640))
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    names, truth = [], []
    for index in track(range(PICTURES), "drawing"):
        face = face_of(0, index, settings)
        names.append(str((folder / "pictures" / f"{index:03d}.jpg").resolve()))
        Image.fromarray(face.image).save(names[-1], quality=93)
        truth.append(face.points)
    rng = np.random.default_rng(0)
    proposals = np.stack(truth)[np.arange(faces) % PICTURES]
    shape = proposals.shape[:2]
    kinds = rng.integers(-1, len(KINDS), faces).astype(np.int8)
    audit = Audit(
        ids=tuple(f"generated/{index:06d}.jpg" for index in range(faces)),
        files=tuple(names[index % PICTURES] for index in range(faces)),
        frames=np.full(faces, -1, np.int32),
        scheme=load_scheme("ibug68"),
        annotations=proposals + rng.normal(0, 8, proposals.shape),
        proposals=proposals,
        spread=np.full(proposals.shape, 4.0),
        face_probability=rng.random(faces),
        face_kind=kinds,
        point_probability=rng.beta(1, 6, shape),
        point_kind=rng.integers(0, 3, shape).astype(np.int8),
        about={"data": "generated"},
        odds=np.zeros(faces),
    )
    write_audit(audit, folder)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, float]]:
    """The command as a process: its host and port, and seconds from its start to the first queue that it answered."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "semalign", "review", str(folder), "--port", "0", "--name", "benchmark", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            where = process.stdout.readline().split(" ")[0].removeprefix("http://").rstrip("/")
            for path in ("/", "/api/audit", "/api/queue?queue=faces", "/api/face/0"):
                fetch(where, path)
            yield where, time.perf_counter() - begin
        finally:
            process.terminate()


def fetch(where: str, path: str, sent: object = None) -> bytes:
    connection = http.client.HTTPConnection(where, timeout=WAITING)
    try:
        headers = {"Content-Type": "application/json", "X-Semalign": "review"}
        body = None if sent is None else json.dumps(sent)
        connection.request("GET" if sent is None else "POST", path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status == 200, data
        return data
    finally:
        connection.close()


def timed(where: str, path: str, sent: object = None) -> float:
    begin = time.perf_counter()
    fetch(where, path, sent)
    return 1000 * (time.perf_counter() - begin)


def decide(where: str, steps: int) -> list[float]:
    made = ({"decisions": [{"face": face, "landmark": None, "verdict": "accept"}]} for face in range(steps))
    return [timed(where, "/api/decide", sent) for sent in made]


def ask(where: str, steps: int, query: str) -> list[float]:
    return [timed(where, f"/api/queue?{query}") for _ in range(steps)]


def cut(where: str, steps: int, faces: int) -> list[float]:
    return [timed(where, f"/api/picture/{face}") for face in np.linspace(0, faces - 1, steps).astype(int)]


def page(where: str, steps: int) -> list[float]:
    """Milliseconds from pressing the key until the next face is on the canvas."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    times = []
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"])
        tab = opened.new_page(viewport={"width": 1280, "height": 800})
        tab.goto(f"http://{where}/")
        tab.wait_for_selector("body[data-ready=yes]", timeout=1000 * WAITING)
        for _ in track(range(steps), "next face"):
            tab.wait_for_timeout(LOOKED)
            times.append(
                tab.evaluate("""async () => {
                  const begin = performance.now();
                  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
                  await window.review.busy;
                  await new Promise(requestAnimationFrame);
                  return performance.now() - begin;
                }""")
            )
        with suppress(Exception):
            opened.close()
    return times


if __name__ == "__main__":
    run(main)
