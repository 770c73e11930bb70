"""Figures 1, 2a, 2b and 4 to 8, each from the cached experiments alone, in the report's manner.

Colours mean what they mean in a run's report: orange the annotation and what is trained on it, blue the found label and what is
aligned with it, white the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure as Drawing

from semalign.core.curves import split, tangents
from semalign.core.metrics import box_size, landmark_boxes
from semalign.data.crops import CropCache
from semalign.paper.lab import Detector, Lab
from semalign.paper.protocols import FULL
from semalign.pipeline.prepare import Faces
from semalign.pipeline.summary import label_figures, strong_and_weak
from semalign.report.figures import heatmaps, labels
from semalign.report.figures.axes import Name, chart, count_along_x, name_lines
from semalign.report.figures.faces import Window
from semalign.report.render import Plot, picture_tag, to_png, to_svg
from semalign.report.text import plain
from semalign.report.theme import FONT_SIZE, MARKS, PAGE

SIDE = 300.0  # CSS pixels of a picture
ENLARGED = 3  # of crops in pictures
SHOWN = 3  # faces, at most
SHOWN_SEARCHES = 4
FAILED = 0.06  # of the face's size: a landmark farther off than this has failed


@dataclass(frozen=True)
class Figure:
    """A figure of the paper made anew: pictures and charts, where they come from, and what the numbers in it are."""

    name: str
    title: str
    plots: tuple[Plot, ...]
    provenance: str
    notes: tuple[str, ...]


def figure1(lab: Lab) -> Figure:
    """Update vectors after convergence: from the landmarks of the converged network to the annotations, by which it goes on."""
    faces, found = lab.protocol("300w").train, lab.converged("300w")
    scheme, annotations = faces.dataset.scheme, faces.dataset.points()
    unit = 100 / _face_sizes(annotations)[:, None, None]
    along, across = split((annotations - found) * unit, tangents(annotations, scheme))
    regions = {
        name: (float(np.nanmean(along[:, list(members)])), float(np.nanmean(across[:, list(members)])))
        for name, members in scheme.regions.items()
        if not np.isnan(along[:, list(members)]).all()
    }
    share = float(np.nansum(along**2) / np.nansum(along**2 + across**2))
    longest = list(
        max((curve for curve in scheme.curves if not curve.closed), key=lambda c: len(c.landmarks)).landmarks
    )
    contour = float(np.nansum(along[:, longest] ** 2) / np.nansum((along**2 + across**2)[:, longest]))
    row = int(np.argsort(np.abs(annotations - found).sum(axis=(1, 2)))[len(found) // 2])  # a face of median length
    picture = _vectors(faces, row, found[row], annotations[row])
    spoken = "; ".join(f"{name} {plain(a)} along, {plain(b)} across" for name, (a, b) in regions.items())
    plots = (
        Plot(
            "A face of median updates",
            to_svg(picture, "figure1-face", "Update vectors on a face"),
            faces.crops.ids[row],
        ),
        Plot(
            "Mean update by region",
            to_svg(_bars(regions), "figure1-bars", f"Mean update in % of the face's size: {spoken}"),
            "% of the face's size, along the curve (solid) and across it (pale)",
        ),
    )
    notes = (
        f"Of the squared length of all updates {100 * share:.0f} % lies along the curves, on the longest open curve "
        f"{100 * contour:.0f} %; half would be no preference.",
    )
    title = "Updates of the roughly converged network, from its landmarks (blue) to the annotations (orange)"
    return Figure("figure1", title, plots, _source(lab, "300w", "training faces"), notes)


def figure2a(lab: Lab) -> Figure:
    """Heatmaps of a strong and of a weak landmark."""
    test = lab.protocol("300w").test
    strong, weak = strong_and_weak(test.dataset.scheme)
    row = np.zeros(1, np.int64)
    maps = lab.heatmaps(Detector("300w"), row)[0].astype(np.float64)
    image = _input_square(test.crops, 0)
    top = max(float(maps[[strong, weak]].max()), 1e-6)
    plots, notes = [], []
    for kind, index in (("strong", strong), ("weak", weak)):
        response = heatmaps.Response(image, maps[index], top)
        length, width = heatmaps.spread(response.heatmap[response.window()])
        landmark = test.dataset.scheme.landmarks[index]
        label = f"Heatmap of a {kind} landmark, {landmark}"
        flat = to_svg(heatmaps.flat_view(response), f"figure2a-{kind}", f"{label}, over the face")
        solid = picture_tag(to_png(heatmaps.solid_view(response), pixels_per_point=1.7), f"{label}, as a surface")
        said = (
            f"peak {plain(float(maps[index].max()))}, spread {plain(length, 1)} × {plain(width, 1)} px of the heatmap"
        )
        plots += [Plot(f"{kind}: {landmark}", flat, said), Plot(f"{kind}, as a surface", solid)]
        notes.append(f"The response of the {kind} landmark is {length / max(width, 1e-6):.1f} times as long as wide.")
    title = "Heatmaps of a strong and a weak landmark"
    return Figure("figure2a", title, tuple(plots), _source(lab, "300w", "test faces"), tuple(notes))


def figure2b(lab: Lab) -> Figure:
    """Landmarks of successive checkpoints around the annotation, while training goes on after convergence."""
    faces, detector = lab.protocol("300w").train, Detector("300w")
    lab.model(detector)
    points = lab.watched(lab.folder(detector))
    strong, weak = strong_and_weak(faces.dataset.scheme)
    annotations = faces.dataset.points()[: points.shape[1]]
    unit = 100 / _face_sizes(annotations)
    plots, notes = [], []
    for kind, index in (("strong", strong), ("weak", weak)):
        for row in range(min(2, points.shape[1])):
            drawn = _checkpoints(faces, row, points[:, row, index], annotations[row, index])
            label = f"Checkpoints around the annotation of a {kind} landmark"
            title = f"{kind}: {faces.dataset.scheme.landmarks[index]}"
            plots.append(Plot(title, to_svg(drawn, f"figure2b-{kind}-{row}", label), faces.crops.ids[row]))
        steps = np.linalg.norm(np.diff(points[:, :, index], axis=0), axis=2) * unit
        off = np.linalg.norm(points[:, :, index] - annotations[:, index], axis=2) * unit
        moved = f"{plain(float(steps.mean()))} %" if steps.size else "not at all (one checkpoint)"
        notes.append(
            f"{kind.capitalize()} landmark: from checkpoint to checkpoint it moves by {moved} of the face's size on "
            f"average, and stays {plain(float(off.mean()))} % from the annotation (means over {points.shape[1]} faces)."
        )
    title = (
        f"Landmarks of {len(points)} successive checkpoints of HGs (blue, early pale) around the annotation (orange)"
    )
    return Figure("figure2b", title, tuple(plots), _source(lab, "300w", "training faces"), tuple(notes))


def figure4(lab: Lab) -> Figure:
    """Convergence of labels: from the observation to the found label in each search, for as many as there are epochs."""
    count = lab.size.alignment.epochs
    detector = Detector("300w", replace(lab.alignment, searches=min(count, max(lab.size.search_counts))))
    store, faces = lab.store(detector), lab.protocol("300w").train
    assert store is not None
    versions = [store.read(index) for index in store.versions()]
    moved = np.linalg.norm(versions[-1].points - versions[0].points, axis=2)
    scheme = faces.dataset.scheme
    members = list(scheme.weak or range(scheme.count))
    row = int(np.argmax(moved[:, members].mean(axis=1) / _face_sizes(versions[0].points)))
    plots = []
    for before, after in pairwise(versions[: SHOWN_SEARCHES + 1]):
        picture = _vectors(faces, row, after.points[row], before.points[row])
        label = f"Search {after.iteration}: observations and found labels"
        plots.append(Plot(f"Search {after.iteration}", to_svg(picture, f"figure4-{after.index}", label)))
    figures = label_figures(store, faces)
    records = figures["label_movement"]
    movement = to_svg(labels.movement_by_iteration(records, PAGE), "figure4-movement", "Movement of labels by search")
    plots.append(Plot("Movement in each search", movement, "% of the outer-eye distance, from the labels before"))
    notes = [
        f"The face whose weak landmarks moved most is shown. Labels moved by {plain(records[0]['mean'])} % of the "
        f"outer-eye distance in the first search and by {plain(records[-1]['mean'])} % in search "
        f"{records[-1]['iteration']}, the last."
    ]
    if "label_error" in figures:
        curves = {"all points": figures["label_error"]["by_iteration"]}
        if "label_error_contour" in figures:
            curves["contour"] = figures["label_error_contour"]["by_iteration"]
        error = to_svg(labels.error_by_iteration(curves, PAGE), "figure4-error", "Error of the labels by search")
        plots.append(Plot("Error against the truth", error, "% of the outer-eye distance"))
        values = curves["all points"]
        best = int(np.argmin(values))
        notes.append(
            f"Against the exact points the labels are best after search {best} ({plain(values[best])} %; annotations "
            f"{plain(values[0])} %, at the end {plain(values[-1])} %)."
        )
    title = "Gradual convergence from the observation (orange) to the found label (blue), one image a search"
    return Figure("figure4", title, tuple(plots), _source(lab, "300w", "training faces"), tuple(notes))


def figure5(lab: Lab) -> Figure:
    """The test frames of the hardest category with most failed landmarks, before and after GHCU."""
    detector, protocol = Detector("300vw", lab.alignment), lab.protocol("300vw")
    before, after = lab.detected(detector).points, lab.corrected(detector).points
    reference = protocol.test.reference
    size = _face_sizes(reference)[:, None]
    failed = [np.linalg.norm(points - reference, axis=2) > FAILED * size for points in (before, after)]
    rows = protocol.columns.get(FULL["300vw"], np.arange(len(reference)))
    worst = rows[np.argsort(-failed[0][rows].sum(axis=1), kind="stable")][:SHOWN]
    plots = []
    for row in worst.tolist():
        for name, points, lost in (("HGs + SA", before, failed[0]), ("after GHCU", after, failed[1])):
            drawn = _failures(protocol.test, row, points[row], lost[row])
            key = f"figure5-{row}-{'before' if points is before else 'after'}"
            caption = f"{protocol.test.crops.ids[row]}: {int(lost[row].sum())} failed"
            plots.append(Plot(name, to_svg(drawn, key, caption), caption))
    total = [int(lost[rows].sum()) for lost in failed]
    notes = (
        f"Failed: farther than {100 * FAILED:.0f} % of the face's size (√(w·h) of the reference's box) from the reference. "
        f"Of {failed[0][rows].size} landmarks on {FULL['300vw']} {total[0]} failed before and {total[1]} after. The frames "
        "with most failures before are shown, whatever GHCU makes of them.",
    )
    title = "Failed points (orange) before and after GHCU"
    return Figure("figure5", title, tuple(plots), _source(lab, "300vw", FULL["300vw"]), notes)


def figure6(lab: Lab) -> Figure:
    """Training loss of the three strategies."""
    title = "Training loss by epoch after the start"
    return _strategies(lab, "figure6", title, "loss", "each strategy against the labels that it trains on")


def figure7(lab: Lab) -> Figure:
    """Test error of the three strategies."""
    title = "Error on the 300W test faces by epoch after the start"
    return _strategies(lab, "figure7", title, "nme_interpupil", "nme_interpupil, %")


def figure8(lab: Lab) -> Figure:
    """Test error by the number of searches after which the labels are kept."""
    counts = [count for count in lab.size.search_counts if count <= lab.size.alignment.epochs]
    errors = []
    for count in counts:
        cell = lab.detected(Detector("300w", replace(lab.alignment, searches=count))).cell(FULL["300w"])
        assert cell is not None
        errors.append(cell.value)
    drawing, axes = chart(PAGE, right=20, left=52)
    axes.plot(counts, errors, "-o", color=PAGE.found, linewidth=2.0, markersize=5, zorder=3)
    axes.plot(counts[:1], errors[:1], "D", color=PAGE.annotation, markersize=6, zorder=4)
    axes.margins(y=0.15)
    count_along_x(axes, counts[0], counts[-1], "searches", PAGE)
    spoken = ", ".join(f"{count}: {plain(error)}" for count, error in zip(counts, errors, strict=True))
    plot = Plot(
        "Error by the number of searches", to_svg(drawing, "figure8", spoken), "nme_interpupil, %; 0: annotations"
    )
    best = int(np.argmin(errors))
    notes = (
        f"By searches {spoken}. The lowest error is at {counts[best]}; the paper's falls up to 10 and stays there.",
        f"Training after the start is {lab.size.alignment.epochs} epochs for each of them.",
    )
    title = "Error on the 300W test faces by the number of searches"
    return Figure("figure8", title, (plot,), _source(lab, "300w", FULL["300w"]), notes)


FIGURES: Mapping[str, Callable[[Lab], Figure]] = {
    "figure1": figure1,
    "figure2a": figure2a,
    "figure2b": figure2b,
    "figure4": figure4,
    "figure5": figure5,
    "figure6": figure6,
    "figure7": figure7,
    "figure8": figure8,
}


def _strategies(lab: Lab, name: str, title: str, key: str, caption: str) -> Figure:
    """A logged figure of baseline, SA without update, and SA with a search before every epoch that may have one."""
    way = replace(lab.alignment, searches=max(lab.alignment.searches, min(lab.size.alignment.epochs, 10)))
    detectors = {
        "baseline": Detector("300w"),
        "SA w/o update": Detector("300w", replace(way, update=False)),
        "SA": Detector("300w", way),
    }
    colors = {"baseline": PAGE.annotation, "SA w/o update": PAGE.contrast, "SA": PAGE.found}
    curves: dict[str, list[float]] = {}
    for strategy, detector in detectors.items():
        lab.model(detector)
        curves[strategy] = [float(record[key]) for record in lab.log(lab.folder(detector))]
    first = float(lab.log(lab.start_folder("300w"))[-1][key])
    drawing, axes = chart(PAGE, right=112, left=58)
    for strategy, values in curves.items():
        epochs = np.arange(1, len(values) + 1)
        axes.plot(epochs, values, "-o", color=colors[strategy], linewidth=2.0, markersize=4, zorder=3)
    axes.margins(y=0.12)
    count_along_x(axes, 1, max(len(values) for values in curves.values()), "epoch after the start", PAGE)
    name_lines(
        axes, [Name(strategy, values[-1], colors[strategy], strategy == "SA") for strategy, values in curves.items()]
    )
    ends = ", ".join(f"{strategy} {values[-1]:.4g}" for strategy, values in curves.items())
    order = " < ".join(sorted(curves, key=lambda strategy: curves[strategy][-1]))
    notes = (
        f"At the end of the start {first:.4g}; at the end: {ends}.",
        f"So here {order}; in the paper SA < SA w/o update < baseline.",
        f"Up to {way.searches} searches, one before each epoch.",
    )
    plot = Plot(title, to_svg(drawing, name, f"{title}; at the end: {ends}"), caption)
    where = "training faces" if key == "loss" else FULL["300w"]
    return Figure(name, title, (plot,), _source(lab, "300w", where), notes)


def _source(lab: Lab, name: str, part: str) -> str:
    """Where a figure's data come from."""
    protocol = lab.protocol(name)
    coverage = protocol.coverage.get(part, next(iter(protocol.coverage.values())))
    what = f"{part}; {coverage}" if part in protocol.coverage else part
    return f"{protocol.data} ({what}); seed {lab.seed}; size {lab.size.name}."


def _face_sizes(points: Float[np.ndarray, "b n 2"]) -> Float[np.ndarray, " b"]:
    """√(w·h) of the box around each face's points."""
    return box_size(landmark_boxes(points))


def _input_square(crops: CropCache, row: int) -> np.ndarray:
    """The picture that a network sees of a face."""
    inset = (crops.images.shape[1] - crops.input_size) // 2
    end = inset + crops.input_size
    return np.ascontiguousarray(crops.images[row, inset:end, inset:end])


def _in_crop(faces: Faces, row: int, points: np.ndarray) -> np.ndarray:
    """Points (n, 2) of one face's image frame in the frame of its crop."""
    matrix = faces.crops.image_to_crop[row]
    moved: np.ndarray = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


def _canvas(faces: Faces, row: int, window: Window) -> tuple[Drawing, Axes]:
    """A square picture of a part of a face's crop, whose frame is the axes'."""
    drawing = Drawing(figsize=(SIDE / 72, SIDE / 72), dpi=72)
    axes = drawing.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    image = faces.crops.images[row]
    size = len(image)
    finer = cv2.resize(np.ascontiguousarray(image), (ENLARGED * size,) * 2, interpolation=cv2.INTER_CUBIC)
    axes.imshow(finer, extent=(-0.5, size - 0.5, size - 0.5, -0.5), interpolation="none")
    axes.set_xlim(window.x - window.side / 2, window.x + window.side / 2)
    axes.set_ylim(window.y + window.side / 2, window.y - window.side / 2)
    return drawing, axes


def _around(points: np.ndarray, spare: float) -> Window:
    """The square around points (n, 2), enlarged by a factor."""
    low, high = points.min(axis=0), points.max(axis=0)
    x, y = (low + high) / 2
    return Window("face", float(x), float(y), spare * float((high - low).max()))


def _vectors(faces: Faces, row: int, found: np.ndarray, observed: np.ndarray) -> Drawing:
    """Observations and found points of a face, joined by lines."""
    found, observed = (_in_crop(faces, row, points) for points in (found, observed))
    drawing, axes = _canvas(faces, row, _around(observed, 1.2))
    for color, width in ((MARKS.halo, 2.6), ("white", 1.2)):
        segments = list(np.stack([found, observed], axis=1))
        axes.add_collection(LineCollection(segments, colors=color, linewidths=width, zorder=3))
    _dots(axes, observed, MARKS.annotation, 3.4)
    _dots(axes, found, MARKS.found, 3.4)
    return drawing


def _dots(axes: Axes, points: np.ndarray, color: str, size: float) -> None:
    x, y = points.T
    axes.plot(x, y, "o", color=color, markersize=size, markeredgecolor=MARKS.halo, markeredgewidth=0.6, zorder=4)


def _checkpoints(faces: Faces, row: int, points: np.ndarray, annotation: np.ndarray) -> Drawing:
    """One landmark's successive places (e, 2) around its annotation (2,)."""
    path, mark = _in_crop(faces, row, points), _in_crop(faces, row, annotation[None])
    everything = np.concatenate([path, mark])
    least = faces.crops.input_size / 6
    window = _around(everything, 1.6)
    drawing, axes = _canvas(faces, row, replace(window, side=max(window.side, least)))
    axes.plot(*path.T, color=MARKS.found, linewidth=1.0, alpha=0.7, zorder=3)
    for place, alpha in zip(path, np.linspace(0.35, 1.0, len(path)), strict=True):
        axes.plot(*place[:, None], "o", color=MARKS.found, markersize=6, alpha=float(alpha), zorder=4)
    axes.plot(*mark.T, "X", color=MARKS.annotation, markersize=9, markeredgecolor=MARKS.halo, zorder=5)
    return drawing


def _failures(faces: Faces, row: int, points: np.ndarray, failed: np.ndarray) -> Drawing:
    """A face's landmarks, those that failed in another colour."""
    places = _in_crop(faces, row, points)
    inset = (faces.crops.images.shape[1] - faces.crops.input_size) / 2
    middle = inset + (faces.crops.input_size - 1) / 2
    drawing, axes = _canvas(faces, row, Window("face", middle, middle, float(faces.crops.input_size)))
    _dots(axes, places[~failed], MARKS.found, 4.0)
    _dots(axes, places[failed], MARKS.annotation, 5.0)
    return drawing


def _bars(regions: Mapping[str, Sequence[float]]) -> Drawing:
    """Two bars for each region: along the curve and across it."""
    drawing, axes = chart(PAGE, left=44)
    places = np.arange(len(regions))
    for offset, part, alpha in ((-0.18, 0, 1.0), (0.18, 1, 0.45)):
        axes.bar(places + offset, [values[part] for values in regions.values()], 0.34, color=PAGE.found, alpha=alpha)
    axes.set_xticks(places, list(regions), fontsize=FONT_SIZE)
    return drawing
