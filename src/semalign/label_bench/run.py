"""The bench of label searches: cell after cell, each kept in a file of its own as soon as it is measured."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from semalign import __version__
from semalign.data.opening import open_dataset
from semalign.errors import SemalignError
from semalign.evaluation.annotators import read_annotators
from semalign.files import is_new, read_json, remove_leftovers, write_json
from semalign.label_bench.cells import Cell, RealFaces
from semalign.label_bench.output import write_results
from semalign.label_bench.settings import BenchSettings
from semalign.label_bench.synthetic_cells import SyntheticFaces, clear
from semalign.locks import writes_into
from semalign.models import pretrained
from semalign.pipeline.folder import digest_of_faces
from semalign.pipeline.summary import hardware, versions
from semalign.pipeline.witnesses import ShippedModel
from semalign.progress import Progress, SilentProgress
from semalign.schemes.scheme import refuse_unknown
from semalign.searches.builders import EvidenceBuilder
from semalign.synthetic.render import SCHEME

BEGUN = "bench.json"  # what is measured; a folder with it is a bench of labels
PARTS = ("truth", "planted", "annotators", "halves")  # of the table, in order
REMEDY = "delete it and run again with --resume"


@writes_into("out")
def bench_labels(
    settings: BenchSettings,
    out: Path,
    *,
    data: Path | None = None,
    annotators: Path | None = None,
    builder: EvidenceBuilder | None = None,
    parts: Sequence[str] = PARTS,
    resume: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure every method in every cell and write labels.csv, labels.json and labels.png.

    Once all is measured, the pictures and networks that it took are deleted.

    Args:
        settings: what is measured.
        out: for the results, and for what has been measured so far.
        data: real faces of iBUG's 68 points, for the cells of planted noise; None = synthetic faces alone.
        annotators: CSV file of LFPW's three workers, who marked faces of the data.
        builder: of the evidence of real faces; None = the shipped model.
        parts: of the table that are measured, of `PARTS`; the table has those alone.
        resume: continue what is there.
        progress: told what goes on.

    Returns:
        What labels.json holds.

    Raises:
        SemalignError: bad input, or a folder that holds something else.
    """
    out, progress = Path(out), progress or SilentProgress()
    refuse_unknown(parts, PARTS, "part of the bench")
    if annotators is not None and data is None:
        raise SemalignError("--annotators are held against labels of 300W's faces; give these with --data.")
    described: dict[str, Any] = {"version": __version__, **asdict(settings)}
    real: list[Cell] = []
    notes: list[str] = []
    if data is not None:
        faces = open_dataset(data)
        if faces.scheme != SCHEME:
            raise SemalignError(
                f"{data}: has the landmarks {faces.scheme.name!r}, the bench plants noise in those of {SCHEME.name!r}; "
                "give faces of these."
            )
        marks = None if annotators is None else read_annotators(annotators)
        builder = builder or ShippedModel(pretrained.DEFAULT, pretrained.companion(pretrained.DEFAULT))
        described |= {"data": faces.name, "faces_digest": digest_of_faces(faces), "evidence": builder.name}
        if annotators is not None:
            described["annotators"] = hashlib.sha256(annotators.read_bytes()).hexdigest()
        real = RealFaces(faces, builder, settings).cells(marks)
        if not builder.learns:
            notes.append(
                f"The evidence of real faces ({builder.name}) learns nothing from their annotations: there are no two halves "
                "of them to compare."
            )
    every = sorted([*SyntheticFaces(out / "faces", settings, progress).cells(), *real], key=_place)
    cells = [cell for cell in every if cell.about["part"] in parts]
    if not cells:
        there = ", ".join(dict.fromkeys(cell.about["part"] for cell in every))
        raise SemalignError(
            f"there is no cell of {' or '.join(map(repr, parts))}: without more data the parts are {there}; "
            "'planted' needs --data, 'annotators' --annotators, too."
        )
    _claim(out, described, resume)
    with progress.stage("cells", len(cells)) as advance:
        measured = []
        for cell in cells:
            measured.append(_measured(cell, out))
            advance(1, cell.name)
    results = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(),
        "versions": versions(),
        "settings": described,
        "notes": notes,
        "cells": measured,
    }
    write_results(out, results)
    for needed in ("crops", "faces", "work"):
        clear(out / needed)
    return results


def _place(cell: Cell) -> int:
    return PARTS.index(cell.about["part"])


def _measured(cell: Cell, out: Path) -> dict[str, Any]:
    """The figures of a cell, from its file where it is there."""
    path, work = out / "cells" / f"{cell.name}.json", out / "work" / cell.name
    if not path.is_file():
        begun = time.perf_counter()
        figures = cell.measure(work)
        seconds = round(time.perf_counter() - begun, 1)
        write_json(path, {"cell": cell.name, **cell.about, "seconds": seconds, **figures})
        clear(work)
    kept: dict[str, Any] = read_json(path, REMEDY)
    return kept


def _claim(out: Path, described: dict[str, Any], resume: bool) -> None:
    """Make the folder this bench's own.

    Raises:
        SemalignError: it holds another bench, or one and `resume` was not asked for, or something else.
    """
    path = out / BEGUN
    if is_new(path, "bench of labels", resume, "bench"):
        write_json(path, described)
        return
    before = read_json(path, "choose another folder")
    before = before if isinstance(before, dict) else {}
    wanted = json.loads(json.dumps(described))  # as the file gives it back
    changed = sorted(key for key in before.keys() | wanted.keys() if before.get(key) != wanted.get(key))
    if changed:
        raise SemalignError(
            f"{out}: holds a bench of other settings or faces ({', '.join(changed)} in {BEGUN}); choose another folder."
        )
    remove_leftovers(out)
