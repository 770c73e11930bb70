"""Evidence builders (`semalign.searches.builders`) of networks that PyTorch computes.

Shape legend: b faces, n landmarks, h w heatmap.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from semalign.data.crops import CropCache, build_crops
from semalign.data.duplicates import independent_folds
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.files import read_json
from semalign.inference.meshes import meshes_of
from semalign.models import pretrained
from semalign.models.checkpoint import Model, load_model
from semalign.pipeline.cross_fitting import BESIDE, FOLDS, NETWORKS, Judges, evidence_of
from semalign.pipeline.fitting import fitted_to_scheme
from semalign.pipeline.folder import RECIPE
from semalign.pipeline.job import MODEL
from semalign.pipeline.recipe import load_recipe
from semalign.searches import Evidence, NetworkEvidence, OutOfFold
from semalign.searches.builders import EvidenceBuilder, OneModel, readable
from semalign.searches.evidence import Heatmaps

MEMORY = 2**31  # bytes of heatmaps that are kept for the next pass


class ShippedModel(OneModel):
    """The evidence of a trained network, with the face mesh where its file has it.

    Args:
        name: of a shipped model, or a model file.
        beside: of a model of another origin that is heard, too; None = of none.
    """

    def __init__(self, name: str, beside: str | None = None) -> None:
        self.model = pretrained.load(name)
        other = None if beside is None else ShippedModel(beside)
        super().__init__(name, self.model, self.model.mesh, self.model.network.of_the_mesh, other)

    def evidence(self, crops: CropCache) -> Evidence:
        """Its heatmaps."""
        model = self.model
        return NetworkEvidence(model.network, crops, model.sigma, model.scheme, model.tta)

    def notes(self, judge: Dataset) -> list[str]:
        """Says how many of the faces the network was trained on, by what its file says of the data."""
        trained_on = self.model.about.get("train", {})
        if judge.name != self.model.about.get("data"):
            return []
        seen = sum(sample.split == "train" and sample.subset in trained_on for sample in judge.samples)
        return [
            f"The evidence is that of the model {self.name}, which was trained on the training faces of {judge.name}, with "
            f"their annotations; {seen} of these {len(judge)} faces are such."
        ]


class CrossFitted:
    """The evidence of a cross-fitting's networks: each face is judged by those that have not seen it.

    Args:
        crossfit: folder that `semalign crossfit` has filled.

    Raises:
        SemalignError: it holds no finished cross-fitting.
    """

    learns = False

    def __init__(self, crossfit: Path) -> None:
        self.name = f"networks that have not seen the face ({crossfit.name})"
        self.folds: dict[str, int] = read_json(crossfit / FOLDS, "give the folder of a finished 'semalign crossfit'")
        self.kinds = [self._networks(crossfit)]
        if (crossfit / BESIDE).is_dir():
            self.kinds.append(self._networks(crossfit / BESIDE))

    def _networks(self, folder: Path) -> tuple[list[Model], int]:
        """The networks of one kind, and their test-time augmentation."""
        count = max(self.folds.values()) + 1
        models = [load_model(folder / NETWORKS / f"{index + 1}" / MODEL) for index in range(count)]
        recipe, _ = fitted_to_scheme(load_recipe(folder / RECIPE), models[0].scheme)
        return models, recipe.alternation.tta

    def notes(self, judge: Dataset) -> list[str]:
        """Says how many of the faces no network has learned from."""
        new, count = sum(name not in self.folds for name in judge.ids()), len(self.kinds[0][0])
        return [
            f"{len(judge) - new} of these {len(judge)} faces are judged by networks that were trained on the other "
            f"{count - 1} of {count} folds, {new} are in no fold and judged by the first network."
        ]

    def readable(self, faces: Dataset, progress: Callable[[int, int], None] | None = None) -> Dataset:
        """As `Looking`."""
        model = self.kinds[0][0][0]
        return readable(faces, model.crop, model.input_size, progress)

    def __call__(self, learn: Dataset, judge: Dataset) -> Evidence:
        """As `EvidenceBuilder`."""
        fold = np.array([self.folds.get(name, 0) for name in judge.ids()])
        judges = []
        for models, tta in self.kinds:
            first = models[0]
            judges.append(Judges(models, build_crops(judge.samples, first.crop, first.input_size), tta))
        own = judges[0]
        meshes = None if own.models[0].mesh is None else meshes_of(own.crops)
        return evidence_of(own, fold, meshes, judges[1] if len(judges) > 1 else None)


def unseen(builder: EvidenceBuilder, faces: Dataset, folds: int, seed: int) -> Evidence:
    """Evidence of all faces in which none is judged by what was learned from its own annotation.

    Args:
        builder: gives the evidence.
        faces: annotated.
        folds: as many parts the faces are dealt into where the builder learns.
        seed: of the dealing.

    Raises:
        SemalignError: too few faces for the folds.
    """
    if not builder.learns:
        return Remembered(builder(faces, faces))
    fold = independent_folds(faces, folds, seed)
    names = np.array(faces.ids())
    parts = []
    for index in range(folds):
        own = frozenset(names[fold == index].tolist())
        if not own:
            raise SemalignError(f"{len(faces)} faces do not make {folds} independent parts; give more of them.")
        others = faces.select(exclude=own)
        parts.append(builder(others, faces.select(exclude=frozenset(others.ids()))))
    return Remembered(OutOfFold(parts, fold))


class Remembered:
    """Another evidence whose heatmaps are kept for the next pass, as far as they fit into memory.

    Args:
        evidence: any.
        memory: bytes that may be kept.
    """

    def __init__(self, evidence: Evidence, memory: int = MEMORY) -> None:
        self._evidence, self._memory = evidence, memory
        self._kept: list[tuple[np.ndarray, torch.Tensor, torch.Tensor]] = []
        self.sigma, self.heatmap_size = evidence.sigma, evidence.heatmap_size
        self.reference_pixels, self.predictions = evidence.reference_pixels, evidence.predictions
        self.members, self.correlation = evidence.members, evidence.correlation

    def __len__(self) -> int:
        """Number of faces."""
        return len(self._evidence)

    def heatmaps(self, rows: Int[np.ndarray, " k"] | None = None) -> Heatmaps:
        """As `Evidence`; of some rows anew."""
        if rows is not None:
            yield from self._evidence.heatmaps(rows)
            return
        if self._kept:
            yield from self._kept
            return
        batches, size = [], 0
        for batch in self._evidence.heatmaps():
            size += batch[1].nelement() * batch[1].element_size()
            if size <= self._memory:
                batches.append(batch)
            yield batch
        if size <= self._memory:
            self._kept = batches
