"""An audit from beginning to end: look at every face, learn what is usual, judge, look again at what is doubtful, propose.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from semalign import __version__
from semalign.auditing.groups import shifted_groups
from semalign.auditing.judge import Figures, Judge, Seen
from semalign.auditing.kinds import NUMBERS, WHOLE
from semalign.auditing.looks import LOOKING, Looks
from semalign.auditing.probability import probabilities
from semalign.auditing.result import SHIFT, Audit
from semalign.auditing.shapes import Shapes, fit_shapes
from semalign.auditing.sideways import whole_shift
from semalign.auditing.witnesses import Witnesses, heard, systematic
from semalign.core.adaptation import MOST_FACES, LinearAdaptation, drawn
from semalign.core.similarity import sizes_of, to_complex
from semalign.data.duplicates import find_near_duplicates
from semalign.data.samples import Box, Dataset, Sample
from semalign.data.video import picture_size, read_pictures
from semalign.detect.centerface import CenterFaceFinder
from semalign.errors import SemalignError
from semalign.files import shown
from semalign.progress import Progress, SilentProgress, counted
from semalign.searches import LabelSearch, Observations
from semalign.searches.adapted import Adapted
from semalign.searches.average import Average, AverageSettings
from semalign.searches.builders import EvidenceBuilder, Looking
from semalign.searches.calibrated import Calibrated, CalibratedSettings

FEWEST = 30  # faces of which it can be told what is usual
SURE = 0.5  # probability from which an annotation is taken to be wrong
DOUBTFUL = 0.2  # probability from which a face is looked at again
FITTING = 8.0  # by how much likelier another face's points must be than the face's own, as a logarithm
ASTRAY = 0.85  # share of the best look's confidence from which a look counts
ELSEWHERE = 0.1  # sizes of the face, or logarithm of their ratio, from which a face lies elsewhere
COMPARED = 400  # faces at most that are compared with each other
COPY, DIFFERENT = 0.9, 30.0  # likeness of copies, and d² of the difference of two annotations from which one is wrong
LIKELY = 0.9  # probability that one of two copies that differ is wrong, or a group that counts otherwise
LIKELY_ODDS = float(np.log(LIKELY / (1 - LIKELY)))
UNSPECIFIC = tuple(NUMBERS[name] for name in ("point", "slipped", "guessed", "misplaced", "scaled", "shape"))
MOST_FOUND = 8  # faces of a picture that are looked at


def audit(
    dataset: Dataset,
    builder: EvidenceBuilder,
    *,
    duplicates: bool = True,
    looks: Looks | None = None,
    progress: Progress | None = None,
) -> Audit:
    """How probably each annotation is wrong, in which way, and where it should be.

    Args:
        dataset: all its faces are judged, whatever their split; those whose pictures cannot be read are left out, and named
            in `Audit.about`.
        builder: gives what witnesses say who have not seen the annotations.
        duplicates: also find copies of photographs and compare their annotations; reads every picture once more.
        looks: at these faces, that several processes share; what is missing of them is done now.
        progress: told what goes on.

    Raises:
        SemalignError: too few faces, or another landmark scheme than the witnesses'.
    """
    refuse_few(dataset)
    progress = progress or SilentProgress()
    witnesses = None
    if looks is not None:
        dataset, witnesses = looks.together(progress)
        refuse_few(dataset)
    elif isinstance(builder, Looking):
        with progress.stage("reading the pictures", len(dataset)) as advance:
            dataset = builder.readable(dataset, counted(advance))
        refuse_few(dataset)
    made = Auditor(dataset, builder, progress, witnesses).audit(duplicates)
    shift = whole_shift(dataset, made.face_probability < SURE, progress)
    return made if shift is None else replace(made, about=made.about | {SHIFT: shift.about()})


def refuse_few(dataset: Dataset) -> None:
    """Refuse a data set of which it cannot be told what is usual.

    Raises:
        SemalignError: it has too few faces.
    """
    if len(dataset) < FEWEST:
        raise SemalignError(
            f"{dataset.root}: has {len(dataset)} faces, and what is usual is learned from {FEWEST} at least; give more of them."
        )


class Auditor:
    """An audit that is being made.

    Args:
        dataset: the faces.
        builder: of evidence.
        progress: told what goes on.
        witnesses: what they say of all faces, where that is known.
    """

    def __init__(
        self, dataset: Dataset, builder: EvidenceBuilder, progress: Progress, witnesses: Witnesses | None = None
    ) -> None:
        self.dataset, self.builder, self.progress = dataset, builder, progress
        self.scheme, self.observed = dataset.scheme, dataset.points()
        self.widths = np.array([float(picture_size(sample)[0]) for sample in dataset.samples])
        self.hidden = np.array(
            [np.zeros(self.scheme.count, bool) if s.visible is None else ~s.visible for s in dataset.samples]
        )
        self.witnesses = self._looked(dataset.samples, LOOKING) if witnesses is None else witnesses
        self.learned = np.arange(len(dataset))[drawn(len(dataset), MOST_FACES)]
        self.systematic: tuple[LinearAdaptation, ...] = tuple(
            systematic(member.points[self.learned], self.observed[self.learned]) for member in self.witnesses.members
        )
        self.shapes: Shapes | None = None
        every = np.arange(len(dataset))
        self.seen = self._seen(every)  # before any second look
        self.judge = self.first = Judge(self.seen.take(self.learned), self.scheme)
        if not self.scheme.names_eyes:
            self.shapes = fit_shapes(self.seen.predicted[self.learned])
            self.seen = self._seen(every)
            self.judge = Judge(self.seen.take(self.learned), self.scheme)

    def audit(self, duplicates: bool) -> Audit:
        """All of it."""
        figures = self.judge.figures(self.seen)
        found = probabilities(figures)
        self._look_again(np.flatnonzero(self._doubtful(figures, found.faces)), figures)
        found = probabilities(figures)
        kind, probability, odds = figures.kind.copy(), found.faces.copy(), found.odds.copy()
        points = self._points(figures, found.points, probability)
        repaired = self._repaired(figures, points, probability)
        self._unexplained(figures, kind, repaired, probability)
        self._others(figures, kind, repaired, probability)
        if duplicates:
            self._duplicates(kind, probability, odds)
        self._counted(kind, repaired, probability, odds)
        labels = self._search()(Observations(repaired, repaired), self.witnesses)
        spread = labels.spread if labels.spread is not None else np.full_like(labels.points, np.nan)
        point_kind = np.where(self.hidden, NUMBERS["guessed"], NUMBERS["point"])
        point_kind[_slipped(figures)] = NUMBERS["slipped"]
        single = kind == NUMBERS["point"]
        kind[single] = point_kind[np.flatnonzero(single), figures.points[single].argmax(axis=1)]
        return Audit(
            ids=self.dataset.ids(),
            files=tuple(str(sample.image.absolute()) for sample in self.dataset.samples),
            frames=np.array([-1 if s.frame is None else s.frame for s in self.dataset.samples], np.int32),
            scheme=self.scheme,
            annotations=self.observed,
            proposals=labels.points,
            spread=spread,
            face_probability=probability,
            face_kind=np.where(probability >= SURE, kind, np.where(probability >= DOUBTFUL, kind, -1)),
            point_probability=points,
            point_kind=np.where(points >= DOUBTFUL, point_kind, -1),
            about=self._about(),
            odds=odds,
        )

    def _about(self) -> dict[str, Any]:
        return {
            "semalign": __version__,
            "data": str(self.dataset.root.absolute()),
            "name": self.dataset.name,
            "judges": self.builder.name,
            "left_out": [{"image": shown(name), "why": shown(why)} for name, why in self.dataset.skipped],
        }

    def _looked(self, samples: Sequence[Sample], title: str | None = None) -> Witnesses:
        faces = replace(self.dataset, samples=tuple(samples))
        if title is None:
            return heard(self.builder(faces, faces))
        with self.progress.stage(title, 1) as advance:
            seen = heard(self.builder(faces, faces))
            advance(1)
        return seen

    def _said(self, witnesses: Witnesses) -> list[np.ndarray]:
        """What members say, without what is systematic."""
        pairs = zip(self.systematic, witnesses.members, strict=True)
        return [adaptation.corrected(member.points) for adaptation, member in pairs]

    def _seen(self, rows: Int[np.ndarray, " c"], witnesses: Witnesses | None = None) -> Seen:
        said = self.witnesses.take(rows) if witnesses is None else witnesses
        points = self._said(said)
        predicted, indicators = np.mean(points, axis=0), said.indicators(points)
        if self.shapes is not None:
            predicted = self.shapes.drawn(predicted, np.abs(self.first.model.units(predicted, indicators)))
        return Seen(self.observed[rows], predicted, indicators, self.widths[rows])

    def _doubtful(self, figures: Figures, probability: np.ndarray) -> Bool[np.ndarray, " b"]:
        """Faces that may lie elsewhere than where they were looked for."""
        return (probability >= DOUBTFUL) & (self.judge.unlike(figures.whole) | np.isin(figures.kind, WHOLE))

    def _look_again(self, rows: Int[np.ndarray, " c"], figures: Figures) -> None:
        """Look at faces where they were seen, or where a face is found, and measure them again."""
        if not len(rows):
            return
        chosen: list[tuple[int, Box]] = []
        with self.progress.stage("looking again", len(rows)) as advance:
            for row in rows:
                chosen += [(int(row), box) for box in self._places(int(row))]
                advance(1)
        samples = [replace(self.dataset.samples[row], box=box) for row, box in chosen]
        seen = self._looked(samples)
        confidence = seen.predictions.confidence.mean(axis=1)
        centre = np.nanmean(self.observed, axis=1)
        best = []
        places = np.array([row for row, _ in chosen])  # ascending, as the rows are
        for row in rows:
            own = np.arange(*np.searchsorted(places, [row, row + 1]))
            good = own[confidence[own] >= ASTRAY * confidence[own].max()]
            away = np.linalg.norm(seen.predictions.points[good].mean(axis=1) - centre[row], axis=-1)
            best.append(int(good[away.argmin()]))
        looked = seen.take(np.array(best))
        self.witnesses = self.witnesses.put(rows, looked)
        figures.put(rows, self.judge.figures(self._seen(rows, looked)))

    def _places(self, row: int) -> Iterable[Box]:
        """Where a face may be: where faces are found, or else where it was seen."""
        found = []
        if self.scheme.names_eyes:
            for _, picture in read_pictures(self.dataset.samples, [row]):
                if not isinstance(picture, SemalignError):
                    found = CenterFaceFinder()(picture).boxes[:MOST_FOUND].tolist()
        yield from ((x0, y0, x1, y1) for x0, y0, x1, y1 in found)
        if not found:
            yield _bounds(self.witnesses.predictions.points[row])

    def _points(
        self, figures: Figures, found: Float[np.ndarray, "b n"], probability: Float[np.ndarray, " b"]
    ) -> Float[np.ndarray, "b n"]:
        """How probably each point is wrong by itself."""
        there = ~np.isnan(self.observed).any(axis=-1)
        points = np.where(there, found, 0.0)
        points = np.where(_slipped(figures) & there, np.maximum(points, probability[:, None]), points)
        # Of a face with a point that lies off, and of which none is sure by itself, it is the farthest.
        rows = np.flatnonzero(
            (probability >= SURE) & ~np.isin(figures.kind, WHOLE) & (points < SURE).all(axis=1) & there.any(axis=1)
        )
        points[rows, np.where(there, figures.points, -1.0)[rows].argmax(axis=1)] = probability[rows]
        return points

    def _repaired(
        self, figures: Figures, points: Float[np.ndarray, "b n"], probability: Float[np.ndarray, " b"]
    ) -> Float[np.ndarray, "b n 2"]:
        """Annotations without what is probably wrong."""
        whole = (probability >= SURE) & np.isin(figures.kind, WHOLE)
        changed = figures.changed & (probability >= SURE)[:, None]
        changed &= whole[:, None] | (points >= SURE) | (figures.kind == NUMBERS["slipped"])[:, None]
        return np.where(changed[..., None], figures.repaired, self.observed)

    def _unexplained(self, figures: Figures, kind: np.ndarray, repaired: np.ndarray, probability: np.ndarray) -> None:
        """Faces of which too much is left when they are moved back: the points are another face's."""
        moved = np.isin(figures.kind, [NUMBERS[name] for name in ("misplaced", "scaled", "shape")])
        rows = np.flatnonzero((probability >= SURE) & self.judge.unlike(figures.rest) & moved)
        seen = self._seen(rows)
        kind[rows] = np.where(_elsewhere(seen), NUMBERS["another"], NUMBERS["shape"])
        repaired[rows] = _in_place_of(seen)

    def _others(self, figures: Figures, kind: np.ndarray, repaired: np.ndarray, probability: np.ndarray) -> None:
        """Faces that another annotation fits better than their own: exchanged files, and frames that are off by one."""
        known = {(s.image, s.frame): row for row, s in enumerate(self.dataset.samples) if s.frame is not None}
        doubtful = np.flatnonzero((probability >= SURE) & np.isin(kind, WHOLE))
        doubtful = doubtful[np.argsort(-figures.whole[doubtful])][:COMPARED]
        another = NUMBERS["another"]
        twins = Counter(face.tobytes() for face in self.observed)
        for row in doubtful:
            sample = self.dataset.samples[row]
            steps = () if sample.frame is None else (sample.frame - 1, sample.frame + 1)
            near = [known[sample.image, frame] for frame in steps if (sample.image, frame) in known]
            others = np.array([*near, *doubtful[doubtful != row]], int)
            own = self._seen(np.array([row]))
            if any(np.array_equal(self.observed[row], self.observed[other]) for other in near):
                kind[row], repaired[row] = NUMBERS["frame"], _in_place_of(own)[0]
                continue
            if len(others):
                whitened = self.judge.model.whitened(own.observed, own.predicted, own.indicators)
                squares = self.judge.model.squares(self.judge.model.again(whitened, self.observed[others]))
                best = int(squares.argmin())
                gain = float(np.diff(self.judge.log_likelihood(np.array([figures.rest[row], squares[best]])))[0])
                fits = self.judge.unlike(figures.whole[row]) and not self.judge.unlike(squares[best])
                if gain > FITTING or (fits and kind[row] == another):
                    kind[row] = NUMBERS["frame"] if int(others[best]) in near else another
                    repaired[row] = self.observed[others[best]]
                    continue
            if twins[self.observed[row].tobytes()] > 1 and kind[row] != another:
                kind[row], repaired[row] = another, _in_place_of(own)[0]

    def _duplicates(self, kind: np.ndarray, probability: np.ndarray, odds: np.ndarray) -> None:
        """Copies of a photograph whose annotations differ: the one that is less like what is seen is wrong."""
        if self.dataset.name == "synthetic" or any(sample.frame is not None for sample in self.dataset.samples):
            return
        seen = self._seen(np.arange(len(self.dataset)))
        faces = tuple(
            replace(sample, points=points) for sample, points in zip(self.dataset.samples, seen.predicted, strict=True)
        )
        with self.progress.stage("copies of photographs", len(faces)) as advance:
            pairs = find_near_duplicates(replace(self.dataset, samples=faces), counted(advance))
        row = {name: index for index, name in enumerate(self.dataset.ids())}
        for first, second, likeness in pairs:
            one, other = row[first], row[second]
            if likeness < COPY:
                continue
            both = seen.take(np.array([one, other]))
            x = self.judge.model.whitened(both.observed, both.predicted, both.indicators).x
            if not self._differ(x[:1] - x[1:]):
                continue
            wrong = one if odds[one] > odds[other] else other
            if probability[wrong] < SURE or kind[wrong] in UNSPECIFIC:
                kind[wrong] = NUMBERS["duplicate"]
            if probability[wrong] < SURE:
                probability[wrong], odds[wrong] = LIKELY, LIKELY_ODDS

    def _differ(self, x: Float[np.ndarray, "1 m"]) -> bool:
        """Whether two annotations of one photograph, whitened, are further apart than two people's."""
        apart = x / np.sqrt(2)
        return bool(
            self.judge.model.left_out(apart).squares.max() > DIFFERENT
            or self.judge.unlike(self.judge.model.squares(apart))[0]
        )

    def _counted(self, kind: np.ndarray, repaired: np.ndarray, probability: np.ndarray, odds: np.ndarray) -> None:
        """Groups of faces whose points count from another number than all others'."""
        offsets = np.nanmedian(self.observed - self.seen.predicted, axis=1)
        groups = np.array([sample.subset for sample in self.dataset.samples])
        for group, step in shifted_groups(offsets, groups, probability < SURE).items():
            rows = np.flatnonzero((groups == group) & ((probability < SURE) | np.isin(kind, UNSPECIFIC)))
            kind[rows], repaired[rows] = NUMBERS["origin"], repaired[rows] - step
            low = rows[probability[rows] < LIKELY]
            probability[low], odds[low] = LIKELY, LIKELY_ODDS

    def _search(self) -> LabelSearch:
        if len(self.witnesses.members) == 2:
            return Calibrated(CalibratedSettings(), "auto")
        return Adapted(Average(AverageSettings()), "auto")


def _slipped(figures: Figures) -> Bool[np.ndarray, "b n"]:
    """Points that slipped along their curve."""
    return (figures.kind == NUMBERS["slipped"])[:, None] & figures.changed


def _elsewhere(seen: Seen) -> Bool[np.ndarray, " c"]:
    """Whether annotations are a face of their own that has little to do with what is seen."""
    shapes, own = (
        to_complex(np.where(np.isnan(seen.observed), seen.predicted, seen.observed)),
        to_complex(seen.predicted),
    )
    size = sizes_of(own)
    away = np.abs(shapes.mean(axis=1) - own.mean(axis=1)) / size
    larger = np.abs(np.log(sizes_of(shapes) / size))
    return (away > ELSEWHERE) | (larger > ELSEWHERE)


def _in_place_of(seen: Seen) -> Float[np.ndarray, "c n 2"]:
    """What is seen where annotations have points."""
    return np.where(np.isnan(seen.observed), np.nan, seen.predicted)


def _bounds(points: Float[np.ndarray, "n 2"]) -> Box:
    low, high = points.min(axis=0), points.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
