"""Reads hostile files under limits of time and memory, in a process of its own, and says what goes wrong.

    python tests/helpers/fuzz_worker.py PARSER:FIRST:LAST …    inputs of these numbers
    python tests/helpers/fuzz_worker.py PARSER:NAME,NAME …     by name: numbers, fixed ones, `fixed`, `valid`, `found/NAME`

A line of JSON says which input begins, and another what is wrong with it. FUZZ_DUMP=FILE keeps the bytes of the last one,
FUZZ_KEEP=FOLDER those of all that something is wrong with; what lies in tests/fuzz/found is read again by the tests.

An input is a function of the parser's name and its number, so that a failure can be had again.

Each input is timed, and what it says is judged. Memory and files are looked at after some dozens of them, and where there is
anything, after each of these once more: looking takes longer than reading does.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, TextIO

from fuzz_mutators import ESCAPE
from fuzz_parsers import REFUSED, Parser, every_parser

from semalign.errors import SemalignError

SECONDS = 5.0  # of the processor, for one input
FOR_EACH = 1e-5  # more of it for each byte: a document of thousands of faces is read face by face
MEMORY = 600 << 20  # bytes more than before, for one input
ADDRESSES = 3 << 30  # bytes of addresses that a worker may have beyond what it has when it begins
TOGETHER = 40  # inputs after which memory and files are looked at
GROWN = 400 << 20  # bytes in use beyond those of the beginning, with which a worker makes room for a fresh one


FOUND = Path(__file__).resolve().parents[1] / "fuzz/found"  # PARSER/NUMBER/FILE: inputs that something was wrong with
Input = tuple[str, str, bytes]  # its name, the file, and what is in it
_known: dict[str, Any] = {}


class Worker:
    """Reads the inputs of one parser in a folder of its own.

    Args:
        parser: what reads.
        folder: empty; `in` is what is read, `out` what may be written, and nothing else may change.
    """

    def __init__(self, parser: Parser, folder: Path) -> None:
        self.parser, self.folder = parser, folder
        self.inputs, self.out = folder / "deep/er/in", folder / "deep/er/out"
        self.lost: list[str] = []
        self.inputs.mkdir(parents=True)
        self.out.mkdir()
        parser.make(self.inputs)
        self.fixed = dict(parser.fixed())
        self.files = {
            path.relative_to(self.inputs).as_posix(): path.read_bytes()
            for path in sorted(self.inputs.rglob("*"))
            if path.is_file()
        }

    def try_some(self, some: Sequence[Input]) -> Iterator[tuple[Input, str | None]]:
        """Each input before it is read, without a word, and again with what goes wrong with it."""
        before, silent = _resident(reset=True), []
        for tried in some:
            yield tried, None
            problem = self._timed(*tried)
            if problem is None:
                silent.append(tried)
            else:
                yield tried, problem
        more, strange = _resident() - before, self._strange()
        if more > MEMORY // 2 or strange:
            for tried in silent:
                yield tried, None
                if (problem := self.try_one(*tried)) is not None:
                    yield tried, problem

    def try_one(self, number: str, name: str, data: bytes) -> str | None:
        """What goes wrong with a file's bytes; None if nothing does."""
        before = _resident(reset=True)
        problem = self._timed(number, name, data)
        more, strange = _resident() - before, self._strange()
        if problem is None and more > MEMORY:
            problem = f"took {more >> 20} MiB"
        if problem is None and strange:
            problem = f"wrote {', '.join(strange)[:300]}"
        return problem

    def _timed(self, number: str, name: str, data: bytes) -> str | None:
        """What is wrong with what an input says, or with the time that it takes."""
        if os.listdir(self.out):
            shutil.rmtree(self.out)
            self.out.mkdir()
        (self.inputs / name).write_bytes(data)
        (self.inputs / "changed").write_text(name)
        for function in _caches():
            function.cache_clear()  # by a file's size and time of change, which two inputs can share
        REFUSED.clear()
        begun = time.process_time()
        problem = self._read(number)
        seconds = time.process_time() - begun
        if problem is None and seconds > SECONDS + FOR_EACH * len(data):
            problem = f"took {seconds:.1f} s"
        if problem is None and REFUSED and number.startswith("valid/"):
            problem = f"refused: {' '.join(REFUSED)[:300]}"
        self._restore(name)
        return problem

    def _restore(self, changed: str) -> None:
        """Put the example back: the file that was changed, or all of it where the parser writes into what it reads."""
        (self.inputs / "changed").unlink(missing_ok=True)
        if not self.parser.writes:
            (self.inputs / changed).write_bytes(self.files[changed])
            return
        whole = set()
        for place, folders, names in os.walk(self.inputs):
            folder = Path(place).relative_to(self.inputs)
            for name in [name for name in folders if not self._holds(folder / name)]:
                folders.remove(name)
                self.lost += _outside(Path(place, name))
                shutil.rmtree(Path(place, name))
            for name in names:
                own, path = (folder / name).as_posix(), Path(place, name)
                if own in self.files and path.is_file() and path.read_bytes() == self.files[own]:
                    whole.add(own)
                else:
                    self.lost += _outside(path)
                    path.unlink()
        for name in self.files.keys() - whole:
            path = self.inputs / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.files[name])

    def _holds(self, folder: Path) -> bool:
        """Whether the example has such a folder."""
        return any(name.startswith(f"{folder.as_posix()}/") for name in self.files)

    def _read(self, number: str) -> str | None:
        try:
            self.parser.read(self.inputs, self.out, Random(f"{self.parser.name} {number.removeprefix('found/')} read"))
        except SemalignError as error:
            text = str(error)
            if "\n" in text or len(text) > 3000 or not text:
                return f"no sentence: {text[:200]!r} … ({len(text)} letters)"
            if _out_of_memory(error):
                return f"wanted too much memory: {text[:200]}"
        except BaseException as error:  # whatever it is, it is a defect
            if isinstance(error, KeyboardInterrupt):
                raise
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "semalign" in frame.filename]
            where = "; ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-3:])
            return f"{type(error).__name__}: {str(error)[:200]!r} at {where}"
        return None

    def _strange(self) -> list[str]:
        """Files that nobody may have written, now deleted: beside the folders, or in the input by a name that leads out."""
        found = [
            path
            for path in self.folder.rglob("*")
            if path.is_file()
            and self.out not in path.parents
            and (self.inputs not in path.parents or ESCAPE in path.name)
        ]
        for folder in (Path("/tmp"), Path("/"), Path.cwd(), self.folder.parent):
            found += folder.glob(f"*{ESCAPE}*")
        for path in found:
            path.unlink()
        lost, self.lost = self.lost, []
        return [*lost, *map(str, found)]


def _outside(path: Path) -> list[str]:
    """The files of a name that leads out, at or below a path."""
    return [str(one) for one in (path, *path.rglob("*")) if ESCAPE in one.name]


def _caches() -> list[Any]:
    """What remembers files that were read; looked for again as more modules are there."""
    if len(sys.modules) != _known.get("modules"):
        modules = [module for name, module in sys.modules.items() if name.startswith("semalign.data")]
        _known["caches"] = [
            value
            for module in modules
            for value in vars(module).values()
            if type(value).__name__ == "_lru_cache_wrapper"
        ]
        _known["modules"] = len(sys.modules)
    return _known["caches"]


def _out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or "bad_alloc" in str(error) or "malloc of size" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _resident(reset: bool = False) -> int:
    """The most memory, in bytes, that was in use since the last reset; the reset itself gives what is in use."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    return 0


def limit() -> None:
    """Less memory than the machine has, no core files and no large files."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (pages + ADDRESSES, pages + ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))


def tasks(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    """What is asked for, as PARSER:FIRST:LAST or PARSER:NAME,NAME …: a parser, and the names of inputs."""
    for word in words:
        name, *rest = word.split(":")
        if len(rest) == 2:
            yield name, [str(number) for number in range(int(rest[0]), int(rest[1]))]
        else:
            yield name, rest[0].split(",")


def input_of(worker: Worker, name: str) -> tuple[str, bytes]:
    """The file that changes, and its bytes: by its number, a fixed one by its name, or a valid one by that of the file."""
    if name.isdecimal():
        return worker.parser.input(Random(f"{worker.parser.name} {name}"), worker.files)
    if name.startswith("valid/"):
        return name[6:], worker.files[name[6:]]
    if name.startswith("found/"):
        folder = FOUND / worker.parser.name / name[6:]
        (path,) = (path for path in folder.rglob("*") if path.is_file())
        return path.relative_to(folder).as_posix(), path.read_bytes()
    return worker.fixed[name]


def _try_some(worker: Worker, asked: Sequence[str], answers: TextIO) -> None:
    dump = os.environ.get("FUZZ_DUMP")
    name = worker.parser.name
    for (number, file, data), problem in worker.try_some([(number, *input_of(worker, number)) for number in asked]):
        if problem is None:
            if dump:
                Path(dump).write_bytes(data)
            print(json.dumps({"input": number, "parser": name}), file=answers, flush=True)
        else:
            if kept := os.environ.get("FUZZ_KEEP"):
                path = Path(kept, name, number, file)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            said = {"parser": name, "input": number, "file": file, "bytes": len(data), "problem": problem}
            print(json.dumps(said), file=answers, flush=True)


def main(words: list[str]) -> None:
    """Work; each line of the output is JSON: what is begun, and what went wrong."""
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", module="PIL")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    logging.disable(logging.CRITICAL)
    answers = os.fdopen(os.dup(1), "w")  # what libraries print is no answer
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    limited, least = False, 0
    memory = Path("/dev/shm")  # where there is one, nothing waits for a disk
    place = (
        memory if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 64 << 20 else None
    )
    for name, asked in tasks(words):
        with tempfile.TemporaryDirectory(prefix="semalign-fuzz-", dir=place) as folder:
            worker = Worker(every_parser()[name], Path(folder))
            asked = [f"valid/{file}" for file in sorted(worker.files)] if asked == ["valid"] else asked
            asked = list(worker.fixed) if asked == ["fixed"] else asked
            if not limited and asked and not asked[0].startswith("valid/"):
                file, _ = input_of(worker, asked[0])
                worker.try_one(asked[0], file, worker.files[file])  # imports what the parser needs
                limit()
                limited, least = True, _resident(reset=True)
            for start in range(0, len(asked), TOGETHER):
                _try_some(worker, asked[start : start + TOGETHER], answers)
                if limited and _resident(reset=True) > least + GROWN:
                    print(json.dumps({"grown": True}), file=answers, flush=True)
                    answers.close()
                    return
    print(json.dumps({"done": True}), file=answers, flush=True)
    answers.close()


if __name__ == "__main__":
    main(sys.argv[1:])
