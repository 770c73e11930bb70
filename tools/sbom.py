"""A bill of materials of this version: Semalign and every package that it is installed with, as CycloneDX JSON.

    python tools/sbom.py [--extras train,serve] [--out dist/semalign-VERSION.cdx.json]

It is made of what is installed here (names, versions, licences, who needs whom) and of the hashes in requirements/. The same
environment gives the same bytes; SOURCE_DATE_EPOCH is its date, by default that of the last commit.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = "semalign"
EXTRAS = "train,serve,mat,fast,pandas"
NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # of addresses, by RFC 4122


def needed(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """What an installed distribution needs on this machine, with the extras of each."""
    for text in distribution(name).requires or ():
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield str(canonicalize_name(one.name)), frozenset(one.extras)


def graph(extras: frozenset[str]) -> dict[str, list[str]]:
    """For Semalign and each package below it what it needs.

    Raises:
        SystemExit: one of them is not installed.
    """
    found: dict[str, set[str]] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(PRODUCT, extras)]
    while waiting:
        name, own = waiting.pop()
        if (name, own) in seen:
            continue
        seen.add((name, own))
        try:
            below = list(needed(name, own))
        except PackageNotFoundError:
            sys.exit(f"{name} is not installed; run 'make setup' first, or leave its extra out of --extras.")
        found.setdefault(name, set()).update(other for other, _ in below if other != name)
        waiting += below
    return {name: sorted(others) for name, others in sorted(found.items())}


def hashes() -> dict[str, list[str]]:
    """SHA-256 of wheels, by NAME==VERSION, as the lock has them."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        for block in re.split(r"\n(?=\S)", path.read_text(encoding="utf-8")):
            if match := re.match(r"([\w.-]+)==([\w.]+)", block):
                found[f"{canonicalize_name(match[1])}=={match[2]}"] = re.findall(r"sha256:([0-9a-f]{64})", block)
    return found


def licences(one: Distribution) -> list[dict[str, Any]]:
    """The licence as the package says: an expression, else its name."""
    about = one.metadata
    if expression := about.get("License-Expression"):
        return [{"expression": expression}]
    classified = [
        text.rpartition(" :: ")[2] for text in about.get_all("Classifier") or () if text.startswith("License ::")
    ]
    named = classified or [text for text in [(about.get("License") or "").strip()] if text and "\n" not in text]
    return [{"license": {"name": name}} for name in named]


def component(name: str, known: dict[str, list[str]]) -> dict[str, Any]:
    """A package as CycloneDX has it."""
    one = distribution(name)
    version = one.version
    entry: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference(name),
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version.replace('+', '%2B')}",
    }
    if summary := one.metadata.get("Summary"):
        entry["description"] = summary
    if own := licences(one):
        entry["licenses"] = own
    if wheels := known.get(f"{name}=={version.partition('+')[0]}"):
        entry["properties"] = [{"name": "semalign:wheel:sha256", "value": digest} for digest in wheels]
    return entry


def reference(name: str) -> str:
    """What a package is called within the bill."""
    return f"{name}@{distribution(name).version}"


def bill(extras: frozenset[str]) -> dict[str, Any]:
    """The whole bill."""
    below, known = graph(extras), hashes()
    product = component(PRODUCT, known) | {"type": "application"}
    components = [component(name, known) for name in below if name != PRODUCT]
    dependencies = [{"ref": reference(name), "dependsOn": [*map(reference, others)]} for name, others in below.items()]
    content = json.dumps([product, components, dependencies], sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, content)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(_date(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": product,
            "properties": [{"name": "semalign:extras", "value": ",".join(sorted(extras))}],
        },
        "components": components,
        "dependencies": dependencies,
    }


def _date() -> int:
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    command = ["git", "log", "-1", "--format=%ct"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip() else 0


def main() -> None:
    """Write the bill."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--extras", default=EXTRAS)
    asked.add_argument("--out", type=Path)
    given = asked.parse_args()
    content = bill(frozenset(filter(None, given.extras.split(","))))
    version = content["metadata"]["component"]["version"]
    out = given.out or ROOT / "dist" / f"{PRODUCT}-{version}.cdx.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{out}: {len(content['components'])} packages")


if __name__ == "__main__":
    main()
