"""The page's server: the standard library's, for one person on one machine.

It listens on the loopback address, keeps nothing, and answers only requests that a page of its own may have sent: the Host
must be an address or this host's name (a foreign name that was made to point here is refused), the Origin, where there is
one, must be the same, and there are no CORS headers. Uploads are bounded before they are read, pictures before they are
unpacked, and only so many are worked on at a time. The page loads nothing from elsewhere, and its headers say so.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import ipaddress
import json
import re
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from semalign.errors import SemalignError
from semalign.serve.service import Service

MAX_UPLOAD = 20 * 2**20  # bytes
AT_A_TIME = 2  # pictures
PATIENCE = 30.0  # seconds: for a client's next byte, and for a picture's turn
UPLOADS = ("image/jpeg", "image/png", "image/webp", "image/bmp", "application/octet-stream")


class _RefusedError(Exception):
    """A request that is answered by a status and a sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class PageServer(ThreadingHTTPServer):
    """Serves the page; `serve_forever` runs it, `shutdown` and `server_close` end it.

    Attributes:
        service: what answers.
        hosts: names in a Host header that are this server's, beside addresses.
    """

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"

    def __init__(self, service: Service, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.service, self.hosts = service, {"localhost", host.lower()}
        self.turns = threading.BoundedSemaphore(AT_A_TIME)
        self.page = resources.files("semalign.serve").joinpath("page.html").read_bytes()
        self.headers = _headers(self.page.decode("utf-8"))
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = self.server_address[0], self.server_address[1]
        name = str(host)
        return f"http://{f'[{name}]' if ':' in name else name}:{port}/"

    def server_bind(self) -> None:
        """Bind without asking a name server for this machine's name, as HTTPServer would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(self.allow_reuse_address))
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no event; anything else is a defect, shown on the terminal."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            traceback.print_exc()


def open_server(service: Service, host: str = "127.0.0.1", port: int = 8765) -> PageServer:
    """A server that listens; port 0 takes a free one.

    Raises:
        SemalignError: the address or the port cannot be had.
    """
    try:
        return PageServer(service, host, port)
    except OverflowError:
        raise SemalignError(f"there is no port {port}; choose one from 0 to 65535 with --port.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SemalignError(f"port {port} of {host} is in use; choose another with --port.") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise SemalignError(f"port {port} is not allowed; choose one above 1023 with --port.") from error
        raise SemalignError(
            f"{host}: cannot be listened on ({error.strerror or error}); choose an address of this machine with --host."
        ) from error


def _headers(page: str) -> dict[str, str]:
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


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: PageServer
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    GET: ClassVar[Mapping[str, str]] = {"/": "_page", "/api/model": "_model"}
    POST: ClassVar[Mapping[str, str]] = {"/api/faces": "_faces", "/api/heatmap": "_heatmap"}

    def do_GET(self) -> None:
        """The page, or what it must know about the model."""
        self._handle(self.GET)

    def do_POST(self) -> None:
        """A question about a picture."""
        self._handle(self.POST)

    def version_string(self) -> str:
        """The name alone: versions help nobody but those who look for holes."""
        return "semalign"

    def log_message(self, format: str, *values: Any) -> None:
        """Nothing is kept, no log either."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Errors of the protocol itself, with the same headers as all answers."""
        self.close_connection = True
        self._send(HTTPStatus(code), {"error": message or HTTPStatus(code).phrase})

    def _handle(self, routes: Mapping[str, str]) -> None:
        try:
            self._check_sender()
            path = urlsplit(self.path).path
            if path not in routes:
                known = path in self.GET or path in self.POST
                status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
                raise _RefusedError(status, f"there is nothing to {self.command} at this address.")
            answer: Callable[[], None] = getattr(self, routes[path])
            answer()
        except _RefusedError as error:
            self.close_connection = True  # a body may be left unread
            self._send(error.status, {"error": str(error)})
        except SemalignError as error:
            self._send(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)})
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            traceback.print_exc()
            self.close_connection = True
            self._send(
                HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "the server failed; what happened is on its terminal."}
            )

    def _check_sender(self) -> None:
        host = self.headers.get("Host", "")
        if len(self.headers.get_all("Host", [])) != 1 or not _is_ours(host, self.server.hosts, self.server.server_port):
            raise _RefusedError(HTTPStatus.FORBIDDEN, f"this server is not {host!r}; open {self.server.url}.")
        origin = self.headers.get("Origin")
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            raise _RefusedError(HTTPStatus.FORBIDDEN, "other sites may not ask this server.")

    def _page(self) -> None:
        self._send_bytes(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")

    def _model(self) -> None:
        limits = {"max_upload": MAX_UPLOAD}
        self._send(HTTPStatus.OK, self.server.service.describe() | limits)

    def _faces(self) -> None:
        self._answer_upload(self.server.service.faces)

    def _heatmap(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        try:
            landmark = int(asked["landmark"][0])
            box = [float(number) for number in asked["box"][0].split(",")]
        except (KeyError, ValueError):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "give landmark=INDEX and box=x0,y0,x1,y1.") from None
        self._answer_upload(lambda upload: self.server.service.heatmap(upload, landmark, box))

    def _answer_upload(self, work: Callable[[bytes], dict[str, Any]]) -> None:
        """Read the body and answer, when it is this picture's turn."""
        length = self._length()
        if not self.server.turns.acquire(timeout=PATIENCE):
            raise _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "the server is busy; try again.")
        try:
            upload = self.rfile.read(length)
            if len(upload) < length:
                raise ConnectionAbortedError("the client went away")
            result = work(upload)
        finally:
            self.server.turns.release()
        self._send(HTTPStatus.OK, result)

    def _length(self) -> int:
        """The body's length, if it is one that will be read."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,12}", length) or "Transfer-Encoding" in self.headers:
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "the upload's length is not given.")
        if int(length) > MAX_UPLOAD:
            raise _RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the picture has more than {MAX_UPLOAD // 2**20} MB; make it smaller.",
            )
        if self.headers.get_content_type() not in UPLOADS:
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"uploads are of type {', '.join(UPLOADS)}.")
        return int(length)

    def _send(self, status: HTTPStatus, value: Any) -> None:
        self._send_bytes(status, json.dumps(value, allow_nan=False).encode(), "application/json")

    def _send_bytes(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _is_ours(host: str, names: set[str], port: int) -> bool:
    """Whether a Host header names this server: an address (which no name server can redirect) or one of our names."""
    try:
        parts = urlsplit(f"//{host}")
        name, given = parts.hostname, parts.port
    except ValueError:
        return False
    if not name or parts.username is not None or parts.path or (given or 80) != port:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True
