"""Reads hostile files under limits of time and memory, in a process of its own, and says what goes wrong.

    python tests/helpers/fuzz_worker.py PARSER:FIRST:LAST …    inputs of these numbers
    python tests/helpers/fuzz_worker.py PARSER:NAME,NAME …     inputs by name: numbers, fixed ones, or `fixed`, `valid`

A line of JSON says which input begins, and another what is wrong with it. FUZZ_DUMP=FILE keeps the bytes of the last one.

An input is a function of the parser's name and its number, so that a failure can be had again.
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
from collections.abc import Iterator
from pathlib import Path
from random import Random

from fuzz_mutators import ESCAPE
from fuzz_parsers import REFUSED, Parser, every_parser

from semalign.errors import SemalignError

SECONDS = 5.0  # of the processor, for one input
FOR_EACH = 1e-5  # more of it for each byte: a document of thousands of faces is read face by face
MEMORY = 600 << 20  # bytes more than before, for one input
ADDRESSES = 3 << 30  # bytes of addresses that a worker may have beyond what it has when it begins


class Worker:
    """Reads the inputs of one parser in a folder of its own.

    Args:
        parser: what reads.
        folder: empty; `in` is what is read, `out` what may be written, and nothing else may change.
    """

    def __init__(self, parser: Parser, folder: Path) -> None:
        self.parser, self.folder = parser, folder
        self.inputs, self.out = folder / "deep/er/in", folder / "deep/er/out"
        self.inputs.mkdir(parents=True)
        parser.make(self.inputs)
        self.fixed = dict(parser.fixed())
        self.files = {
            path.relative_to(self.inputs).as_posix(): path.read_bytes()
            for path in sorted(self.inputs.rglob("*"))
            if path.is_file()
        }

    def restore(self, changed: str) -> None:
        """Put the example back: the file that was changed, or all of it where the parser writes into what it reads."""
        (self.inputs / "changed").unlink(missing_ok=True)
        if not self.parser.writes:
            (self.inputs / changed).write_bytes(self.files[changed])
            return
        shutil.rmtree(self.inputs)
        for name, data in self.files.items():
            path = self.inputs / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def try_one(self, number: str, name: str, data: bytes) -> str | None:
        """What goes wrong with a file's bytes; None if nothing does."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        (self.inputs / name).write_bytes(data)
        (self.inputs / "changed").write_text(name)
        before, begun = _resident(reset=True), time.process_time()
        problem = self._read(number)
        seconds, more = time.process_time() - begun, _resident() - before
        if problem is None and seconds > SECONDS + FOR_EACH * len(data):
            problem = f"took {seconds:.1f} s"
        if problem is None and more > MEMORY:
            problem = f"took {more >> 20} MiB"
        strange = [path for path in self._written() if path.name not in ("changed",)]
        if problem is None and strange:
            problem = f"wrote {', '.join(str(path.relative_to(self.folder)) for path in strange)[:300]}"
        self.restore(name)
        for path in self._escaped():
            path.unlink()
            problem = problem or f"wrote {path}"
        return problem

    def _read(self, number: str) -> str | None:
        try:
            self.parser.read(self.inputs, self.out, Random(f"{self.parser.name} {number} read"))
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

    def _written(self) -> list[Path]:
        """Files that nobody may have written: beside the folders, or in the input beyond what is there for good reasons."""
        return [
            path
            for path in self.folder.rglob("*")
            if path.is_file()
            and self.out not in path.parents
            and (self.inputs not in path.parents or ESCAPE in path.name)
        ]

    def _escaped(self) -> Iterator[Path]:
        for folder in (Path("/tmp"), Path("/"), Path.cwd(), self.folder.parent):
            yield from folder.glob(f"*{ESCAPE}*")


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
    return worker.fixed[name]


def main(words: list[str]) -> None:
    """Work; each line of the output is JSON: what is begun, and what went wrong."""
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", module="PIL")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    logging.disable(logging.CRITICAL)
    dump = os.environ.get("FUZZ_DUMP")
    limited = False
    memory = Path("/dev/shm")  # where there is one, nothing waits for a disk
    place = (
        memory if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 64 << 20 else None
    )
    for name, asked in tasks(words):
        with tempfile.TemporaryDirectory(prefix="semalign-fuzz-", dir=place) as folder:
            worker = Worker(every_parser()[name], Path(folder))
            asked = [f"valid/{file}" for file in sorted(worker.files)] if asked == ["valid"] else asked
            asked = list(worker.fixed) if asked == ["fixed"] else asked
            for number in asked:
                file, data = input_of(worker, number)
                if not limited and not number.startswith("valid/"):
                    worker.try_one(number, file, worker.files[file])  # imports what the parser needs
                    limit()
                    limited = True
                if dump:
                    Path(dump).write_bytes(data)
                print(json.dumps({"parser": name, "input": number}), flush=True)
                REFUSED.clear()
                problem = worker.try_one(number, file, data)
                if number.startswith("valid/") and REFUSED:
                    problem = f"refused: {' '.join(REFUSED)[:300]}"
                if problem is not None:
                    said = {"parser": name, "input": number, "file": file, "bytes": len(data), "problem": problem}
                    print(json.dumps(said), flush=True)
    print(json.dumps({"done": True}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
