"""Networks and their checkpoints."""

from semalign.models.checkpoint import Model
from semalign.models.network import HeatmapModule, HeatmapNetwork

__all__ = ["HeatmapModule", "HeatmapNetwork", "Model"]
