"""Many clients, slow clients and clients that say what is not so: everybody is answered, and nobody keeps others waiting."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from asking import answer_of, ask, connect, head, picture, serving

from semalign.serve import Limits, Service
from semalign.serve.server import PageServer

SOON = 20.0  # seconds, on a busy machine


class Gate:
    """A detector that works on a picture only once it is opened."""

    def __init__(self) -> None:
        self.opened, self.entered, self.count = threading.Event(), threading.Semaphore(0), 0

    def __call__(self, image: np.ndarray) -> list[Any]:
        self.count += 1
        self.entered.release()
        assert self.opened.wait(SOON)
        return []


@contextmanager
def trickling(
    server: PageServer, count: int, first: bytes, rest: bytes = b"x" * 10_000
) -> Iterator[list[socket.socket]]:
    """Clients that send `rest` a byte at a time until the block ends; the server may have closed them meanwhile."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(count)]
        done = threading.Event()

        def trickle() -> None:
            for byte in rest:
                for client in clients:
                    with suppress(OSError):
                        client.send(bytes([byte]))
                if done.wait(0.02):
                    return

        for client in clients:
            client.sendall(first)
        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            yield clients
        finally:
            done.set()
            thread.join()


def test_clients_that_send_slowly_keep_nobody_waiting_and_are_ended(service: Service) -> None:
    with serving(service, at_a_time=1, queue=0, sending=3.0) as server:
        begin = time.monotonic()
        with trickling(server, 10, head(server, length=10_000)) as clients:
            statuses = [ask(server, "POST", "/api/faces", picture())[0] for _ in range(5)]
            answered = time.monotonic() - begin
            assert statuses == [200] * 5
            assert answered < 3.0, "others had to wait until the slow clients were ended"
            for client in clients:
                status, headers, answer = answer_of(client)
                assert (status, headers["Connection"]) == (408, "close")
                assert answer["error"] == "the picture did not come within 3 seconds; try again."
            assert 3.0 <= time.monotonic() - begin < SOON


def test_a_head_must_come_in_time_as_well(service: Service) -> None:
    with serving(service, sending=0.5) as server:
        begin = time.monotonic()
        with trickling(server, 3, b"GET / HTTP/1.1\r\nX: ") as clients, connect(server) as silent:
            for client in (*clients, silent):
                assert ends(client)
        assert 0.5 <= time.monotonic() - begin < SOON


def ends(client: socket.socket) -> bool:
    """Whether the server closes the connection without an answer."""
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_a_hundred_requests_at_once_are_all_answered(service: Service) -> None:
    together = threading.Barrier(100)

    def slow(image: np.ndarray) -> list[Any]:
        time.sleep(0.005)
        return []

    def one(server: PageServer) -> tuple[int, bool]:
        together.wait(SOON)
        status, headers, _ = ask(server, "POST", "/api/faces", picture())
        return status, "Retry-After" in headers

    with serving(Service(slow, service.model, "slow")) as server, ThreadPoolExecutor(100) as threads:
        answers = [future.result() for future in [threads.submit(one, server) for _ in range(100)]]
    assert set(answers) <= {(200, False), (503, True)}
    assert sum(status == 200 for status, _ in answers) >= Limits().at_a_time + Limits().queue


def test_what_exceeds_the_queue_is_told_to_come_again(service: Service) -> None:
    gate = Gate()
    gated = Service(gate, service.model, "gated")
    with serving(gated, at_a_time=2, queue=3) as server, ThreadPoolExecutor(12) as threads:
        try:
            waiting = {threads.submit(ask, server, "POST", "/api/faces", picture()) for _ in range(12)}
            turned_away: list[Any] = []
            while len(turned_away) < 7:
                done, waiting = wait(waiting, SOON, FIRST_COMPLETED)
                assert done
                turned_away += [future.result() for future in done]
        finally:
            gate.opened.set()
        assert [(status, headers["Retry-After"]) for status, headers, _ in turned_away] == [(503, "2")] * 7
        assert all(answer["error"] == "the server is busy; try again." for _, _, answer in turned_away)
        assert [future.result()[0] for future in waiting] == [200] * 5


def test_a_busy_server_says_so(service: Service) -> None:
    gate = Gate()
    with serving(Service(gate, service.model, "gated"), at_a_time=1, waiting=0.05) as server:
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(ask, server, "POST", "/api/faces", picture())
            try:
                assert gate.entered.acquire(timeout=SOON)
                assert ask(server, "POST", "/api/faces", picture())[0] == 503
            finally:
                gate.opened.set()
            assert first.result()[0] == 200
        assert ask(server, "POST", "/api/faces", picture())[0] == 200


def test_a_client_that_went_away_while_it_waited_is_not_worked_for(service: Service) -> None:
    gate = Gate()
    with serving(Service(gate, service.model, "gated"), at_a_time=1) as server, ThreadPoolExecutor(1) as threads:
        first = threads.submit(ask, server, "POST", "/api/faces", picture())
        try:
            assert gate.entered.acquire(timeout=SOON)
            with connect(server) as client:
                client.sendall(head(server, length=len(picture())) + picture())
            time.sleep(0.3)  # so that the server has seen it go
        finally:
            gate.opened.set()
        assert first.result()[0] == 200
        assert ask(server, "POST", "/api/faces", picture())[0] == 200
    assert gate.count == 2


def test_a_length_that_is_too_short_ends_the_picture_there(server: PageServer) -> None:
    with connect(server) as client:
        client.sendall(head(server, length=10) + picture())
        answers = b"".join(iter(lambda: client.recv(1 << 16), b"")).decode().split("HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == ["422", "400"]  # what comes after the picture is no request
    assert "this is no picture that can be read" in answers[0]
    assert answers[1].endswith('{"error":"this is no request that can be read."}')
    assert "connection: close" in answers[1]
    assert all("x-content-type-options: nosniff" in answer for answer in answers)


def test_a_length_that_is_too_long_is_not_waited_for(service: Service) -> None:
    with serving(service, sending=0.3) as server, connect(server) as client:
        client.sendall(head(server, length=10_000) + picture())
        assert answer_of(client)[0] == 408
        assert ends(client)


def test_lengths_that_contradict_each_other_are_refused(server: PageServer) -> None:
    for more in ("Content-Length: 7", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip"):
        with connect(server) as client:
            client.sendall(head(server, more, length=8))
            status, headers, answer = answer_of(client)
            assert (status, answer["error"]) == (411, "the upload's length is not given.")
            assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_body_that_is_refused_early_does_not_hide_the_answer(server: PageServer) -> None:
    """The client sees why, although it sends on after the server has answered."""
    with connect(server) as client:
        client.sendall(head(server, length=Limits().upload + 1))
        for _ in range(64):
            client.sendall(bytes(1 << 16))
        assert answer_of(client)[0] == 413


def test_pictures_that_would_fill_the_memory_are_told_to_come_again(service: Service) -> None:
    with serving(service, uploads=5_000) as server:
        large = np.random.default_rng(0).integers(0, 255, 200_000, np.uint8).tobytes()
        status, headers, _ = ask(server, "POST", "/api/faces", large)
        assert (status, headers["Retry-After"]) == (503, "2")
        assert ask(server, "POST", "/api/faces", picture())[0] == 200  # what was held is free again


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # a browser that wants TLS
        (b"GET / HTTP/1.1\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
    ],
)
def test_what_is_no_request_is_answered_with_the_same_headers(server: PageServer, sent: bytes, expected: int) -> None:
    with connect(server) as client:
        client.sendall(sent)
        status, headers, answer = answer_of(client)
    assert (status, headers["Server"], headers["X-Content-Type-Options"]) == (expected, "semalign", "nosniff")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert answer["error"].endswith(".")


def test_too_many_connections_end_one_whose_client_is_slow(service: Service) -> None:
    question = b"GET /api/model HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n"
    with serving(service, connections=4, slow=2.0) as server, ExitStack() as stack:
        question = question.replace(b"PORT", str(server.port).encode())
        silent = []
        for _ in range(4):
            silent.append(stack.enter_context(connect(server)))
            time.sleep(0.02)
        with connect(server) as crowded:  # as long as nobody is slow
            time.sleep(0.3)
            crowded.sendall(question)
            status, headers, answer = answer_of(crowded, "GET")
            assert (status, headers["Retry-After"], headers["Connection"]) == (503, "2", "close")
            assert answer["error"] == "the server is busy; try again."
        time.sleep(2.0)
        with connect(server) as late:
            assert ends(silent[0])
            late.sendall(question)
            assert answer_of(late, "GET")[0] == 200
        silent[-1].sendall(question)
        assert answer_of(silent[-1], "GET")[0] == 200


def reading_nothing(server: PageServer) -> socket.socket:
    """A client that has asked for so much that its answers fill all buffers on the way, and takes none of it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(0.2)
    client.connect(("127.0.0.1", server.port))
    with suppress(OSError):  # it takes no more of them, or has enough of them already
        for _ in range(1000):
            client.sendall(f"GET / HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode() * 50)
    return client


def test_clients_that_take_no_answer_are_ended(service: Service) -> None:
    with serving(service, sending=1.0, connections=4, slow=0.1) as server, ExitStack() as stack:
        begin = time.monotonic()
        clients = [stack.enter_context(reading_nothing(server)) for _ in range(6)]
        while ask(server, "GET", "/api/model")[0] == 503 and time.monotonic() - begin < SOON:
            time.sleep(0.1)
        assert ask(server, "GET", "/api/model")[0] == 200
        while server._server.server_state.connections and time.monotonic() - begin < SOON:
            time.sleep(0.05)
        assert not server._server.server_state.connections
        for client in clients:
            with pytest.raises(OSError):
                for _ in range(1000):
                    client.sendall(b"x" * 10_000)


def test_the_server_ends_although_clients_are_still_sending(service: Service) -> None:
    with serving(service) as server:
        clients = [connect(server) for _ in range(3)]
        clients[0].sendall(head(server, "Expect: 100-continue", length=10_000))
        assert clients[0].recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it is being read
        clients[1].sendall(b"GET /")
        begin = time.monotonic()
    assert time.monotonic() - begin < SOON
    status, headers, answer = answer_of(clients[0])
    assert (status, headers["Server"]) == (503, "semalign")
    assert answer["error"] == "the server is being stopped."
    for client in clients:
        client.close()
