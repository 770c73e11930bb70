"""The page's sections with pictures: faces with their marks, and heatmaps. A run that has none gives none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from semalign.core.metrics import box_size, interocular, landmark_boxes
from semalign.report.figures import faces, heatmaps
from semalign.report.render import Plot, picture_tag, to_png, to_svg
from semalign.report.run import Run
from semalign.report.text import number, plain

FACES_AT_FIRST = 2  # the others are folded away
HEATMAPS = 3  # faces whose heatmaps are shown, at most


@dataclass(frozen=True)
class FaceCard:
    """One face: the whole and its close-ups."""

    id: str
    note: str
    detail: Markup
    whole: Markup
    close_ups: tuple[Plot, ...]


@dataclass(frozen=True)
class FacesSection:
    """Faces with their marks; `kinds` are the label sets that are drawn."""

    kinds: tuple[str, ...]
    shown: tuple[FaceCard, ...]
    folded: tuple[FaceCard, ...]


@dataclass(frozen=True)
class HeatmapView:
    """One landmark's response, flat and solid."""

    kind: str
    landmark: str
    detail: Markup
    flat: Markup
    solid: Markup


def faces_section(run: Run) -> FacesSection | None:
    """Faces with annotation, found label and truth."""
    shown = face_marks(run)
    if not shown:
        return None
    cards = tuple(_face_card(run, face, index) for index, face in enumerate(shown))
    return FacesSection(tuple(shown[0].sets()), cards[:FACES_AT_FIRST], cards[FACES_AT_FIRST:])


def face_marks(run: Run) -> tuple[faces.FaceMarks, ...]:
    """The faces of figures.npz."""
    arrays = run.arrays
    if "faces" not in arrays or "annotation" not in arrays:
        return ()
    count = len(arrays["faces"])
    ids = (
        [str(name) for name in arrays["face_ids"]] if "face_ids" in arrays else [f"face {i + 1}" for i in range(count)]
    )
    points = {name: arrays[name].astype(np.float64) for name in ("annotation", "found", "truth") if name in arrays}
    return tuple(
        faces.FaceMarks(
            id=ids[index],
            note=str(arrays["face_notes"][index]) if "face_notes" in arrays else "",
            image=arrays["faces"][index],
            annotation=points["annotation"][index],
            found=points["found"][index] if "found" in points else None,
            truth=points["truth"][index] if "truth" in points else None,
        )
        for index in range(count)
    )


def _face_card(run: Run, face: faces.FaceMarks, index: int) -> FaceCard:
    regions = run.scheme.regions if run.scheme is not None else {}
    windows = faces.close_ups(face, regions)
    drawn = " and ".join(face.sets())
    whole = faces.face_picture(face, faces.face_window(face), scale=0.62, frames=windows)
    plots = []
    for letter, window in zip(faces.LETTERS, windows, strict=False):
        picture = faces.face_picture(face, window, scale=1.25)
        label = f"Close-up of {face.id}: {window.name or 'part ' + letter}, with {drawn}"
        plots.append(Plot(letter, to_svg(picture, f"face{index}{letter}", label), window.name))
    return FaceCard(
        face.id,
        face.note,
        _face_detail(run, face),
        to_svg(whole, f"face{index}", f"Face {face.id} with {drawn}"),
        tuple(plots),
    )


def _face_detail(run: Run, face: faces.FaceMarks) -> Markup:
    """The face's own error or movement in % of its outer-eye distance or, where the scheme has no such points, of its box."""
    if run.scheme is None:
        return Markup()
    reference = (face.truth if face.truth is not None else face.annotation)[None]
    eyes = run.scheme.outer_eyes is not None
    size = (interocular(reference, run.scheme) if eyes else box_size(landmark_boxes(reference)))[0] / 100
    unit = f"% of {run.unit}"

    def apart(points: np.ndarray, others: np.ndarray) -> str:
        return plain(float(np.nanmean(np.linalg.norm(points - others, axis=1)) / size))

    if face.truth is not None and face.found is not None:
        return Markup("error {} → {} {}").format(
            apart(face.annotation, face.truth), apart(face.found, face.truth), unit
        )
    if face.truth is not None:
        return Markup("error of the annotation {} {}").format(apart(face.annotation, face.truth), unit)
    if face.found is not None:
        return Markup("labels moved by {} {}").format(apart(face.annotation, face.found), unit)
    return Markup()


def heatmaps_section(run: Run) -> tuple[tuple[HeatmapView, ...], ...]:
    """For each face a strong and a weak landmark's response; empty without heatmaps."""
    arrays = run.arrays
    kinds = [kind for kind in ("strong", "weak") if f"heatmap_{kind}" in arrays]
    if "heatmap_faces" not in arrays or not kinds:
        return ()
    rows = []
    for index, image in enumerate(arrays["heatmap_faces"][:HEATMAPS]):
        maps = {kind: arrays[f"heatmap_{kind}"][index].astype(np.float64) for kind in kinds}
        top = max(max(float(np.nanmax(values)) for values in maps.values()), 1e-6)
        rows.append(tuple(_heatmap_view(run, kind, index, heatmaps.Response(image, maps[kind], top)) for kind in kinds))
    return tuple(rows)


def _heatmap_view(run: Run, kind: str, index: int, response: heatmaps.Response) -> HeatmapView:
    indices = run.arrays.get(f"heatmap_{kind}_index")
    landmark = _landmark(run, int(indices[index])) if indices is not None else "landmark"
    length, width = heatmaps.spread(response.heatmap[response.window()])
    peak = float(response.heatmap.max())
    size = f"peak {plain(peak)}, spread {plain(length, 1)} by {plain(width, 1)} heatmap pixels"
    label = f"Heatmap of a {kind} landmark, {landmark}: {size}"
    return HeatmapView(
        kind,
        landmark,
        Markup("peak {}, spread {} × {} px of the heatmap").format(number(peak), number(length, 1), number(width, 1)),
        to_svg(heatmaps.flat_view(response), f"heatmap-{kind}-{index}", f"{label}, over the face"),
        picture_tag(to_png(heatmaps.solid_view(response), pixels_per_point=1.7), f"{label}, as a surface"),
    )


def _landmark(run: Run, index: int) -> str:
    return f"{run.scheme.landmarks[index]} ({index})" if run.scheme is not None else f"landmark {index}"
