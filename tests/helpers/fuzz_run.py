"""Hostile files for everything that reads a stranger's: `make fuzz`.

    python tests/helpers/fuzz_run.py [--inputs 1000000] [--parsers coco,recipe] [--first 0] [--out failures.jsonl]

Every parser reads its fixed inputs and then its share of the others, each in a process with limits (`fuzz_worker`): 5 seconds of
the processor and 600 MiB an input. Whatever a parser does but finish or raise a SemalignError of one sentence is printed with the
number by which `fuzz_worker` makes the input again. The exit status is 1 if there was anything.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SILENT = 120.0  # seconds without a word after which a worker hangs
CHUNK = 4000  # inputs of one worker, which then makes room for a fresh one


def attempts(parser: str, first: int, last: int) -> Iterator[dict[str, Any]]:
    """What a worker says of some inputs; after one that ends or hangs it, another worker goes on behind it."""
    while first < last:
        begun: dict[str, Any] | None = None
        for said in run([parser, str(first), str(last)]):
            if "problem" in said:
                yield said
            elif "input" in said:
                begun = said
            elif said.get("done"):
                return
            else:
                problem = said.get("ended", "ended")
                if begun is None:
                    yield {"input": str(first), "problem": f"could not begin: {problem}"}
                    return
                yield {**begun, "problem": problem}
                first = int(begun["input"]) + 1


def fixed(parser: str, names: list[str]) -> Iterator[dict[str, Any]]:
    """What goes wrong with a parser's fixed inputs, all in one worker unless one ends it."""
    left = list(names)
    while left:
        begun = ""
        for said in run([parser, "all" if left == names else left[0]]):
            if "problem" in said:
                yield said
            elif "input" in said:
                begun = said["input"]
            elif "ended" in said:
                yield {"input": begun or left[0], "problem": said["ended"]}
        if left == names and not begun:
            return
        left = left[left.index(begun) + 1 :] if begun in left else []


def run(arguments: list[str]) -> Iterator[dict[str, Any]]:
    """The lines of a worker, and last how it ended if that was not by itself."""
    paths = [str(HERE.parents[1] / "src"), os.environ.get("PYTHONPATH", "")]
    quiet = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OPENCV_LOG_LEVEL": "SILENT", "PYTHONWARNINGS": "ignore"}
    quiet |= {"OPENCV_FFMPEG_LOGLEVEL": "-8", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, str(HERE / "fuzz_worker.py"), *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | quiet
    ) as process, selectors.DefaultSelector() as selector:
        assert process.stdout is not None
        selector.register(process.stdout, selectors.EVENT_READ)
        rest = b""
        while True:
            if not selector.select(SILENT):
                process.kill()
                process.wait()
                yield {"ended": f"hangs for {SILENT:.0f} s"}
                return
            block = os.read(process.stdout.fileno(), 1 << 16)
            if not block:
                break
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                said = json.loads(line)
                yield said
        if process.wait() != 0:
            yield {"ended": f"the process ended with {process.returncode}"}


def shares(inputs: int, weights: dict[str, float]) -> dict[str, int]:
    """How many inputs each parser gets."""
    whole = sum(weights.values())
    return {name: max(1, round(inputs * weight / whole)) for name, weight in weights.items()}


def fuzz(inputs: int, only: list[str], first: int = 0) -> Iterator[dict[str, Any]]:
    """All failures of so many inputs beyond the fixed ones; a line without `problem` closes each parser."""
    from fuzz_parsers import every_parser

    parsers = {name: parser for name, parser in every_parser().items() if not only or name in only}
    for name, count in shares(inputs, {name: parser.weight for name, parser in parsers.items()}).items():
        begun, failures = time.monotonic(), 0
        for said in fixed(name, known := list(parsers[name].fixed())):
            failures += 1
            yield {"parser": name, **said}
        for start in range(first, first + count, CHUNK):
            for said in attempts(name, start, min(start + CHUNK, first + count)):
                failures += 1
                yield {"parser": name, **said}
        seconds = time.monotonic() - begun
        yield {"parser": name, "inputs": count + len(known), "failures": failures, "seconds": round(seconds, 1)}


def main() -> int:
    """Read the command line, print what goes wrong."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--inputs", type=int, default=1_000_000)
    asked.add_argument("--parsers", default="", help="names with commas between them; all by default")
    asked.add_argument("--first", type=int, default=0, help="number of the first input of each parser")
    asked.add_argument("--out", type=Path, help="file that gets the lines, too")
    given = asked.parse_args()
    total = failures = 0
    for said in fuzz(given.inputs, [name for name in given.parsers.split(",") if name], given.first):
        line = json.dumps(said)
        print(line, flush=True)
        if given.out is not None:
            with given.out.open("a") as file:
                file.write(line + "\n")
        total, failures = total + said.get("inputs", 0), failures + ("problem" in said)
    print(f"{total} inputs, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
