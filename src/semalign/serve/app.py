"""What is answered at which address."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from semalign.serve.limits import Limits
from semalign.serve.service import Service
from semalign.serve.uploads import Uploads
from semalign.web.answers import HANDLERS, RefusedError
from semalign.web.turns import Turns


class Answers:
    """The page's routes.

    Args:
        service: what answers.
        page: the page, HTML in UTF-8.
        limits: of uploads and work.
    """

    def __init__(self, service: Service, page: bytes, limits: Limits) -> None:
        self._service, self._page, self._limits = service, page, limits
        self._uploads, self._turns = Uploads(limits), Turns(limits.at_a_time, limits.queue, limits.waiting)

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/", self.page),
            Route("/api/model", self.model),
            Route("/api/faces", self.faces, methods=["POST"]),
            Route("/api/heatmap", self.heatmap, methods=["POST"]),
        ]
        app = Starlette(routes=routes, exception_handlers=HANDLERS)
        app.router.redirect_slashes = False
        return app

    def close(self) -> None:
        """Begin no work any more."""
        self._turns.close()

    async def page(self, request: Request) -> Response:
        """The page itself."""
        return Response(self._page, media_type="text/html")

    async def model(self, request: Request) -> Response:
        """What the page must know about the model and the limits."""
        return JSONResponse(self._service.describe() | {"max_upload": self._limits.upload})

    async def faces(self, request: Request) -> Response:
        """The faces of the uploaded picture."""
        return await self._answer_upload(request, self._service.faces)

    async def heatmap(self, request: Request) -> Response:
        """The heatmap of landmark=INDEX of the face in box=x0,y0,x1,y1 of the uploaded picture."""
        try:
            landmark = int(request.query_params["landmark"])
            box = [float(number) for number in request.query_params["box"].split(",")]
        except (KeyError, ValueError):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "give landmark=INDEX and box=x0,y0,x1,y1.") from None
        return await self._answer_upload(request, partial(self._service.heatmap, landmark=landmark, box=box))

    async def _answer_upload(self, request: Request, work: Callable[[bytes], dict[str, Any]]) -> Response:
        async with self._uploads.read(request) as upload:
            return JSONResponse(await self._turns.run(request, partial(work, upload)))
