"""Known weaknesses of the pinned packages, by the advisories of the Open Source Vulnerabilities project (OSV).

    python tools/audit_dependencies.py [--advisories FOLDER] [--offline]

FOLDER (or the variable ADVISORIES) holds advisories as OSV's JSON, a file each, at any depth: an unpacked copy of the PyPA's
advisory database, which is read without a network. Without one osv.dev is asked, which learns the names and versions in
constraints.txt. Where neither is to be had, one sentence says so and nothing is found. The exit status is 1 for findings alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parents[1]
OSV = "https://api.osv.dev/v1/querybatch"
PATIENCE = 20.0  # seconds
ECOSYSTEM = "PyPI"


def pins() -> dict[str, str]:
    """The pinned versions, by name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {str(canonicalize_name(name)): version for name, version in pairs}


def in_folder(folder: Path, pinned: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Package and id of the advisories of a folder that a pin falls under.

    Raises:
        OSError, ValueError: a file that cannot be read.
    """
    for path in sorted(folder.rglob("*.json")):
        advisory = json.loads(path.read_text(encoding="utf-8"))
        if advisory.get("withdrawn"):
            continue
        for affected in advisory.get("affected", ()):
            package = affected.get("package", {})
            name = str(canonicalize_name(package.get("name", "")))
            if package.get("ecosystem") == ECOSYSTEM and name in pinned and affects(affected, pinned[name]):
                yield name, advisory["id"]


def affects(affected: Mapping[str, Any], version: str) -> bool:
    """Whether a version is among those that an advisory lists, or within a range of it."""
    if version in affected.get("versions", ()):
        return True
    return any(
        _within(one["events"], Version(version)) for one in affected.get("ranges", ()) if one["type"] == "ECOSYSTEM"
    )


def _within(events: list[Mapping[str, str]], version: Version) -> bool:
    """Whether a version lies between events, which are taken in their order."""
    inside = False
    for event in events:
        for kind, text in event.items():
            try:
                place = Version("0") if text == "0" else Version(text)
            except InvalidVersion:
                continue
            if kind == "introduced" and version >= place:
                inside = True
            elif (kind == "fixed" and version >= place) or (kind == "last_affected" and version > place):
                inside = False
    return inside


def online(pinned: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Package and id of the advisories that osv.dev names.

    Raises:
        OSError, ValueError: it cannot be asked.
    """
    names = list(pinned)
    queries = [{"package": {"name": name, "ecosystem": ECOSYSTEM}, "version": pinned[name]} for name in names]
    request = urllib.request.Request(
        OSV, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        results = json.load(answer)["results"]
    for name, result in zip(names, results, strict=True):
        yield from ((name, one["id"]) for one in result.get("vulns", ()))


def main() -> int:
    """Print what is found."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--advisories", type=Path, default=os.environ.get("ADVISORIES") or None)
    asked.add_argument("--offline", action="store_true", help="do not ask osv.dev")
    given = asked.parse_args()
    pinned = pins()
    try:
        if given.advisories is not None:
            if not Path(given.advisories).is_dir():
                raise OSError(f"there is no folder {given.advisories}")
            found = sorted(set(in_folder(Path(given.advisories), pinned)))
        elif given.offline:
            raise OSError("there is no folder of advisories")
        else:
            found = sorted(set(online(pinned)))
    except (OSError, ValueError, KeyError) as error:
        print(f"No advisories can be read ({error}), so nothing is known of the {len(pinned)} pinned packages.")
        return 0
    for name, advisory in found:
        print(f"{name} {pinned[name]}: {advisory}")
    print(f"{len(found)} advisories for {len(pinned)} pinned packages")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
