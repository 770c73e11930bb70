"""From pictures and the boxes of faces to landmarks: one landmarker, by PyTorch or by ONNX Runtime.

PyTorch's backend is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from semalign.inference.backend import Backend
from semalign.inference.landmarker import Landmarker
from semalign.inference.landmarks import Landmarks
from semalign.inference.onnx import OnnxBackend

if TYPE_CHECKING:
    from semalign.inference.torch_backend import TorchBackend as TorchBackend

__all__ = ["Backend", "Landmarker", "Landmarks", "OnnxBackend", "TorchBackend"]


def __getattr__(name: str) -> Any:
    if name == "TorchBackend":
        from semalign.inference.torch_backend import TorchBackend

        return TorchBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
