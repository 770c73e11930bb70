"""Data sets: samples, `.pts` files, readers, checks, crops, augmentation, the label store and its export."""

from semalign.data.check import CheckReport, check_dataset
from semalign.data.duplicates import find_near_duplicates, leaky_training_ids
from semalign.data.export import export_labels
from semalign.data.images import read_image
from semalign.data.labels import LabelStore, LabelVersion
from semalign.data.pts import read_pts, write_pts
from semalign.data.samples import Dataset, Sample
from semalign.data.w300 import open_300w

__all__ = [
    "CheckReport",
    "Dataset",
    "LabelStore",
    "LabelVersion",
    "Sample",
    "check_dataset",
    "export_labels",
    "find_near_duplicates",
    "leaky_training_ids",
    "open_300w",
    "read_image",
    "read_pts",
    "write_pts",
]
