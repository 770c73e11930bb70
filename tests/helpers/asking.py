"""A running page server, and questions to it."""

from __future__ import annotations

import http.client
import io
import json
import socket
from contextlib import AbstractContextManager
from typing import Any

from PIL import Image
from running import running

from semalign.serve import Limits, Service, open_server
from semalign.serve.server import PageServer


def serving(service: Service, **limits: Any) -> AbstractContextManager[PageServer]:
    """A server of this service in a thread, with limits of its own."""
    return running(open_server(service, port=0, limits=Limits(**limits)))


def picture(width: int = 80, height: int = 60, kind: str = "PNG", level: int = 120, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (level,) * 3).save(stream, kind, **options)
    return stream.getvalue()


def ask(
    server: PageServer, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of an answer; names of headers are given with _ for -."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {"Content-Type": "image/png", **named} if body is not None else named)
    status, fields, data = read_answer(connection.getresponse())
    connection.close()
    return status, fields, data


def read_answer(answer: http.client.HTTPResponse) -> tuple[int, dict[str, str], Any]:
    """As `ask`; names of headers as in RFC 9110, whatever case they came in."""
    data = answer.read()
    fields = {name.title(): value for name, value in answer.headers.items()}
    return (
        answer.status,
        fields,
        json.loads(data) if answer.headers.get_content_type() == "application/json" else data.decode(),
    )


def connect(server: PageServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def head(server: PageServer, *more: str, length: int | str | None = None) -> bytes:
    """The head of an upload."""
    lines = ["POST /api/faces HTTP/1.1", f"Host: localhost:{server.port}", "Content-Type: image/png", *more]
    lines += [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


def answer_of(client: socket.socket, method: str = "POST") -> tuple[int, dict[str, str], Any]:
    """The next answer on a connection."""
    response = http.client.HTTPResponse(client, method=method)
    response.begin()
    return read_answer(response)
