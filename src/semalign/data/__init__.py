"""Data sets: samples, `.pts` files, formats, conversion, checks, crops, augmentation, the label store and its export.

The names are imported at their first use: who looks at one picture needs none of the formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from semalign.lazy import lazily

if TYPE_CHECKING:
    from semalign.data.check import CheckReport as CheckReport
    from semalign.data.check import check_dataset as check_dataset
    from semalign.data.converting import Converted as Converted
    from semalign.data.converting import convert_dataset as convert_dataset
    from semalign.data.converting import rewrite_dataset as rewrite_dataset
    from semalign.data.duplicates import find_near_duplicates as find_near_duplicates
    from semalign.data.duplicates import independent_folds as independent_folds
    from semalign.data.duplicates import leaky_training_ids as leaky_training_ids
    from semalign.data.export import export_labels as export_labels
    from semalign.data.images import read_image as read_image
    from semalign.data.labels import LabelPart as LabelPart
    from semalign.data.labels import LabelStore as LabelStore
    from semalign.data.labels import LabelVersion as LabelVersion
    from semalign.data.opening import open_dataset as open_dataset
    from semalign.data.pts import read_pts as read_pts
    from semalign.data.pts import write_pts as write_pts
    from semalign.data.samples import Dataset as Dataset
    from semalign.data.samples import Sample as Sample
    from semalign.data.samples import join as join
    from semalign.data.video import open_video as open_video
    from semalign.data.video import read_picture as read_picture

_HOME = {
    "semalign.data.check": (
        "CheckReport",
        "check_dataset",
    ),
    "semalign.data.converting": (
        "Converted",
        "convert_dataset",
        "rewrite_dataset",
    ),
    "semalign.data.duplicates": (
        "find_near_duplicates",
        "independent_folds",
        "leaky_training_ids",
    ),
    "semalign.data.export": ("export_labels",),
    "semalign.data.images": ("read_image",),
    "semalign.data.labels": (
        "LabelPart",
        "LabelStore",
        "LabelVersion",
    ),
    "semalign.data.opening": ("open_dataset",),
    "semalign.data.pts": (
        "read_pts",
        "write_pts",
    ),
    "semalign.data.samples": (
        "Dataset",
        "Sample",
        "join",
    ),
    "semalign.data.video": (
        "open_video",
        "read_picture",
    ),
}
__all__ = [
    "CheckReport",
    "Converted",
    "Dataset",
    "LabelPart",
    "LabelStore",
    "LabelVersion",
    "Sample",
    "check_dataset",
    "convert_dataset",
    "export_labels",
    "find_near_duplicates",
    "independent_folds",
    "join",
    "leaky_training_ids",
    "open_dataset",
    "open_video",
    "read_image",
    "read_picture",
    "read_pts",
    "rewrite_dataset",
    "write_pts",
]
__getattr__ = lazily(__name__, _HOME)
