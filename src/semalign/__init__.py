"""Semantically consistent facial landmarks: better labels out of noisy annotations, and a detector trained on them.

The names below are the public interface; each is imported at its first use, so that `import semalign` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from semalign.lazy import lazily

if TYPE_CHECKING:
    from semalign.adapters import from_fiftyone as from_fiftyone
    from semalign.adapters import from_supervision as from_supervision
    from semalign.adapters import to_fiftyone as to_fiftyone
    from semalign.adapters import to_supervision as to_supervision
    from semalign.auditing import Audit as Audit
    from semalign.auditing import read_audit as read_audit
    from semalign.auditing.run import audit as audit
    from semalign.data import Dataset as Dataset
    from semalign.data import LabelStore as LabelStore
    from semalign.data import LabelVersion as LabelVersion
    from semalign.data import Sample as Sample
    from semalign.data import check_dataset as check_dataset
    from semalign.data import export_labels as export_labels
    from semalign.data import open_dataset as open_dataset
    from semalign.detect import Detector as Detector
    from semalign.detect import Face as Face
    from semalign.errors import SemalignError as SemalignError
    from semalign.pipeline import Recipe as Recipe
    from semalign.pipeline import align as align
    from semalign.pipeline import crossfit as crossfit
    from semalign.pipeline import evaluate_model as evaluate_model
    from semalign.pipeline import load_recipe as load_recipe
    from semalign.pipeline import run as run
    from semalign.pipeline import search as search
    from semalign.pipeline import train as train
    from semalign.progress import Progress as Progress
    from semalign.schemes import LandmarkScheme as LandmarkScheme
    from semalign.schemes import load_scheme as load_scheme
    from semalign.synthetic import SynthesisSettings as SynthesisSettings
    from semalign.synthetic import write_dataset as write_dataset

__version__ = "0.1.0"

_HOME = {
    "semalign.adapters": ("from_fiftyone", "from_supervision", "to_fiftyone", "to_supervision"),
    "semalign.auditing": ("Audit", "read_audit"),
    "semalign.auditing.run": ("audit",),
    "semalign.data": (
        "Dataset",
        "LabelStore",
        "LabelVersion",
        "Sample",
        "check_dataset",
        "export_labels",
        "open_dataset",
    ),
    "semalign.detect": ("Detector", "Face"),
    "semalign.errors": ("SemalignError",),
    "semalign.pipeline": (
        "Recipe",
        "align",
        "crossfit",
        "evaluate_model",
        "load_recipe",
        "run",
        "search",
        "train",
    ),
    "semalign.progress": ("Progress",),
    "semalign.schemes": ("LandmarkScheme", "load_scheme"),
    "semalign.synthetic": ("SynthesisSettings", "write_dataset"),
}
__all__ = [name for names in _HOME.values() for name in names]
_first_use = lazily(__name__, _HOME)


def __getattr__(name: str) -> Any:
    from semalign.extras import needs_training

    with needs_training(f"semalign.{name}"):
        return _first_use(name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
