"""The command that finds landmarks in pictures, videos and a camera's picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from semalign.cli.options import argument, complain, flag, option

if TYPE_CHECKING:
    from semalign.cli.progress import RichProgress
    from semalign.detect import Detector, Source
    from semalign.detect.boxes import BoxFile
    from semalign.detect.printing import PrintedResults
    from semalign.detect.writers import ResultFolder


def predict(
    inputs: Annotated[
        list[str],
        argument(
            "INPUT...",
            "Images, videos, folders, patterns such as 'faces/*.jpg', lists of them (@list.txt, a name a line; @- is "
            "standard input), or camera, camera:1 …",
        ),
    ],
    out: Annotated[
        Path,
        option(
            "--out",
            "DIR",
            "Folder for everything that is written; - prints JSON lines and writes nothing.",
            default=True,
        ),
    ] = Path("predictions"),
    formats: Annotated[
        list[str] | None,
        option(
            "--format",
            "NAME",
            "json (always), jsonl, csv, parquet, coco, pts or overlay (pictures and videos with landmarks); may be given "
            "several times.",
            default="json and overlay",
        ),
    ] = None,
    model: Annotated[
        str,
        option(
            "--model",
            "MODEL",
            "A model that ships with Semalign, or a model file, exported ones (.onnx) too.",
            default=True,
        ),
    ] = "default",
    boxes: Annotated[
        Path | None,
        option("--boxes", "FILE", "Faces' boxes (CSV: image,x0,y0,x1,y1, JSON or COCO) instead of finding faces."),
    ] = None,
    box_format: Annotated[
        Literal["xyxy", "xywh", "cxcywh"] | None,
        option(
            "--box-format",
            "FORMAT",
            "What a box's numbers are: xyxy (two corners), xywh (corner, sides) or cxcywh (centre, sides).",
            default="what a CSV file's columns say, else xyxy",
        ),
    ] = None,
    finder: Annotated[
        str,
        option(
            "--finder",
            "NAME",
            "Face detector: centerface, cascades (OpenCV's), or the ONNX file of YuNet.",
            default=True,
        ),
    ] = "centerface",
    min_face: Annotated[
        float | None,
        option(
            "--min-face",
            "PX",
            "Smallest face to be found, in pixels, or as a share of the picture if below 1 (0.05).",
            default="a sixteenth, or 20 pixels where there are hints of small faces or no others",
        ),
    ] = None,
    max_faces: Annotated[
        int | None,
        option("--max-faces", "N", "At most so many found faces of a picture, the largest.", default="all", min=1),
    ] = None,
    largest: Annotated[bool, flag("--largest", "The largest found face only, as --max-faces 1.")] = False,
    score_threshold: Annotated[
        float,
        option(
            "--score-threshold", "S", "Found faces that are less sure are dropped, 0 to 1.", default=True, min=0, max=1
        ),
    ] = 0.4,
    tta: Annotated[
        int | None,
        option(
            "--tta",
            "N",
            "Test-time augmentation: mean over so many versions of each crop (mirrored, turned), 1 to 4; steadier, slower.",
            default="the model's own",
            min=1,
            max=4,
        ),
    ] = None,
    no_smoothing: Annotated[
        bool, flag("--no-smoothing", "Leave the landmarks of videos as each frame gives them.")
    ] = False,
    limit: Annotated[
        int | None, option("--limit", "N", "Stop a video or a camera after so many frames.", default="none", min=1)
    ] = None,
    device: Annotated[
        str | None,
        option("--device", "NAME", "Where to compute: cpu, cuda …", default="an accelerator if there is one"),
    ] = None,
    workers: Annotated[
        int | None,
        option("--workers", "N", "Threads; each reads, finds and writes some pictures.", default="one per core", min=1),
    ] = None,
    resume: Annotated[
        bool, flag("--resume", "Continue what was started in DIR: pictures that are done are left out; or start it.")
    ] = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace the results that DIR holds.")] = False,
    dry_run: Annotated[bool, flag("--dry-run", "Only list what would be read and where its results would go.")] = False,
) -> None:
    """Find faces and their landmarks in pictures, videos or a camera's picture.

    DIR then holds landmarks.json and, by default, every picture with its landmarks. Points are in pixels, from 0, with a
    confidence for each landmark. A camera runs until Ctrl-C.

    Results are on disk (landmarks.jsonl) as soon as a picture is done. However it was stopped, the same command with
    --resume continues.

    The exit status is 1 if some input had no face or could not be read to its end.

    Examples:
        semalign predict photo.jpg
        semalign predict holiday/ clip.mp4 --out found --format csv --format overlay
        semalign predict 'faces/*.png' --boxes boxes.csv --format pts
        semalign predict ~/archive --out found --format parquet --resume
        semalign predict @list.txt --out - > found.jsonl
        semalign predict camera --limit 500
    """
    from semalign.cli.progress import RichProgress
    from semalign.detect.names import Names
    from semalign.detect.sources import find_sources
    from semalign.detect.writers import JSON, check_formats, claim
    from semalign.errors import SemalignError

    formats = formats or ["json", "overlay"]
    check_formats(formats)
    printing = str(out) == "-"
    if printing and (resume or overwrite):
        raise SemalignError("--out - prints the results; leave --resume and --overwrite out.")
    folder = None if printing else out
    if folder is not None and not dry_run:
        claim(folder, resume, overwrite)
    problems: list[str] = []
    if dry_run or not resume:
        names = Names()
        sources = find_sources(inputs, folder, names, problems=problems)
        if not sources:
            _refuse(problems)
    if dry_run:
        _list(sources, out)
        return
    faces_wanted = FacesWanted(finder, min_face, 1 if largest else max_faces, score_threshold)
    detector, given, about = _detector(model, device, faces_wanted, boxes, box_format, tta)
    results = _results(folder, formats, detector, about, resume, overwrite)
    with results:
        if resume:
            sources = find_sources(inputs, folder, results.names, results.done, problems)
        else:
            results.names = names
        work = _Work(detector, results, given, RichProgress(), limit, not no_smoothing, _threads(workers, detector))
        pictures = [source for source in sources if source.kind == "image"]
        problems += _pictures(work, pictures)
        for source in sources:
            if source.kind != "image":
                problems += _video(work, source)
    if not work.read and not (resume and results.done):
        _refuse(problems)
    for sentence in [*work.notes, *problems]:
        complain(sentence, typer.colors.YELLOW)
    faces = "1 face" if work.faces == 1 else f"{work.faces} faces"
    before = f", {len(results.done)} done before" if results.done else ""
    said = f"{faces} in {work.read} picture{'' if work.read == 1 else 's'}{before}"
    typer.echo(said if printing else f"{said}: {out / JSON}", err=printing)
    if problems:
        raise typer.Exit(1)


class FacesWanted(NamedTuple):
    """Which faces are looked for."""

    finder: str
    smallest: float | None  # pixels, or a share of the picture if below 1
    most: int | None  # faces of a picture
    score_threshold: float


def _detector(
    model: str,
    device: str | None,
    wanted: FacesWanted,
    boxes: Path | None,
    box_format: Literal["xyxy", "xywh", "cxcywh"] | None,
    tta: int | None,
) -> tuple[Detector, BoxFile | None, dict[str, Any]]:
    """The detector, the boxes, and what says where the results come from."""
    from semalign import __version__
    from semalign.detect import Detector, DetectorSettings
    from semalign.detect.boxes import BoxFile
    from semalign.detect.finders import open_finder
    from semalign.errors import SemalignError

    if box_format is not None and boxes is None:
        raise SemalignError("--box-format says what the numbers of --boxes are; give a file with --boxes.")
    given = None if boxes is None else BoxFile(boxes, box_format)
    chosen = DetectorSettings(tta=tta, score_threshold=wanted.score_threshold, max_faces=wanted.most)
    detector = Detector.from_pretrained(model, device, open_finder(wanted.finder, wanted.smallest), chosen)
    settings = {"tta": tta, "boxes": boxes is not None, **wanted._asdict()}
    about = {"semalign": __version__, "model": model, "scheme": detector.scheme.name, "settings": settings}
    return detector, given, about


def _results(
    folder: Path | None,
    formats: list[str],
    detector: Detector,
    about: dict[str, Any],
    resume: bool,
    overwrite: bool,
) -> ResultFolder | PrintedResults:
    import sys

    from semalign.detect.printing import PrintedResults
    from semalign.detect.writers import ResultFolder

    if folder is None:
        return PrintedResults(sys.stdout, detector.scheme, about)
    return ResultFolder(folder, formats, detector.scheme, about, resume, overwrite)


def _threads(workers: int | None, detector: Detector) -> int:
    """How many threads work on pictures; on a CPU each computes alone, which wastes less than computing together."""
    import torch

    from semalign.cores import usable_cores

    count = workers or usable_cores()
    if count > 1:
        torch.set_num_threads(1)
    return count


def _list(sources: list[Source], out: Path) -> None:
    """What would be read, and the stem of its results."""
    for source in sources:
        typer.echo(f"{source.name} -> {source.stem if str(out) == '-' else out / source.stem}")
    typer.echo(f"{len(sources)} input{'' if len(sources) == 1 else 's'}; nothing was written", err=True)


class _Work:
    """What the inputs share, and how many pictures and faces there were."""

    def __init__(
        self,
        detector: Detector,
        results: ResultFolder | PrintedResults,
        boxes: BoxFile | None,
        progress: RichProgress,
        limit: int | None,
        smooth: bool,
        workers: int,
    ) -> None:
        self.detector, self.results, self.boxes, self.progress = detector, results, boxes, progress
        self.limit, self.smooth, self.workers = limit, smooth, workers
        self.read = self.faces = 0
        self.notes: list[str] = []


def _pictures(work: _Work, sources: list[Source]) -> list[str]:
    """Landmarks of all pictures; returns a sentence for each without a face and each that cannot be read."""
    from semalign.detect.folders import detect_pictures

    problems: list[str] = []
    if not sources:
        return problems
    with work.progress.stage("pictures", len(sources)) as advance:
        for outcome in detect_pictures(work.detector, sources, work.results, work.boxes, work.workers):
            if outcome.problem:
                (work.notes if outcome.harmless else problems).append(outcome.problem)
            if outcome.faces is not None:
                work.read += 1
                work.faces += outcome.faces
            advance(1)
    return problems


def _video(work: _Work, source: Source) -> list[str]:
    """Landmarks of a video's frames, or of a camera's until Ctrl-C; returns sentences as `_pictures`."""
    from itertools import islice

    from semalign.detect import open_footage, track_faces
    from semalign.detect.folders import NOT_FOUND
    from semalign.detect.writers import Finding
    from semalign.errors import SemalignError

    live = source.path is None
    try:
        frames_given = None if work.boxes is None else work.boxes.of(source.name)
        footage = open_footage(source)
    except SemalignError as error:
        return [str(error)]
    boxes = None if frames_given is None else frames_given.get
    if work.results.overlays is not None:
        work.results.overlays.rate = footage.rate
    smoothing: Literal["centred", "causal", "none"] = "none" if not work.smooth else "causal" if live else "centred"
    count = faces_seen = 0
    total = work.limit or footage.claimed_frames
    with work.progress.stage(source.name, total) as advance:
        frames = islice(footage.frames(), work.limit)
        try:
            for frame, faces in track_faces(work.detector, frames, smoothing, boxes=boxes):
                size = (frame.picture.shape[1], frame.picture.shape[0])
                finding = Finding(source.name, source.stem, size, faces, frame.number, frame.seconds)
                work.results.add(finding, frame.picture)
                count, faces_seen = count + 1, faces_seen + len(faces)
                work.read, work.faces = work.read + 1, work.faces + len(faces)
                advance(1)
        except KeyboardInterrupt:
            if not live:
                raise
    work.results.end_video(source.name)
    problems = []
    if not faces_seen:
        problems.append(f"{source.name}: no face was found; {NOT_FOUND.format('a box')}")
    expected = min(footage.claimed_frames, work.limit or footage.claimed_frames)
    if count + 2 < expected:
        problems.append(
            f"{source.name}: says that it has {footage.claimed_frames} frames, but only {count} could be decoded; "
            "it may be truncated, copy it again."
        )
    return problems


def _refuse(problems: list[str]) -> None:
    """Nothing could be read: that is the user's input, not a result."""
    from semalign.errors import SemalignError

    more = f" {len(problems) - 1} more could not be read either." if len(problems) > 1 else ""
    raise SemalignError(problems[0] + more if problems else "there was no picture; check the input.")


COMMANDS: dict[str, Callable[..., None]] = {"predict": predict}
