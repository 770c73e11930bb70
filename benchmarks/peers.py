"""Semalign's shipped models and the landmark networks that come with other packages, on the same faces: error, time, size.

    python benchmarks/peers.py --data 300w --peers PEERS            (for the folder see benchmarks/peer_models.py)
    python benchmarks/peers.py --picture docs/peers.png             draws the last measurement

Errors are inter-ocular, from the annotated boxes, for each folder of test faces that is there; `beyond 8` is the share of faces
whose error is larger. Of 300W's private set the folders 01_Indoor and 02_Outdoor are looked for beside the others. Each peer
sees the part of the picture on which it errs least on 100 training faces (`Framing`) with its own normalisation;
ours see what they were trained on. Linear maps to 300W's points, where a peer has others, are learned on 500 other training
faces.

Times are of one face, from the network's input array to points: medians of calls in turn, each after one that does not count,
so that whatever else the machine does hits all alike. `processor ms` is what one thread computes, without its waiting for other
programs; `times PFLD's` compares that; `least ms` is the shortest call. int8 is calibrated on 64 training faces. `MB` is the
weights' file in the peer's package, and of ours the exported file.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from harness import FOLDER, QUANTISED, Row, faces_of, finish, in_turn, predicted, run, track
from peer_models import MEGA, Framing, Look, Peer, Shape, peers_in, refuse_no_folder

from semalign.core.metrics import landmark_boxes, nme_interocular
from semalign.core.translation import Translation, fit_translation
from semalign.data import Dataset, open_dataset, read_image
from semalign.data.crops import cut
from semalign.data.duplicates import leaky_training_ids
from semalign.errors import SemalignError
from semalign.export import export_onnx, quantize_onnx
from semalign.export.onnx import broken_by_int8
from semalign.inference import OnnxBackend
from semalign.inference.onnx import input_squares
from semalign.models import pretrained
from semalign.models.face_mesh import upright
from semalign.schemes import load_scheme

TURNS, REST = 100, 0.03  # seconds before each call, in which the threads of the one before end their busy waiting
FRAMED, LEARNED, CALIBRATION = 100, 500, 64  # training faces
LONGEST = 400  # pixels of a face at most, where its framing is sought
WINDOW = 2.2  # sides of what is kept of a picture then, in those of the face
SHAPES: tuple[Shape, ...] = ("square", "stretched", "padded")
SCALES = tuple(tenths / 10 for tenths in range(8, 20))
LOWERED = tuple(twentieths / 20 for twentieths in range(-4, 7))
PRIVATE = ("01_Indoor", "02_Outdoor")
TOGETHER = {  # sets of more than one folder
    "common": ("helen/testset", "lfpw/testset"),
    "full": ("helen/testset", "lfpw/testset", "ibug"),
    "private": PRIVATE,
}
YARDSTICK = "PFLD"
SHOWN = (
    "model",
    "lfpw/testset",
    "lfpw/testset beyond 8",
    "full",
    "private",
    "MB",
    "processor ms",
    "times PFLD's",
    "least ms, 2 threads",
)
DRAWN, TIME = "lfpw/testset", "processor ms"
OURS, THEIRS, INK = "#1f6fb4", "#8a8a8a", "#444444"
TITLES = {name: short for short, name in pretrained.NAMES.items()}
PLACES = {  # of the titles that would lie on others; points to the right and up
    "300w-cascade": (4, -11),
    "300w-detector": (6, 6),
    "300w-fast": (4, -11),
    "3DDFA V2, translated": (-7, 3),
    "dlib": (-8, 2),
}


@dataclass(frozen=True)
class Face:
    """A picture, the annotated points (n, 2) in it and their box."""

    picture: np.ndarray
    points: np.ndarray
    box: np.ndarray


@dataclass(frozen=True)
class Entered:
    """What is measured: a row to which errors are added, the network for so many threads, and an input for it."""

    row: Row
    open: Callable[[int], Look]
    array: np.ndarray
    errors: dict[str, np.ndarray]


def main(
    data: Annotated[Path | None, typer.Option(help="300W, complete or partial.")] = None,
    peers: Annotated[Path | None, typer.Option(help="Folder of the other packages.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Where to draw the last measurement.")] = None,
    turns: int = TURNS,
) -> None:
    if data is not None:
        if peers is None:
            raise SemalignError("measuring needs --peers, too: the folder that benchmarks/peer_models.py tells of.")
        finish("peers", measure(data, peers, turns), shown=SHOWN)
    if picture is not None:
        draw(picture)
    elif data is None:
        raise SemalignError("nothing to do: give --data and --peers to measure, or --picture to draw.")


def measure(data: Path, peers: Path, turns: int) -> list[Row]:
    """A row for each model, ours first."""
    refuse_no_folder(peers)
    dataset = open_dataset(data, load_scheme("ibug68"), keep_going=True)
    train = dataset.select("train", exclude=leaky_training_ids(dataset, strict=False))
    tests = test_sets(dataset, data)
    known, missing = peers_in(peers)
    for sentence in missing:
        typer.echo(sentence, err=True)
    with TemporaryDirectory() as folder:
        entered = [one for name in pretrained.available() for one in ours(name, train, tests, Path(folder))]
        entered += theirs(known, train, tests)
        return rows_of(entered, turns)


def test_sets(dataset: Dataset, data: Path) -> dict[str, Dataset]:
    """The test faces by folder, and the private set's if they are there."""
    test = dataset.select(split="test")
    names = dict.fromkeys(sample.subset for sample in test.samples)
    found = {name: test.select(subsets=[name]) for name in names}
    private = [name for name in PRIVATE if (data / name).is_dir()]
    return found | {name: open_dataset(data / name, dataset.scheme, keep_going=True) for name in private}


# ---- errors ------------------------------------------------------------------------------------------------------------


def ours(name: str, train: Dataset, tests: dict[str, Dataset], folder: Path) -> Iterator[Entered]:
    """A shipped model in float32 and, where it has such a form, in int8."""
    model = pretrained.load(name)
    plain, int8 = folder / f"{name}.onnx", folder / f"{name}-int8.onnx"
    export_onnx(plain, model)
    spread = _spread(train, CALIBRATION)
    seen = faces_of(spread, model.crop, model.input_size).crops
    squares = input_squares(seen, np.arange(len(spread)), "uint8")
    forms = {"float32": plain}
    if not broken_by_int8(model.network.settings):
        quantize_onnx(int8, plain, squares)
        forms["int8"] = int8
    for form, path in forms.items():
        backend = OnnxBackend(path)
        errors = {
            title: nme_interocular(
                predicted(backend, faces_of(test, model.crop, model.input_size)),
                test.points(),
                test.scheme,
            )
            for title, test in tests.items()
        }
        row = {
            "model": f"{name} {form}",
            "kind": "semalign",
            "source": "shipped",
            "runtime": "onnxruntime",
            "framing": "its own",
            "MB": path.stat().st_size / MEGA,
            "note": f"exported; the model file has {pretrained.available()[name].stat().st_size / MEGA:.1f} MB",
        }

        def opened(threads: int, path: Path = path) -> Look:
            of_threads = OnnxBackend(path, threads)
            return lambda array: of_threads(array).points

        yield Entered(row, opened, squares[:1], errors)


def theirs(known: dict[str, Peer], train: Dataset, tests: dict[str, Dataset]) -> list[Entered]:
    """The peers, each in its best framing."""
    chosen = _spread(train, FRAMED)
    windows = [_window(face) for face in track(faces_in(chosen), "training faces", len(chosen))]
    others = _spread(train.select(exclude=set(chosen.ids())), LEARNED)
    looks = {name: peer.open(1) for name, peer in known.items() if peer.trained}
    best: dict[tuple[str, float], tuple[Framing, float | str]] = {}  # by network, which two peers may share
    framed = {}
    for name, peer in known.items():
        network = peer.source, peer.megabytes
        if network not in best:
            fixed = peer.turned or not peer.trained
            best[network] = (peer.framing, "") if fixed else best_framing(peer, looks[name], windows)
        framed[name] = replace(peer, framing=best[network][0])
    maps = translations({name: peer for name, peer in framed.items() if peer.translated}, looks, others)
    entered = []
    errors: dict[str, dict[str, list[float]]] = {name: {} for name in known}
    for title, test in tests.items():
        for face in track(faces_in(test), title, len(test)):
            for name, look in looks.items():
                points = seen(framed[name], look, face)
                points = maps[name](points[None])[0] if name in maps else points[:, :2]
                error = nme_interocular(points[None], face.points[None], test.scheme)
                errors[name].setdefault(title, []).append(float(error[0]))
    for name, peer in framed.items():
        row = {
            "model": name,
            "kind": "peer",
            "source": peer.source,
            "runtime": peer.runtime,
            "framing": str(peer.framing) if peer.trained else "",
            "training faces of the framing": best[peer.source, peer.megabytes][1] if not peer.translated else "",
            "MB": peer.megabytes,
            "note": peer.note,
        }
        crop, _ = peer.framing.cut(windows[0].picture, windows[0].box, peer.side, peer.margin)
        own = {title: np.array(values) for title, values in errors[name].items()}
        entered.append(Entered(row, peer.open, peer.prepare(crop), own))
    return entered


def best_framing(peer: Peer, look: Look, faces: Sequence[Face]) -> tuple[Framing, float]:
    """That in which the mean error on the faces is least, and the error.

    For every shape the best scale and the best height are sought in turn, twice.
    """
    wanted, scheme = np.stack([face.points for face in faces]), load_scheme("ibug68")
    errors: dict[Framing, float] = {}

    def error(framing: Framing) -> float:
        if framing not in errors:
            tried = replace(peer, framing=framing)
            found = np.stack([seen(tried, look, face)[:, :2] for face in faces])
            errors[framing] = float(nme_interocular(found, wanted, scheme).mean())
        return errors[framing]

    for shape in track(SHAPES, "framings"):
        framing = replace(peer.framing, shape=shape)
        for name, values in 2 * (("scale", SCALES), ("lower", LOWERED)):
            framing = min((replace(framing, **{name: value}) for value in values), key=error)
    return min(errors.items(), key=lambda item: item[1])


def translations(peers: dict[str, Peer], looks: dict[str, Look], train: Dataset) -> dict[str, Translation]:
    """Linear maps from the peers' points to the annotated ones."""
    known: dict[str, list[np.ndarray]] = {name: [] for name in peers}
    wanted = []
    for face in track(faces_in(train), "translations", len(train)):
        wanted.append(face.points)
        for name, peer in peers.items():
            known[name].append(seen(peer, looks[name], face))
    return {name: fit_translation(np.stack(points), np.stack(wanted)) for name, points in known.items()}


def seen(peer: Peer, look: Look, face: Face) -> np.ndarray:
    """The peer's own points (n, d) in the picture, depth in the same unit."""
    crop, to_input = peer.framing.cut(face.picture, face.box, peer.side, peer.margin)
    points = _back(look(peer.prepare(crop)), to_input)
    if not peer.turned:
        return points
    turned = upright(torch.from_numpy(points[None, :, :2]))[0].numpy()
    return _back(look(peer.prepare(cut(face.picture, turned, peer.side))), turned)


def _back(points: np.ndarray, to_input: np.ndarray) -> np.ndarray:
    """From the frame of the input to the picture's."""
    linear = np.linalg.inv(to_input[:, :2])
    flat = (points[:, :2] - to_input[:, 2]) @ linear.T
    return np.column_stack([flat, points[:, 2:] * np.sqrt(abs(np.linalg.det(linear)))])


def faces_in(dataset: Dataset) -> Iterator[Face]:
    """One after the other, for their pictures are large."""
    for sample in dataset.samples:
        yield Face(read_image(sample.image), sample.points, landmark_boxes(sample.points[None])[0])


def _window(face: Face) -> Face:
    """What is near a face, smaller if it is large: framings are tried on it."""
    side, middle = (face.box[2:] - face.box[:2]).max(), (face.box[:2] + face.box[2:]) / 2
    low = np.maximum(np.floor(middle - WINDOW * side).astype(int), 0)
    high = np.ceil(middle + WINDOW * side).astype(int)
    picture, factor = face.picture[low[1] : high[1], low[0] : high[0]], min(1.0, LONGEST / side)
    if factor < 1:
        picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    points = (face.points - low + 0.5) * factor - 0.5
    return Face(picture, points, landmark_boxes(points[None])[0])


def _spread(dataset: Dataset, count: int) -> Dataset:
    """So many faces, spread evenly."""
    rows = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
    return replace(dataset, samples=tuple(dataset.samples[row] for row in rows))


# ---- times and rows ----------------------------------------------------------------------------------------------------


def rows_of(entered: Sequence[Entered], turns: int) -> list[Row]:
    """With errors and times."""
    timings = {}
    for threads in (1, 2):
        forms = {one.row["model"]: partial(one.open(threads), one.array) for one in entered}
        timings[threads] = in_turn(forms, turns, rest=REST, warm=True)
    yardstick = timings[1].get(YARDSTICK)
    rows = []
    for one in entered:
        alone, both = (timings[threads][one.row["model"]] for threads in (1, 2))
        rows.append(
            {
                **one.row,
                **_figures(one.errors),
                "ms, 1 thread": alone.milliseconds,
                "ms, 2 threads": both.milliseconds,
                "least ms, 1 thread": 1000 * min(alone.clock),
                "least ms, 2 threads": 1000 * min(both.clock),
                "processor ms": alone.processor_milliseconds,
                "times PFLD's": (
                    alone.processor_milliseconds / yardstick.processor_milliseconds if yardstick is not None else ""
                ),
            }
        )
    return rows


def _figures(errors: dict[str, np.ndarray]) -> Row:
    """Of every set, and of those that are made of several, if they are whole."""
    whole = {
        name: np.concatenate([errors[part] for part in parts])
        for name, parts in TOGETHER.items()
        if all(part in errors for part in parts)
    }
    figures: Row = {}
    for name, values in {**errors, **whole}.items():
        figures |= {name: float(values.mean()), f"{name} beyond 8": 100 * float((values > 8).mean())}
    return figures


# ---- the picture -------------------------------------------------------------------------------------------------------


def draw(path: Path) -> None:
    """Error on lfpw/testset against time, of the newest measurement; our models in the form in which they ship."""
    from matplotlib.figure import Figure

    newest = max(FOLDER.glob("peers_*.csv"), default=None)
    if newest is None:
        raise SemalignError(f"{FOLDER}: holds no measurement yet; give --data and --peers first.")
    with newest.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        name, _, form = row["model"].rpartition(" ")
        own = row["kind"] == "semalign"
        if not row[DRAWN] or (own and (form == "int8") != (name in QUANTISED)):
            continue
        told, colour = "has seen" in row["note"], OURS if own else THEIRS
        x, y = float(row[TIME]), float(row[DRAWN])
        axes.plot(x, y, "o", ms=7, color=colour, mfc="white" if told else colour)
        size = (
            pretrained.available()[name].with_suffix(pretrained.EXPORTED).stat().st_size / MEGA
            if own
            else float(row["MB"])
        )
        title = TITLES.get(name, name) if own else row["model"]
        title += f", {size:.{1 if size < 10 else 0}f} MB" + (" (has seen these faces)" if told else "")
        across, up = PLACES.get(name if own else row["model"], (8, 0))
        style = {"textcoords": "offset points", "fontsize": 8, "color": OURS if own else INK, "va": "center"}
        axes.annotate(title, (x, y), xytext=(across, up), ha="left" if across > 0 else "right", **style)
    for row in rows:
        if row["model"] == YARDSTICK:
            axes.axvline(float(row[TIME]), color=THEIRS, lw=0.8, ls=":", zorder=0)
            place = {"xytext": (3, 3), "textcoords": "offset points", "xycoords": ("data", "axes fraction")}
            axes.annotate("PFLD's time", (float(row[TIME]), 0), fontsize=8, color=THEIRS, **place)
    axes.set_xscale("log")
    axes.margins(x=0.16, y=0.14)
    low, high = axes.get_xlim()
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low < tick < high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("milliseconds of one thread for a face")
    axes.set_ylabel("error on 300W lfpw/testset,\n% of the outer eye corners' distance")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    typer.echo(f"drawn from {newest.name}: {path}")


if __name__ == "__main__":
    run(main)
