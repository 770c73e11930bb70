"""Clients of every kind at once on a page that a command serves in a process of its own, and what that process takes."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 180.0  # seconds after which an answer counts as lost
BYTE = 0.05  # seconds between the bytes of a slow client
AGAIN = 1.0  # seconds after which one that was ended comes again
PAUSE = 0.2  # seconds between the requests of a normal client
HUGE = 300 * 2**20  # bytes that a client wants to send
PIECE = bytes(2**16)
HELD_UP = 2.0  # seconds for which these clients did nothing, after which it is they who are slow
LOST = 0  # the status of what was not answered


@dataclass(frozen=True)
class Answer:
    """Status, LOST if there was none; headers in lower case; body; bytes sent until it came."""

    status: int = LOST
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    sent: int = 0

    @property
    def later(self) -> bool:
        """Whether it says that the server is busy, and when to come again."""
        return self.status == 503 and "retry-after" in self.headers and b"error" in self.body


@dataclass(frozen=True)
class Page:
    """What is asked of a page.

    Attributes:
        arguments: of the command.
        normal: requests that are answered by 200.
        many: requests of which many are sent at once.
        unread: a request with a long answer.
        slow: the head of a request with a body.
        broken: name, request and statuses that it may be answered by.
        huge: name, head of a request whose body is `HUGE`, in pieces or chunks, and statuses.
        right: whether the answer to a normal request is the right one.
    """

    arguments: Sequence[str]
    normal: Sequence[bytes]
    many: Sequence[bytes]
    unread: bytes
    slow: bytes
    broken: Sequence[tuple[str, bytes, tuple[int, ...]]]
    huge: Sequence[tuple[str, bytes, tuple[int, ...]]]
    right: Callable[[bytes, Answer], bool]


@dataclass(frozen=True)
class Taken:
    """What a process takes: bytes of memory, now and at most since the last look, open files and threads."""

    memory: int
    most: int
    files: int
    threads: int


class Process:
    """A command that serves a page."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    def taken(self) -> Taken:
        """What it takes; the most memory counts from here again."""
        place = Path(f"/proc/{self.process.pid}")
        lines = (place / "status").read_text(encoding="ascii").splitlines()
        values = {name: text.split()[0] for name, _, text in (line.partition(":") for line in lines) if text.split()}
        found = Taken(
            int(values["VmRSS"]) * 1024,
            int(values["VmHWM"]) * 1024,
            len(list((place / "fd").iterdir())),
            int(values["Threads"]),
        )
        (place / "clear_refs").write_text("5")
        return found


@contextmanager
def started(arguments: Sequence[str]) -> Iterator[Process]:
    """The command in a process of its own, which must end in order."""
    command = [sys.executable, "-m", "semalign", *arguments, "--port", "0"]
    with (
        TemporaryFile("w+", encoding="utf-8") as said,  # a pipe that nobody reads would hold it up
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            port = urlsplit(process.stdout.readline().split(" ")[0]).port
            assert port is not None
            yield Process(process, port)
        finally:
            process.terminate()
            out, _ = process.communicate(timeout=PATIENCE)
            said.seek(0)
            assert said.read(2000) == "", "it failed at something"
    assert (process.returncode, out) == (0, "stopped\n")


def request(method: str, path: str, body: bytes | None = None, *more: str, length: int | None = None) -> bytes:
    """A request as it is sent; `length` says another length than the body's."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1:PORT", *more]
    if body is not None or length is not None:
        lines.append(f"Content-Length: {len(body or b'') if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """The next answer; one without a status if the connection ended before it was whole."""
    try:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Answer(int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"])))
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, KeyError, ValueError, IndexError):
        return Answer()


class Load:
    """Clients on a page.

    Attributes:
        answers: how often each kind of client was answered by each status.
        slowest: seconds of the slowest answer to a normal client, which may tell it to come again.
        longest: seconds until a normal client had what it wanted, with all that it was told to wait.
        wrong: what was not as it should be.
        held_up: seconds for which this process did nothing, at most: on a machine with other work its clients are slow ones.
        excused: what was lost by clients that were held up meanwhile.
    """

    def __init__(self, page: Page, port: int) -> None:
        self.page, self.port = page, port
        self.answers: dict[str, Counter[int]] = {}
        self.slowest, self.longest = 0.0, 0.0
        self.wrong: list[str] = []
        self.held_up, self.excused = 0.0, 0
        self._late = -HELD_UP  # when they were held up last
        self._done = asyncio.Event()

    async def run(self, seconds: float, many: int, slow: int) -> None:
        """Slow clients and a normal one, and again and again many at once and whatever is broken, until the time is over."""
        watching = asyncio.create_task(self._watch())
        background = [asyncio.create_task(self._again(self._send_slowly)) for _ in range(slow)]
        background += [asyncio.create_task(self._again(self._take_nothing)) for _ in range(slow)]
        normal = asyncio.create_task(self._normal())
        await asyncio.sleep(1.5)
        end = time.monotonic() + seconds
        while True:
            await asyncio.gather(*(self._one("many", self.page.many[i % len(self.page.many)]) for i in range(many)))
            await self.break_things()
            if time.monotonic() >= end:
                break
        self._done.set()
        await asyncio.gather(normal, watching, *background)

    async def ask(self, sent: bytes) -> Answer:
        """The answer to a request on a connection of its own."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                reader, writer = await self._open()
                try:
                    writer.write(self._here(sent))
                    return await read_answer(reader)
                finally:
                    await _close(writer)
        return Answer()

    async def break_things(self) -> None:
        """Everything that is broken or huge, at once."""
        work: list[Coroutine[Any, Any, None]] = [self._broken(*one) for one in self.page.broken]
        work += [self._huge(*one) for one in self.page.huge]
        work += [self._cut(one, share) for one in self.page.many[:4] for share in (0.01, 0.5, 0.99, 1.0)]
        await asyncio.gather(*work)

    def _here(self, sent: bytes) -> bytes:
        return sent.replace(b"127.0.0.1:PORT", b"127.0.0.1:%d" % self.port, 1)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, limit=2**18)

    def _count(self, kind: str, status: int) -> None:
        self.answers.setdefault(kind, Counter())[status] += 1

    async def _watch(self) -> None:
        """Notice that this process is held up."""
        while not self._done.is_set():
            begin = time.monotonic()
            await asyncio.sleep(0.1)
            late = time.monotonic() - begin - 0.1
            self.held_up = max(self.held_up, late)
            if late >= HELD_UP:
                self._late = time.monotonic()

    def _is_excused(self, status: int, begin: float) -> bool:
        excused = status == LOST and self._late >= begin
        self.excused += excused
        return excused

    async def _again(self, client: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while not self._done.is_set():
            with suppress(OSError):
                await client()
            await asyncio.sleep(AGAIN)

    async def _one(self, kind: str, sent: bytes) -> Answer:
        """A request that is answered rightly or told to come again."""
        begin = time.monotonic()
        answer = await self.ask(sent)
        self._count(kind, answer.status)
        fits = answer.later or (answer.status == 200 and self.page.right(sent, answer))
        if not (fits or self._is_excused(answer.status, begin)):
            self.wrong.append(f"{kind}: {sent[:60]!r} was answered by {answer.status} {answer.body[:80]!r}")
        return answer

    async def _normal(self) -> None:
        """One request after another, each asked again for as long as it is told to."""
        number = 0
        while not self._done.is_set():
            begin = asked = time.monotonic()
            while True:
                answer = await self._one("normal", self.page.normal[number % len(self.page.normal)])
                self.slowest = max(self.slowest, time.monotonic() - asked)
                if not answer.later:
                    break
                await asyncio.sleep(float(answer.headers["retry-after"]))
                asked = time.monotonic()
            self.longest = max(self.longest, time.monotonic() - begin)
            number += 1
            await asyncio.sleep(PAUSE)

    async def _send_slowly(self) -> None:
        """A body a byte at a time, until the server has enough of it."""
        reader, writer = await self._open()
        answer = asyncio.create_task(read_answer(reader))
        try:
            writer.write(self._here(self.page.slow))
            while not (answer.done() or self._done.is_set()):
                writer.write(b"x")
                await writer.drain()
                await asyncio.wait([answer], timeout=BYTE)
            if answer.done():
                self._count("a byte at a time", answer.result().status)
        finally:
            answer.cancel()
            await _close(writer)

    async def _take_nothing(self) -> None:
        """Asks again and again and takes no answer, until the server has enough of it."""
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", self.port))
            asking = asyncio.create_task(loop.sock_sendall(client, self._here(self.page.unread) * 20_000))
            stopping = asyncio.create_task(self._done.wait())
            await asyncio.wait([asking, stopping], return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                self._count("reads nothing", LOST)  # the server closed it
            for task in (asking, stopping):
                task.cancel()
                with suppress(OSError, asyncio.CancelledError):
                    await task

    async def _broken(self, kind: str, sent: bytes, statuses: tuple[int, ...]) -> None:
        begin = time.monotonic()
        answer = await self.ask(sent)
        self._count(kind, answer.status)
        if not (answer.later or answer.status in statuses or self._is_excused(answer.status, begin)):
            self.wrong.append(f"{kind} was answered by {answer.status} {answer.body[:80]!r}")

    async def _huge(self, kind: str, head: bytes, statuses: tuple[int, ...]) -> None:
        """A body of `HUGE` bytes, sent until there is an answer."""
        begin = time.monotonic()
        reader, writer = await self._open()
        answer = asyncio.create_task(read_answer(reader))
        chunk = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if b"chunked" in head else PIECE
        sent = 0
        try:
            writer.write(self._here(head))
            while sent < HUGE and not answer.done():
                writer.write(chunk)
                sent += len(chunk)
                with suppress(OSError):
                    await writer.drain()
                await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE):
                status = (await answer).status
        finally:
            answer.cancel()
            await _close(writer)
        self._count(kind, status)
        if status not in (*statuses, 503) and not self._is_excused(status, begin):
            self.wrong.append(f"{kind} was answered by {status}")
        if sent >= HUGE:
            self.wrong.append(f"{kind} was read whole")

    async def _cut(self, sent: bytes, share: float) -> None:
        """A connection that ends after a part of a request, or while its answer is made."""
        _, writer = await self._open()
        writer.write(self._here(sent)[: int(len(sent) * share)])
        with suppress(OSError):
            await writer.drain()
        writer.transport.abort()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
