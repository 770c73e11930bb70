"""How many pictures of one face a second `semalign predict FOLDER` does, and where the time goes.

    python benchmarks/folder.py [--pictures FOLDER] [--onnx default.onnx] [--int8 int8.onnx] [--workers 1 2] [--turns 5]

One dated CSV, folder, with a row for each runtime and stage:

- the stages alone, one after the other in one thread: reading the files; finding the faces; the landmarks in the found
  boxes, by one look and by two (`refinements` 0 and 1); writing results with overlays, as `predict` does by default;
- the whole path (`semalign.detect.folders`) with so many workers.

PyTorch computes in bf16 where the processor has AMX, and in fp32. Milliseconds are medians over the turns, in which
everything is measured once; `processor` is what all threads spent. Pictures are the first of a folder, or synthetic faces of
320 × 320 pixels. Without --onnx the model is exported first; the int8 form takes faces to be calibrated on (`semalign export
--int8 --data`), so it is only measured where it is given.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated

import cv2
import torch
import typer
from harness import ModelName, Row, finish, in_turn, run, track

from semalign.data.images import ENDINGS, Picture, open_picture
from semalign.detect import CenterFaceFinder, Detector, DetectorSettings, Source
from semalign.detect.detector import as_found
from semalign.detect.folders import BATCH, detect_pictures
from semalign.detect.writers import Finding, ResultFolder
from semalign.export import export_onnx
from semalign.inference import OnnxBackend
from semalign.inference.landmarker import open_model
from semalign.models.checkpoint import Model
from semalign.models.pretrained import resolve
from semalign.synthetic import FaceSettings, SynthesisSettings, face_of

FORMATS = ("json", "overlay")


def main(
    pictures: Annotated[Path | None, typer.Option(help="Folder of pictures; default: synthetic ones.")] = None,
    model: ModelName = "default",
    onnx: Annotated[Path | None, typer.Option(help="What `semalign export` made of the model.")] = None,
    int8: Annotated[Path | None, typer.Option(help="What `semalign export --int8` made of the model.")] = None,
    count: Annotated[int, typer.Option(help="Pictures.")] = 96,
    workers: Annotated[tuple[int, int], typer.Option(help="Threads of the whole path.")] = (1, 2),
    turns: Annotated[int, typer.Option(help="How often each is measured.")] = 5,
) -> None:
    """Measure, print and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        sources = find_pictures(pictures or drawn(Path(folder) / "pictures", count), count)
        exported = onnx or export(model, Path(folder) / "model.onnx")
        detectors = {
            "PyTorch": lambda threads: Detector(open_model(model), "cpu"),
            "PyTorch, fp32": lambda threads: Detector.from_pretrained(
                model, "cpu", settings=DetectorSettings(precision="fp32")
            ),
            "ONNX Runtime": lambda threads: Detector(OnnxBackend(exported, threads)),
        }
        if int8 is not None:
            detectors["ONNX Runtime, int8"] = lambda threads: Detector(OnnxBackend(int8, threads))
        forms: dict[tuple[str, str], Callable[[], object]] = {}
        for runtime, detector in detectors.items():
            alone = stages(detector(1), sources, Path(folder))
            forms |= {(runtime, name): in_one_thread(stage) for name, stage in alone.items()}
            for number in workers:
                whole = whole_path(detector(None), sources, number, Path(folder))
                forms[runtime, f"whole path, workers {number}"] = whole
        named = {f"{runtime}: {stage}": form for (runtime, stage), form in forms.items()}
        timings = in_turn(named, turns)
    rows: list[Row] = []
    for (runtime, stage), timing in zip(forms, timings.values(), strict=True):
        clock, processor = (
            sorted(values)[len(values) // 2] / len(sources) for values in (timing.clock, timing.processor)
        )
        rate = 1 / clock if stage.startswith("whole") else ""
        rows.append(
            {
                "model": resolve(model).stem,
                "runtime": runtime,
                "stage": stage,
                "pictures": len(sources),
                "ms a picture": 1e3 * clock,
                "ms a picture, processor": 1e3 * processor,
                "pictures a second": rate,
            }
        )
    finish("folder", rows)


def drawn(folder: Path, count: int) -> Path:
    """Synthetic faces as JPEG files."""
    folder.mkdir()
    settings = SynthesisSettings(count=count, seed=0, face=FaceSettings(size=320))
    for index in track(range(count), "faces"):
        picture = face_of(index, count, settings).image
        cv2.imwrite(str(folder / f"{index:04d}.jpg"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return folder


def export(model: str, path: Path) -> Path:
    opened = open_model(model)
    assert isinstance(opened, Model)
    export_onnx(path, opened)
    return path


def find_pictures(folder: Path, count: int) -> list[Source]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)[:count]
    return [Source("image", str(path), path, PurePosixPath(path.stem)) for path in paths]


def stages(detector: Detector, sources: Sequence[Source], folder: Path) -> dict[str, Callable[[], object]]:
    """Each stage over all pictures, in batches as the whole path has them."""
    finder = CenterFaceFinder()
    opened = [open_picture(source.path) for source in sources if source.path is not None]
    boxes = [as_found(finder(picture.pixels)).boxes for picture in opened]
    once = Detector(detector.model, "cpu", finder, replace(detector.settings, refinements=0))
    faces = in_batches(detector, opened, boxes)

    def write() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as out, ResultFolder(out, FORMATS, detector.scheme) as results:
            for source, picture, own in zip(sources, opened, faces, strict=True):
                results.add(Finding(source.name, source.stem, picture.size, own), picture.pixels)

    return {
        "read": lambda: [open_picture(source.path) for source in sources if source.path is not None],
        "find": lambda: [finder(picture.pixels) for picture in opened],
        "landmarks, one look": lambda: in_batches(once, opened, boxes),
        "landmarks, two looks": lambda: in_batches(detector, opened, boxes),
        "write": write,
    }


def in_batches(detector: Detector, pictures: Sequence[Picture], boxes: Sequence[object]) -> list[list[object]]:
    starts = range(0, len(pictures), BATCH)
    return [
        faces
        for first in starts
        for faces in detector.batch(pictures[first : first + BATCH], boxes[first : first + BATCH])  # type: ignore[arg-type]
    ]


def whole_path(detector: Detector, sources: Sequence[Source], workers: int, folder: Path) -> Callable[[], None]:
    def work() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as out, ResultFolder(out, FORMATS, detector.scheme) as results:
            deque(detect_pictures(detector, sources, results, workers=workers), maxlen=0)

    return work


def in_one_thread(stage: Callable[[], object]) -> Callable[[], None]:
    """The stage with one thread of PyTorch and one of OpenCV."""

    def work() -> None:
        threads = torch.get_num_threads(), cv2.getNumThreads()
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        try:
            stage()
        finally:
            torch.set_num_threads(threads[0])
            cv2.setNumThreads(threads[1])

    return work


if __name__ == "__main__":
    run(main)
