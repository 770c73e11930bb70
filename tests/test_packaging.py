"""What is installed: dependencies declared are those imported, pins fit, and make sets itself up or says why not."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import semalign
from semalign.extras import PARTS

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CORE = {canonicalize_name(Requirement(text).name): Requirement(text) for text in PROJECT["dependencies"]}
EXTRAS = {name: [Requirement(text) for text in texts] for name, texts in PROJECT["optional-dependencies"].items()}


def imported_packages(folder: Path) -> dict[str, list[str]]:
    """Top-level packages of others that the code below `folder` imports, with the files."""
    found: dict[str, list[str]] = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for top in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"semalign"}:
                found.setdefault(top, []).append(str(path.relative_to(folder)))
    return found


def distributions(imported: str) -> set[str]:
    """Canonical names of the installed distributions that an import may come from."""
    return {canonicalize_name(name) for name in packages_distributions().get(imported, [imported])}


def pins() -> dict[str, str]:
    """constraints.txt by canonical name."""
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {
        str(canonicalize_name(name)): version
        for name, version in (line.split("==") for line in lines if line and not line.startswith("#"))
    }


def test_everything_imported_is_declared() -> None:
    allowed = {
        *CORE,
        *(
            canonicalize_name(r.name)
            for name in (
                "train",
                "tensorboard",
                "pandas",
                "mat",
                "fast",
                "serve",
                "heic",
                "remote",
                "fiftyone",
                "supervision",
            )
            for r in EXTRAS[name]
        ),
    }
    undeclared = {
        name: files
        for name, files in imported_packages(REPOSITORY / "src" / "semalign").items()
        if not distributions(name) & allowed
    }
    assert undeclared == {}


def test_everything_declared_is_imported() -> None:
    used = {name for top in imported_packages(REPOSITORY / "src" / "semalign") for name in distributions(top)}
    assert set(CORE) - used == set()
    assert {canonicalize_name(requirement.name) for requirement in EXTRAS["train"]} - used == set()


def test_the_sentence_about_the_extra_names_what_it_brings() -> None:
    brought = {canonicalize_name(requirement.name) for requirement in EXTRAS["train"]}
    assert {canonicalize_name(name) for name in PARTS} == brought
    assert brought & set(CORE) == set()


def test_pins_fit_what_is_declared() -> None:
    pinned = pins()
    ours = [r for name in ("train", "dev", "pandas", "docs") for r in EXTRAS[name] if r.name != "semalign"]
    for requirement in [*CORE.values(), *ours]:
        name = str(canonicalize_name(requirement.name))
        assert name in pinned, f"constraints.txt does not pin {name}"
        assert requirement.specifier.contains(pinned[name]), f"{requirement} excludes the pin {pinned[name]}"


def test_pins_are_plain_versions_of_this_package_index() -> None:
    """No local version (a build for one machine), no path, no address."""
    text = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        assert re.fullmatch(r"#.*|[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line), line
    assert re.findall(r"^(?:semalign|pip)\b", text, flags=re.MULTILINE | re.IGNORECASE) == []


def test_the_version_has_one_source() -> None:
    assert "version" not in PROJECT
    assert re.fullmatch(r"\d+\.\d+\.\d+", semalign.__version__)


def test_the_public_names_resolve_and_the_type_checker_sees_the_same() -> None:
    tree = ast.parse((REPOSITORY / "src" / "semalign" / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {(node.module, alias.name) for node in block.body for alias in node.names}  # type: ignore[attr-defined]
    assert declared == {(module, name) for module, names in semalign._HOME.items() for name in names}
    for name in semalign.__all__:
        assert getattr(semalign, name) is not None
    assert set(semalign.__all__) <= set(dir(semalign))
    with pytest.raises(AttributeError, match="'nonsense'"):
        _ = semalign.nonsense


def test_the_face_finder_lies_in_the_package_with_its_licence() -> None:
    """The wheel takes everything below src/semalign that git does not ignore."""
    folder = REPOSITORY / "src" / "semalign" / "detect"
    assert (folder / "centerface.onnx").stat().st_size < 8_000_000
    assert "MIT License" in (folder / "centerface.LICENSE").read_text(encoding="utf-8")
    names = ["centerface.onnx", "centerface.LICENSE"]
    ignored = subprocess.run(["git", "check-ignore", *names], cwd=folder, capture_output=True, text=True, check=False)
    assert ignored.stdout == ""


# ---- make ----

FAKE_PYTHON = """#!/bin/sh
# Stands for an interpreter: {answer} to the Makefile's question; makes an environment whose pip is a recorder.
case "$*" in
  -c*) echo {answer} ;;
  --version) echo "Python {version}" ;;
  "-m venv --clear .venv")
    echo venv >> calls
    rm -rf .venv && mkdir -p .venv/bin
    printf '#!/bin/sh\\ntest "$1" != -c || {{ test -e locked; exit; }}\\n' > .venv/bin/python
    printf 'echo "$*" >> calls\\ntest ! -e fail || exit 1\\n' >> .venv/bin/python
    printf 'case "$*" in *--require-hashes*) ! cat refusal >&2 2>/dev/null ;; esac\\n' >> .venv/bin/python
    chmod +x .venv/bin/python ;;
esac
"""


class Checkout:
    """A copy of the files that `make` needs, with interpreters that only pretend."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(REPOSITORY / name, folder)
        shutil.copytree(REPOSITORY / "requirements", folder / "requirements")

    def interpreter(self, name: str, answer: str, version: str) -> None:
        path = self.folder / name
        path.write_text(FAKE_PYTHON.format(answer=answer, version=version), encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # Of an outer make.
        ours = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "PYTHON", "JOBS", "ARGS", "LOCKED")
        plain = {key: value for key, value in os.environ.items() if key not in ours}
        return subprocess.run(
            ["make", *arguments], cwd=self.folder, env=plain, capture_output=True, text=True, check=False
        )

    def calls(self) -> list[str]:
        """What was run since last asked: 'venv', or the arguments of the environment's Python."""
        log = self.folder / "calls"
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    yield Checkout(tmp_path)


INSTALL = "-m pip install --disable-pip-version-check --constraint constraints.txt --editable .[dev]"
INSTALL_DOCS = INSTALL.replace("[dev]", "[docs]")
BY_HASH = "-m pip install --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --requirement"
LOCKED = [
    f"{BY_HASH} requirements/dev.txt",
    f"{BY_HASH} requirements/torch-cpu.txt --quiet",
    INSTALL.replace("--editable", "--no-build-isolation --editable"),
]


def test_make_sets_up_once_and_again_when_the_pins_change(checkout: Checkout) -> None:
    checkout.interpreter("good", "good", "3.12.1")
    demo = "-m semalign run demo --out runs/demo --resume"
    assert checkout.make("demo", "PYTHON=./good").returncode == 0
    assert checkout.calls() == ["venv", INSTALL, demo]
    assert checkout.make("demo", "PYTHON=./good").returncode == 0
    assert checkout.calls() == [demo]
    os.utime(checkout.folder / "constraints.txt", (2**31, 2**31))
    checkout.make("demo", "PYTHON=./good")
    assert checkout.calls() == [INSTALL, demo]


def test_make_installs_by_hashes_where_the_lock_knows_the_wheels(checkout: Checkout) -> None:
    checkout.interpreter("good", "good", "3.12.1")
    (checkout.folder / "locked").touch()
    assert checkout.make("setup", "PYTHON=./good").returncode == 0
    assert checkout.calls() == ["venv", *LOCKED]
    os.utime(checkout.folder / "requirements/dev.txt", (2**31, 2**31))
    assert checkout.make("setup", "PYTHON=./good", "LOCKED=no").returncode == 0
    assert checkout.calls() == [INSTALL]
    os.utime(checkout.folder / "requirements/dev.txt", (1, 1))
    assert checkout.make("docs", "PYTHON=./good").returncode == 0
    assert checkout.calls() == [INSTALL_DOCS, "-m mkdocs build --strict"], "what is built on is not of the lock"


@pytest.mark.parametrize(
    ("refusal", "locked", "calls", "sentence"),
    [
        ("No matching distribution found", "auto", ["venv", LOCKED[0], INSTALL], "installed by version alone"),
        ("No matching distribution found", "yes", ["venv", LOCKED[0]], "No matching distribution found"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "auto", ["venv", LOCKED[0]], "is not the one of the lock"),
    ],
)
def test_a_lock_that_does_not_hold_is_a_sentence(
    checkout: Checkout, refusal: str, locked: str, calls: list[str], sentence: str
) -> None:
    checkout.interpreter("good", "good", "3.12.1")
    (checkout.folder / "locked").touch()
    (checkout.folder / "refusal").write_text(refusal, encoding="utf-8")
    done = checkout.make("setup", "PYTHON=./good", f"LOCKED={locked}")
    assert (done.returncode == 0) is (INSTALL in calls)
    assert checkout.calls() == calls
    assert sentence in done.stdout + done.stderr


def test_a_build_of_pytorch_that_the_lock_does_not_know_is_installed_by_version(checkout: Checkout) -> None:
    checkout.interpreter("good", "good", "3.12.1")
    (checkout.folder / "locked").touch()
    assert checkout.make("setup", "PYTHON=./good").returncode == 0
    python = checkout.folder / ".venv/bin/python"
    python.write_text(python.read_text(encoding="utf-8").replace("*--require-hashes*", "*torch*"), encoding="utf-8")
    (checkout.folder / "refusal").touch()
    checkout.calls()
    os.utime(checkout.folder / "requirements/dev.txt", (2**31, 2**31))
    done = checkout.make("setup", "PYTHON=./good")
    assert done.returncode == 0 and "another build of PyTorch" in done.stdout
    assert checkout.calls() == LOCKED


def locked() -> dict[str, tuple[str, int]]:
    """Version, and number of hashes, of each package of the lock."""
    found = {}
    for path in sorted((REPOSITORY / "requirements").glob("*.txt")):
        text = path.read_text(encoding="utf-8")
        assert "://" not in text
        for block in re.split(r"\n(?=\S)", text.rstrip()):
            if not block.startswith("#"):
                match = re.fullmatch(r"([\w.-]+)==([\w.]+)((?: \\\n {4}--hash=sha256:[0-9a-f]{64})+)", block)
                assert match is not None, block
                assert match[1] not in found
                found[match[1]] = match[2], match[3].count("sha256")
    return found


def test_the_lock_is_of_the_pins() -> None:
    pinned, found = pins(), locked()
    assert {name: version for name, (version, _) in found.items()} == {name: pinned[name] for name in found}
    ours = {str(canonicalize_name(r.name)) for name in ("train", "dev", "docs") for r in EXTRAS[name]} - {"semalign"}
    assert ours | set(map(str, CORE)) <= set(found)
    assert found["numpy"][1] >= 2, "a wheel for each Python"


def test_the_oldest_versions_that_are_tested_are_those_that_are_accepted() -> None:
    lines = (REPOSITORY / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    tested = {name: Version(number) for name, number in (line.split("==") for line in lines if line[0] != "#")}
    ours = [r for name in ("train", "serve", "mat", "fast", "pandas") for r in EXTRAS[name]]
    accepted = {
        str(canonicalize_name(one.name)): min(Version(s.version) for s in one.specifier if s.operator == ">=")
        for one in [*CORE.values(), *ours]
    }
    assert tested.keys() == accepted.keys()
    for name, lowest in accepted.items():  # whose first release may have further digits
        assert tested[name].release[: len(lowest.release)] == lowest.release, name


def test_the_bill_of_materials_names_what_is_installed(tmp_path: Path) -> None:
    out = tmp_path / "bill.json"
    command = [sys.executable, "tools/sbom.py", "--extras", "train", "--out", str(out)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    content = json.loads(out.read_text(encoding="utf-8"))
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.6")
    names = [one["name"] for one in content["components"]]
    assert {*map(str, CORE), *(str(canonicalize_name(r.name)) for r in EXTRAS["train"])} <= set(names)
    references = {content["metadata"]["component"]["bom-ref"], *(one["bom-ref"] for one in content["components"])}
    assert len(references) == 1 + len(names)
    assert {one["ref"] for one in content["dependencies"]} == references
    assert {ref for one in content["dependencies"] for ref in one["dependsOn"]} <= references
    numpy = next(one for one in content["components"] if one["name"] == "numpy")
    assert numpy["purl"].startswith("pkg:pypi/numpy@") and numpy["licenses"]
    again = tmp_path / "again.json"
    subprocess.run([*command[:-1], str(again)], cwd=REPOSITORY, check=True, capture_output=True)
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([{"introduced": "0"}], 1),
        ([{"introduced": "0"}, {"fixed": "0.0.1"}], 0),
        ([{"introduced": "0"}, {"last_affected": "999999"}], 1),
        ([{"introduced": "999999"}], 0),
    ],
)
def test_advisories_of_a_folder_are_findings(tmp_path: Path, events: list[dict[str, str]], status: int) -> None:
    ranges = [{"type": "ECOSYSTEM", "events": events}]
    package = {"package": {"name": "NumPy", "ecosystem": "PyPI"}, "ranges": ranges}
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.json").write_text(json.dumps({"id": "PYSEC-0", "affected": [package]}), encoding="utf-8")
    done = audit_dependencies("--advisories", str(tmp_path))
    assert done.returncode == status and ("PYSEC-0" in done.stdout) == bool(status)


def test_without_advisories_one_sentence_says_so() -> None:
    done = audit_dependencies("--offline")
    assert done.returncode == 0 and re.fullmatch(r"No advisories can be read .*\n", done.stdout)


def audit_dependencies(*words: str) -> subprocess.CompletedProcess[str]:
    plain = {key: value for key, value in os.environ.items() if key != "ADVISORIES"}
    command = [sys.executable, "tools/audit_dependencies.py", *words]
    return subprocess.run(command, cwd=REPOSITORY, env=plain, capture_output=True, text=True, check=False)


def test_make_docs_adds_what_builds_pages_once_and_other_commands_do_without(checkout: Checkout) -> None:
    checkout.interpreter("good", "good", "3.12.1")
    build = "-m mkdocs build --strict"
    assert checkout.make("setup", "PYTHON=./good").returncode == 0
    assert checkout.calls() == ["venv", INSTALL]
    assert checkout.make("docs", "PYTHON=./good").returncode == 0
    assert checkout.calls() == [INSTALL_DOCS, build]
    assert checkout.make("docs", "PYTHON=./good").returncode == 0
    assert checkout.calls() == [build]


def test_make_redoes_an_installation_that_was_cut_short(checkout: Checkout) -> None:
    checkout.interpreter("good", "good", "3.12.1")
    (checkout.folder / "fail").touch()
    assert checkout.make("demo", "PYTHON=./good").returncode != 0
    assert checkout.calls() == ["venv", INSTALL]
    (checkout.folder / "fail").unlink()
    assert checkout.make("setup", "PYTHON=./good").returncode == 0
    assert checkout.calls() == ["venv", INSTALL]


def test_make_passes_over_interpreters_that_will_not_do(checkout: Checkout) -> None:
    checkout.interpreter("old", "old", "3.9.2")
    checkout.interpreter("good", "good", "3.11.0")
    result = checkout.make("setup", "PYTHON=./missing ./old ./good")
    assert result.returncode == 0, result.stderr
    assert "./good" in result.stdout


@pytest.mark.parametrize(
    ("answer", "version", "sentence"),
    [("old", "3.9.2", "Python 3.9.2 is too old"), ("bare", "3.12.1", "apt install python3-venv")],
)
def test_make_says_in_one_sentence_what_is_missing(
    checkout: Checkout, answer: str, version: str, sentence: str
) -> None:
    checkout.interpreter("python", answer, version)
    result = checkout.make("test", "PYTHON=./nothing ./python")
    said = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert result.returncode != 0
    assert len(said) == 1
    assert sentence in said[0]
    assert not (checkout.folder / ".venv").exists()


def test_make_asks_this_interpreter_the_right_question(checkout: Checkout) -> None:
    """The question itself, put to a real Python: the one that runs these tests is good enough."""
    question = re.search(r"^classify = (.*)$", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert question is not None
    answer = subprocess.run([sys.executable, "-c", question[1]], capture_output=True, text=True, check=True)
    assert answer.stdout == "good\n"


def test_help_names_every_command(checkout: Checkout) -> None:
    lines = checkout.make().stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("  make ")] == [
        "help",
        "setup",
        "demo",
        "test",
        "faults",
        "fuzz",
        "load",
        "lint",
        "docs",
        "bench",
        "oldest",
        "newest",
        "lock",
        "sbom",
        "audit-dependencies",
        "clean",
    ]
