"""One writer a folder: who comes second is refused, what is dead refuses nobody, and nothing is left behind."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import invoke, succeed

from semalign import locks
from semalign.data import LabelStore, open_dataset
from semalign.errors import SemalignError
from semalign.files import LOCK, atomic_folder, refuse_occupied
from semalign.locks import among_others, one_writer, one_writer_of, refuse_held, writes_into

HOLD = """
import sys
from semalign import locks
with getattr(locks, sys.argv[1])(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holding(place: Path, how: str = "one_writer", **environment: str) -> Iterator[subprocess.Popen]:
    """Another process that holds a place for the length of the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, how, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


def test_the_second_writer_is_refused_in_a_sentence_that_names_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "x"
    with holding(folder) as first:
        for hold in (one_writer, among_others):
            with pytest.raises(SemalignError) as refused, hold(folder):
                raise AssertionError
        sentence = str(refused.value)
        assert sentence.startswith(f"{folder}: is in use by process {first.pid} on {socket.gethostname()} since 2")
        assert f"(-c one_writer {folder}); wait until" in sentence
        with pytest.raises(SemalignError, match="is in use by process"):
            refuse_held(folder)
    assert not (tmp_path / "runs").exists()  # nothing was put into it
    refuse_held(folder)
    with one_writer(folder):
        assert [path.name for path in folder.iterdir()] == [LOCK]
        refuse_occupied(folder, "run")  # the lock is in nobody's way
        (folder / "result").touch()
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_a_file_has_one_writer_too(tmp_path: Path) -> None:
    with holding(tmp_path / "model.onnx", "one_writer_of"):
        with pytest.raises(SemalignError, match=r"model\.onnx: is in use"), one_writer_of(tmp_path / "model.onnx"):
            raise AssertionError
        with one_writer_of(tmp_path / "other.onnx"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_put_in_its_place_at_once_is_held_beside_it(tmp_path: Path) -> None:
    (tmp_path / "pts").mkdir()
    with one_writer_of(tmp_path / "pts"), atomic_folder(tmp_path / "pts", "pictures") as folder:
        (folder / "a").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["pts", "pts/a"]


def test_a_killed_writer_keeps_nobody_out_and_what_it_left_goes(tmp_path: Path) -> None:
    with holding(tmp_path) as first:
        first.send_signal(signal.SIGKILL)
    below = tmp_path / "audit"
    below.mkdir()
    for place in (tmp_path, below):
        (place / ".labels.part-abcd1234").mkdir()
        (place / ".labels.part-abcd1234" / "0001.parquet").touch()
        (place / ".model.part-x_3d1234.safetensors").touch()
        (place / ".of-somebody.json").touch()
    (below / LOCK).write_text("{}\n")
    assert (tmp_path / LOCK).is_file()
    with one_writer(tmp_path):
        there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
        assert there == {LOCK, ".of-somebody.json", "audit/.of-somebody.json"}
    assert not (tmp_path / LOCK).exists()


def test_what_a_living_writer_below_has_begun_stays(tmp_path: Path) -> None:
    with holding(tmp_path / "audit"):
        (tmp_path / "audit" / ".points.part-abcd1234.parquet").touch()
        (tmp_path / LOCK).write_text("of one who died\n")
        with one_writer(tmp_path):
            assert (tmp_path / "audit" / ".points.part-abcd1234.parquet").is_file()


def test_a_killed_writer_of_a_file_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    for name in (".a.json.lock", ".a.part-abcd1234.json", ".a-b.part-abcd1234.json", ".a.part-abcd1234.xml"):
        (tmp_path / name).write_text("{}")
    with one_writer_of(tmp_path / "a.json"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {".a-b.part-abcd1234.json", ".a.part-abcd1234.xml"}


def test_the_same_thread_may_hold_it_again_and_another_may_not(tmp_path: Path) -> None:
    refused: list[str] = []

    def other() -> None:
        try:
            with one_writer(tmp_path):
                pass
        except SemalignError as error:
            refused.append(str(error))

    with one_writer(tmp_path):
        with one_writer(tmp_path):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert (tmp_path / LOCK).is_file()
    assert len(refused) == 1 and f"process {os.getpid()} " in refused[0]


def test_several_people_share_a_folder_and_keep_out_who_would_write_it_anew(tmp_path: Path) -> None:
    with holding(tmp_path, "among_others") as first:
        with (
            holding(tmp_path, "among_others"),
            among_others(tmp_path),
            pytest.raises(SemalignError, match="is in use by process"),
            one_writer(tmp_path / "." / ""),
        ):
            raise AssertionError
        with pytest.raises(SemalignError, match=f"is in use by process {first.pid} "):
            refuse_held_by_writing(tmp_path)
    assert list(tmp_path.iterdir()) == []


@writes_into("out")
def refuse_held_by_writing(out: Path) -> list[str]:
    return [path.name for path in out.iterdir()]


def test_a_function_holds_the_folder_that_it_is_given(tmp_path: Path) -> None:
    assert refuse_held_by_writing(tmp_path) == refuse_held_by_writing(out=tmp_path) == [LOCK]


@pytest.mark.parametrize("names", [("WORLD_SIZE", "RANK"), ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")])
def test_processes_of_one_training_do_not_refuse_each_other(tmp_path: Path, names: tuple[str, str]) -> None:
    size, rank = names
    with (
        holding(tmp_path, **{size: "2", rank: "0"}),
        holding(tmp_path, **{size: "2", rank: "1"}),
        pytest.raises(SemalignError, match="is in use"),
        one_writer(tmp_path),
    ):
        raise AssertionError
    with holding(tmp_path), pytest.raises(AssertionError), holding(tmp_path, **{rank: "1"}):  # a stray variable alone
        pass


def test_a_forked_process_does_not_keep_a_lock_alive(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    go_on = context.Event()
    with one_writer(tmp_path):
        child = context.Process(target=go_on.wait)
        child.start()
    with one_writer(tmp_path):
        pass
    go_on.set()
    child.join()


def test_many_who_come_and_go_never_hold_it_at_once(tmp_path: Path) -> None:
    inside, most, done = [0], [0], []

    def work() -> None:
        while len(done) < 100:
            try:
                with one_writer(tmp_path / "x", wait=5.0):
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    done.append(1)
                    inside[0] -= 1
            except SemalignError:
                continue

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] and [path.name for path in tmp_path.rglob("*")] in (
        [],
        ["x"],
    )  # who made it may not be the last to go


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(handle: int, shared: bool) -> bool:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(locks, "_seize", unsupported)


def test_without_locks_a_living_process_of_this_machine_is_known_by_its_note(tmp_path: Path, no_flock: None) -> None:
    with holding(tmp_path) as first:
        with pytest.raises(SemalignError, match=f"is in use by process {first.pid} on"), one_writer(tmp_path):
            raise AssertionError
        with pytest.raises(SemalignError, match="is in use"):
            refuse_held(tmp_path)
        note = (tmp_path / LOCK).read_text()
    with one_writer(tmp_path):
        pass
    for change in ({"born": "1"}, {"pid": 2**22 + 1}):  # another process of that number, none of it
        (tmp_path / LOCK).write_text(json.dumps(json.loads(note) | change))
        with one_writer(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_without_locks_one_of_another_machine_is_warned_of(
    tmp_path: Path, no_flock: None, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / LOCK).write_text(
        json.dumps({"pid": 1, "host": "elsewhere", "since": "noon", "command": "semalign run"})
    )
    (tmp_path / ".model.part-abcd1234.safetensors").touch()
    with one_writer(tmp_path):
        assert (tmp_path / ".model.part-abcd1234.safetensors").is_file()  # perhaps it is alive
    assert "has no locks" in caplog.text and "process 1 on elsewhere since noon (semalign run) may still" in caplog.text


def test_where_nothing_can_be_written_the_first_write_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with one_writer(tmp_path / "file" / "x"), one_writer_of(tmp_path / "file" / "y"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_second_search_in_the_same_folder_ends_with_2_and_writes_nothing(tmp_path: Path) -> None:
    with holding(tmp_path / "labels") as first:
        result = invoke("search", "default", "--data", tmp_path, "--out", tmp_path / "labels")
    assert result.exit_code == 2
    assert f"labels: is in use by process {first.pid} on {socket.gethostname()} since " in result.stderr
    assert list(tmp_path.iterdir()) == []


COMMANDS_THAT_WRITE = {
    "run": ("run", "demo", "--out", "OUT"),
    "train": ("train", "demo", "--out", "OUT"),
    "align": ("align", "default", "--data", "DATA", "--out", "OUT"),
    "crossfit": ("crossfit", "demo", "--out", "OUT"),
    "reproduce": ("reproduce", "figure1", "--out", "OUT"),
    "bench labels": ("bench", "labels", "--out", "OUT", "--size", "tiny"),
    "synthesize": ("data", "synthesize", "OUT"),
    "predict": ("predict", "DATA", "--out", "OUT"),
    "predict --resume": ("predict", "DATA", "--out", "OUT", "--resume"),
    "audit": ("audit", "DATA", "--quick", "--out", "OUT"),
    "clean": ("clean", "DATA", "--quick", "--out", "OUT"),
    "labels export": ("labels", "export", "LABELS", "OUT", "--data", "DATA"),
    "review": ("review", "OUT", "--port", "0"),
    "report": ("report", "OUT"),
}
COMMANDS_THAT_MAKE_ONE = {
    "export": ("export", "fast", "OUT.safetensors", "--format", "safetensors"),
    "export to onnx": ("export", "fast", "OUT.onnx"),
    "adapt": ("adapt", "default", "--data", "DATA", "--out", "OUT.safetensors"),
    "correction": ("correction", "fast", "--data", "DATA", "--out", "OUT.safetensors"),
    "convert": ("convert", "DATA", "OUT.json", "--to", "coco"),
    "convert to pts": ("convert", "DATA", "OUT", "--to", "pts"),
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("faces")
    succeed("data", "synthesize", out / "set", "--count", "6", "--test-count", "1", "--size", "64", "--workers", "1")
    dataset = open_dataset(out / "set")
    LabelStore(out / "labels").start(dataset, {"source": "annotations"})
    return out


@pytest.mark.parametrize("name", [*COMMANDS_THAT_WRITE, *COMMANDS_THAT_MAKE_ONE])
def test_every_command_that_writes_is_refused_by_another_writer(name: str, faces: Path, tmp_path: Path) -> None:
    given = {"OUT": str(tmp_path / "out"), "DATA": str(faces / "set"), "LABELS": str(faces / "labels")}
    whole = name in COMMANDS_THAT_WRITE
    (tmp_path / "out").mkdir()
    if name == "review":
        (tmp_path / "out" / "audit.json").write_text("{}")
    line = []
    for part in COMMANDS_THAT_WRITE[name] if whole else COMMANDS_THAT_MAKE_ONE[name]:
        stem, dot, ending = part.partition(".")
        line.append(given[stem] + dot + ending if stem in given else part)
    place = next(part for part in line if part.startswith(given["OUT"]))
    hold = one_writer if whole else one_writer_of
    refused = threading.Event()
    entered = threading.Event()

    def first() -> None:
        with hold(place):
            entered.set()
            refused.wait(600)

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert entered.wait(60)
        result = invoke(*line)
    finally:
        refused.set()
        thread.join()
    assert result.exit_code == 2, result.output
    assert f"is in use by process {os.getpid()} on {socket.gethostname()} since " in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] in (["out"], ["out", "audit.json"], [])
