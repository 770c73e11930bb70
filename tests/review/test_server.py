"""The review page's server: what it answers, what it keeps, and what it refuses."""

from __future__ import annotations

import http.client
import io
import json
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import read_answer
from audits import KIND
from PIL import Image
from reviewing import reviewing

from semalign.auditing import Audit, Decision, Decisions, read_audit, write_audit
from semalign.auditing.result import face_sizes
from semalign.errors import SemalignError
from semalign.review import open_review
from semalign.review.index import FOLDER, open_index
from semalign.review.server import ReviewServer

OWN = {"Content-Type": "application/json", "X-Semalign": "review"}


@pytest.fixture
def server(folder: Path) -> Iterator[ReviewServer]:
    with reviewing(folder) as opened:
        yield opened


def ask(server: ReviewServer, method: str, path: str, sent: Any = None, **headers: str) -> tuple[int, Any, Any]:
    """Status, headers and body; a body is sent as the page sends it unless other headers are given."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = None if sent is None else json.dumps(sent)
    connection.request(method, path, body, named if named or sent is None else OWN)
    try:
        response = connection.getresponse()
        if response.headers.get_content_maintype() == "image":
            return response.status, {key.title(): value for key, value in response.headers.items()}, response.read()
        return read_answer(response)
    finally:
        connection.close()


def get(server: ReviewServer, path: str) -> Any:
    status, _, value = ask(server, "GET", path)
    assert status == 200, value
    return value


def post(server: ReviewServer, path: str, sent: Any) -> Any:
    status, _, value = ask(server, "POST", path, sent)
    assert status == 200, value
    return value


def accept(server: ReviewServer, face: int, landmark: int | None = None, who: str = "Ann") -> Any:
    made = [{"face": face, "landmark": landmark, "verdict": "accept"}]
    return post(server, "/api/decide", {"who": who, "decisions": made})


def test_the_page_loads_nothing_but_its_own_files(server: ReviewServer) -> None:
    status, headers, page = ask(server, "GET", "/")
    assert status == 200
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    named = re.findall(r'(?:src|href)="(?!data:)([^"]*)"', page)
    for name in [*named, "asking.js", "queue.js", "stage.js", "panel.js", "keys.js"]:
        assert ask(server, "GET", f"/{name}")[0] == 200
    assert re.findall(r"https?://|\bon\w+=|style=", page) == []


def test_queues_are_by_rank_and_filters_hold(server: ReviewServer, drawn: tuple[Path, Audit]) -> None:
    audit = drawn[1]
    faces = get(server, "/api/queue?queue=faces&state=all&least=0")
    assert faces["total"] == len(audit) and not faces["more"]
    by_rank = [audit.face_probability[item[1]] for item in faces["items"]]
    assert by_rank == sorted(by_rank, reverse=True)
    only = get(server, "/api/queue?queue=faces&kind=exchanged")
    assert {item[1] for item in only["items"]} == set(np.flatnonzero(audit.face_kind == KIND["exchanged"]))
    assert only["kinds"]["exchanged"] == only["total"] < only["any"]
    points = get(server, "/api/queue?queue=points&region=brows")
    whole = get(server, "/api/audit")
    assert points["items"] and {item[2] for item in points["items"]} <= set(whole["regions"]["brows"])
    far = get(server, "/api/queue?queue=points&move=0.08")
    assert far["items"] and all(item[5] >= 0.08 for item in far["items"])
    farthest = get(server, "/api/queue?queue=points&order=move&least=0")
    moves = [item[5] for item in farthest["items"]]
    assert moves == sorted(moves, reverse=True) and farthest["total"] > far["total"]
    ranks = ",".join(str(item[0]) for item in farthest["items"][:3])
    assert get(server, f"/api/verdicts?queue=points&order=move&ranks={ranks}")["verdicts"] == [-1] * 3
    mean = np.linalg.norm(audit.moves(), axis=2).mean(axis=1) / face_sizes(audit.annotations)
    by_move = [item[1] for item in get(server, "/api/queue?queue=faces&order=move&least=0")["items"]]
    assert by_move == np.argsort(-mean, kind="stable").tolist()
    first = get(server, "/api/queue?queue=points&limit=5")
    assert first["more"] and len(first["items"]) == 5
    rest = get(server, f"/api/queue?queue=points&after={first['items'][-1][0]}")
    assert len(first["items"]) + len(rest["items"]) == first["total"] == rest["total"]
    assert get(server, "/api/queue?queue=points&landmark=20")["total"] == sum(
        item[2] == 20 for item in first["items"] + rest["items"]
    )


@pytest.mark.parametrize(
    "query",
    [
        "queue=x",
        "kind=x",
        "region=x",
        "state=x",
        "landmark=99",
        "landmark=x",
        "least=x",
        "order=x",
        "queue=points&limit=x",
    ],
)
def test_filters_that_make_no_sense_are_a_sentence(server: ReviewServer, query: str) -> None:
    status, _, value = ask(server, "GET", f"/api/queue?{query}")
    assert status in (400, 422)
    assert value["error"].endswith(".")


def test_decisions_are_on_disk_and_counted_and_undone(
    server: ReviewServer, drawn: tuple[Path, Audit], folder: Path
) -> None:
    audit = drawn[1]
    row = int(np.flatnonzero(audit.face_kind == KIND["misplaced"])[0])
    size = np.sqrt(np.prod(np.ptp(audit.annotations, axis=1), axis=1))
    gain = (np.linalg.norm(audit.moves(), axis=2) / size[:, None]) ** 2
    answer = accept(server, row)
    assert answer["progress"]["gained"] == pytest.approx(gain[row].sum() / gain.sum(), rel=1e-4)
    store = Decisions(folder, audit.ids, 68)
    assert store.standing.face[row] == 0
    done = get(server, "/api/queue?queue=faces&state=done")
    assert [item[1] for item in done["items"]] == [row]
    shown = get(server, f"/api/face/{row}")
    assert (shown["verdict"], shown["history"][0]["who"]) == (0, "Ann")
    assert get(server, f"/api/verdicts?queue=faces&ranks={done['items'][0][0]}")["verdicts"] == [0]
    undone = post(server, "/api/undo", {"who": "Ann"})
    assert (undone["undone"], undone["face"], undone["landmark"]) == (1, row, None)
    assert undone["progress"]["gained"] == 0
    assert post(server, "/api/undo", {"who": "Ann"})["undone"] == 0
    store.close()


def test_a_face_is_done_when_all_its_listed_points_are(server: ReviewServer, drawn: tuple[Path, Audit]) -> None:
    row = int(np.flatnonzero(drawn[1].face_kind == KIND["guessed"])[0])
    listed = get(server, f"/api/face/{row}")["listed"]
    for landmark in listed[:-1]:
        accept(server, row, landmark)
    assert not get(server, "/api/queue?queue=faces&state=done")["items"]
    accept(server, row, listed[-1])
    (item,) = get(server, "/api/queue?queue=faces&state=done")["items"]
    assert (item[1], item[6]) == (row, 0)  # all accepted


def test_many_faces_are_accepted_by_their_suspicious_points_or_as_a_whole(
    server: ReviewServer, drawn: tuple[Path, Audit], folder: Path
) -> None:
    audit = drawn[1]
    count = get(server, "/api/queue?queue=faces")["total"]
    wanted = {"queue": "faces", "least": 0.5, "who": "Ann", "verdict": "accept", "count": count}
    assert post(server, "/api/batch", wanted)["count"] == count
    store = Decisions(folder, audit.ids, 68)
    whole, single = (int(np.flatnonzero(audit.face_kind == KIND[name])[0]) for name in ("scaled", "slipped"))
    assert (store.standing.face[whole], store.standing.face[single]) == (0, -1)
    assert np.flatnonzero(store.standing.point[single] == 0).tolist() == get(server, f"/api/face/{single}")["listed"]
    assert get(server, "/api/queue?queue=faces")["total"] == 0
    store.close()


def test_a_move_needs_a_place_and_is_told_back(server: ReviewServer) -> None:
    made = [{"face": 2, "landmark": 4, "verdict": "move", "x": 31.5, "y": 42.25}]
    post(server, "/api/decide", {"who": "Ann", "decisions": made})
    assert get(server, "/api/face/2")["moved"] == {"4": [31.5, 42.25]}
    for sent in (
        {"decisions": []},
        {"decisions": [{"face": 2}]},
        {"decisions": [{"face": "2", "landmark": None, "verdict": "accept"}]},
        {"decisions": [{"face": True, "landmark": None, "verdict": "accept"}]},
        {"decisions": [{"face": 2, "landmark": 4, "verdict": "move", "x": "1", "y": 2}]},
        {"decisions": [{"face": 2, "landmark": 4, "verdict": "move"}]},
        {"decisions": [{"face": 2000, "landmark": 4, "verdict": "accept"}]},
        {},
        [],
    ):
        status, _, value = ask(server, "POST", "/api/decide", sent)
        assert status in (400, 422)
        assert value["error"].endswith(".")


def test_many_are_accepted_only_as_many_as_were_announced(server: ReviewServer) -> None:
    wanted = {"queue": "points", "kind": "slipped", "least": 0.5, "who": "Ann", "verdict": "accept"}
    count = get(server, "/api/queue?queue=points&kind=slipped")["total"]
    status, _, value = ask(server, "POST", "/api/batch", wanted | {"count": count - 1})
    assert (status, value["error"]) == (422, f"it would be {count} by now and not {count - 1}; look again.")
    assert post(server, "/api/batch", wanted | {"count": count})["count"] == count
    assert get(server, "/api/queue?queue=points&kind=slipped")["total"] == 0
    assert post(server, "/api/undo", {"who": "Ann"})["undone"] == count
    assert ask(server, "POST", "/api/batch", wanted | {"count": count, "verdict": "move"})[0] == 422
    assert ask(server, "POST", "/api/batch", wanted)[0] == 400


def test_pages_hear_of_each_other_and_of_other_processes(server: ReviewServer, folder: Path) -> None:
    begin = get(server, "/api/audit")["change"]
    get(server, f"/api/changes?since={begin}&page=one&who=Ann&face=3")
    heard = get(server, f"/api/changes?since={begin}&page=two&who=Bob&face=3")
    assert (heard["open"], heard["faces"]) == ({"3": ["Ann"]}, [])
    accept(server, 7)
    assert get(server, f"/api/changes?since={begin}&page=two&who=Bob")["faces"] == [7]
    other = Decisions(folder, read_audit(folder).ids, 68)
    other.decide([Decision(9, None, "reject")], "Eve")
    heard = get(server, f"/api/changes?since={begin}&page=two&who=Bob")
    assert (heard["faces"], heard["change"]) == ([7, 9], other.change)
    assert (
        get(server, f"/api/changes?since={begin - 5}&page=two&who=Bob")["faces"] is None
    )  # from before the server began
    other.close()


def test_pictures_are_the_original_pixels_in_their_place(server: ReviewServer, drawn: tuple[Path, Audit]) -> None:
    audit = drawn[1]
    _, headers, data = ask(server, "GET", "/api/picture/0")
    x, y, scale, width, height = json.loads(headers["X-Place"])
    assert (scale, width, height) == (1, 240, 240)
    cut = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    whole = np.array(Image.open(audit.files[0]).convert("RGB"))
    left, top = int(x), int(y)
    np.testing.assert_array_equal(cut, whole[top : top + cut.shape[0], left : left + cut.shape[1]])
    _, _, small = ask(server, "GET", "/api/small/0")
    assert Image.open(io.BytesIO(small)).size == (96, 96)


def test_no_other_file_is_read(server: ReviewServer, drawn: tuple[Path, Audit]) -> None:
    for path in (
        "/../audit.json", "/%2e%2e/audit.json", "/audit.json", "/decisions.sqlite", "/review/index.json", "/page/review.js",
        "/api/picture/0/..", "/api/picture/..%2f..%2fetc%2fpasswd", "/api/picture/-1", "/api/picture/30", "/api/face/x",
        "/api/picture/" + "9" * 40, drawn[1].files[0], "/index.html/..", "//etc/passwd",
    ):  # fmt: skip
        assert ask(server, "GET", path)[0] in (404, 422), path


def test_a_missing_picture_is_a_sentence_and_the_face_is_shown(drawn: tuple[Path, Audit], folder: Path) -> None:
    from dataclasses import replace

    audit = replace(drawn[1], files=("/nowhere/face.jpg", *drawn[1].files[1:]))
    write_audit(audit, folder)
    with reviewing(folder) as server:
        status, _, value = ask(server, "GET", "/api/picture/0")
        assert status == 422 and "there is no such image" in value["error"]
        assert get(server, "/api/face/0")["file"] == "face.jpg"
        assert ask(server, "GET", "/api/picture/1")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "application/json"},
        {"Content_Type": "text/plain", "X_Semalign": "review"},
        {"Content_Type": "application/x-www-form-urlencoded"},
        {**{key.replace("-", "_"): value for key, value in OWN.items()}, "Origin": "http://evil.example"},
        {**{key.replace("-", "_"): value for key, value in OWN.items()}, "Host": "evil.example"},
    ],
)
def test_nobody_else_decides(server: ReviewServer, headers: Mapping[str, str]) -> None:
    for path in ("/api/decide", "/api/undo", "/api/batch", "/api/export"):
        status, fields, _ = ask(server, "POST", path, {"who": "x", "decisions": []}, **headers)
        assert status == 403
        assert not [name for name in fields if name.lower().startswith("access-control")]


def test_reading_needs_the_right_host(server: ReviewServer) -> None:
    assert ask(server, "GET", "/api/audit", Host="evil.example")[0] == 403
    assert ask(server, "GET", "/api/audit", Origin="http://evil.example")[0] == 403
    assert ask(server, "GET", "/api/audit", Host=f"localhost:{server.port}")[0] == 200


def test_too_much_at_once_is_refused(server: ReviewServer) -> None:
    status, _, value = ask(server, "POST", "/api/decide", {"who": "x" * 2**21, "decisions": []})
    assert (status, value["error"]) == (413, "this is too much at once.")


def test_on_the_loopback_there_is_no_token(server: ReviewServer) -> None:
    assert server.token is None
    assert server.url == f"http://127.0.0.1:{server.port}/"


def test_others_must_show_the_token(folder: Path) -> None:
    with reviewing(folder, host="0.0.0.0") as server:
        assert server.url.endswith(f"?token={server.token}")
        for path in (
            "/",
            "/review.js",
            "/api/audit",
            "/api/picture/0",
            "/?token=wrong",
            "/api/audit?token=" + server.token,
        ):
            assert ask(server, "GET", path)[0] == 401, path
        assert ask(server, "POST", "/api/undo", {"who": "x"})[0] == 401
        status, headers, _ = ask(server, "GET", f"/?token={server.token}")
        assert status == 200
        kept = headers["Set-Cookie"]
        assert "HttpOnly" in kept and "SameSite=Strict" in kept
        cookie = kept.split(";")[0]
        assert ask(server, "GET", "/api/audit", Cookie=f"other=1; {cookie}")[0] == 200
        assert ask(server, "GET", "/api/audit", Cookie=cookie[:-1])[0] == 401
        assert (
            ask(
                server,
                "POST",
                "/api/undo",
                {"who": "x"},
                Cookie=cookie,
                **{k.replace("-", "_"): v for k, v in OWN.items()},
            )[0]
            == 200
        )
        assert ask(server, "GET", "/api/audit", Cookie=cookie, Host="evil.example")[0] == 403


def test_the_export_slot(folder: Path) -> None:
    with reviewing(folder) as server:
        assert get(server, "/api/audit")["export"] is False
        assert ask(server, "POST", "/api/export", {})[0] == 422
    began, go_on = threading.Event(), threading.Event()

    def export(where: Path) -> Mapping[str, Any]:
        began.set()
        assert go_on.wait(20)
        return {"folder": str(where / "clean"), "faces": 3}

    with reviewing(folder, export=export) as server:
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(ask(server, "POST", "/api/export", {})))
        thread.start()
        assert began.wait(20)
        assert ask(server, "POST", "/api/export", {})[2]["error"] == "an export is under way; wait for it."
        go_on.set()
        thread.join()
        assert answers[0][2] == {"result": {"folder": str(folder / "clean"), "faces": 3}}

    def refuse(where: Path) -> Mapping[str, Any]:
        raise SemalignError("the disk is full; make room.")

    with reviewing(folder, export=refuse) as server:
        assert ask(server, "POST", "/api/export", {})[::2] == (422, {"error": "the disk is full; make room."})


def test_the_index_follows_the_audit(drawn: tuple[Path, Audit], folder: Path) -> None:
    from dataclasses import replace

    said: list[str] = []
    open_index(folder, said.append)
    assert len(open_index(folder, said.append)) == 30
    assert said == ["preparing the queues"]
    write_audit(replace(drawn[1], face_probability=1 - drawn[1].face_probability), folder)
    index = open_index(folder, said.append)
    assert said == ["preparing the queues"] * 2
    assert index.faces.face[0] == np.argmin(drawn[1].face_probability)
    (folder / FOLDER / "gain.npy").write_bytes(b"damaged")
    assert len(open_index(folder, said.append)) == 30 and len(said) == 3


def test_a_folder_without_an_audit_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SemalignError, match="holds no finished audit"):
        open_review(tmp_path, port=0)
    with pytest.raises(SemalignError, match="holds no finished audit"):
        open_review(tmp_path / "nowhere", port=0)
