"""For MkDocs: the reference page of commands is written from the commands' own help."""

from __future__ import annotations

from typing import Any

import typer

from semalign.cli.app import app

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the commands in place of the mark, where a page has it."""
    return (
        markdown.replace(MARK, "\n".join(_lines(typer.main.get_command(app), "semalign")))
        if MARK in markdown
        else markdown
    )


def _lines(command: Any, name: str) -> list[str]:
    """A command as Markdown; of a group, its commands."""
    commands = getattr(command, "commands", None)
    if commands:
        return [line for key, inner in commands.items() for line in _lines(inner, f"{name} {key}")]
    flowing, examples = _help(command.help or "")
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option" and item.name != "help"]
    usage = " ".join([name, *(item.metavar or item.name.upper() for item in arguments)])
    lines = [f"## {name}", "", *flowing, "```sh", usage + (" [options]" if options else ""), *examples, "```", ""]
    rows = [(f"`{item.metavar or item.name.upper()}`", item.help) for item in arguments]
    rows += [(f"`{' '.join(filter(None, [item.opts[0], item.metavar]))}`", item.help) for item in options]
    if rows:
        cells = [f"| {first} | {_cell(text)} |" for first, text in rows]
        lines += ["| argument or option | what it is |", "|---|---|", *cells, ""]
    return lines


def _help(text: str) -> tuple[list[str], list[str]]:
    """Paragraphs, and the lines of examples."""
    paragraphs: list[str] = []
    examples: list[str] = []
    for paragraph in text.replace("\\[", "[").split("\n\n"):
        first, *rest = paragraph.splitlines() or [""]
        if first.startswith("Example"):
            examples += ["", *(line.strip() for line in rest)]
        else:
            paragraphs += [" ".join([first, *rest]), ""]
    return paragraphs, examples


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|").replace("\\[", "[")
