"""What a command's label searches hear of the training faces beside the annotations."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from semalign.core.translation import LEAST_FACES
from semalign.data.duplicates import independent_folds
from semalign.models.network import HeatmapNetwork
from semalign.pipeline.job import Job
from semalign.searches import Evidence, NetworkEvidence, Translated

FOLDS = 10  # in which the translation is learned, where there are no others


def network_evidence(job: Job, network: HeatmapNetwork, precision: str) -> Evidence:
    """Of a network that judges all faces, with the face mesh where the recipe wants it."""
    sigma = job.recipe.heatmap.pixels(network.heatmap_size)
    evidence = NetworkEvidence(network, job.train.crops, sigma, job.scheme, job.recipe.alternation.tta, precision)
    if not job.recipe.alternation.mesh:
        return evidence
    return with_mesh(job, evidence, independent_folds(job.train.dataset, FOLDS, job.recipe.seed))


def with_mesh(job: Job, evidence: Evidence, folds: Int[np.ndarray, " b"]) -> Evidence:
    """The evidence and the face mesh, in the annotators' terms; the evidence alone where there are too few faces to learn them.

    Args:
        job: its training faces.
        evidence: of the same faces.
        folds: of the faces; the terms are learned from the other folds.
    """
    fewest = len(folds) - np.bincount(folds).max()
    if fewest < LEAST_FACES:
        job.progress.say(
            f"The face mesh is left out: what its points mean is learned from {LEAST_FACES} other faces, "
            f"and of these {len(folds)} only {fewest} are left."
        )
        return evidence
    return Translated(evidence, job.meshes, job.train.dataset.points(), folds)
