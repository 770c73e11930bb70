"""The command that finds landmarks in pictures, videos and a camera's picture."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from semalign.cli.options import argument, flag, option

if TYPE_CHECKING:
    from semalign.cli.progress import RichProgress
    from semalign.detect import Detector, Source
    from semalign.detect.boxes import BoxFile
    from semalign.detect.writers import ResultFolder

NOT_FOUND = "look for smaller ones (--min-face 12), lower --score-threshold, or give {} with --boxes."


def predict(
    inputs: Annotated[
        list[str],
        argument("INPUT...", "Images, videos, folders, patterns such as 'faces/*.jpg', or camera, camera:1 …"),
    ],
    out: Annotated[Path, option("--out", "DIR", "Folder for everything that is written.", default=True)] = Path(
        "predictions"
    ),
    formats: Annotated[
        list[str] | None,
        option(
            "--format",
            "NAME",
            "json (always), csv, pts, coco or overlay (pictures and videos with landmarks); may be given several times.",
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
        option("--boxes", "FILE", "Faces' boxes (CSV: image,x0,y0,x1,y1 or JSON) instead of finding faces."),
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
) -> None:
    """Find faces and their landmarks in pictures, videos or a camera's picture.

    DIR then holds landmarks.json and, by default, every picture with its landmarks. Points are in pixels, from 0, with a
    confidence for each landmark. A camera runs until Ctrl-C.

    The exit status is 1 if some input had no face or could not be read to its end.

    Examples:
        semalign predict photo.jpg
        semalign predict holiday/ clip.mp4 --out found --format csv --format overlay
        semalign predict 'faces/*.png' --boxes boxes.csv --format pts
        semalign predict camera --limit 500
    """
    from PIL.Image import DecompressionBombWarning

    from semalign import __version__
    from semalign.cli.progress import RichProgress
    from semalign.detect import Detector, DetectorSettings, find_sources
    from semalign.detect.boxes import BoxFile
    from semalign.detect.finders import open_finder
    from semalign.detect.writers import JSON, ResultFolder

    sources = find_sources(inputs, out)
    given = None if boxes is None else BoxFile(boxes)
    settings = DetectorSettings(tta=tta, score_threshold=score_threshold, max_faces=1 if largest else max_faces)
    detector = Detector.from_pretrained(model, device, open_finder(finder, min_face), settings)
    about = {"semalign": __version__, "model": model, "scheme": detector.scheme.name}
    problems: list[str] = []
    with (
        warnings.catch_warnings(),
        ResultFolder(out, formats or ["json", "overlay"], detector.scheme, about) as results,
    ):
        warnings.simplefilter("ignore", DecompressionBombWarning)  # large pictures are welcome, up to twice that size
        work = _Work(detector, results, given, RichProgress(), limit, not no_smoothing)
        pictures = [source for source in sources if source.kind == "image"]
        problems += _pictures(work, pictures)
        for source in sources:
            if source.kind != "image":
                problems += _video(work, source)
    if not work.read:
        _refuse(problems)
    for problem in problems:
        typer.secho(problem, fg=typer.colors.YELLOW, err=True)
    faces = "1 face" if work.faces == 1 else f"{work.faces} faces"
    typer.echo(f"{faces} in {work.read} picture{'' if work.read == 1 else 's'}: {out / JSON}")
    if problems:
        raise typer.Exit(1)


class _Work:
    """What the inputs share, and how many pictures and faces there were."""

    def __init__(
        self,
        detector: Detector,
        results: ResultFolder,
        boxes: BoxFile | None,
        progress: RichProgress,
        limit: int | None,
        smooth: bool,
    ) -> None:
        self.detector, self.results, self.boxes, self.progress = detector, results, boxes, progress
        self.limit, self.smooth = limit, smooth
        self.read = self.faces = 0


def _pictures(work: _Work, sources: list[Source]) -> list[str]:
    """Landmarks of all pictures; returns a sentence for each without a face and each that cannot be read."""
    from semalign.data.images import read_image
    from semalign.detect.writers import Finding
    from semalign.errors import SemalignError

    problems: list[str] = []
    if not sources:
        return problems
    with work.progress.stage("pictures", len(sources)) as advance:
        for source in sources:
            assert source.path is not None
            try:
                boxes = None if work.boxes is None else work.boxes.of(source.path).get(0)
                picture = read_image(source.path)
            except SemalignError as error:
                problems.append(str(error))
                advance(1)
                continue
            faces = work.detector(picture, boxes)
            size = (picture.shape[1], picture.shape[0])
            work.results.add(Finding(source.name, source.stem, size, faces), picture)
            work.read += 1
            work.faces += len(faces)
            if not faces:
                problems.append(f"{source.name}: no face was found; {NOT_FOUND.format('its box')}")
            advance(1)
    return problems


def _video(work: _Work, source: Source) -> list[str]:
    """Landmarks of a video's frames, or of a camera's until Ctrl-C; returns sentences as `_pictures`."""
    from itertools import islice

    from semalign.detect import open_footage, track_faces
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
