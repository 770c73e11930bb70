"""The application: its groups of commands, and what becomes of errors."""

from __future__ import annotations

import atexit
import gc
import inspect
import io
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from rich.markup import escape
from typer.core import TyperGroup

from semalign import __version__
from semalign.cli import (
    adapt,
    audit,
    bench,
    cache,
    clean,
    convert,
    correction,
    data,
    export,
    labels,
    predict,
    progress,
    reproduce,
    review,
    scheme,
    serve,
    show,
    stages,
)
from semalign.cli.options import complain, with_options
from semalign.cores import wait_asleep
from semalign.errors import SemalignError
from semalign.extras import TRAIN, missing_part

BAD_INPUT, INTERRUPTED, TERMINATED = 2, 130, 143  # exit statuses; 1 is for work that is done but for some of its input
RENAMED = {"--views": "--tta", "--least-score": "--score-threshold"}  # options of version 0.1
JSON_FILES = ("audit", "evaluate", "bench")  # commands whose --json may name a file
CONTINUED = ("audit", "clean", "correction")  # commands that go on by themselves with what was begun
Command = Callable[..., None]


Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", metavar="", help="Say nothing but results and problems.", show_default=False)
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", metavar="", help="Show the log as well.", show_default=False)]


def with_common(command: Command) -> Command:
    """A command with the options that all have: how much it says on standard error beside its problems."""
    hints = get_type_hints(command, include_extras=True)
    own = [p.replace(annotation=hints[p.name]) for p in inspect.signature(command).parameters.values()]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in (("quiet", Quiet), ("verbose", Verbose))
    ]

    def run(*arguments: Any, quiet: bool = False, verbose: bool = False, **options: Any) -> None:
        progress.silent(quiet)
        logging.getLogger("semalign").setLevel(logging.ERROR if quiet else logging.NOTSET)
        if verbose:
            logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
        command(*arguments, **options)

    run.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *common]}
    return run


class Terminated(KeyboardInterrupt):
    """The process was told to end (SIGTERM, or its terminal was closed): it ends as on Ctrl-C."""


class Commands(TyperGroup):
    """A group whose commands end with one sentence, never with a traceback, on bad input, on Ctrl-C and on SIGTERM."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; options by their names of version 0.1 are taken, too, and --json without its file."""
        ctx.meta["words"] = tuple(args)
        for place, word in enumerate(args):
            name, equals, value = word.partition("=")
            if name in RENAMED:
                args[place] = f"{RENAMED[name]}{equals}{value}"
            following = args[place + 1 : place + 2]
            if word == "--json" and args[0] in JSON_FILES and (not following or re.match("--?[a-z]", following[0])):
                args[place] = "--json=-"
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Call the command that was asked for."""
        try:
            return super().invoke(ctx)
        except SemalignError as error:
            complain(f"error: {with_options(str(error))}")
            raise SystemExit(BAD_INPUT) from error
        except ModuleNotFoundError as error:
            if (part := missing_part(error)) is None:
                raise
            name = " ".join(command.name for command in _path(self, ctx.meta["words"]))
            complain(f"error: 'semalign {name}' needs {part}; install it with: {TRAIN}")
            raise SystemExit(BAD_INPUT) from error
        except KeyboardInterrupt as stop:
            command = ([self, *_path(self, ctx.meta["words"])])[-1]
            resumable = any(option.name == "resume" for option in command.params)
            how = " with --resume" if resumable else ""
            goes_on = resumable or command.name in CONTINUED
            complain("interrupted" + (f"; run the same command{how} to continue" if goes_on else ""))
            raise SystemExit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED) from None


def _path(group: Any, words: tuple[str, ...]) -> list[Any]:
    """The command that the words of a command line name, after the groups that it is in."""
    found = []
    for word in words:
        if word in getattr(group, "commands", {}):
            group = group.commands[word]
            found.append(group)
    return found


def help_text(docstring: str | None) -> str:
    """A docstring as typer is to show it: a paragraph as one line, to be wrapped anew; indented lines as they are."""
    paragraphs = []
    for paragraph in inspect.cleandoc(docstring or "").split("\n\n"):
        lines = escape(paragraph).splitlines()
        indented = [line for line in lines if line.startswith(" ")]
        flowing = " ".join(line for line in lines if not line.startswith(" "))
        paragraphs.append("\n".join(filter(None, [flowing, *indented])))
    return "\n\n".join(paragraphs)


def _group(completion: bool = False, **settings: Any) -> typer.Typer:
    return typer.Typer(
        add_completion=completion,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )


def _add(group: typer.Typer, commands: Mapping[str, Command], panel: str | None = None) -> None:
    for name, command in commands.items():
        group.command(name, help=help_text(command.__doc__), rich_help_panel=panel)(with_common(command))


def _version(asked: bool) -> bool:
    if asked:
        typer.echo(f"semalign {__version__}")
        raise typer.Exit
    return asked


def _semalign(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, metavar="", help="Print the version.")
    ] = False,
) -> None:
    """Better facial landmark labels out of noisy annotations, and a detector trained on them.

    Semalign searches for the labels on which images and annotations agree (Liu et al., Semantic Alignment, CVPR 2019),
    trains a stacked hourglass on them and evaluates it. Annotations are only ever read.

    Start with:
        semalign data check ~/300w
        semalign run demo --out runs/demo
        semalign run 300w-compact --data ~/300w --out runs/300w
        semalign predict photo.jpg
    """


PANELS: Mapping[str, Mapping[str, Command]] = {
    "Train, search, evaluate": stages.COMMANDS,
    "Use a model": predict.COMMANDS | serve.COMMANDS | export.COMMANDS | adapt.COMMANDS | correction.COMMANDS,
    "Data and labels": audit.COMMANDS | clean.COMMANDS | review.COMMANDS | convert.COMMANDS,
    "The paper": reproduce.COMMANDS,
    "What ships with Semalign": show.COMMANDS,
}
GROUPS = {  # of commands: the module that has them, and where the help lists the group
    "data": (data, "Data and labels"),
    "labels": (labels, "Data and labels"),
    "scheme": (scheme, "Data and labels"),
    "bench": (bench, "Measure"),
    "cache": (cache, "Data and labels"),
}


def build(wanted: str | None = None) -> typer.Typer:
    """The application with all its commands, or with the command or group of a name alone, which is there sooner."""
    application = _group(True, cls=Commands, name="semalign")
    application.callback(help=help_text(_semalign.__doc__))(_semalign)
    known = wanted in GROUPS or any(wanted in commands for commands in PANELS.values())
    for panel, commands in PANELS.items():
        _add(application, {name: own for name, own in commands.items() if not known or name == wanted}, panel)
        if panel == "Data and labels":
            _add_groups(application, wanted if known else None)
    return application


def _add_groups(application: typer.Typer, wanted: str | None) -> None:
    for name, (module, panel) in GROUPS.items():
        if wanted in (None, name):
            group = _group(help=module.__doc__)
            _add(group, module.COMMANDS)
            application.add_typer(group, name=name, rich_help_panel=panel)


if TYPE_CHECKING:
    app: typer.Typer


def __getattr__(name: str) -> Any:
    """`app`, the application with all its commands, is made when it is first asked for."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = application = build()
    return application


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def main() -> None:
    """Run the command line; the entry point of `semalign`.

    A command on one picture is mostly imports, and a quarter of that time goes into looking for garbage among their many
    objects, of which none is, and into taking them apart one by one at the end.
    """
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminate)
    for name, level in (("OPENCV_LOG_LEVEL", "OFF"), ("OPENCV_FFMPEG_LOGLEVEL", "-8")):
        os.environ.setdefault(name, level)  # a damaged file is one sentence of ours
    wait_asleep()
    warnings.filterwarnings("ignore", module="PIL")
    gc.set_threshold(50_000, 20, 20)
    atexit.register(gc.freeze)  # the system frees what is left faster
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console that lacks a character shows another one
    wanted = sys.argv[1] if len(sys.argv) > 1 and "_SEMALIGN_COMPLETE" not in os.environ else None
    build(wanted)(prog_name="semalign")
