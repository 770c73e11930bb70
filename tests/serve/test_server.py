"""The server: what it answers, and what it refuses."""

from __future__ import annotations

import io
import re
import socket
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from asking import ask, picture, serving
from PIL import Image

from semalign.errors import SemalignError
from semalign.serve import Limits, Service, open_server
from semalign.serve.limits import MAX_UPLOAD
from semalign.serve.server import PageServer


def test_the_page_allows_itself_its_own_style_and_script_and_nothing_else(server: PageServer) -> None:
    status, headers, page = ask(server, "GET", "/")
    assert status == 200
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert all(re.fullmatch(r"'sha256-[\w+/=]{44}'", policy[f"{kind}-src"]) for kind in ("script", "style"))
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
    assert headers["Server"] == "semalign"
    assert re.findall(r"""(?:src|href)=["'](?!data:,)|https?://(?!www\.w3\.org/2000/svg)|\bon\w+=|style=""", page) == []


def test_the_model_is_described(server: PageServer, service: Service) -> None:
    _, _, model = ask(server, "GET", "/api/model")
    assert model["landmarks"] == list(service.model.scheme.landmarks)
    assert (model["name"], model["terms"], model["max_upload"]) == ("fake", "research only", MAX_UPLOAD)
    assert {"landmarks": [60, 61, 62, 63, 64, 65, 66, 67], "closed": True} in model["curves"]


def test_faces_come_largest_first_in_pixels_of_the_upright_picture(server: PageServer) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    status, _, answer = ask(server, "POST", "/api/faces", picture(80, 60, "JPEG", exif=turned))
    assert (status, answer["width"], answer["height"]) == (200, 60, 80)
    large, small = answer["faces"]
    assert large["box"][2] - large["box"][0] > small["box"][2] - small["box"][0]
    assert len(large["points"]) == len(large["confidence"]) == 68
    np.testing.assert_allclose(np.max(large["points"], axis=0), large["box"][2:], atol=0.01)


def test_a_picture_without_faces(server: PageServer) -> None:
    assert ask(server, "POST", "/api/faces", picture(level=0))[2]["faces"] == []


def test_the_heatmap_lies_over_the_square_that_the_network_saw(server: PageServer, service: Service) -> None:
    path = "/api/heatmap?landmark=30&box=20,10,60,40"
    status, _, answer = ask(server, "POST", path, picture())
    assert status == 200
    side = 40 * service.model.crop.scale
    # The middle of the box, in a frame whose pixel centres are integers, is the middle of the square.
    assert (answer["side"], answer["x"], answer["y"]) == pytest.approx((side, 40 - side / 2, 25 - side / 2))
    assert answer["size"] == service.model.network.settings.heatmap_size
    again = ask(server, "POST", path.replace("30", "31"), picture())[2]
    assert again["peak"] != answer["peak"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("landmark=68&box=0,0,9,9", 422),
        ("landmark=-1&box=0,0,9,9", 422),
        ("landmark=1&box=0,0,9", 422),
        ("landmark=1&box=0,0,9,nan", 422),
        ("landmark=1&box=0,0,9,1e300", 422),
        ("landmark=x&box=0,0,9,9", 400),
        ("box=0,0,9,9", 400),
    ],
)
def test_wrong_questions_about_heatmaps_are_refused(server: PageServer, query: str, status: int) -> None:
    answer = ask(server, "POST", f"/api/heatmap?{query}", picture())
    assert answer[0] == status
    assert answer[2]["error"].endswith(".")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1:1", "localhost.evil.example:{port}", "x@127.0.0.1:{port}", ""],
)
def test_other_hosts_are_refused(server: PageServer, host: str) -> None:
    """A foreign name made to point here (DNS rebinding) would let its page read the answers."""
    status, _, answer = ask(server, "GET", "/", Host=host.format(port=server.port))
    assert status == 403
    assert "this server is not" in answer["error"]


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_own_hosts_are_served(server: PageServer, host: str) -> None:
    assert ask(server, "GET", "/api/model", Host=host.format(port=server.port))[0] == 200


def test_other_origins_are_refused_and_never_allowed_by_cors(server: PageServer) -> None:
    own = f"127.0.0.1:{server.port}"
    for origin in ("http://evil.example", "null", f"https://{own}", "http://127.0.0.1:1"):
        status, headers, _ = ask(server, "POST", "/api/faces", picture(), Origin=origin)
        assert status == 403
        assert not [name for name in headers if name.lower().startswith("access-control")]
    assert ask(server, "POST", "/api/faces", picture(), Origin=f"http://{own}")[0] == 200
    status, headers, _ = ask(server, "OPTIONS", "/api/faces", Origin="http://evil.example")
    assert status == 501
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_a_simple_form_of_another_site_is_no_upload(server: PageServer) -> None:
    """Only types that a browser asks about first (CORS preflight) are taken."""
    for kind in ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded"):
        assert ask(server, "POST", "/api/faces", picture(), Content_Type=kind)[0] == 415


def test_unknown_addresses_and_methods(server: PageServer) -> None:
    assert ask(server, "GET", "/../etc/passwd")[0] == 404
    assert ask(server, "GET", "/api/faces")[0] == 405
    assert ask(server, "POST", "/", b"x")[0] == 405


def test_large_uploads_are_refused_before_they_are_read(server: PageServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        head = f"POST /api/faces HTTP/1.1\r\nHost: localhost:{server.port}\r\nContent-Length: {MAX_UPLOAD + 1}\r\n\r\n"
        client.sendall(head.encode())
        answer = client.recv(1 << 16).decode()
    assert answer.startswith("HTTP/1.1 413")
    assert "connection: close" in answer.lower()


@pytest.mark.parametrize("headers", ["Transfer-Encoding: chunked", "Content-Length: -5", "Content-Length: x", ""])
def test_uploads_without_a_length_are_refused(server: PageServer, headers: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        lines = ["POST /api/faces HTTP/1.1", f"Host: localhost:{server.port}", *filter(None, [headers]), "", ""]
        client.sendall("\r\n".join(lines).encode())
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 411")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("side", [8_000, 60_000])
def test_decompression_bombs_are_refused_by_their_header(server: PageServer, side: int) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    status, _, answer = ask(server, "POST", "/api/faces", bomb)
    assert (status, answer["error"]) == (422, "the picture has more than 50 million pixels; make it smaller.")


def test_what_is_no_picture_is_refused_in_a_sentence(server: PageServer) -> None:
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)).save(noise, "JPEG")
    for upload, word in ((b"", "no picture"), (b"<svg/>", "no picture"), (noise.getvalue()[:900], "damaged")):
        status, _, answer = ask(server, "POST", "/api/faces", upload)
        assert status == 422
        assert word in answer["error"]


def test_16_bit_and_transparent_pictures_keep_their_levels(service: Service) -> None:
    seen: list[np.ndarray] = []

    def look(image: np.ndarray) -> list[Any]:
        seen.append(image)
        return []

    images = (
        Image.fromarray(np.full((6, 8), 40 * 257, np.uint16)),
        Image.new("RGBA", (8, 6), (80, 80, 80, 128)),
        Image.new("L", (8, 6), 40),
    )
    with serving(Service(look, service.model, "look")) as server:
        for image in images:
            stream = io.BytesIO()
            image.save(stream, "PNG")
            assert ask(server, "POST", "/api/faces", stream.getvalue())[0] == 200
    assert [(item.shape, int(item.min()), int(item.max())) for item in seen] == [((6, 8, 3), 40, 40)] * 3


def test_a_failing_detector_tells_the_terminal_and_not_the_page(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(image: np.ndarray) -> list[Any]:
        raise ZeroDivisionError("inner secret")

    with serving(Service(fail, service.model, "broken")) as server:
        status, headers, answer = ask(server, "POST", "/api/faces", picture())
    assert (status, headers["X-Content-Type-Options"]) == (500, "nosniff")
    assert "secret" not in answer["error"]
    assert "ZeroDivisionError: inner secret" in capsys.readouterr().err


def test_a_client_that_goes_away_frees_its_turn(server: PageServer, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2 * Limits().at_a_time):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            lines = ("POST /api/faces HTTP/1.1", f"Host: localhost:{server.port}", "Content-Type: image/png")
            client.sendall("\r\n".join([*lines, "Content-Length: 1000", "", "few"]).encode())
    assert ask(server, "POST", "/api/faces", picture())[0] == 200
    assert capsys.readouterr().err == ""


def test_it_listens_on_this_machine_only_and_says_which_port_is_in_use(server: PageServer, service: Service) -> None:
    assert server.url == f"http://127.0.0.1:{server.port}/"
    with pytest.raises(SemalignError, match=rf"port {server.port} of 127\.0\.0\.1 is in use"):
        open_server(service, port=server.port)
    with pytest.raises(SemalignError, match="no port 70000"):
        open_server(service, port=70000)
    with pytest.raises(SemalignError, match=r"192\.0\.2\.1: cannot be listened on"):
        open_server(service, host="192.0.2.1", port=0)
    with pytest.raises(SemalignError, match="cannot be listened on"):
        open_server(service, host=f"{'x' * 70}.example", port=0)
