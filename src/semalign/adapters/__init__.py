"""Data sets, audits and found faces as other packages' objects, and back; these packages are imported where they are used."""

from semalign.adapters.fiftyone import faces_from_fiftyone, faces_to_fiftyone, from_fiftyone, to_fiftyone
from semalign.adapters.supervision import faces_from_supervision, faces_to_supervision, from_supervision, to_supervision

__all__ = [
    "faces_from_fiftyone",
    "faces_from_supervision",
    "faces_to_fiftyone",
    "faces_to_supervision",
    "from_fiftyone",
    "from_supervision",
    "to_fiftyone",
    "to_supervision",
]
