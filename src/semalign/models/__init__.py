"""Networks and their checkpoints. What needs PyTorch is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semalign.models.checkpoint import Model as Model
    from semalign.models.network import HeatmapModule as HeatmapModule
    from semalign.models.network import HeatmapNetwork as HeatmapNetwork

_HOME = {
    "HeatmapModule": "semalign.models.network",
    "HeatmapNetwork": "semalign.models.network",
    "Model": "semalign.models.checkpoint",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
