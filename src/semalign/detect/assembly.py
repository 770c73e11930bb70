"""From the record of a prediction to its tables: JSON, CSV, COCO keypoints, Parquet; each is written, then put in place.

However many pictures there are, no file is held in memory as a whole.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from semalign.detect.journal import JSONL, dumped, read_head, read_lines
from semalign.files import atomic_path
from semalign.schemes import LandmarkScheme

JSON, CSV, COCO, PARQUET = "landmarks.json", "landmarks.csv", "coco.json", "landmarks.parquet"
TABLES = (JSON, JSONL, CSV, PARQUET, COCO)  # with the record they are made of: all files that are not a picture's own
COLUMNS = ("image", "frame", "seconds", "face", "landmark", "name", "x", "y", "confidence")
VISIBILITY, UNCERTAINTY = "visibility", "uncertainty"  # keys of a face
TOLD = {
    VISIBILITY: (VISIBILITY,),
    UNCERTAINTY: ("uncertainty_x", "uncertainty_y"),
}  # their columns, where the record has them
VISIBLE = 0.5  # a landmark is hidden for COCO if it is visible with less probability
_ROWS = 2000  # pictures of a Parquet row group


def write_tables(folder: Path, record: Path, formats: Sequence[str], scheme: LandmarkScheme, complete: bool) -> None:
    """Write the files of the formats (json, csv, coco, parquet) that the record stands for.

    Raises:
        SemalignError: a file cannot be written, as when the disk is full; what was there before stays.
    """
    makers: dict[str, tuple[str, Callable[[Path, Path, LandmarkScheme, bool], None]]] = {
        "csv": (CSV, _write_csv),
        "coco": (COCO, _write_coco),
        "parquet": (PARQUET, _write_parquet),
        "json": (JSON, _write_json),
    }
    for kind, (name, write) in makers.items():
        if kind in formats:
            with atomic_path(folder / name) as temporary:
                write(temporary, record, scheme, complete)


def _write_json(path: Path, record: Path, scheme: LandmarkScheme, complete: bool) -> None:
    """Everything: one object with a list of pictures, each with its faces (`Face.to_dict`), one picture a line."""
    head = {key: value for key, value in read_head(record).items() if key != "cwd"}
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(dumped(head)[:-1] + ', "images": [')
        _write_list(file, (line.text for line in read_lines(record)))
        file.write(f'\n], "complete": {dumped(complete)}}}\n')


def _write_csv(path: Path, record: Path, scheme: LandmarkScheme, complete: bool) -> None:
    """A row for each landmark; a face's number is its track in a video and its place from 1 in a picture."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        told = _told(record)
        file.write(_csv([_columns(told)]))
        for line in read_lines(record):
            file.write(_csv([_as_text(row) for row in _rows(line.values, scheme, told)]))


def _told(record: Path) -> tuple[str, ...]:
    """Which keys of TOLD the first face of the record has."""
    faces = (face for line in read_lines(record) for face in line.values["faces"])
    first: Mapping[str, Any] = next(faces, {})
    return tuple(key for key in TOLD if key in first)


def _columns(told: tuple[str, ...]) -> tuple[str, ...]:
    return (*COLUMNS, *(column for key in told for column in TOLD[key]))


def _as_text(row: tuple[Any, ...]) -> tuple[Any, ...]:
    image, frame, seconds, face, landmark, name, x, y, *known = row
    time, *shown = (None if value is None else f"{value:.4f}" for value in (seconds, *known))
    return image, frame, time, face, landmark, name, f"{x:.3f}", f"{y:.3f}", *shown


def _rows(entry: Mapping[str, Any], scheme: LandmarkScheme, told: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """The values of COLUMNS, and of the keys that are told, for each landmark of a picture; None for what only videos have, or
    nobody knows.
    """
    for number, face in enumerate(entry["faces"], 1):
        count = len(face["points"])
        known = [face.get(key) or [None if len(TOLD[key]) == 1 else [None] * len(TOLD[key])] * count for key in told]
        points = zip(scheme.landmarks, face["points"], face["confidence"], *known, strict=True)
        for index, (name, (x, y), sure, *values) in enumerate(points):
            place = (entry["image"], entry.get("frame"), entry.get("seconds"), face.get("track", number), index)
            flat = (one for value in values for one in (value if isinstance(value, list) else [value]))
            yield (*place, name, x, y, sure, *flat)


def _write_coco(path: Path, record: Path, scheme: LandmarkScheme, complete: bool) -> None:
    """COCO keypoints: `images`, `annotations`, `categories`.

    Keypoints are 0-based pixels as here; boxes are continuous there (the first pixel spans 0 to 1), so they lie half a pixel
    further. Beside the usual keys an annotation has `score`, `confidence` and, where they are known, `visibility` and
    `uncertainty`; v is 1 for landmarks that are probably hidden and 2 for all others.
    """
    skeleton = [
        [a + 1, b + 1]
        for curve in scheme.curves
        for a, b in zip(
            curve.landmarks, curve.landmarks[1:] + (curve.landmarks[:1] if curve.closed else ()), strict=False
        )
    ]
    face = {"id": 1, "name": "face", "keypoints": list(scheme.landmarks), "skeleton": skeleton}
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f'{{"categories": {dumped([face])}, "annotations": [')
        _write_list(file, (dumped(annotation) for annotation in _annotations(record)))
        file.write('\n], "images": [')
        _write_list(file, (dumped(image) for image in _images(record)))
        file.write("\n]}\n")


def _images(record: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(read_lines(record), 1):
        entry = line.values
        keys = ("width", "height", "frame", "seconds")
        yield {"id": number, "file_name": entry["image"], **{key: entry[key] for key in keys if key in entry}}


def _annotations(record: Path) -> Iterator[dict[str, Any]]:
    count = 0
    for number, line in enumerate(read_lines(record), 1):
        for face in line.values["faces"]:
            count += 1
            x0, y0, x1, y1 = face["box"]
            annotation = {
                "id": count,
                "image_id": number,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": [round(value, 3) for value in (x0 + 0.5, y0 + 0.5, x1 - x0, y1 - y0)],
                "area": round((x1 - x0) * (y1 - y0), 3),
                "num_keypoints": len(face["points"]),
                "keypoints": [
                    value for (x, y), v in zip(face["points"], _flags(face), strict=True) for value in (x, y, v)
                ],
                "score": face["score"],
                "confidence": face["confidence"],
            }
            annotation |= {key: face[key] for key in TOLD if key in face}
            yield annotation if "track" not in face else {**annotation, "track_id": face["track"]}


def _flags(face: Mapping[str, Any]) -> list[int]:
    """COCO's v of each landmark: 2 visible, 1 hidden; 2 where nobody knows."""
    if VISIBILITY not in face:
        return [2] * len(face["points"])
    return [2 if visible >= VISIBLE else 1 for visible in face[VISIBILITY]]


def _write_parquet(path: Path, record: Path, scheme: LandmarkScheme, complete: bool) -> None:
    """The columns of the CSV file, typed; where they come from is in the metadata `semalign`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    told = _told(record)
    names = _columns(told)
    types = (pa.string(), pa.int32(), pa.float64(), pa.int32(), pa.int16(), pa.string())
    types += (pa.float64(),) * (len(names) - len(types))
    about = {key: value for key, value in read_head(record).items() if key != "cwd"}
    metadata = {"semalign": dumped({**about, "complete": complete})}
    schema = pa.schema(list(zip(names, types, strict=True)), metadata=metadata)
    lines = read_lines(record)
    with pq.ParquetWriter(path, schema) as writer:
        while chunk := list(islice(lines, _ROWS)):
            rows = [row for line in chunk for row in _rows(line.values, scheme, told)]
            columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
            arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
            writer.write_table(pa.table(arrays, schema=schema))


def _write_list(file: TextIO, items: Iterator[str]) -> None:
    """Items of a JSON array, each on a line of its own."""
    comma = ""
    for item in items:
        file.write(f"{comma}\n{item}")
        comma = ","


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
