"""Hostile files for everything that reads a stranger's: `make fuzz`.

    python tests/helpers/fuzz_run.py [--inputs 1000000] [--parsers coco,recipe] [--first 0] [--jobs 2] [--out failures.jsonl]

Every parser reads its fixed inputs and then its share of the others, in processes with limits (`fuzz_worker`): 5 seconds
of the processor and 600 MiB an input. Whatever a parser does but finish or raise a SemalignError of one sentence is printed
with the number by which `fuzz_worker` makes the input again. The exit status is 1 if there was anything.

To open a data set takes longer than to read its file, and all that is done with one many times that: FUZZ_OPENED=0.2
opens every fifth, FUZZ_THOROUGH=0.02 does all with every fiftieth. Of the others the changed file is read.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

from fuzz_parsers import every_parser
from fuzz_worker import tasks

HERE = Path(__file__).resolve().parent
HANGS = 30.0  # seconds of the processor without a word after which a worker hangs
SILENT = 900.0  # seconds by the clock, of a worker that waits
BEGUN = b'{"input":'  # how a worker's line begins that says which input it reads
CHUNK = 8000  # inputs of one worker, which then makes room for a fresh one


def attempts(words: list[str]) -> Iterator[dict[str, Any]]:
    """What workers say of the inputs that are asked for; after one that ends or hangs a worker, another goes on behind it."""
    left = [(name, asked) for name, asked in tasks(words) if asked]
    while left:
        begun: dict[str, Any] | None = None
        for said in run([f"{name}:{_short(asked)}" for name, asked in left]):
            if "problem" in said:
                yield said
            elif "input" in said:
                begun = said
            elif "ended" in said and begun is None:
                yield {"parser": left[0][0], "input": "", "problem": f"could not begin: {said['ended']}"}
                return
            elif "ended" in said:
                yield {**begun, "problem": said["ended"]}  # type: ignore[dict-item]
                left = list(_behind(left, begun))  # type: ignore[arg-type]
            elif "grown" in said:
                left = list(_behind(left, begun))  # type: ignore[arg-type]
            elif said.get("done"):
                return


def _short(asked: list[str]) -> str:
    """Numbers from one to another as these two, which a command line has room for."""
    if asked[0].isdecimal() and asked == [str(number) for number in range(int(asked[0]), int(asked[0]) + len(asked))]:
        return f"{asked[0]}:{int(asked[-1]) + 1}"
    return ",".join(asked)


def _behind(left: list[tuple[str, list[str]]], begun: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """What is asked for behind an input."""
    found = False
    for name, asked in left:
        if found:
            yield name, asked
        elif name == begun["parser"] and begun["input"] in asked:
            found = True
            if rest := asked[asked.index(begun["input"]) + 1 :]:
                yield name, rest


def run(arguments: list[str]) -> Iterator[dict[str, Any]]:
    """The lines of a worker, and last how it ended if that was not by itself."""
    paths = [str(HERE.parents[1] / "src"), os.environ.get("PYTHONPATH", "")]
    quiet = {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OPENCV_LOG_LEVEL": "SILENT",
        "PYTHONWARNINGS": "ignore",
    }
    quiet |= {"OPENCV_FFMPEG_LOGLEVEL": "-8", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, str(HERE / "fuzz_worker.py"), *arguments]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | quiet) as process,
        selectors.DefaultSelector() as selector,
    ):
        assert process.stdout is not None
        selector.register(process.stdout, selectors.EVENT_READ)
        rest = b""
        heard, spent = time.monotonic(), 0.0
        while True:
            if not selector.select(5.0):
                silent, busy = time.monotonic() - heard, _seconds(process.pid) - spent
                if silent > SILENT or busy > HANGS:
                    process.kill()
                    process.wait()
                    yield {"ended": f"hangs: {busy:.0f} s of the processor in {silent:.0f} s"}
                    return
                continue
            heard, spent = time.monotonic(), _seconds(process.pid)
            block = os.read(process.stdout.fileno(), 1 << 16)
            if not block:
                break
            *lines, rest = (rest + block).split(b"\n")
            for line, after in zip(lines, [*lines[1:], b""], strict=False):
                if not (line.startswith(BEGUN) and after.startswith(BEGUN)):  # of inputs without a word the last
                    yield json.loads(line)
        if process.wait() != 0:
            yield {"ended": f"the process ended with {process.returncode}"}


def _seconds(pid: int) -> float:
    """Of the processor that a process has used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def shares(inputs: int, weights: dict[str, float]) -> dict[str, int]:
    """How many inputs each parser gets."""
    whole = sum(weights.values())
    return {name: max(1, round(inputs * weight / whole)) for name, weight in weights.items()}


def plan(inputs: int, only: list[str], first: int = 0) -> list[list[str]]:
    """What each worker is asked for: all fixed inputs, and of the others so many, shared out by the parsers' weights."""
    parsers = {name: parser for name, parser in every_parser().items() if not only or name in only}
    words = [f"{name}:{','.join(parser.fixed())}" for name, parser in parsers.items() if parser.fixed()]
    for name, count in shares(inputs, {name: parser.weight for name, parser in parsers.items()}).items():
        starts = range(first, first + count, CHUNK)
        words += [f"{name}:{start}:{min(start + CHUNK, first + count)}" for start in starts]
    loads: list[list[str]] = [[]]
    waiting = 0
    for word in words:
        size = sum(len(asked) for _, asked in tasks([word]))
        if loads[-1] and waiting + size > CHUNK:
            loads.append([])
            waiting = 0
        loads[-1].append(word)
        waiting += size
    Random(0).shuffle(loads)  # so that what was done of them when it is broken off is of all
    return loads


def main() -> int:
    """Read the command line, print what goes wrong."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--inputs", type=int, default=1_000_000)
    asked.add_argument("--parsers", default="", help="names with commas between them; all by default")
    asked.add_argument("--first", type=int, default=0, help="number of the first input of each parser")
    asked.add_argument("--jobs", type=int, default=1, help="processes that read at the same time")
    asked.add_argument("--out", type=Path, help="file that gets the lines, too")
    given = asked.parse_args()
    loads = plan(given.inputs, [name for name in given.parsers.split(",") if name], given.first)
    inputs, failures = Counter[str](), 0
    with ThreadPoolExecutor(given.jobs) as pool:  # each thread waits for a process
        for count, found in pool.map(lambda words: done(words, given.out), loads):
            inputs, failures = inputs + count, failures + found
    print(", ".join(f"{name} {count}" for name, count in sorted(inputs.items())))
    print(f"{inputs.total()} inputs, {failures} failures")
    return 1 if failures else 0


def done(words: list[str], out: Path | None) -> tuple[Counter[str], int]:
    """Do what one worker is asked for, and print what goes wrong: how many inputs of each parser, and how many failures."""
    begun, failures = time.monotonic(), 0
    count = Counter[str]()
    for name, asked in tasks(words):
        count[name] += len(asked)
    for said in attempts(words):
        failures += 1
        _say(said, out)
    _say({"inputs": count, "seconds": round(time.monotonic() - begun, 1)}, out)
    return count, failures


def _say(said: dict[str, Any], out: Path | None) -> None:
    line = json.dumps(said)
    print(line, flush=True)
    if out is not None:
        with out.open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
