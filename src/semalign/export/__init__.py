"""Models for use without PyTorch: ONNX files, onnxruntime, and how long each takes."""

from semalign.export.landmarker import Landmarker
from semalign.export.onnx import export_onnx, quantize_onnx
from semalign.export.runtime import CropPoints, OnnxModel, landmarks, open_model, refuse_views

__all__ = [
    "CropPoints",
    "Landmarker",
    "OnnxModel",
    "export_onnx",
    "landmarks",
    "open_model",
    "quantize_onnx",
    "refuse_views",
]
