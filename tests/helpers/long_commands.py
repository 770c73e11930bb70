"""Every command that works for long and writes, at its smallest, and what makes two of its results the same."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
from breaking import Breaking
from safetensors import safe_open

from semalign.data.truth import UNFINISHED

OUT = "out"
TINY = (
    "network={input_size=32, heatmap_size=16, stacks=1, width=8, depth=2}",
    "heatmap.sigma=12.0",
    "start={epochs=2, batch_size=5}",
    "alignment={epochs=3, batch_size=5, warmup=0.5}",
    "alternation.searches=2",
    "alternation.mesh=false",
    "search={likelihood_weight=5.0, guard=false}",  # so that an untrained network moves labels
    "repeats=1",
)
SET = [part for change in TINY for part in ("--set", change)]
# What a clock says, in files that are otherwise the same: keys of JSON.
TIMES = ("seconds", "at", "date", "absolute", "cwd", "mark")
PAGES = ("report.html", "seconds.json")


@dataclass(frozen=True)
class LongCommand:
    """A command, and how it is called again after it was broken off.

    Attributes:
        arguments: of `semalign`; `{name}` stands for what `World` has.
        resume: what is added to go on.
        adds: whether each call that comes to its end adds a label version.
        short: whether it is quick enough for the short form of the tests.
    """

    arguments: tuple[str, ...]
    resume: tuple[str, ...] = ("--resume",)
    adds: bool = False
    short: bool = True


COMMANDS: dict[str, LongCommand] = {
    "synthesize": LongCommand(("data", "synthesize", OUT, "--count", "6", "--size", "64", "--workers", "1"), ()),
    "run": LongCommand(("run", "demo", "--data", "{faces}", "--out", OUT, *SET)),
    "train": LongCommand(("train", "demo", "--data", "{faces}", "--out", OUT, *SET), short=False),
    "align": LongCommand(
        ("align", "{model}", "--data", "{faces}", "--out", OUT, "--recipe", "demo", *SET), short=False
    ),
    "search": LongCommand(
        ("search", "{model}", "--data", "{faces}", "--out", OUT, "--recipe", "demo", *SET), (), adds=True
    ),
    "crossfit": LongCommand(
        ("crossfit", "demo", "--data", "{faces}", "--out", OUT, "--folds", "3", "--method", "recipe", *SET)
    ),
    "audit": LongCommand(("audit", "{more}", "--quick", "--out", OUT), (), short=False),
    "clean": LongCommand(("clean", "{more}", "--quick", "--out", OUT), ()),
    "predict": LongCommand(
        ("predict", "{photos}", "--out", OUT, "--boxes", "{boxes}", *(
            part for name in ("json", "csv", "parquet", "coco", "pts", "overlay") for part in ("--format", name)))
    ),
    "export": LongCommand(
        ("export", "{model}", f"{OUT}/model.safetensors", "--format", "safetensors", "--overwrite"), ()
    ),
    "export to onnx": LongCommand(("export", "{model}", f"{OUT}/model.onnx", "--overwrite"), (), short=False),
    "convert": LongCommand(("convert", "{faces}", f"{OUT}/pts", "--to", "pts"), ()),
    "labels export": LongCommand(("labels", "export", "{labels}", OUT, "--data", "{faces}"), ()),
    "correction": LongCommand(
        ("correction", "{model}", "--data", "{more}", "--out", f"{OUT}/c.safetensors", "--passes", "2", "--epochs", "2",
         "--overwrite"), (), short=False),
    "run on its own data": LongCommand(
        ("run", "demo", "--out", OUT, *SET, "--set", "synthesis.count=14", "--set", "synthesis.test_count=4", "--set",
         "synthesis.face.size=96"), short=False),
    "reproduce": LongCommand(("reproduce", "figure1", "--out", OUT, "--size", "tiny"), short=False),
}  # fmt: skip


class World:
    """Data, a model and labels for the commands, and the program that runs them."""

    def __init__(self, folder: Path, breaking: Breaking) -> None:
        self.folder, self.breaking = folder, breaking
        self.names = {name: str(folder / name) for name in ("faces", "more", "photos")}
        self.names |= {
            "boxes": str(folder / "boxes.csv"),
            "model": str(folder / "start" / "model.safetensors"),
            "labels": str(folder / "searched"),
        }
        for name, count in (("faces", 14), ("more", 40)):
            size = ("--count", str(count), "--test-count", "4", "--size", "96", "--workers", "1")
            self._make("data", "synthesize", name, *size)
        self._make("train", "demo", "--data", "faces", "--out", "start", *SET)
        model = self.names["model"]
        self._make("search", model, "--data", "faces", "--out", "searched", "--recipe", "demo", *SET)
        (folder / "photos").mkdir()
        rows = ["image,x0,y0,x1,y1"]
        for number, picture in enumerate(sorted((folder / "faces").rglob("*.jpg"))[:6]):
            shutil.copy(picture, folder / "photos" / f"{number}.jpg")
            rows.append(f"{number}.jpg,10,10,86,86")
        (folder / "boxes.csv").write_text("\n".join(rows) + "\n")
        self._references: dict[str, tuple[Path, int]] = {}

    def _make(self, *arguments: str) -> None:
        ended = self.breaking.run(list(arguments), self.folder)
        assert ended.status == 0, ended.output

    def arguments(self, name: str, again: bool = False) -> list[str]:
        """The command line; `again` after it was broken off."""
        command = COMMANDS[name]
        given = [*command.arguments, *(command.resume if again else ())]
        return [part.format(**self.names) if re.fullmatch(r"\{\w+\}", part) else part for part in given]

    def place(self, name: str) -> Path:
        """A new folder in which a command can be run; what it writes is in `out` there."""
        for number in range(10_000):
            place = self.folder / "places" / f"{name.replace(' ', '-')}-{number}"
            if not place.exists():
                place.mkdir(parents=True)
                return place
        raise AssertionError("too many places")

    def reference(self, name: str) -> tuple[Path, int]:
        """What the command writes undisturbed, and how many changes of files that takes."""
        from breaking import Fault

        if name not in self._references:
            place = self.place(name)
            ended = self.breaking.run(self.arguments(name), place, Fault(below=str(place / OUT)))
            assert ended.status == 0, ended.output
            self._references[name] = (place / OUT, ended.changes)
        return self._references[name]


def files_of(folder: Path) -> dict[str, Path]:
    """Files below a folder by relative name, also hidden ones; folders of crops, whose names depend on paths, by content."""
    found, keys = {}, {}
    for place in folder.rglob("crops/*"):
        if re.fullmatch("[0-9a-f]{16}", place.name):
            contents = b"".join(path.read_bytes() for path in sorted(place.glob("*")) if path.is_file())
            keys[place.name] = f"crops of {hashlib.sha256(contents).hexdigest()[:8]}"
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            parts = path.relative_to(folder).parts
            found["/".join(keys.get(part, part) for part in parts)] = path
    return found


def strays(folder: Path) -> list[str]:
    """Hidden files and folders at or below a folder, and half-written ones."""
    found = [path for path in folder.parent.rglob("*") if path.name.startswith(".") or ".part" in path.name]
    return [path.relative_to(folder.parent).as_posix() for path in found]


def differences(one: Path, other: Path) -> list[str]:
    """What two results of a command differ in, but for what the clock says."""
    first, second = files_of(one), files_of(other)
    found = [f"only there: {name}" for name in sorted(first.keys() - second.keys())]
    found += [f"only here: {name}" for name in sorted(second.keys() - first.keys())]
    for name in sorted(first.keys() & second.keys()):
        if Path(name).name not in PAGES and _content(first[name]) != _content(second[name]):
            found.append(f"other content: {name}")
    return found


def damaged(folder: Path) -> list[str]:
    """Files that cannot be read as what their name says; pictures of an unfinished synthetic set are allowed to be."""
    wrong = []
    unfinished = {path.parent for path in folder.rglob(UNFINISHED)}
    for name, path in files_of(folder).items():
        if path.name.startswith(".") or ".part" in path.name or unfinished & set(path.parents):
            continue
        try:
            _content(path)
        except Exception as error:
            wrong.append(f"{name}: {error}")
    return wrong


def _content(path: Path) -> Any:
    """What a file says without what the clock says; raises whatever its reader does if it is half-written."""
    reader = _READERS.get(path.suffix)
    return path.read_bytes() if reader is None else reader(path)


def _json(path: Path) -> Any:
    return _without_times(json.loads(path.read_text()))


def _lines(path: Path) -> Any:
    text = path.read_text()
    whole, _, rest = text.rpartition("\n")
    assert not rest or path.name == "landmarks.jsonl", "half a line"  # which --resume cuts off, as its docs say
    return [_without_times(json.loads(line)) for line in whole.splitlines()]


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in TIMES}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def _tensors(path: Path) -> Any:
    with safe_open(path, "np") as file:
        about = {key: _text(value) for key, value in (file.metadata() or {}).items()}
        return about, {key: file.get_tensor(key).tobytes() for key in file.keys()}  # noqa: SIM118


def _text(value: str) -> Any:
    try:
        return _without_times(json.loads(value))
    except ValueError:
        return value


def _table(path: Path) -> Any:
    table = pq.read_table(path)
    about = {key: _text(value.decode("utf-8", "replace")) for key, value in (table.schema.metadata or {}).items()}
    return about, table.replace_schema_metadata(None).to_pydict().__repr__()


def _picture(path: Path) -> Any:
    assert cv2.imread(str(path)) is not None
    return path.read_bytes()


def _arrays(path: Path) -> Any:
    with np.load(path) as arrays:
        return {name: arrays[name].tobytes() for name in arrays.files}


_READERS: dict[str, Callable[[Path], Any]] = {
    ".json": _json,
    ".jsonl": _lines,
    ".safetensors": _tensors,
    ".parquet": _table,
    ".jpg": _picture,
    ".png": _picture,
    ".npy": lambda path: np.load(path).tobytes(),
    ".npz": _arrays,
}
