"""Label searches: from observations and what a network saw to better labels, each an object of the same signature.

What needs PyTorch is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from semalign.lazy import lazily
from semalign.searches.evidence import Beside, Evidence, Joint, OutOfFold
from semalign.searches.labels import FoundLabels, LabelSearch, Observations

if TYPE_CHECKING:
    from semalign.searches.methods import SEARCHES as SEARCHES
    from semalign.searches.methods import Settings as Settings
    from semalign.searches.methods import make_search as make_search
    from semalign.searches.network_evidence import NetworkEvidence as NetworkEvidence

_HOME = {
    "semalign.searches.methods": ("SEARCHES", "Settings", "make_search"),
    "semalign.searches.network_evidence": ("NetworkEvidence",),
}
__all__ = [
    "SEARCHES",
    "Beside",
    "Evidence",
    "FoundLabels",
    "Joint",
    "LabelSearch",
    "NetworkEvidence",
    "Observations",
    "OutOfFold",
    "Settings",
    "make_search",
]
__getattr__ = lazily(__name__, _HOME)
