"""What every answer has in common: headers that let the page load nothing from elsewhere, and errors as a sentence."""

from __future__ import annotations

import base64
import hashlib
import re
from http import HTTPStatus

from starlette.responses import JSONResponse

RETRY_AFTER = 2  # seconds after which a client that met a busy server may ask again


class RefusedError(Exception):
    """A request that is answered by a status and a sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def error_answer(status: HTTPStatus, sentence: str) -> JSONResponse:
    """The answer {"error": sentence}; one that says that the server is busy also says when to ask again."""
    later = {"Retry-After": str(RETRY_AFTER)} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return JSONResponse({"error": sentence}, status, later)


def common_headers(page: str) -> dict[str, str]:
    """Headers of every answer; the page's own style and script are allowed by their hashes, and nothing else is."""
    policy = {
        "default-src": "'none'",
        "script-src": _hashes(page, "script"),
        "style-src": _hashes(page, "style"),
        "img-src": "blob: data:",
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


def _hashes(page: str, tag: str) -> str:
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = (hashlib.sha256(text.encode()).digest() for text in found)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
