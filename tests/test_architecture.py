"""The import rule of docs/design.md (upwards in its table, never in a circle; the paper apart), and that importing has no
effect.
"""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from semalign.data.formats import READERS

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src" / "semalign"
ROOT = ("__init__", "__main__")  # the package itself: its public names are imported when they are used
CORRECTION = "semalign.training.correction"  # GHCU: of the product, though only the paper trains it
MESH = "semalign.export.mesh"  # writes a file that ships, for a benchmark's command


def table_order(design: str) -> list[str]:
    """Package names from the table under 'Folders, bottom to top', in order."""
    section = design.split("## Folders, bottom to top", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (`[^|]*`) \|", section, flags=re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def modules(source: Path) -> dict[str, Path]:
    """Every module below `source`, by its dotted name; a package goes by its own name."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = (source.name, *path.relative_to(source).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[str, int]]:
    """Modules of ours that a module imports anywhere in its text, with the line."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(filter(None, [package.rsplit(".", node.level - 1)[0], base]))
            if base not in known:
                continue
            submodules = [f"{base}.{alias.name}" for alias in node.names]
            yield from ((module, node.lineno) for module in submodules if module in known)
            if any(module not in known for module in submodules):
                yield base, node.lineno


def row_of(module: str) -> str:
    """The table's row that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def downward_imports(source: Path, order: list[str]) -> list[str]:
    """Imports against the table, as 'file:line imports module'."""
    known, wrong = modules(source), []
    for name, path in known.items():
        if row_of(name) in ROOT:
            continue
        for imported, line in imports(name, path, known):
            # The package itself is there for its version.
            if row_of(imported) not in ROOT and order.index(row_of(imported)) > order.index(row_of(name)):
                wrong.append(f"{path.relative_to(source)}:{line} imports {imported}")
    return wrong


def import_circle(source: Path) -> list[str]:
    """Modules that import each other in a circle; empty if there are none."""
    known = modules(source)
    graph = {
        name: {imported for imported, _ in imports(name, path, known) if row_of(imported) not in ROOT}
        for name, path in known.items()
        if row_of(name) not in ROOT
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


@pytest.fixture(scope="module")
def order() -> list[str]:
    return table_order((REPOSITORY / "docs" / "design.md").read_text(encoding="utf-8"))


def test_the_table_names_every_package_and_no_other(order: list[str]) -> None:
    assert {row_of(name) for name in modules(SOURCE)} - set(ROOT) == set(order)
    assert len(order) == len(set(order))


def test_imports_run_one_way(order: list[str]) -> None:
    assert downward_imports(SOURCE, order) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert import_circle(SOURCE) == []


def test_the_paper_is_the_last_before_the_commands_and_only_its_own_command_imports_it(order: list[str]) -> None:
    assert order[-2:] == ["paper", "cli"]
    known = modules(SOURCE)
    importers = {
        name
        for name, path in known.items()
        if row_of(name) != "paper" and any(row_of(imported) == "paper" for imported, _ in imports(name, path, known))
    }
    assert importers == {"semalign.cli.reproduce"}


def test_what_only_the_paper_uses_lies_there() -> None:
    known = modules(SOURCE)
    commands = [name for name in known if row_of(name) == "cli"]
    reached: set[str] = set()
    adapters = [name for name in known if row_of(name) == "adapters"]  # for who writes programs
    waiting = [
        *commands,
        CORRECTION,
        MESH,
        *adapters,
        *(type(reader).__module__ for reader in READERS),
    ]  # a reader is only named
    while waiting:
        name = waiting.pop()
        if name not in reached and row_of(name) != "paper":
            reached.add(name)
            waiting += [imported for imported, _ in imports(name, known[name], known)]
            if name != SOURCE.name:
                waiting.append(name.rpartition(".")[0])
    assert {name for name in known if row_of(name) not in (*ROOT, "paper")} - reached == set()


def test_every_folder_with_code_is_a_package() -> None:
    assert [str(path.parent) for path in SOURCE.rglob("*.py") if not (path.parent / "__init__.py").is_file()] == []


def test_the_rule_finds_what_breaks_it(tmp_path: Path) -> None:
    source = tmp_path / "semalign"
    for name, text in {
        "__init__.py": "",
        "errors.py": "",
        "core/__init__.py": "",
        "core/affine.py": "from semalign.core import warp\nfrom ..errors import nothing\n",
        "core/warp.py": "def f():\n    from .affine import g\n    import semalign.data.samples\n",
        "data/__init__.py": "",
        "data/samples.py": "from semalign import errors, __version__\nfrom semalign.core.affine import g\n",
    }.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    rows = ["| package | what |", "|---|---|", "| `errors`, `files` | as `y` |", "| `core` | |", "| `data` | |"]
    order = table_order("\n".join(["## Folders, bottom to top", *rows, "", "## Next", "| `z` | |"]))
    assert order == ["errors", "files", "core", "data"]
    assert downward_imports(source, order) == ["core/warp.py:3 imports semalign.data.samples"]
    assert {"semalign.core.affine", "semalign.core.warp"} <= set(import_circle(source))


QUICK = """
import sys
import semalign
heavy = {"torch", "numpy", "cv2", "matplotlib", "pyarrow", "pydantic", "typer", "rich"} & set(sys.modules)
sys.exit(f"import semalign loads {sorted(heavy)}" if heavy else 0)
"""

BARE = """
import importlib, sys
from semalign.extras import PARTS
for name in PARTS:
    sys.modules[name] = None
needing = set()
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert (error.name or "").partition(".")[0] in PARTS, error
        needing.add(name)
print("\\n".join(sorted(needing)))
"""

APART = """
import sys
import semalign.cli.app
sys.exit("the commands load the paper" if "semalign.paper" in sys.modules else 0)
"""

EFFECTS = """
import logging, os, random, sys, threading, warnings
import numpy, torch, accelerate, matplotlib, cv2, typer, rich.progress, pyarrow.parquet, pydantic, jaxtyping
def state():
    return {
        "random": random.getstate(),
        "numpy": str(numpy.random.get_state()),
        "torch": torch.get_rng_state().tolist(),
        "threads": threading.active_count(),
        "torch threads": torch.get_num_threads(),
        "cv2 threads": cv2.getNumThreads(),
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "environment": dict(os.environ),
        "plots": {key: value for key, value in matplotlib.rcParams.items() if not key.startswith("backend")},
        "warnings": list(warnings.filters),
        "log": (logging.root.level, logging.root.handlers),
        "errors": numpy.geterr(),
        "here": os.listdir("."),
    }
before = state()
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
after = state()
changed = [key for key in before if before[key] != after[key]]
sys.exit(f"importing changes {changed}" if changed else 0)
"""


def python(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path) -> None:
    result = python(QUICK, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_paper_is_imported_when_its_command_runs(tmp_path: Path) -> None:
    result = python(APART, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_importing_any_module_changes_nothing(tmp_path: Path) -> None:
    everything = [name for name in modules(SOURCE) if not name.endswith("__main__")]
    result = python(EFFECTS, *everything, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def needs_pytorch(design: str, module: str) -> bool:
    """Whether docs/design.md says that a module may import PyTorch at its head."""
    section = design.split("### Without PyTorch", 1)[1].split("\nEverything else", 1)[0]
    whole, *lines = [line for line in section.splitlines() if line.startswith("- ")]
    parts = module.split(".")[1:]
    if f"`{parts[0]}`" in whole or f"`{'.'.join(parts)}`" in "".join(lines):
        return True
    free = next(line for line in lines if line.startswith("- `models` but for"))
    return parts[0] == "models" and len(parts) > 1 and f"`{parts[1]}`" not in free.split("but for")[1]


def test_what_the_design_does_not_name_is_imported_without_pytorch(tmp_path: Path) -> None:
    design = (REPOSITORY / "docs" / "design.md").read_text(encoding="utf-8")
    everything = [name for name in modules(SOURCE) if not name.endswith("__main__")]
    result = python(BARE, *everything, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    needing = set(result.stdout.split())
    assert [name for name in sorted(needing) if not needs_pytorch(design, name)] == []
    assert {"semalign.pipeline", "semalign.core.search", "semalign.models.network"} <= needing
    for free in ("detect", "inference", "serve", "cli", "data", "auditing", "models.correction", "searches"):
        assert not needs_pytorch(design, f"semalign.{free}")
