"""What is answered at which address. Faces and pictures are asked for by the face's number, and no other file is read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from importlib import resources
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from semalign.auditing import Decision
from semalign.cores import usable_cores
from semalign.files import parse_json
from semalign.review.desk import PAGE, Desk
from semalign.review.pictures import Cutting
from semalign.review.queues import read_filter
from semalign.web.answers import HANDLERS, RefusedError
from semalign.web.limits import ConnectionLimits
from semalign.web.turns import Turns

MOST: Final = 2**20  # bytes of what a page sends
OWN: Final = "x-semalign"  # a header that no form of another site can send
FILES: Final = {
    "index.html": "text/html",
    "review.css": "text/css",
    "review.js": "text/javascript",
    "asking.js": "text/javascript",
    "queue.js": "text/javascript",
    "stage.js": "text/javascript",
    "panel.js": "text/javascript",
    "keys.js": "text/javascript",
}


class Answers:
    """The page's routes.

    Args:
        desk: what answers.
        limits: of connections; a body must come as soon as a head.
    """

    def __init__(self, desk: Desk, limits: ConnectionLimits) -> None:
        self._desk, self._limits = desk, limits
        # Pictures have threads of their own, so that no decision waits for them.
        self._turns = Turns(max(2, usable_cores()), limits.connections, limits.sending)
        folder = resources.files("semalign.review").joinpath("page")
        self._files = {name: folder.joinpath(name).read_bytes() for name in FILES}

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/", self.page),
            *(Route(f"/{name}", self.page) for name in FILES if name != "index.html"),
            Route("/api/audit", self.audit),
            Route("/api/queue", self.queue),
            Route("/api/verdicts", self.verdicts),
            Route("/api/face/{face:int}", self.face),
            Route("/api/picture/{face:int}", self.picture),
            Route("/api/small/{face:int}", self.small),
            Route("/api/changes", self.changes),
            Route("/api/decide", self.decide, methods=["POST"]),
            Route("/api/batch", self.batch, methods=["POST"]),
            Route("/api/undo", self.undo, methods=["POST"]),
            Route("/api/export", self.export, methods=["POST"]),
        ]
        app = Starlette(routes=routes, exception_handlers=HANDLERS)
        app.router.redirect_slashes = False
        return app

    def close(self) -> None:
        """Begin to cut no picture any more."""
        self._turns.close()

    async def page(self, request: Request) -> Response:
        """A file of the page's own."""
        name = request.url.path.removeprefix("/") or "index.html"
        return Response(self._files[name], media_type=FILES[name])

    async def audit(self, request: Request) -> Response:
        """What the page must know before anything else."""
        return await _json(self._desk.describe)

    async def queue(self, request: Request) -> Response:
        """A part of a queue: the fields of `Filter`, after=RANK, limit=COUNT."""
        asked = request.query_params
        wanted = read_filter(asked, self._desk.index)
        after, limit = _number(asked.get("after", "-1")), _number(asked.get("limit", str(PAGE)))
        return await _json(self._desk.queue, wanted, after, max(1, limit))

    async def verdicts(self, request: Request) -> Response:
        """What is decided now at ranks=RANK,RANK... of queue= in order=."""
        query = request.query_params
        name, order = query.get("queue", "faces"), query.get("order", "probability")
        ranks = [_number(text) for text in request.query_params.get("ranks", "").split(",") if text]
        return await _json(self._desk.verdicts, name, ranks, order)

    async def face(self, request: Request) -> Response:
        """Everything about a face but its picture."""
        return await _json(self._desk.face, request.path_params["face"])

    async def picture(self, request: Request) -> Response:
        """A face's picture at full resolution, with its place in the headers."""
        return await self._cutting(request, self._desk.pictures.face)

    async def small(self, request: Request) -> Response:
        """A face as a small square."""
        return await self._cutting(request, self._desk.pictures.small)

    async def changes(self, request: Request) -> Response:
        """What happened after since=CHANGE; page=, who= and face= say who asks, and what is open there."""
        asked = request.query_params
        face = asked.get("face")
        return await _json(
            self._desk.changes,
            _number(asked.get("since", "0")),
            asked.get("page", ""),
            asked.get("who") or self._desk.name,
            _number(face) if face else None,
        )

    async def decide(self, request: Request) -> Response:
        """Keep {"who", "decisions": [{"face", "landmark", "verdict", "x", "y"}]}."""
        sent = await self._sent(request)
        try:
            made = [Decision(**one) for one in sent["decisions"]]
            fit = all(
                type(one.face) is int
                and type(one.landmark) in (int, type(None))
                and all(type(value) in (int, float, type(None)) for value in (one.x, one.y))
                for one in made
            )
        except (KeyError, TypeError):
            fit = False
        if not fit or not made:
            raise RefusedError(
                HTTPStatus.BAD_REQUEST, "give decisions with face, landmark, verdict, and x, y of a move."
            )
        return await _json(self._desk.decide, made, self._who(sent))

    async def batch(self, request: Request) -> Response:
        """Decide all that a filter lets through: its fields, {"who", "verdict", "count"}; count as the person was told."""
        sent = await self._sent(request)
        wanted = read_filter({**sent, "state": "todo"}, self._desk.index)
        count = sent.get("count")
        if type(count) is not int:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "say how many it is that you want to decide.")
        return await _json(self._desk.decide_all, wanted, str(sent.get("verdict")), count, self._who(sent))

    async def undo(self, request: Request) -> Response:
        """Undo the last action of {"who"}."""
        return await _json(self._desk.undo, self._who(await self._sent(request)))

    async def export(self, request: Request) -> Response:
        """Start the export, and answer what it says of itself."""
        await self._sent(request)
        return await _json(self._desk.export)

    async def _cutting(self, request: Request, cut: Callable[[int], Cutting]) -> Response:
        row = request.path_params["face"]
        if row >= len(self._desk.index):
            raise RefusedError(HTTPStatus.NOT_FOUND, f"there is no face {row}.")
        cutting = await self._turns.run(request, partial(cut, row))
        width, height = cutting.size
        place = [cutting.x, cutting.y, cutting.scale, width, height]
        return Response(cutting.data, media_type=cutting.media, headers={"X-Place": json.dumps(place)})

    async def _sent(self, request: Request) -> Mapping[str, Any]:
        """The JSON object that a page of ours sent.

        Raises:
            RefusedError: it is another site's, too long, late, or none.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if OWN not in request.headers or kind != "application/json":
            raise RefusedError(HTTPStatus.FORBIDDEN, "only the page itself may do this.")
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.sending):
                async for piece in request.stream():
                    body += piece
                    if len(body) > MOST:
                        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "this is too much at once.")
        except TimeoutError:
            raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "this came too slowly; try again.") from None
        try:
            sent = parse_json(bytes(body))
        except ValueError:
            sent = None
        if not isinstance(sent, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "this is no JSON object.")
        return sent

    def _who(self, sent: Mapping[str, Any]) -> str:
        return str(sent.get("who") or self._desk.name)


async def _json(work: Callable[..., Mapping[str, Any]], *arguments: Any) -> Response:
    """What some work that may wait for a disk returns."""
    return JSONResponse(await run_in_threadpool(work, *arguments))


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "numbers are whole here.") from None
