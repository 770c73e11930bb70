"""The pages as real commands, with many clients at once, slow ones, huge and broken uploads: everybody else is answered.

The short form takes seconds; LOAD says for how many seconds the two pages are loaded (`make load`).
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from audits import drawn_audit
from loading import HUGE, Answer, Load, Page, Process, Taken, request, started
from PIL import Image

from semalign.synthetic import FaceSettings, SynthesisSettings, face_of

SECONDS = float(os.environ.get("LOAD") or 0.0) / 2
MANY = 200
SLOW = 40 if SECONDS else 10  # clients that send slowly, and as many that take no answer
NORMAL = (
    45.0  # seconds for an answer to a normal client, on a busy machine: where it must wait, 30 of them are its turn's
)
SETTLED = 60.0  # seconds in which a server is as before
MORE = 150 * 2**20  # bytes of memory that may stay, as the allocator keeps some
MOST = 700 * 2**20  # bytes of memory that may be used meanwhile beyond that: 256 MB of pictures, and those worked on

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what a process takes is read in /proc"),
]

IMAGE = "Content-Type: image/jpeg"
JSON = ("Content-Type: application/json", "X-Semalign: review")
FORM = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a.jpg"\r\n\r\n\xff\xd8\xff'
NO_HTTP = ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400,))
LONG_HEAD = ("a head without an end", b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000, (431, 0))


def jpeg(size: int) -> bytes:
    """A drawn face."""
    face = face_of(3, 0, SynthesisSettings(count=1, test_count=0, seed=3, face=FaceSettings(size=size)))
    stream = io.BytesIO()
    Image.fromarray(face.image).save(stream, "JPEG", quality=93)
    return stream.getvalue()


def bomb() -> bytes:
    """A PNG of some kilobytes that has 400 million pixels."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((20_000, 20_000), bool)).save(stream, "PNG")
    return stream.getvalue()


def upload(body: bytes, *more: str, length: int | None = None) -> bytes:
    return request("POST", "/api/faces", body, *(more or (IMAGE,)), length=length)


def serve_page() -> Page:
    face = jpeg(200)
    rng = np.random.default_rng(0)
    reference: dict[bytes, bytes] = {}

    def right(sent: bytes, answer: Answer) -> bool:
        """Always the same, and with a face in it where one was sent."""
        return reference.setdefault(sent, answer.body) == answer.body and (
            sent[:3] == b"GET" or len(json.loads(answer.body)["faces"]) == 1
        )

    return Page(
        arguments=("serve", "synthetic-demo"),
        normal=(request("GET", "/"), request("GET", "/api/model"), upload(face)),
        many=(upload(face),),
        unread=request("GET", "/"),
        slow=upload(b"", length=100_000),
        broken=(
            ("a broken form", upload(FORM, "Content-Type: multipart/form-data; boundary=x"), (415,)),
            ("a truncated picture", upload(face[: len(face) // 2]), (422,)),
            ("half a picture that is called whole", upload(face[: len(face) // 2], IMAGE), (422,)),
            ("noise", upload(rng.bytes(2_000_000)), (422,)),
            ("nothing", upload(b""), (422,)),
            ("too many pixels", upload(bomb(), "Content-Type: image/png"), (422,)),
            ("two lengths", upload(face, IMAGE, "Content-Length: 7"), (411,)),
            NO_HTTP,
            LONG_HEAD,
        ),
        huge=(
            ("a huge upload", upload(b"", length=HUGE), (413,)),
            ("a huge form", upload(b"", "Content-Type: multipart/form-data; boundary=x", length=HUGE), (413,)),
            ("a huge upload in chunks", request("POST", "/api/faces", None, IMAGE, "Transfer-Encoding: chunked"), (411,)),
            ("a huge upload where none is wanted", request("POST", "/", None, length=HUGE), (405,)),
        ),
        right=right,
    )  # fmt: skip


def review_page(folder: Path) -> Page:
    faces = 12
    drawn_audit(folder, count=faces, size=240)
    made = [{"face": 2, "landmark": 4, "verdict": "accept"}]
    decide = request("POST", "/api/decide", json.dumps({"who": "Ann", "decisions": made}).encode(), *JSON)
    pictures = tuple(request("GET", f"/api/{kind}/{row}") for row in range(faces) for kind in ("picture", "small"))
    reference: dict[bytes, bytes] = {}

    def right(sent: bytes, answer: Answer) -> bool:
        """A picture is always the same."""
        return sent not in pictures or reference.setdefault(sent, answer.body) == answer.body

    return Page(
        arguments=("review", str(folder), "--name", "Ann", "--quiet"),
        normal=(request("GET", "/"), pictures[0], request("GET", "/api/queue?queue=faces"), decide),
        many=(decide, *pictures[:8], request("GET", "/api/face/3"), request("GET", "/review.js")),
        unread=pictures[0],
        slow=request("POST", "/api/decide", None, *JSON, length=100_000),
        broken=(
            ("a broken form", request("POST", "/api/decide", FORM, "Content-Type: multipart/form-data; boundary=x"), (403,)),
            ("half of a decision", request("POST", "/api/decide", decide[-40:-20], *JSON), (400,)),
            ("lists without an end", request("POST", "/api/decide", b"[" * 500_000, *JSON), (400,)),
            ("nothing", request("POST", "/api/decide", b"", *JSON), (400,)),
            ("two lengths", request("POST", "/api/decide", b"{}", *JSON, "Content-Length: 7"), (411,)),
            NO_HTTP,
            LONG_HEAD,
        ),
        huge=(
            ("a huge upload", request("POST", "/api/decide", None, *JSON, length=HUGE), (413,)),
            ("a huge upload in chunks", request("POST", "/api/decide", None, *JSON, "Transfer-Encoding: chunked"), (413,)),
            ("a huge upload where none is wanted", request("POST", "/", None, length=HUGE), (405,)),
        ),
        right=right,
    )  # fmt: skip


def test_the_page_to_try_a_model() -> None:
    load_page(serve_page())


def test_the_review_page(tmp_path: Path) -> None:
    load_page(review_page(tmp_path / "audit"))


def load_page(page: Page) -> None:
    with started(page.arguments) as process:
        warm = Load(page, process.port)
        asyncio.run(warm.run(0.0, MANY, 1))  # what is loaded late is loaded, and threads have begun
        time.sleep(1.0)
        before = settled(process, warm, process.taken())
        load = Load(page, process.port)
        asyncio.run(load.run(SECONDS, MANY, SLOW))
        most = process.taken().most
        after = settled(process, load, before)
    for kind, statuses in sorted(load.answers.items()):
        print(f"{kind}: {', '.join(f'{count} × {status}' for status, count in sorted(statuses.items()))}")
    print(f"seconds of a normal client: {load.slowest:.1f} for an answer, {load.longest:.1f} until it is no 503")
    print(
        f"seconds for which the clients were held up: {load.held_up:.1f}, and {load.excused} of theirs lost meanwhile"
    )
    print(f"MiB of memory before, at most, after: {before.memory >> 20}, {most >> 20}, {after.memory >> 20}")
    print(f"files {before.files}, {after.files}; threads {before.threads}, {after.threads}")
    assert warm.wrong == [] and load.wrong == []
    assert load.slowest < NORMAL
    assert load.answers["normal"][200] and load.answers["many"][200]
    assert after.files <= before.files and after.threads <= before.threads
    assert after.memory < before.memory + MORE
    assert most < before.memory + MOST


def settled(process: Process, load: Load, before: Taken) -> Taken:
    """What the process takes as soon as its clients' files are closed; normal requests are answered all the while."""
    end = time.monotonic() + SETTLED
    while True:
        for sent in load.page.normal:
            answer = asyncio.run(load.ask(sent))
            assert answer.status == 200 and load.page.right(sent, answer)
        taken = process.taken()
        if (taken.files <= before.files and taken.threads <= before.threads) or time.monotonic() > end:
            return taken
        time.sleep(0.5)
