"""What goes into a label search and what comes out of it.

Shape legend: b faces, n landmarks. Points are in the image frames, 0-based pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from numpy import ndarray

from semalign.searches.evidence import Evidence

if TYPE_CHECKING:
    from semalign.searches.windows import Windows


@dataclass(frozen=True, eq=False)
class Observations:
    """Where labels are looked for.

    Attributes:
        points: o of Eq. 2: the labels found last, or the annotations; NaN where a point is absent.
        annotations: what people marked; they alone say what a network does systematically differently from people.
        windows: what the network's heatmaps show around `points`, as `SemanticAlignment.look` keeps it; None = not known yet.
    """

    points: Float[ndarray, "b n 2"]
    annotations: Float[ndarray, "b n 2"]
    windows: Windows | None = None


@dataclass(frozen=True, eq=False)
class FoundLabels:
    """Labels ŷ, what they cost and how sure they are. Costs are in pixels² of a 256×256 heatmap.

    A point whose observation is absent stays absent: all about it is NaN, and it has not moved.

    Attributes:
        prior_cost: ‖o - ŷ‖² (Eq. 3).
        likelihood_cost: what ŷ costs by the network's account, not weighted; χ² (Eq. 4) in the paper's search.
        confidence: the heatmap's value at ŷ, 0 to 1; at its peak where a search uses peaks alone.
        moved: False where the label is the observation itself.
        spread: standard deviations of ŷ along x and y, pixels of the image; None where a method does not say.
    """

    points: Float[ndarray, "b n 2"]
    prior_cost: Float[ndarray, "b n"]
    likelihood_cost: Float[ndarray, "b n"]
    confidence: Float[ndarray, "b n"]
    moved: Bool[ndarray, "b n"]
    spread: Float[ndarray, "b n 2"] | None = None


@runtime_checkable
class LabelSearch(Protocol):
    """A method: observations and a network's evidence in, labels out. It keeps nothing between calls."""

    def __call__(
        self, observations: Observations, evidence: Evidence, advance: Callable[[int], None] | None = None
    ) -> FoundLabels:
        """Labels for all faces, in their order; `advance` is told how many more are done."""
