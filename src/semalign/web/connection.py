"""One connection: uvicorn's, with a limit of time for heads, a limit of how many are open, and errors as JSON."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from semalign.web.answers import error_answer
from semalign.web.limits import ConnectionLimits

# Words of h11's errors, what they are answered by; other errors by the status that h11 names.
_PROTOCOL_ERRORS = {
    "Content-Length": (HTTPStatus.LENGTH_REQUIRED, "the upload's length is not given."),
    "Transfer-Encoding": (HTTPStatus.LENGTH_REQUIRED, "the upload's length is not given."),
    "Host:": (HTTPStatus.FORBIDDEN, "the request must name one host."),
}


class Connection(H11Protocol):
    """Limits what uvicorn leaves open: how long a client may take to send a request's head, and how many may try."""

    limits: ClassVar[ConnectionLimits]
    answer_headers: ClassVar[Mapping[str, str]]
    _clock: asyncio.TimerHandle | None = None
    _since: float = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came."""
        super().connection_made(transport)
        self._start_clock()
        if len(self.connections) > self.limits.connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Some bytes came: a whole head stops the clock, and from there the body's own limit holds."""
        if self._clock is None and not self._answering():
            self._start_clock()
        super().data_received(data)
        if self._answering():
            self._stop_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went."""
        self._stop_clock()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, with the same headers as all answers, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            status, sentence = _named(sys.exception())
            answer = error_answer(status, sentence)
            own = [(name.lower().encode(), value.encode()) for name, value in self.answer_headers.items()]
            headers = [*answer.raw_headers, *own, (b"connection", b"close")]
            events = [
                h11.Response(status_code=status, headers=headers, reason=status.phrase),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ]
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _sending(self) -> bool:
        """Whether it is the client's turn."""
        return not self._answering() or self.cycle.more_body

    def _start_clock(self) -> None:
        self._since = self.loop.time()
        self._clock = self.loop.call_later(self.limits.sending, self.transport.close)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _make_room(self) -> None:
        others = [other for other in self.connections if isinstance(other, Connection) and other is not self]
        waiting = [other for other in others if other._sending() and not other.transport.is_closing()]
        if waiting:
            min(waiting, key=lambda other: other._since).transport.abort()


def connection_class(limits: ConnectionLimits, headers: Mapping[str, str]) -> type[Connection]:
    """The class of connections with these limits and these headers of every answer."""
    fields: dict[str, Any] = {"limits": limits, "answer_headers": headers}
    return type("LimitedConnection", (Connection,), fields)


def _named(error: BaseException | None) -> tuple[HTTPStatus, str]:
    for word, answer in _PROTOCOL_ERRORS.items():
        if word in str(error):
            return answer
    hint = error.error_status_hint if isinstance(error, h11.ProtocolError) else 400
    return HTTPStatus(hint), "this is no request that can be read."
