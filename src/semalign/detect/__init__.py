"""A trained model as a detector: it finds faces, gives their landmarks, follows them through videos, writes results."""

from semalign.detect.centerface import CenterFaceFinder
from semalign.detect.detector import Detector, DetectorSettings
from semalign.detect.faces import CascadeFinder, FaceFinder, FoundFaces, YuNetFinder
from semalign.detect.result import Face
from semalign.detect.smoothing import SmoothingSettings
from semalign.detect.sources import Frame, Source, find_sources, open_footage
from semalign.detect.video import Tracker, TrackingSettings, track_faces

__all__ = [
    "CascadeFinder",
    "CenterFaceFinder",
    "Detector",
    "DetectorSettings",
    "Face",
    "FaceFinder",
    "FoundFaces",
    "Frame",
    "SmoothingSettings",
    "Source",
    "Tracker",
    "TrackingSettings",
    "YuNetFinder",
    "find_sources",
    "open_footage",
    "track_faces",
]
