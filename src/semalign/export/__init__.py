"""Models for use without PyTorch: ONNX files with the decoding inside, and how long each form takes."""

from semalign.export.graph import LandmarkGraph
from semalign.export.onnx import export_onnx, quantize_onnx

__all__ = ["LandmarkGraph", "export_onnx", "quantize_onnx"]
