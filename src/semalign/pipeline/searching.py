"""One label search over all training faces with the network fixed: by one process, or shared out between several.

What takes the time is looking: network, face mesh, a network beside. So that is shared out (`semalign.parts`), and the
first process searches in what the others saw.

Shape legend: b faces, n landmarks, k side of a window.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semalign.core.translation import LEAST_FACES, Translation
from semalign.inference.landmarks import Landmarks
from semalign.inference.meshes import mesh_batches, mesh_landmarks
from semalign.models.network import HeatmapNetwork
from semalign.parts import Arrays, Parts, Share
from semalign.pipeline.evidence import network_evidence
from semalign.pipeline.graphs import PointGraph
from semalign.pipeline.job import Job
from semalign.pipeline.processes import commit_together, own_share, said_by_the_first
from semalign.searches import FoundLabels, NetworkEvidence, Observations, make_search
from semalign.searches.semantic_alignment import SemanticAlignment
from semalign.searches.windows import View, Windows
from semalign.training.trainer import make_accelerator

SEEN = ("points", "confidence", "spread")  # of a network's landmarks


class Search:
    """A search by the recipe's method.

    Args:
        job: its training faces.
        network: gives the heatmaps.
        observations: where to search.
        folder: for the parts, where several processes share the work; they are deleted once the labels are kept.
        precision: of the network.
        translation: of the face mesh, as of `network_evidence`.
        beside: what a network of another kind sees.
        graph: gives the network's points without PyTorch; only for methods that need no heatmaps.
    """

    def __init__(
        self,
        job: Job,
        network: HeatmapNetwork,
        observations: Observations,
        folder: Path,
        precision: str = "fp32",
        translation: Translation | None = None,
        beside: NetworkEvidence | None = None,
        graph: PointGraph | None = None,
    ) -> None:
        self.job, self.network, self.observations, self.precision = job, network, observations, precision
        self.folder, self.translation, self.beside, self.graph = folder, translation, beside, graph
        self.method = make_search(job.recipe.search, job.recipe.alternation.adaptation_components)
        self._looks = Parts(folder, self._depends(network, job.recipe.alternation.tta), len(job.train.crops))
        self._others: dict[str, tuple[Parts, Callable[[np.ndarray], Arrays]]] = {}
        if beside is not None:
            depends = [self._depends(beside.network, beside.tta), beside.crops.image_to_crop]
            self._others["beside"] = Parts(folder, depends, len(beside)), self._look_beside
        if job.recipe.alternation.mesh and not job.has_meshes(translation) and self._mesh_is_heard:
            known = None if translation is None else asdict(translation)
            depends = ["mesh", job.train.crops.ids, job.train.crops.image_to_crop, known]
            self._others["mesh"] = Parts(folder, depends, len(job.train.crops)), self._look_at_mesh

    @property
    def begun(self) -> bool:
        """Whether several processes have looked at some of the faces, or several are to."""
        return self._looks.begun or make_accelerator().num_processes > 1

    def work(self, share: Share, advance: Callable[[int], None] | None = None) -> None:
        """Look at this share of the faces, as far as nobody has.

        Raises:
            SemalignError: the parts cannot be written.
        """
        for parts, do in self._others.values():
            parts.work(share, do)
        self._looks.work(share, self._look, advance)

    def missing(self) -> int:
        """How many parts nobody has done yet."""
        return sum(len(parts.missing()) for parts in self._all)

    def together(self, advance: Callable[[int], None] | None = None) -> None:
        """Every process of this run looks at its share; returns once all faces have been seen.

        Raises:
            SemalignError: the parts cannot be written.
        """
        if not self.begun:
            return
        self._agree()
        self.work(own_share(), advance)
        commit_together(self._all)
        if "mesh" in self._others:  # for the next searches, too, of every process
            self.job.remember(self.translation, **self._others["mesh"][0].collect(("meshes",)))

    def find(self, advance: Callable[[int], None] | None = None) -> FoundLabels:
        """The labels: from what was seen together, or by looking now."""
        job, observations, predictions, beside = self.job, self.observations, None, self.beside
        if self._looks.committed:
            predictions = self._landmarks(self._looks)
            if beside is not None:
                beside = replace_predictions(beside, self._landmarks(self._others["beside"][0]))
            if isinstance(self.method, SemanticAlignment):
                observations = replace(observations, windows=self._windows(self.method))
            advance = None  # the looks were counted
        elif self.graph is not None:
            predictions, advance = self.graph(job.train.crops, advance=advance), None
        evidence = network_evidence(job, self.network, self.precision, self.translation, beside, predictions)
        return self.method(observations, evidence, advance)

    def clear(self) -> None:
        """Delete the parts, which the first process does."""
        if make_accelerator().is_main_process:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _all(self) -> list[Parts]:
        return [parts for parts, _ in self._others.values()] + [self._looks]

    @property
    def _mesh_is_heard(self) -> bool:
        return self.translation is not None or len(self.job.train.crops) >= LEAST_FACES

    def _depends(self, network: HeatmapNetwork, tta: int) -> list[Any]:
        crops = self.job.train.crops
        own = [dict(network.state_dict()), tta, self.precision, self._sigma(network), crops.ids, crops.image_to_crop]
        if isinstance(self.method, SemanticAlignment):
            return [*own, self.method.radius(network.heatmap_size), self.observations.points]
        return own

    def _sigma(self, network: HeatmapNetwork) -> float:
        return self.job.recipe.heatmap.pixels(network.heatmap_size)

    def _agree(self) -> None:
        """All processes name the parts as the first one does, whatever the last bits of their weights are."""
        names = said_by_the_first([parts.folder.name for parts in self._all])
        for parts, name in zip(self._all, names, strict=True):
            parts.folder = parts.folder.with_name(name)

    def _look(self, rows: np.ndarray) -> Arrays:
        """What the network sees of some faces."""
        job, found = self.job, {}
        evidence = NetworkEvidence(
            self.network,
            job.train.crops,
            self._sigma(self.network),
            job.scheme,
            job.recipe.alternation.tta,
            self.precision,
            rows,
            points=self.graph,
        )
        if isinstance(self.method, SemanticAlignment):
            (view,) = self.method.look(self.observations.points[rows], evidence).views()
            found = {"maps": view.maps.cpu().numpy(), "corners": view.corners.cpu().numpy()}
            found["to_image"] = view.to_image.numpy()
        return found | _arrays(evidence.predictions)

    def _look_beside(self, rows: np.ndarray) -> Arrays:
        b = self.beside
        assert b is not None
        seen = NetworkEvidence(b.network, b.crops, b.sigma, b.scheme, b.tta, b.precision, rows, points=b.points)
        return _arrays(seen.predictions)

    def _look_at_mesh(self, rows: np.ndarray) -> Arrays:
        """The faces' meshes, or what they say where their translation is known."""
        crops = self.job.train.crops
        if self.translation is not None:
            return {"meshes": mesh_landmarks(crops, self.translation, rows)}
        return {"meshes": np.concatenate([mesh for _, mesh in mesh_batches(crops, rows=rows)])}

    def _landmarks(self, parts: Parts) -> Landmarks:
        seen = parts.collect(SEEN)
        return Landmarks(seen["points"], seen["confidence"], self.job.scheme, seen["spread"])

    def _windows(self, method: SemanticAlignment) -> Windows:
        windows = Windows(self._looks.count, method.radius(self.network.heatmap_size))
        for rows, seen in self._looks.read():
            maps, corners, to_image = (torch.from_numpy(seen[name]) for name in ("maps", "corners", "to_image"))
            windows.put(View(rows, maps.to(self.network.device), corners, to_image))
        return windows


def replace_predictions(evidence: NetworkEvidence, predictions: Landmarks) -> NetworkEvidence:
    """The same network and faces, whose predictions are known."""
    e = evidence
    return NetworkEvidence(e.network, e.crops, e.sigma, e.scheme, e.tta, e.precision, predictions=predictions)


def _arrays(found: Landmarks) -> Arrays:
    assert found.spread is not None
    return {"points": found.points, "confidence": found.confidence, "spread": found.spread}
