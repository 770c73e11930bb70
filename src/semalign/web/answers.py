"""What every answer has in common: headers that let a page load nothing from elsewhere, and errors as a sentence."""

from __future__ import annotations

import base64
import hashlib
import re
import traceback
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from semalign.errors import SemalignError

BUSY = "the server is busy; try again."
RETRY_AFTER = 2  # seconds after which a client that met a busy server may ask again


class RefusedError(Exception):
    """A request that is answered by a status and a sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def busy() -> RefusedError:
    """The refusal of what is too much at the moment."""
    return RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, BUSY)


def error_answer(status: HTTPStatus, sentence: str) -> JSONResponse:
    """The answer {"error": sentence}; one that says that the server is busy also says when to ask again."""
    later = {"Retry-After": str(RETRY_AFTER)} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return JSONResponse({"error": sentence}, status, later)


def common_headers(
    scripts: str = "'self'", styles: str = "'self'", pictures: str = "'self' blob: data:"
) -> dict[str, str]:
    """Headers of every answer.

    Args:
        scripts: what a Content-Security-Policy allows to run; by default files of the server's own.
        styles: likewise.
        pictures: likewise.
    """
    policy = {
        "default-src": "'none'",
        "script-src": scripts,
        "style-src": styles,
        "img-src": pictures,
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Server": "semalign",  # without versions, which help nobody but those who look for holes
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
        "Cache-Control": "no-store",
    }


def hashes(page: str, tag: str) -> str:
    """What stands within the page's elements of this name, as a Content-Security-Policy allows it."""
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = (hashlib.sha256(text.encode()).digest() for text in found)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


async def _refused(request: Request, error: Any) -> Response:
    return error_answer(error.status, str(error))


async def _unfit(request: Request, error: Exception) -> Response:
    return error_answer(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))


async def _nothing_there(request: Request, error: Any) -> Response:
    return error_answer(HTTPStatus(error.status_code), f"there is nothing to {request.method} at this address.")


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=HTTPStatus.BAD_REQUEST)  # which nobody sees


async def _failed(request: Request, error: Exception) -> Response:
    traceback.print_exception(error)
    sentence = "the server failed; what happened is on its terminal."
    return error_answer(HTTPStatus.INTERNAL_SERVER_ERROR, sentence)


HANDLERS: Final[dict[Any, Any]] = {
    RefusedError: _refused,
    SemalignError: _unfit,
    HTTPException: _nothing_there,
    ClientDisconnect: _gone,
    Exception: _failed,
}
