"""What a method achieved on the test faces of a protocol, and the cells that tables make of it.

Every cell of our columns is made here, from landmarks and a reference: it carries its provenance with it.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from semalign.evaluation.bootstrap import Difference, paired_bootstrap
from semalign.paper.protocols import Protocol


@dataclass(frozen=True)
class Provenance:
    """Where a figure of ours comes from."""

    data: str  # "synthetic faces in the layout of 300W"
    split: str  # "Com., 160 faces"
    coverage: str  # "complete", "partial (224 of 554)" or "synthetic"
    reference: str  # what is measured against: "exact points" or "annotations"
    metric: str
    seed: int
    detail: str  # what was measured, with the settings that the table varies

    def sentence(self) -> str:
        """All of it in one line."""
        return (
            f"{self.detail}; {self.metric} on {self.data} ({self.split}; {self.coverage}) against {self.reference}; "
            f"seed {self.seed}"
        )


@dataclass(frozen=True)
class Cell:
    """A figure of ours."""

    value: float
    provenance: Provenance


@dataclass(frozen=True, eq=False)
class Outcome:
    """Landmarks that a method found on all test faces of a protocol."""

    protocol: Protocol
    points: Float[np.ndarray, "b n 2"]  # image frame
    seed: int
    detail: str

    @property
    def errors(self) -> Float[np.ndarray, " b"]:
        """Of each test face in % under the protocol's metric; NaN where its normaliser does not exist."""
        return self.protocol.metric.errors(self.points, self.protocol.test)

    def cell(self, column: str) -> Cell | None:
        """The mean error on the test faces of a column; None where there are none."""
        errors = self._present(column)
        return Cell(float(errors.mean()), self._provenance(column)) if errors.size else None

    def cells(self, columns: tuple[str, ...]) -> Mapping[str, Cell | None]:
        """The mean errors by column."""
        return {column: self.cell(column) for column in columns}

    def milliseconds(self, value: float, images: int) -> Cell:
        """A cell for a time that was measured, the median over some images."""
        where = self._provenance(next(iter(self.protocol.columns)))
        split = f"{images} test images, one after the other on the CPU, methods in turn"
        detail = f"{self.detail}, the correction alone"
        return Cell(
            value,
            Provenance(where.data, split, where.coverage, "the clock", "median milliseconds", self.seed, detail),
        )

    def against(self, other: Outcome, column: str) -> Difference | None:
        """This outcome's errors less the other's on the same faces, with the bootstrap's interval."""
        rows = self.protocol.columns.get(column, np.empty(0, np.int64))
        pair = np.stack([self.errors[rows], other.errors[rows]])
        pair = pair[:, np.isfinite(pair).all(axis=0)]
        if not pair.shape[1]:
            return None
        return paired_bootstrap(pair[0], pair[1], np.random.default_rng(self.seed))

    def _present(self, column: str) -> Float[np.ndarray, " k"]:
        rows = self.protocol.columns.get(column, np.empty(0, np.int64))
        errors: np.ndarray = self.errors[rows]
        return errors[np.isfinite(errors)]

    def _provenance(self, column: str) -> Provenance:
        protocol = self.protocol
        count = len(protocol.columns[column])
        return Provenance(
            data=protocol.data,
            split=f"{column}, {count} {protocol.unit}",
            coverage=protocol.coverage[column],
            reference=protocol.reference,
            metric=protocol.metric.name,
            seed=self.seed,
            detail=self.detail,
        )
