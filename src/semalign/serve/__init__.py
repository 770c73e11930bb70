"""A page on this machine on which a detector can be tried: pictures, camera, heatmaps, export."""

from semalign.serve.limits import Limits
from semalign.serve.opening import open_server
from semalign.serve.service import Finder, FoundFace, Service

__all__ = ["Finder", "FoundFace", "Limits", "Service", "open_server"]
