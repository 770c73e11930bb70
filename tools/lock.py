"""The lock of `make setup`: every package that development and CI install on Linux x86_64, with the hashes of its wheels.

    python tools/lock.py [--python python3.11 python3.12 python3.13]

For each interpreter pip says what it would install by constraints.txt, and of which wheels; nothing is installed. Written are,
in requirements/, dev.txt, docs.txt with what the documentation needs beyond that, and torch-cpu.txt, since PyTorch's build
depends on the index: what its builds for graphics cards bring along is in none of them. Run it, in the environment of `make
setup`, after every change of constraints.txt or of what pyproject.toml declares.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "requirements"
INTERPRETERS = ("python3.11", "python3.12", "python3.13")
EDITABLE = "editables"  # what hatchling needs beside itself for an installation that follows the source
TORCH = "torch"
HEAD = """\
# Made by tools/lock.py from constraints.txt and pyproject.toml; do not edit.
# {what}
# Wheels for Linux x86_64 and {pythons}.
"""
Packages = dict[str, tuple[str, set[str]]]  # version and hashes by name


def declared(*extras: str) -> list[str]:
    """What building, Semalign itself and some of its extras need, as pyproject.toml declares it."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    def of(extra: str) -> Iterator[str]:
        for text in content["project"]["optional-dependencies"][extra]:
            inner = re.fullmatch(r"semalign\[(\w+)\]", text)
            yield from of(inner[1]) if inner else (text,)

    every = [*content["build-system"]["requires"], EDITABLE, *content["project"]["dependencies"]]
    return list(dict.fromkeys([*every, *(text for extra in extras for text in of(extra))]))


def report(python: str) -> dict[str, Any]:
    """What an interpreter's pip would install."""
    command = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--dry-run",
        "--ignore-installed",
    ]
    command += ["--only-binary", ":all:", "--constraint", str(ROOT / "constraints.txt"), "--report", "-"]
    done = subprocess.run([*command, *declared("dev", "docs")], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def reached(content: dict[str, Any], wanted: Iterable[str]) -> set[str]:
    """The packages of a report that some requirements lead to, by name."""
    packages = {canonicalize_name(item["metadata"]["name"]): item["metadata"] for item in content["install"]}
    waiting = [Requirement(text) for text in wanted]
    seen: set[tuple[str, str]] = set()
    while waiting:
        one = waiting.pop()
        for extra in ("", *one.extras):
            name = canonicalize_name(one.name)
            if (name, extra) in seen or name not in packages:
                continue
            seen.add((name, extra))
            # PyTorch's own needs are pinned, but for those of its builds for graphics cards.
            for text in packages[name].get("requires_dist", ()) if name != TORCH else ():
                inner = Requirement(text)
                if inner.marker is None or inner.marker.evaluate({**content["environment"], "extra": extra}):
                    waiting.append(inner)
    return {name for name, _ in seen}


def pinned() -> set[str]:
    """The names of the packages in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(line.split("==")[0]) for line in lines if "==" in line and not line.startswith("#")}


def collect(reports: Iterable[dict[str, Any]]) -> tuple[Packages, set[str]]:
    """All packages of some reports, and those that development needs."""
    packages: Packages = {}
    development: set[str] = set()
    known_pins = pinned()
    for content in reports:
        development |= reached(content, declared("dev"))
        needed = reached(content, declared("dev", "docs")) | known_pins
        for item in content["install"]:
            name = canonicalize_name(item["metadata"]["name"])
            version, _, build = item["metadata"]["version"].partition("+")
            if name not in needed or (name == TORCH and build != "cpu"):
                continue
            known = packages.setdefault(name, (version, set()))
            if known[0] != version:
                sys.exit(
                    f"{name} is {known[0]} for one interpreter and {version} for another; pin it in constraints.txt."
                )
            known[1].add(item["download_info"]["archive_info"]["hashes"]["sha256"])
    return packages, development


def versions(reports: Iterable[dict[str, Any]]) -> str:
    """The Pythons of some reports, in words."""
    return ", ".join(sorted(f"Python {content['environment']['python_version']}" for content in reports))


def _build(content: dict[str, Any]) -> str:
    """Which build of PyTorch an index has for an interpreter."""
    found = (item["metadata"] for item in content["install"] if item["metadata"]["name"] == TORCH)
    return str(next(found)["version"].partition("+")[2])


def write(name: str, what: str, pythons: str, packages: Packages) -> None:
    """Write a file that `pip install --require-hashes` takes."""
    lines = [HEAD.format(what=what, pythons=pythons)]
    for package, (version, hashes) in sorted(packages.items()):
        lines.append(
            " \\\n".join([f"{package}=={version}", *(f"    --hash=sha256:{one}" for one in sorted(hashes))]) + "\n"
        )
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / name).write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Write the files."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--python", nargs="+", default=INTERPRETERS, metavar="PYTHON")
    reports = [report(python) for python in asked.parse_args().python]
    packages, development = collect(reports)
    pythons, with_torch = versions(reports), versions(content for content in reports if _build(content) == "cpu")
    torch = {TORCH: packages.pop(TORCH)}
    further = {name for content in reports for name in reached(content, declared("docs"))} - development
    ours = {name: facts for name, facts in packages.items() if name not in further}
    beyond = {name: facts for name, facts in packages.items() if name in further}
    write("dev.txt", "All that development installs but PyTorch.", pythons, ours)
    write("docs.txt", "What the documentation needs beyond dev.txt.", pythons, beyond)
    write("torch-cpu.txt", "PyTorch as it is built for processors alone.", with_torch, torch)


if __name__ == "__main__":
    main()
