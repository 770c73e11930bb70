"""Tests with the oldest, or with the newest, versions of everything that pyproject.toml accepts.

    python tools/supported.py oldest|newest [--python python3.11] [--but torch==2.13.0] [tests/data -x]

An environment of its own, build/oldest or build/newest, gets Semalign with the extras that its tests use: the versions of
constraints-oldest.txt, or none but what the package index has. The tools of the tests are of the pinned versions, or the
newest. Then the tests run there; whatever else is given is for pytest, which without it runs all that are not slow. With
--but another version of some package is taken, where an index has not the oldest or the newest. Warnings are no errors there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = "train,serve,mat,fast,pandas"
QUICK = ("-m", "not slow")
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "beartype", "playwright")


def versions(path: Path) -> dict[str, str]:
    """The versions that a file of constraints names."""
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {str(canonicalize_name(name)): number for name, number in pairs}


def constraints(which: str, others: list[str]) -> dict[str, str]:
    """The versions to hold to."""
    held: dict[str, str] = {}
    if which == "oldest":
        pinned = versions(ROOT / "constraints.txt")
        held = {name: pinned[name] for name in TOOLS} | versions(ROOT / "constraints-oldest.txt")
    for text in others:
        one = Requirement(text)
        held[str(canonicalize_name(one.name))] = str(one.specifier).removeprefix("==")
    return held


def main() -> int:
    """Make the environment, say what is in it, run the tests."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("which", choices=("oldest", "newest"))
    asked.add_argument("--python", default=sys.executable)
    asked.add_argument("--but", action="append", default=[], metavar="NAME==VERSION")
    asked.add_argument("--keep", action="store_true", help="take the environment that is there")
    given, tests = asked.parse_known_args()
    place = ROOT / "build" / given.which
    python = place / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not given.keep:
        place.parent.mkdir(exist_ok=True)
        subprocess.run([given.python, "-m", "venv", "--clear", str(place)], check=True)
        held = place / "constraints.txt"
        lines = (f"{name}=={number}\n" for name, number in sorted(constraints(given.which, given.but).items()))
        held.write_text("".join(lines), encoding="utf-8")
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
        install += ["--upgrade-strategy", "eager", "--constraint", str(held), "--editable", f".[{EXTRAS}]", *TOOLS]
        subprocess.run(install, cwd=ROOT, check=True)
    subprocess.run([str(python), "-m", "pip", "list", "--format", "freeze", "--exclude-editable"], check=True)
    command = [str(python), "-m", "pytest", "-o", "filterwarnings=default", "-q", *(tests or QUICK)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
