"""Which found faces are none: every found face that nobody annotated, drawn on numbered sheets, to be judged by eye.

    python benchmarks/false_faces.py --data 300w --photos unlabelled_faces --sheets FOLDER [--judged FOLDER/judged.csv]
    python benchmarks/false_faces.py --data 300w --photos unlabelled_faces --sheets FOLDER --faceless

Of 300W only training photographs are searched. Each face that is found elsewhere than on the annotated one, and each face in
the photographs of the folder, is a numbered cell of a sheet: a square of twice the face's side, turned upright. Faces that are
surely found (`SURE_SCORE` and more of finder and landmarks) are too many to look at all; a seeded sample of them is drawn.
The faces stand in FOLDER/faces.csv. A file with the columns number and kind (none, unclear; what is not in it is a face)
gives the table: false faces in 100 pictures, by the finder alone and with the landmarks' score threshold, as
`semalign predict` uses it.

`--faceless` instead cuts squares out of the photographs, in which the network has no hint of a face (score 0.1), and writes
them to FOLDER and as sheets beside it: what holds a face after all is to be deleted by eye. `face_candidates.py` and
`face_thresholds.py` search what remains.

One dated CSV, false-faces. Sheets are pictures of the data set: they are written nowhere else.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from harness import DataFolder, ModelName, Row, finish, run, track
from shots import on_face

from semalign.data import open_dataset, read_image
from semalign.data.crops import box_sides, cut
from semalign.detect import Detector, DetectorSettings
from semalign.detect.centerface_network import look
from semalign.detect.detector import as_found

SURE_SCORE = 0.85
SAMPLE = 240  # surely found faces that are drawn all the same, for each kind of picture
SEED = 18
CELL, COLUMNS, ROWS = 96, 12, 8
SQUARES, SQUARE = 400, 256  # photographs that a square without a face is cut out of, and its side in pixels


def main(
    data: DataFolder,
    photos: Annotated[Path, typer.Option(help="Folder of photographs without annotations.")],
    sheets: Annotated[Path, typer.Option(help="Folder for the sheets and faces.csv.")],
    faceless: Annotated[bool, typer.Option("--faceless", help="Cut out squares without a face.")] = False,
    judged: Annotated[Path | None, typer.Option(help="CSV with number and kind: the table instead of sheets.")] = None,
    model: ModelName = "default",
) -> None:
    """Find and draw, or make the table of what was judged."""
    cv2.setNumThreads(1)
    if faceless:
        cut_faceless(sorted(photos.iterdir()), sheets)
        return
    dataset = open_dataset(data).select(split="train")
    pictures = [("300W train", sample.image, sample.points) for sample in dataset.samples]
    pictures += [("photographs", path, None) for path in sorted(photos.iterdir()) if path.suffix in (".jpg", ".png")]
    if judged is not None:
        with (sheets / "faces.csv").open() as file, judged.open() as verdicts:
            faces, kinds = list(csv.DictReader(file)), {row["number"]: row["kind"] for row in csv.DictReader(verdicts)}
        counts = {kind: sum(own == kind for own, *_ in pictures) for kind in dict.fromkeys(own for own, *_ in pictures)}
        finish("false-faces", table(faces, kinds, counts, DetectorSettings().score_threshold))
        return
    rows, cells = [], []
    for row, cell in found(Detector.from_pretrained(model, "cpu"), track(pictures, "finding")):
        rows.append({"number": len(rows), **row})
        cells.append(cell)
    chosen = to_judge(rows)
    for row in rows:
        row["drawn"] = row["number"] in chosen
    sheets.mkdir(parents=True, exist_ok=True)
    with (sheets / "faces.csv").open("w") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    draw([(number, cells[number]) for number in sorted(chosen, key=lambda n: (rows[n]["score"], n))], sheets)


def cut_faceless(photos: Sequence[Path], folder: Path) -> None:
    """At most one square of a photograph, away from all that may be a face."""
    random = np.random.default_rng(SEED)
    folder.mkdir(parents=True, exist_ok=True)
    cells = []
    for path in track(random.permutation(np.array(photos, object))[:SQUARES].tolist(), "cutting"):
        picture = read_image(path)
        height, width = picture.shape[:2]
        seen = look(picture, 0.1)
        for _ in range(50):
            corner = random.integers(0, [max(1, width - SQUARE), max(1, height - SQUARE)])
            away = np.abs(seen.centre - corner - SQUARE / 2).max(axis=1) - seen.size.max(axis=1)
            if (away > SQUARE / 2).all() and min(height, width) >= SQUARE:
                square = picture[corner[1] : corner[1] + SQUARE, corner[0] : corner[0] + SQUARE]
                cv2.imwrite(str(folder / f"{len(cells):04d}.png"), cv2.cvtColor(square, cv2.COLOR_RGB2BGR))
                cells.append((len(cells), cv2.resize(square, (CELL, CELL), interpolation=cv2.INTER_AREA)))
                break
    draw(cells, folder.parent, f"{folder.name}-")


def found(detector: Detector, pictures: Iterator[Any]) -> Iterator[tuple[Row, np.ndarray]]:
    """Every face, and what is around it; of an annotated picture, those that lie elsewhere. One row more for each picture."""
    for kind, path, points in pictures:
        picture = read_image(path)
        faces = as_found(detector.finder(picture))
        looked = detector._landmarks([picture], [faces], detector.settings.refinements)[0]
        on = np.zeros(len(faces), bool) if points is None else on_face(faces.boxes, points)
        for face in range(len(faces)):
            side = float(box_sides(faces.boxes[face : face + 1])[0])
            centre = (faces.boxes[face, :2] + faces.boxes[face, 2:]) / 2
            cos, sin = np.cos(faces.angles[face]), np.sin(faces.angles[face])
            linear = CELL / (2.0 * side) * np.array([[cos, sin], [-sin, cos]])
            matrix = np.column_stack([linear, (CELL - 1) / 2 - linear @ centre])
            yield (
                {
                    "kind": kind,
                    "picture": path.name,
                    "annotated": bool(on[face]),
                    "score": round(float(faces.scores[face]), 4),
                    "landmarks": round(float(looked[face].score), 4),
                    "side": round(side, 1),
                    "angle": round(float(np.degrees(faces.angles[face]))),
                    "x": round(float(centre[0])),
                    "y": round(float(centre[1])),
                },
                cut(picture, matrix, CELL),
            )


def to_judge(rows: Sequence[Row]) -> set[int]:
    """Numbers of the faces that are drawn: the doubtful ones, and a sample of the others."""
    random = np.random.default_rng(SEED)
    chosen = set()
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind and not row["annotated"]]
        sure = [row["number"] for row in own if min(row["score"], row["landmarks"] / 0.6) >= SURE_SCORE]
        chosen |= {row["number"] for row in own} - set(sure)
        chosen |= set(random.permutation(sure)[:SAMPLE].tolist())
    return chosen


def draw(cells: Sequence[tuple[int, np.ndarray]], folder: Path, name: str = "sheet") -> None:
    """Numbered sheets of 12 × 8 cells."""
    for start in range(0, len(cells), COLUMNS * ROWS):
        sheet = np.zeros((ROWS * (CELL + 14), COLUMNS * CELL, 3), np.uint8)
        for place, (number, cell) in enumerate(cells[start : start + COLUMNS * ROWS]):
            y, x = place // COLUMNS * (CELL + 14), place % COLUMNS * CELL
            sheet[y + 14 : y + 14 + CELL, x : x + CELL] = cell
            cv2.putText(sheet, str(number), (x + 2, y + 11), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 0), 1)
        cv2.imwrite(str(folder / f"{name}{start // (COLUMNS * ROWS):03d}.png"), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


def table(
    faces: Sequence[dict[str, str]], judged: dict[str, str], pictures: dict[str, int], threshold: float
) -> list[Row]:
    """False faces in 100 pictures of each kind, by the finder alone and where the landmarks' score counts too."""
    rows = []
    for kind, count in pictures.items():
        others = [face for face in faces if face["kind"] == kind and face["annotated"] == "False"]
        for name, least in (("finder alone", 0.0), (f"landmarks' score of {threshold}", threshold)):
            own = [face for face in others if float(face["landmarks"]) >= least]
            kinds = [judged.get(face["number"], "face") for face in own]
            rows.append(
                {
                    "pictures": kind,
                    "count": count,
                    "with": name,
                    "not annotated": len(own),
                    "looked at": sum(face["drawn"] == "True" for face in own),
                    "none": kinds.count("none"),
                    "unclear": kinds.count("unclear"),
                    "false in 100": 100 * kinds.count("none") / count,
                }
            )
    return rows


if __name__ == "__main__":
    run(main)
