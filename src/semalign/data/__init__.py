"""Data sets: samples, `.pts` files, formats, conversion, checks, crops, augmentation, the label store and its export."""

from semalign.data.check import CheckReport, check_dataset
from semalign.data.converting import Converted, convert_dataset, rewrite_dataset
from semalign.data.duplicates import find_near_duplicates, independent_folds, leaky_training_ids
from semalign.data.export import export_labels
from semalign.data.images import read_image
from semalign.data.labels import LabelStore, LabelVersion
from semalign.data.opening import open_dataset
from semalign.data.pts import read_pts, write_pts
from semalign.data.samples import Dataset, Sample, join
from semalign.data.video import open_video, read_picture

__all__ = [
    "CheckReport",
    "Converted",
    "Dataset",
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
