"""Label searches: from observations and what a network saw to better labels, each an object of the same signature.

What needs PyTorch is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from semalign.searches.evidence import Beside, Evidence, Joint, OutOfFold
from semalign.searches.labels import FoundLabels, LabelSearch, Observations

if TYPE_CHECKING:
    from semalign.searches.methods import SEARCHES as SEARCHES
    from semalign.searches.methods import Settings as Settings
    from semalign.searches.methods import make_search as make_search
    from semalign.searches.network_evidence import NetworkEvidence as NetworkEvidence

_HOME = {
    "NetworkEvidence": "semalign.searches.network_evidence",
    "SEARCHES": "semalign.searches.methods",
    "Settings": "semalign.searches.methods",
    "make_search": "semalign.searches.methods",
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


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
