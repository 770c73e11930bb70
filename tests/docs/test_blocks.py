"""Every command and code block of README, tutorials and some other pages runs, in order, in a folder with small stand-ins.

What the pages name is there: `faces`, a set of 15 drawn faces; `photo.jpg` and `clip.mp4`, drawn, too; `tiny.toml` for recipes
that would train for an hour. Everything else that a block does not run as it stands is declared above it (helpers/blocks.py).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from blocks import LANGUAGES, Block, commands, read_blocks
from commands import succeed
from PIL import Image

import semalign
from semalign.cli.app import app
from semalign.synthetic.video import category_settings, render_clip

REPOSITORY = Path(__file__).resolve().parents[2]
TUTORIALS = sorted((REPOSITORY / "docs" / "tutorials").glob("*.md"))
HOWTO = sorted((REPOSITORY / "docs" / "howto").glob("*.md"))
RUN_PAGES = [REPOSITORY / "README.md", *TUTORIALS, *(page for page in HOWTO if page.name == "own-network.md")]
PAGES = list(dict.fromkeys([*RUN_PAGES, REPOSITORY / "CONTRIBUTING.md", *HOWTO]))
README_LINES = 120
FRAMES = 4


def name_of(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages name."""
    folder = tmp_path_factory.mktemp("stand-ins")
    options = ("--count", "15", "--test-count", "5", "--size", "96", "--workers", "1", "--seed", "4")
    succeed("data", "synthesize", folder / "faces", *options)
    shutil.copy(Path(__file__).with_name("tiny.toml"), folder)
    clip = render_clip(replace(category_settings(1), count=FRAMES), 0)
    Image.fromarray(clip.frames[0]).save(folder / "photo.jpg", quality=95)
    height, width = clip.frames.shape[1:3]
    writer = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), clip.rate, (width, height))
    for frame in clip.frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN_PAGES, ids=name_of)
def test_every_block_runs(page: Path, stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    shutil.copytree(stand_ins, folder)
    if page.name == "own-data.md":
        shutil.rmtree(folder / "faces")  # the page makes them
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"__name__": "block"}
    ran = 0
    for block in read_blocks(page, name_of(page)):
        if not block.runs:
            continue
        if block.language == "python":
            exec(compile(block.tested(), f"{block.page}:{block.line}", "exec"), names)
        else:
            for command in commands(block.tested()):
                run_command(command, block)
        ran += 1
    assert ran


def run_command(command: list[str], block: Block) -> None:
    """One line of a shell block; only semalign's own commands are run, so that a page cannot hold others untested."""
    where = f"{block.page}:{block.line}: {' '.join(command)}"
    if block.dry:
        assert command[0] == "make" and len(command) == 2, where
        if shutil.which("make") is None:
            pytest.skip("make is not installed")
        result = subprocess.run(["make", "-n", command[1]], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{where}\n{result.stderr}"
        return
    assert command[0] == "semalign", f"{where}: is no command that can be tested; declare what stands for it"
    command, _, target = split(command, ">")
    try:
        out = succeed(*command[1:])
    except AssertionError as error:
        raise AssertionError(f"{where}\n{error}") from error
    if target:
        Path(target[0]).write_text(out, encoding="utf-8")


def split(words: list[str], mark: str) -> tuple[list[str], bool, list[str]]:
    at = words.index(mark) if mark in words else len(words)
    return words[:at], at < len(words), words[at + 1 :]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_exist(page: Path) -> None:
    """Also on pages that are not run: each command is one of ours with all its options, each target one of make's."""
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for block in read_blocks(page, name_of(page)):
        for command in commands(block.text) if block.language == "sh" else ():
            where = f"{block.page}:{block.line}: {' '.join(command)}"
            if command[0] == "make":
                assert command[1] in targets, where
            elif "semalign" in command:
                check_options(command[command.index("semalign") + 1 :], where)
            else:
                assert command[0] == "pip", where


def check_options(words: list[str], where: str) -> None:
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        assert words and words[0] in command.commands, where
        command, words = command.commands[words[0]], words[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in known | {"--help"}, f"{where}: has no option {word}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_all_code_is_in_blocks_that_tests_know(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = read_blocks(page, name_of(page))
    assert text.count("\n```") == 2 * len(blocks), "a fence without a language, or not closed"
    assert {block.language for block in blocks} <= set(LANGUAGES)
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"^(?:    |\t)\S.*", outside, re.MULTILINE) == [], "an indented block is run by nobody"
    comments = re.findall(r"^<!-- test:", text, re.MULTILINE)
    declared = sum(len(block.substitutions) + bool(block.skipped) + block.dry for block in blocks)
    assert len(comments) == declared, "a comment that stands above no block"


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) < README_LINES


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    assert links
    assert [link for link in links if "://" not in link and not (REPOSITORY / link).exists()] == []


def test_dated_files_that_pages_name_are_there() -> None:
    results = REPOSITORY / "benchmarks" / "results"
    if not results.is_dir():
        pytest.skip("the benchmarks are not part of the source archive")
    for page in [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]:
        for name in re.findall(r"[\w*-]+_\d{4}-\d\d-\d\d\.csv", page.read_text(encoding="utf-8")):
            assert list(results.glob(name)), f"{name_of(page)} names {name}, which is not there"


def test_public_names_are_in_the_reference() -> None:
    text = (REPOSITORY / "docs" / "reference" / "semalign.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(\w+)`\]", text)) == set(semalign.__all__)


def test_a_substitution_that_fits_nothing_is_refused() -> None:
    block = Block("page.md", 3, "sh", "semalign predict photo.jpg\n", (("clip.mp4", "other.mp4"),))
    with pytest.raises(AssertionError, match=r"page\.md:3: has no 'clip\.mp4'"):
        block.tested()
