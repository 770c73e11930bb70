"""One connection: uvicorn's, with limits of time for heads and answers, a limit of how many are open, and errors as JSON."""

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


CROWDED = "crowded"  # in a request's state: it came on a connection for which there is no room


class Connection(H11Protocol):
    """Limits what uvicorn leaves open: how long a client may take to send a head or to take an answer, and how many may try."""

    limits: ClassVar[ConnectionLimits]
    answer_headers: ClassVar[Mapping[str, str]]
    _clock: asyncio.TimerHandle | None = None  # of a head
    _taking: asyncio.TimerHandle | None = None  # of an answer
    _look: asyncio.TimerHandle | None = None
    _since: float = 0.0
    _closing = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came."""
        super().connection_made(transport)
        self._start_clock()
        self._look_later()
        if len(self.connections) > self.limits.connections:
            self.loop.call_soon(self.loop.call_soon, self._make_room)  # once that is read which has come meanwhile

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
        self._stop_taking()
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """An answer was given: from now on the client is silent."""
        self._since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not take an answer as fast as it is given: it has as long for it as for a request."""
        super().pause_writing()
        self._since = self.loop.time()
        self._taking = self.loop.call_later(self.limits.sending, self.transport.abort)

    def resume_writing(self) -> None:
        """The client took it."""
        self._stop_taking()
        super().resume_writing()

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

    def _their_turn(self) -> bool:
        """Whether it is the client that is waited for."""
        return not self._answering() or self.cycle.more_body or self.flow.write_paused

    def _start_clock(self) -> None:
        self._since = self.loop.time()
        self._clock = self.loop.call_later(self.limits.sending, self.transport.close)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _stop_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _look_later(self) -> None:
        self._look = self.loop.call_later(self.limits.sending, self._end_if_stuck)

    def _end_if_stuck(self) -> None:
        """A connection that is closed goes on until its last bytes are taken, which a client may never do."""
        if self._closing:
            self.transport.abort()
        else:
            self._closing = self.transport.is_closing()
            self._look_later()

    def _make_room(self) -> None:
        """End the connection whose client has been slow for longest; if nobody is slow, this one is told to come again."""
        most, now = self.limits.connections, self.loop.time()
        every = [one for one in self.connections if isinstance(one, Connection) and not one.transport.is_closing()]
        if self.transport.is_closing() or len(every) <= most:
            return
        slow = [one for one in every if one is not self and one._their_turn() and now - one._since >= self.limits.slow]
        if slow:
            min(slow, key=lambda one: one._since).transport.abort()
        elif len(every) > 2 * most or len(self.connections) > 4 * most:
            self.transport.abort()
        else:
            self.app_state = {**self.app_state, CROWDED: True}


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
