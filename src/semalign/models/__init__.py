"""Networks and their checkpoints. What needs PyTorch is imported when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semalign.lazy import lazily

if TYPE_CHECKING:
    from semalign.models.checkpoint import Model as Model
    from semalign.models.network import HeatmapModule as HeatmapModule
    from semalign.models.network import HeatmapNetwork as HeatmapNetwork

_HOME = {
    "semalign.models.checkpoint": ("Model",),
    "semalign.models.network": ("HeatmapModule", "HeatmapNetwork"),
}
__all__ = ["HeatmapModule", "HeatmapNetwork", "Model"]
__getattr__ = lazily(__name__, _HOME)
