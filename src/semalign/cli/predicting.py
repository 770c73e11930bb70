"""What `semalign predict` does with its inputs: a detector, a place for results, and the work on pictures and videos."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from semalign import __version__, detect
from semalign.cli.progress import RichProgress
from semalign.detect import Detector, DetectorSettings, Source, folders
from semalign.detect.boxes import BoxFile, BoxFormat
from semalign.detect.finders import open_finder
from semalign.detect.folders import NOT_FOUND, Outcome, Results
from semalign.detect.printing import PrintedResults
from semalign.detect.writers import Finding, ResultFolder
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme


class FacesWanted(NamedTuple):
    """Which faces are looked for."""

    finder: str
    smallest: float | None  # pixels, or a share of the picture if below 1
    most: int | None  # faces of a picture
    score_threshold: float


def detector_of(
    model: str,
    device: str | None,
    wanted: FacesWanted,
    boxes: Path | None,
    box_format: BoxFormat | None,
    tta: int | None,
    precision: Literal["auto", "fp32", "bf16"],
    correct: bool = False,
) -> tuple[Detector, BoxFile | None, dict[str, Any]]:
    """The detector, the boxes, and what says where the results come from.

    Raises:
        SemalignError: a model, a finder, a device or a file of boxes that cannot be used; a model that has no correction, if
            it is to `correct`.
    """
    if box_format is not None and boxes is None:
        raise SemalignError("--box-format says what the numbers of --boxes are; give a file with --boxes.")
    given = None if boxes is None else BoxFile(boxes, box_format)
    chosen = DetectorSettings(
        tta=tta, score_threshold=wanted.score_threshold, max_faces=wanted.most, precision=precision, correct=correct
    )
    detector = Detector.from_pretrained(model, device, open_finder(wanted.finder, wanted.smallest), chosen)
    settings = {"tta": tta, "precision": precision, "boxes": boxes is not None, **wanted._asdict()}
    if correct:
        settings["correct"] = True
    about = {"semalign": __version__, "model": model, "scheme": detector.scheme.name, "settings": settings}
    return detector, given, about


def open_results(
    folder: Path | None,
    formats: Sequence[str],
    scheme: LandmarkScheme,
    about: dict[str, Any],
    resume: bool,
    overwrite: bool,
) -> Results:
    """Where results go: a folder, or standard output for None.

    Raises:
        SemalignError: as `ResultFolder`.
    """
    if folder is None:
        return PrintedResults(sys.stdout, scheme, about)
    return ResultFolder(folder, formats, scheme, about, resume, overwrite)


def mirror_note(scheme: LandmarkScheme, tta: int | None) -> list[str]:
    """A sentence if --tta asks for mirrored versions, which the scheme does not allow."""
    if tta is None or tta == 1 or scheme.mirrors:
        return []
    return [
        f"the scheme {scheme.name} has no left-right pairs, by which mirrored versions are read: --tta {tta} is left out."
    ]


class Work:
    """The work on all inputs.

    Attributes:
        read: pictures and frames so far.
        faces: that were found in them.
        notes: sentences on what was wrong but kept nothing from being read.
    """

    def __init__(
        self,
        detector: Detector,
        results: Results,
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

    def look_at(self, sources: Sequence[Source]) -> list[str]:
        """Landmarks of all inputs, pictures first; returns a sentence for each without a face and each that cannot be read.

        Raises:
            SemalignError: results cannot be written.
        """
        problems = self._pictures([source for source in sources if source.kind == "image"])
        for source in sources:
            if source.kind != "image":
                problems += self._video(source)
        return problems

    def _pictures(self, sources: list[Source]) -> list[str]:
        if not sources:
            return []
        outcomes = folders.detect_pictures(self.detector, sources, self.results, self.boxes, self.workers)
        return self.count(outcomes, len(sources), "pictures")

    def count(self, outcomes: Iterable[Outcome], pictures: int, title: str) -> list[str]:
        """What became of pictures, as `look_at`."""
        problems: list[str] = []
        with self.progress.stage(title, pictures) as advance:
            for outcome in outcomes:
                if outcome.problem:
                    (self.notes if outcome.harmless else problems).append(outcome.problem)
                if outcome.faces is not None:
                    self.read += 1
                    self.faces += outcome.faces
                advance(1)
        return problems

    def _video(self, source: Source) -> list[str]:
        """Landmarks of a video's frames, or of a camera's until Ctrl-C."""
        live = source.path is None
        try:
            given = None if self.boxes is None else self.boxes.of(source.name)
            footage = detect.open_footage(source)
        except SemalignError as error:
            return [str(error)]
        boxes = None if given is None else given.get
        if self.results.overlays is not None:
            self.results.overlays.rate = footage.rate
        smoothing: Literal["centred", "causal", "none"] = "none" if not self.smooth else "causal" if live else "centred"
        read, faces_seen = self.read, self.faces
        with self.progress.stage(source.name, self.limit or footage.claimed_frames) as advance:
            frames = islice(footage.frames(), self.limit)
            try:
                for frame, faces in detect.track_faces(self.detector, frames, smoothing, boxes=boxes):
                    size = (frame.picture.shape[1], frame.picture.shape[0])
                    finding = Finding(source.name, source.stem, size, faces, frame.number, frame.seconds)
                    self.results.add(finding, frame.picture)
                    self.read, self.faces = self.read + 1, self.faces + len(faces)
                    advance(1)
            except KeyboardInterrupt:
                if not live:
                    raise
        self.results.end_video(source.name)
        problems = []
        if self.faces == faces_seen:
            problems.append(f"{source.name}: no face was found; {NOT_FOUND.format('a box')}")
        count, expected = self.read - read, min(footage.claimed_frames, self.limit or footage.claimed_frames)
        if count + 2 < expected:
            problems.append(
                f"{source.name}: says that it has {footage.claimed_frames} frames, but only {count} could be decoded; "
                "it may be truncated, copy it again."
            )
        return problems
