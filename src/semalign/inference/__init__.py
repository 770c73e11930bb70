"""From pictures and the boxes of faces to landmarks: one landmarker, by PyTorch or by ONNX Runtime."""

from semalign.inference.backend import Backend, TorchBackend
from semalign.inference.landmarker import Landmarker
from semalign.inference.landmarks import Landmarks
from semalign.inference.onnx import OnnxBackend

__all__ = ["Backend", "Landmarker", "Landmarks", "OnnxBackend", "TorchBackend"]
