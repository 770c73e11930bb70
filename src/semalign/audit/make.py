"""An audit from beginning to end: look at every face, learn what is usual, judge, look again at what is doubtful, propose.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from semalign import __version__
from semalign.audit.judge import Figures, Judge, Seen
from semalign.audit.kinds import KINDS, NAMES
from semalign.audit.probability import probabilities
from semalign.audit.result import Audit
from semalign.audit.witnesses import Witnesses, heard, systematic
from semalign.core.adaptation import LinearAdaptation
from semalign.core.similarity import to_complex
from semalign.data.duplicates import find_near_duplicates
from semalign.data.samples import Box, Dataset, Sample
from semalign.data.video import picture_size, read_pictures
from semalign.detect.centerface import CenterFaceFinder
from semalign.errors import SemalignError
from semalign.label_bench.evidence import EvidenceBuilder
from semalign.pipeline.progress import Progress, SilentProgress, counted
from semalign.searches import LabelSearch, Observations, make_search
from semalign.searches.average import AverageSettings
from semalign.searches.calibrated import CalibratedSettings

FEWEST = 30  # faces of which it can be told what is usual
SURE = 0.5  # probability from which an annotation is taken to be wrong
DOUBTFUL = 0.2  # probability from which a face is looked at again
UNLIKELY = 4.0  # times the usual d² from which a face is not explained
FITTING = 8.0  # by how much likelier another face's points must be than the face's own, as a logarithm
ASTRAY = 0.85  # share of the best look's confidence from which a look counts
COMPARED = 400  # faces at most that are compared with each other
COPY, DIFFERENT = 0.9, 0.11  # likeness of copies, and how far a point of theirs must be apart in face sizes
LIKELY = 0.9  # probability that one of two copies whose annotations differ is wrong
MOST_FOUND = 8  # faces of a picture that are looked at
WHOLE = [index for index, kind in enumerate(KINDS) if kind.whole]


def audit(
    dataset: Dataset, builder: EvidenceBuilder, *, duplicates: bool = True, progress: Progress | None = None
) -> Audit:
    """How probably each annotation is wrong, in which way, and where it should be.

    Args:
        dataset: all its faces are judged, whatever their split.
        builder: gives what witnesses say who have not seen the annotations.
        duplicates: also find copies of photographs and compare their annotations; reads every picture once more.
        progress: told what goes on.

    Raises:
        SemalignError: too few faces, another landmark scheme than the witnesses', or a picture that cannot be read.
    """
    if len(dataset) < FEWEST:
        raise SemalignError(
            f"{dataset.root}: has {len(dataset)} faces, and what is usual is learned from {FEWEST} at least; give more of them."
        )
    auditor = Auditor(dataset, builder, progress or SilentProgress())
    return auditor.audit(duplicates)


class Auditor:
    """An audit that is being made.

    Args:
        dataset: the faces.
        builder: of evidence.
        progress: told what goes on.
        witnesses: what is known of the faces already; None = they are looked at.
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
        self.witnesses = self._looked(dataset.samples, "looking at the faces") if witnesses is None else witnesses
        self.systematic: tuple[LinearAdaptation, ...] = tuple(
            systematic(member.points, self.observed) for member in self.witnesses.members
        )
        self.judge = Judge(self._seen(np.arange(len(dataset))), self.scheme)

    def audit(self, duplicates: bool) -> Audit:
        """All of it."""
        rows = np.arange(len(self.dataset))
        figures = self.judge.figures(self._seen(rows))
        found = probabilities(figures)
        self._look_again(np.flatnonzero(self._doubtful(figures, found.faces)), figures)
        found = probabilities(figures)
        kind, probability, odds = figures.kind.copy(), found.faces.copy(), found.odds.copy()
        repaired = self._repaired(figures, found.points, probability)
        self._unexplained(figures, kind, repaired, probability)
        self._others(figures, kind, repaired, probability)
        if duplicates:
            self._duplicates(kind, repaired, probability, odds)
        labels = self._search()(Observations(repaired, repaired), self.witnesses)
        spread = labels.spread if labels.spread is not None else np.full_like(labels.points, np.nan)
        point_kind = np.where(self.hidden, NAMES.index("guessed"), NAMES.index("point"))
        slipped = (figures.kind == NAMES.index("slipped"))[:, None] & figures.changed
        point_kind[slipped] = NAMES.index("slipped")
        single = kind == NAMES.index("point")
        kind[single] = point_kind[np.flatnonzero(single), figures.points[single].argmax(axis=1)]
        points = np.where(np.isnan(self.observed).any(axis=-1), 0.0, found.points)
        points = np.where(slipped, np.maximum(points, probability[:, None]), points)
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
        }

    def _looked(self, samples: Sequence[Sample], title: str | None = None) -> Witnesses:
        faces = replace(self.dataset, samples=tuple(samples))
        if title is None:
            return heard(self.builder(faces, faces))
        with self.progress.stage(title, 1) as advance:
            seen = heard(self.builder(faces, faces))
            advance(1)
        return seen

    def _points(self, witnesses: Witnesses) -> list[np.ndarray]:
        """What members say, without what is systematic."""
        pairs = zip(self.systematic, witnesses.members, strict=True)
        return [adaptation.corrected(member.points) for adaptation, member in pairs]

    def _seen(self, rows: Int[np.ndarray, " c"], witnesses: Witnesses | None = None) -> Seen:
        said = self.witnesses.take(rows) if witnesses is None else witnesses
        points = self._points(said)
        return Seen(
            self.observed[rows], np.mean(points, axis=0), said.indicators(points), self.widths[rows], self.hidden[rows]
        )

    def _doubtful(self, figures: Figures, probability: np.ndarray) -> Bool[np.ndarray, " b"]:
        """Faces that may lie elsewhere than where they were looked for."""
        unlike = figures.whole > UNLIKELY * self.judge.usual * 2 * self.scheme.count
        return (probability >= DOUBTFUL) & (unlike | np.isin(figures.kind, WHOLE))

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
        for row in rows:
            own = np.array([at for at, (other, _) in enumerate(chosen) if other == row])
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

    def _repaired(
        self, figures: Figures, points: Float[np.ndarray, "b n"], probability: Float[np.ndarray, " b"]
    ) -> Float[np.ndarray, "b n 2"]:
        """Annotations without what is probably wrong."""
        whole = (probability >= SURE) & np.isin(figures.kind, WHOLE)
        changed = figures.changed & (probability >= SURE)[:, None]
        changed &= whole[:, None] | (points >= SURE) | (figures.kind == NAMES.index("slipped"))[:, None]
        return np.where(changed[..., None], figures.repaired, self.observed)

    def _unexplained(self, figures: Figures, kind: np.ndarray, repaired: np.ndarray, probability: np.ndarray) -> None:
        """Faces of which too much is left when they are moved back: the points are another face's."""
        unlike = figures.rest > UNLIKELY * self.judge.usual * 2 * self.scheme.count
        moved = np.isin(figures.kind, [NAMES.index("misplaced"), NAMES.index("scaled")])
        rows = np.flatnonzero((probability >= SURE) & unlike & (moved | (figures.kind == NAMES.index("shape"))))
        kind[rows] = np.where(self._elsewhere(rows), NAMES.index("another"), NAMES.index("shape"))
        there = ~np.isnan(self.observed[rows])
        repaired[rows] = np.where(there, self._seen(rows).predicted, np.nan)

    def _elsewhere(self, rows: np.ndarray) -> Bool[np.ndarray, " c"]:
        """Whether annotations are a face of their own that has little to do with what is seen."""
        observed, predicted = self.observed[rows], self._seen(rows).predicted
        shapes = to_complex(np.where(np.isnan(observed), predicted, observed))
        seen = to_complex(predicted)
        centred, own = shapes - shapes.mean(axis=1, keepdims=True), seen - seen.mean(axis=1, keepdims=True)
        size = np.sqrt((np.abs(own) ** 2).mean(axis=1))
        away = np.abs(shapes.mean(axis=1) - seen.mean(axis=1)) / size
        larger = np.abs(np.log(np.sqrt((np.abs(centred) ** 2).mean(axis=1)) / size))
        return (away > 0.1) | (larger > 0.1)

    def _others(self, figures: Figures, kind: np.ndarray, repaired: np.ndarray, probability: np.ndarray) -> None:
        """Faces that another annotation fits better than their own: exchanged files, and frames that are off by one."""
        known = {(s.image, s.frame): row for row, s in enumerate(self.dataset.samples) if s.frame is not None}
        doubtful = np.flatnonzero((probability >= SURE) & np.isin(kind, WHOLE))
        doubtful = doubtful[np.argsort(-figures.whole[doubtful])][:COMPARED]
        name = {True: NAMES.index("frame"), False: NAMES.index("another")}
        twins = _twins(self.observed)
        for row in doubtful:
            sample = self.dataset.samples[row]
            near = (
                [known.get((sample.image, sample.frame + step), -1) for step in (-1, 1)]
                if sample.frame is not None
                else []
            )
            near = [other for other in near if other >= 0]
            others = np.array([*near, *doubtful[doubtful != row]], int)
            if len(others):
                seen = self._seen(np.full(len(others), row))
                there = replace(seen, observed=self.observed[others])
                whitened = self.judge.model.whitened(there.observed, there.predicted, there.indicators)
                squares = self.judge.model.squares(whitened.x)
                best = int(squares.argmin())
                gain = float(np.diff(self.judge.log_likelihood(np.array([figures.rest[row], squares[best]])))[0])
                fits = squares[best] < UNLIKELY * self.judge.usual * 2 * self.scheme.count < figures.whole[row]
                if gain > FITTING or (fits and kind[row] == name[False]):
                    kind[row], repaired[row] = name[int(others[best]) in near], self.observed[others[best]]
                    continue
            if twins.get(self.observed[row].tobytes(), 0) > 1 and kind[row] != name[False]:
                kind[row] = name[False]
                repaired[row] = np.where(np.isnan(self.observed[row]), np.nan, self._seen(np.array([row])).predicted[0])

    def _duplicates(self, kind: np.ndarray, repaired: np.ndarray, probability: np.ndarray, odds: np.ndarray) -> None:
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
        x = to_complex(self.observed) - to_complex(seen.predicted)
        size = np.sqrt(
            (np.abs(to_complex(seen.predicted) - to_complex(seen.predicted).mean(axis=1, keepdims=True)) ** 2).mean(
                axis=1
            )
        )
        for first, second, likeness in pairs:
            one, other = row[first], row[second]
            apart = np.nanmax(np.abs(x[one] / size[one] - x[other] / size[other]))
            if likeness < COPY or not apart > DIFFERENT:
                continue
            wrong = one if odds[one] > odds[other] else other
            if probability[wrong] < SURE:
                kind[wrong], probability[wrong] = NAMES.index("duplicate"), LIKELY
                odds[wrong] = float(np.log(LIKELY / (1 - LIKELY)))

    def _search(self) -> LabelSearch:
        if len(self.witnesses.members) == 2:
            return make_search(CalibratedSettings(), "auto")
        return make_search(AverageSettings(), "auto")


def _bounds(points: Float[np.ndarray, "n 2"]) -> Box:
    low, high = points.min(axis=0), points.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _twins(points: Float[np.ndarray, "b n 2"]) -> dict[bytes, int]:
    """How often each annotation occurs."""
    count: dict[bytes, int] = {}
    for face in points:
        count[face.tobytes()] = count.get(face.tobytes(), 0) + 1
    return count
