"""A token that everybody must show where others than this machine can come to the page."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from semalign.web.answers import error_answer


class Access:
    """An ASGI application around another.

    The token comes once in the page's address, and then in a cookie that no script can read and that the browser sends
    with requests of this page alone. The page itself is answered at once, and not by a redirection: a strict cookie would
    not be sent with one that begins at another site, such as a chat in which the address was passed on.

    Args:
        app: answers who has shown the token.
        token: None = nobody need show any.
        port: of the server; cookies are shared by all ports of a host.
    """

    def __init__(self, app: ASGIApp, token: str | None, port: int) -> None:
        self._app, self._token, self._cookie = app, token, f"semalign-review-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._token is None:
            await self._app(scope, receive, send)
            return
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[-1]
        first = scope["path"] == "/" and scope["method"] == "GET" and self._fits(given)
        if not first and not self._fits(self._kept(Headers(scope=scope))):
            sentence = "this page is for those who were given its whole address, with the token in it; ask for that."
            await error_answer(HTTPStatus.UNAUTHORIZED, sentence)(scope, receive, send)
            return

        async def with_cookie(message: Message) -> None:
            if first and message["type"] == "http.response.start":
                cookie = f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"
                message = {**message, "headers": [*message.get("headers", ()), (b"set-cookie", cookie.encode())]}
            await send(message)

        await self._app(scope, receive, with_cookie)

    def _kept(self, headers: Headers) -> str:
        try:
            found = SimpleCookie("; ".join(headers.getlist("cookie"))).get(self._cookie)
        except CookieError:
            return ""
        return found.value if found else ""

    def _fits(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self._token or "").encode())
