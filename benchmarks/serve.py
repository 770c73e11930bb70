"""Many requests at once to `semalign serve`: how many are answered, and how soon.

    python benchmarks/serve.py [--model default] [--photo photo.jpg]

The real command runs as a process of its own. 40 and 100 clients, each with a connection of its own, send the same picture
for its faces at the same moment (a synthetic one where none is given); then 100 again, while 50 others send a body a byte at
a time. Counted are answers with faces (200), answers to come again (503 with Retry-After), and everything else as failed.
Milliseconds from before the connection to the end of the answer; first request (which loads what is loaded late) left out.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from statistics import median
from urllib.parse import urlsplit

from harness import ModelName, Photo, Row, finish, run, synthetic_photo

LOADS = ((40, 0), (100, 0), (100, 50))  # clients at once, slow senders beside them
PATIENCE = 120.0  # seconds for an answer
TRICKLE = 0.1  # seconds between two bytes of a slow sender
HEADERS = {"Content-Type": "image/jpeg"}


def main(model: ModelName = "default", photo: Photo = None) -> None:
    picture = photo.read_bytes() if photo else synthetic_photo(".jpg")
    rows = []
    with serving(model) as place:
        assert ask(place, picture)[0] == "200", "the server does not find faces"
        for clients, slow in LOADS:
            with trickling(place, slow):
                answers = at_once(place, picture, clients)
            rows.append({"model": model, "clients": clients, "slow senders": slow} | figures(answers))
    finish("serve", rows, digits=0)


@contextmanager
def serving(model: str) -> Iterator[str]:
    """The command as a process; its host and port."""
    command = [sys.executable, "-m", "semalign", "serve", model, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield urlsplit(process.stdout.readline().split(" ")[0]).netloc
        finally:
            process.terminate()


def ask(place: str, picture: bytes) -> tuple[str, float]:
    """What a request came to ('200', '503' or 'failed') and its milliseconds."""
    begin = time.perf_counter()
    outcome = "failed"
    with suppress(OSError, http.client.HTTPException, ValueError):
        connection = http.client.HTTPConnection(place, timeout=PATIENCE)
        try:
            connection.request("POST", "/api/faces", picture, HEADERS)
            answer = connection.getresponse()
            value = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status == 200 and value["faces"]:
            outcome = "200"
        elif answer.status == 503 and answer.headers["Retry-After"]:
            outcome = "503"
    return outcome, 1000 * (time.perf_counter() - begin)


def at_once(place: str, picture: bytes, clients: int) -> list[tuple[str, float]]:
    together = threading.Barrier(clients)

    def one(_: int) -> tuple[str, float]:
        together.wait()
        return ask(place, picture)

    with ThreadPoolExecutor(clients) as threads:
        return list(threads.map(one, range(clients)))


@contextmanager
def trickling(place: str, count: int) -> Iterator[None]:
    """Clients that send a body a byte at a time until the block ends."""
    done = threading.Event()
    with ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = http.client.HTTPConnection(place, timeout=PATIENCE)
            stack.callback(connection.close)
            connection.putrequest("POST", "/api/faces")
            connection.putheader("Content-Type", "image/jpeg")
            connection.putheader("Content-Length", "100000")
            connection.endheaders()
            connections.append(connection)

        def trickle() -> None:
            while not done.wait(TRICKLE):
                for connection in connections:
                    with suppress(OSError):
                        connection.send(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        time.sleep(10 * TRICKLE)
        try:
            yield
        finally:
            done.set()
            thread.join()


def figures(answers: list[tuple[str, float]]) -> Row:
    """Counts, and milliseconds of the answers with faces and of those to come again."""
    times = {kind: [ms for outcome, ms in answers if outcome == kind] for kind in ("200", "503", "failed")}
    row: Row = {kind: len(values) for kind, values in times.items()}
    row["median ms of 200"] = median(times["200"]) if times["200"] else ""
    row["slowest ms of 200"] = max(times["200"], default="")
    row["median ms of 503"] = median(times["503"]) if times["503"] else ""
    return row


if __name__ == "__main__":
    run(main)
