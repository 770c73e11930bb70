"""Where evidence of faces comes from: a builder that may learn from some faces and judges others.

Those of networks that PyTorch computes are in `semalign.pipeline.witnesses`; here is what does without it.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from semalign.core.sizes import REFERENCE
from semalign.core.translation import Translation
from semalign.data.crops import CropCache, CropSettings, build_crops
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.inference.landmarks import Landmarks
from semalign.inference.meshes import mesh_landmarks
from semalign.inference.onnx import OnnxBackend
from semalign.models.arrays import load_arrays
from semalign.models.mesh_translation import translation_in
from semalign.schemes import LandmarkScheme
from semalign.searches.evidence import ALIKE, Evidence, Heatmaps, heard_together


@runtime_checkable
class EvidenceBuilder(Protocol):
    """Gives the evidence of some faces.

    Attributes:
        name: by which the tables call it.
        learns: whether what it says depends on the faces that it is given to learn from.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def learns(self) -> bool: ...  # noqa: D102

    def notes(self, judge: Dataset) -> list[str]:
        """What is to be known of its evidence of these faces, in sentences."""

    def __call__(self, learn: Dataset, judge: Dataset) -> Evidence:
        """Evidence of the faces of `judge`, in their order.

        Of these, only the pictures and the boxes may be used; annotations are learned from those of `learn` alone. All real
        faces have a box, which planted noise does not change.
        """


@runtime_checkable
class Looking(Protocol):
    """An evidence builder that can tell which pictures it cannot read, before it says anything of the others."""

    def readable(self, faces: Dataset, progress: Callable[[int, int], None] | None = None) -> Dataset:
        """The faces without those whose pictures cannot be read, which then are in `Dataset.skipped`.

        `progress` is called with (faces done, faces in all).

        Raises:
            SemalignError: none can be read.
        """


class PeakEvidence:
    """What an exported model finds in faces: the peaks of its heatmaps, which themselves do not come out.

    Args:
        backend: the model.
        crops: plain crops of the faces.
    """

    heatmap_size = 0  # there are no heatmaps
    correlation = ALIKE

    def __init__(self, backend: OnnxBackend, crops: CropCache) -> None:
        self.sigma, self.predictions = backend.sigma, backend.predict(crops)
        side = np.hypot(*crops.image_to_crop[:, 0, :2].T)  # pixels of the crop for one of the image
        self.reference_pixels: Float[np.ndarray, " b"] = crops.input_size / side / REFERENCE

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.predictions)

    def heatmaps(self, rows: Int[np.ndarray, " k"] | None = None) -> Heatmaps:
        """There are none."""
        raise NotImplementedError("an exported model gives no heatmaps")

    @property
    def members(self) -> tuple[Landmarks, ...]:
        """The model alone."""
        return (self.predictions,)


class Seeing(Protocol):
    """What is to be known of a model before it looks."""

    @property
    def scheme(self) -> LandmarkScheme: ...  # noqa: D102

    @property
    def crop(self) -> CropSettings: ...  # noqa: D102

    @property
    def input_size(self) -> int: ...  # noqa: D102


class OneModel(ABC):
    """The evidence of one model, with the face mesh where it knows what that means; it learns nothing more.

    Args:
        name: as messages and audits call it.
        seeing: the model.
        mesh: what the face mesh's points are in the landmarks' terms.
        of_the_mesh: whether its network began as the face mesh.
        beside: a model of another origin that is heard, too.
    """

    learns = False

    def __init__(
        self,
        name: str,
        seeing: Seeing,
        mesh: Translation | None,
        of_the_mesh: bool = False,
        beside: OneModel | None = None,
    ) -> None:
        self.name, self._seeing, self._mesh = name, seeing, mesh
        self._of_the_mesh, self._beside = of_the_mesh, beside

    @abstractmethod
    def evidence(self, crops: CropCache) -> Evidence:
        """What the model alone sees in plain crops."""

    def notes(self, judge: Dataset) -> list[str]:
        """None."""
        return []

    def readable(self, faces: Dataset, progress: Callable[[int, int], None] | None = None) -> Dataset:
        """As `Looking`.

        Raises:
            SemalignError: none can be read, or the faces have other landmarks.
        """
        self._refuse_other_landmarks(faces)
        return readable(faces, self._seeing.crop, self._seeing.input_size, progress)

    def __call__(self, learn: Dataset, judge: Dataset) -> Evidence:
        """As `EvidenceBuilder`.

        Raises:
            SemalignError: the faces have other landmarks.
        """
        self._refuse_other_landmarks(judge)
        crops = self._crops(judge)
        mesh = None if self._mesh is None else mesh_landmarks(crops, self._mesh)
        other = None if self._beside is None else self._beside.evidence(self._beside._crops(judge)).predictions.points
        return heard_together(self.evidence(crops), self._of_the_mesh, other, mesh)

    def _crops(self, faces: Dataset) -> CropCache:
        return build_crops(faces.samples, self._seeing.crop, self._seeing.input_size)

    def _refuse_other_landmarks(self, faces: Dataset) -> None:
        """Refuse faces with another number of landmarks than the model's."""
        scheme = self._seeing.scheme
        if faces.scheme.count != scheme.count:
            raise SemalignError(
                f"the model {self.name} finds the landmarks of {scheme.name!r}, the data have those of "
                f"{faces.scheme.name!r}; give data of the first."
            )


class ExportedModel(OneModel):
    """The evidence of an exported model, with the face mesh where the file that it was made of has it.

    Args:
        name: as messages and audits call it.
        backend: the model.
    """

    def __init__(self, name: str, backend: OnnxBackend) -> None:
        self.backend = backend
        mesh = None if backend.origin is None else translation_in(load_arrays(backend.origin)[0])
        super().__init__(name, backend, mesh)

    def evidence(self, crops: CropCache) -> Evidence:
        """The peaks that it finds."""
        return PeakEvidence(self.backend, crops)


def readable(
    faces: Dataset,
    crop: CropSettings,
    input_size: int,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """As `Looking.readable`, for crops, which are made on the way."""
    bad: list[tuple[str, str]] = []
    build_crops(faces.samples, crop, input_size, progress, lambda name, why: bad.append((name, why)))
    if not bad:
        return faces
    left = faces.select(exclude={name for name, _ in bad})
    return replace(left, skipped=(*faces.skipped, *bad))
