"""The command that finds landmarks in pictures, videos and a camera's picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from semalign.cli import predict_options as options
from semalign.cli.options import complain, one_line
from semalign.cli.output import say
from semalign.files import shown

if TYPE_CHECKING:
    from semalign.cli.predicting import Work
    from semalign.detect import Source
    from semalign.errors import SemalignError


def predict(
    inputs: options.Inputs,
    out: options.Out = Path("predictions"),
    formats: options.Formats = None,
    model: options.ModelFile = "default",
    boxes: options.Boxes = None,
    box_format: options.BoxKind = None,
    finder: options.Finder = "centerface",
    min_face: options.MinFace = None,
    max_faces: options.MaxFaces = None,
    largest: options.Largest = False,
    score_threshold: options.ScoreThreshold = 0.4,
    tta: options.Tta = None,
    correct: options.Correct = False,
    no_smoothing: options.NoSmoothing = False,
    limit: options.Limit = None,
    device: options.Device = None,
    precision: options.Precision = "auto",
    workers: options.Workers = None,
    shard: options.Shard = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
) -> None:
    """Find faces and their landmarks in pictures, videos or a camera's picture.

    DIR then holds landmarks.json and, by default, every picture with its landmarks. Points are in pixels, from 0, with a
    confidence for each landmark and, with the shipped default, a probability that it is visible. A camera runs until Ctrl-C.

    Results are on disk (landmarks.jsonl) as soon as a picture is done. However it was stopped, the same command with
    --resume continues. With --shard a share of the pictures is looked at, and the same command without it makes the results.

    The exit status is 1 if some input had no face or could not be read to its end.

    Examples:
        semalign predict photo.jpg
        semalign predict holiday/ clip.mp4 --out found --format csv --format overlay
        semalign predict 'faces/*.png' --boxes boxes.csv --format pts
        semalign predict ~/archive --out found --format parquet --resume
        semalign predict ~/archive --out found --shard 1/4
        semalign predict 'shards/*.tar' --out found --format parquet
        semalign predict @list.txt --out - > found.jsonl
        semalign predict camera --limit 500
    """
    from semalign.cli.predict_shares import SharedPrediction
    from semalign.cli.predicting import FacesWanted, Work, detector_of, mirror_note, open_results
    from semalign.cli.progress import RichProgress
    from semalign.cores import usable_cores
    from semalign.detect.names import Names
    from semalign.detect.shares import is_shared
    from semalign.detect.sources import find_sources
    from semalign.detect.writers import check_formats, claim
    from semalign.errors import SemalignError
    from semalign.locks import several_processes
    from semalign.parts import parse_share

    formats = formats or ["json", "overlay"]
    check_formats(formats)
    folder = None if str(out) == "-" else out
    if folder is None and (resume or overwrite):
        raise SemalignError("--out - prints the results; leave --resume and --overwrite out.")
    share = None if shard is None else parse_share(shard)
    together = folder is not None and (share is not None or is_shared(folder) or several_processes())
    if (together and overwrite) or (share is not None and folder is None):
        raise SemalignError(
            "several processes that share pictures need a new folder; leave --overwrite and --out - out."
        )
    if folder is not None and not dry_run:
        claim(folder, resume and not together, overwrite, together)
    problems: list[str] = []
    if dry_run or together or not resume:
        names = Names()
        sources = find_sources(inputs, folder, names, problems=problems)
        if not sources:
            raise _nothing_read(problems)
    if dry_run:
        _list(sources, folder)
        return
    wanted = FacesWanted(finder, min_face, 1 if largest else max_faces, score_threshold)
    detector, given, about = detector_of(model, device, wanted, boxes, box_format, tta, precision, correct)
    notes = mirror_note(detector.scheme, tta)
    if folder is not None and together:
        shared = SharedPrediction(folder, formats, (sources, names), detector, given, about, workers or usable_cores())
        if share is not None:
            shared.work(share, RichProgress())
            return
        made = shared.together(RichProgress())
        if made is not None:
            work, more = made
            _say_what_was_done(work, problems + more, notes, 0, folder)
        return
    results = open_results(folder, formats, detector.scheme, about, resume, overwrite)
    with results:
        if resume:
            sources = find_sources(inputs, folder, results.names, results.done, problems)
        else:
            results.names = names
        work = Work(detector, results, given, RichProgress(), limit, not no_smoothing, workers or usable_cores())
        problems += work.look_at(sources)
    _say_what_was_done(work, problems, notes, len(results.done), folder)


def _say_what_was_done(
    work: Work, problems: list[str], notes: list[str], done_before: int, folder: Path | None
) -> None:
    """The last lines; ends with status 1 where there were problems."""
    from semalign.cli.progress import is_silent
    from semalign.detect.writers import JSON

    if not work.read and not done_before:
        raise _nothing_read(problems)
    for sentence in [*([] if is_silent() else [*notes, *work.notes]), *problems]:
        complain(sentence, typer.colors.YELLOW)
    said = _closing(work, done_before)
    say(said if folder is None else f"{said}: {shown(folder / JSON)}", err=folder is None)
    if problems:
        raise typer.Exit(1)


def _list(sources: list[Source], folder: Path | None) -> None:
    """What would be read, and the stem of its results."""
    for source in sources:
        typer.echo(one_line(f"{source.name} -> {source.stem if folder is None else folder / source.stem}"))
    say(f"{len(sources)} input{'' if len(sources) == 1 else 's'}; nothing was written", err=True)


def _closing(work: Work, done_before: int) -> str:
    """What was found, in a sentence's beginning."""
    faces = "1 face" if work.faces == 1 else f"{work.faces} faces"
    before = f", {done_before} done before" if done_before else ""
    return f"{faces} in {work.read} picture{'' if work.read == 1 else 's'}{before}"


def _nothing_read(problems: list[str]) -> SemalignError:
    """Nothing could be read: that is the user's input, not a result."""
    from semalign.errors import SemalignError

    more = f" {len(problems) - 1} more could not be read either." if len(problems) > 1 else ""
    return SemalignError(problems[0] + more if problems else "there was no picture; check the input.")


COMMANDS: dict[str, Callable[..., None]] = {"predict": predict}
