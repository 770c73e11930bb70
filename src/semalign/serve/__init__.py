"""A page on this machine on which a detector can be tried: pictures, camera, heatmaps, export."""

from semalign.serve.server import PageServer, open_server
from semalign.serve.service import Finder, FoundFace, Service

__all__ = ["Finder", "FoundFace", "PageServer", "Service", "open_server"]
