"""What computes landmarks on crops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from semalign.data.crops import CropCache, CropSettings
from semalign.inference.landmarks import Landmarks
from semalign.schemes import LandmarkScheme


@runtime_checkable
class Backend(Protocol):
    """A model in a runtime. Nothing in it changes by use: threads may share one."""

    @property
    def scheme(self) -> LandmarkScheme:
        """What the landmarks are."""

    @property
    def crop(self) -> CropSettings:
        """Which square of an image it sees."""

    @property
    def margin(self) -> float:
        """How many sides of that square a crop must have, at least 1."""

    @property
    def input_size(self) -> int:
        """Side of that square, in pixels of the input."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Where the model comes from."""

    def predict(self, crops: CropCache, advance: Callable[[int], None] | None = None) -> Landmarks:
        """The landmarks on every crop, in the image frames; `advance` is told how many more are done."""
