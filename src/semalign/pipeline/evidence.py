"""What a command's label searches hear of the training faces beside the annotations."""

from __future__ import annotations

import numpy as np

from semalign.core.translation import LEAST_FACES, Translation, fewest_others, translated
from semalign.data.duplicates import independent_folds
from semalign.inference.landmarks import Landmarks
from semalign.models.network import HeatmapNetwork
from semalign.pipeline.job import Job
from semalign.searches import Evidence, NetworkEvidence
from semalign.searches.evidence import heard_together

FOLDS = 10  # in which the mesh's translation is learned where the model brings none


def network_evidence(
    job: Job,
    network: HeatmapNetwork,
    precision: str,
    translation: Translation | None = None,
    beside: Evidence | None = None,
    predictions: Landmarks | None = None,
) -> Evidence:
    """Of a network that judges all faces, with one of another kind and, where the recipe wants it, with the face mesh.

    Args:
        job: its training faces.
        network: gives the heatmaps.
        precision: of the network.
        translation: of the mesh's points, from the faces that the network was trained on; without it, each face's is learned
            from the annotations of the faces of other folds.
        beside: of a network of another kind.
        predictions: the network's, where they are known already.
    """
    sigma, tta = job.recipe.heatmap.pixels(network.heatmap_size), job.recipe.alternation.tta
    evidence = NetworkEvidence(network, job.train.crops, sigma, job.scheme, tta, precision, predictions=predictions)
    mesh = _translated(job, translation) if job.recipe.alternation.mesh else None
    return heard_together(evidence, network.of_the_mesh, None if beside is None else beside.predictions.points, mesh)


def _translated(job: Job, translation: Translation | None) -> np.ndarray | None:
    """The mesh's points in the annotators' terms; None where there are too few faces to learn these, which is said."""
    if translation is not None:
        return job.mesh_landmarks(translation)
    folds = independent_folds(job.train.dataset, FOLDS, job.recipe.seed)
    fewest = fewest_others(folds)
    if fewest < LEAST_FACES:
        job.progress.say(
            f"The face mesh is left out: what its points mean is learned from {LEAST_FACES} other faces, "
            f"and of these {len(folds)} only {fewest} are left."
        )
        return None
    return translated(job.meshes, job.train.dataset.points(), folds)
