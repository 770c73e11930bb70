"""From pictures and the boxes of faces to landmarks: one landmarker, by PyTorch or by ONNX Runtime.

PyTorch's backend is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from semalign.inference.backend import Backend
from semalign.inference.landmarker import Landmarker
from semalign.inference.landmarks import Landmarks
from semalign.inference.onnx import OnnxBackend
from semalign.lazy import lazily

if TYPE_CHECKING:
    from semalign.inference.torch_backend import TorchBackend as TorchBackend

__all__ = ["Backend", "Landmarker", "Landmarks", "OnnxBackend", "TorchBackend"]
__getattr__ = lazily(__name__, {"semalign.inference.torch_backend": ("TorchBackend",)})
