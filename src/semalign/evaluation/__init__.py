"""How good a model or a set of labels is: by subset, region and normalisation."""

from __future__ import annotations

from semalign.evaluation.annotators import annotator_residual
from semalign.evaluation.bootstrap import Difference, paired_bootstrap
from semalign.evaluation.detector import compare_predictions, evaluate_predictions
from semalign.evaluation.labels import label_error

__all__ = [
    "Difference",
    "annotator_residual",
    "compare_predictions",
    "evaluate_predictions",
    "label_error",
    "paired_bootstrap",
]
