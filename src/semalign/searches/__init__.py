"""Label searches: from observations and what a network saw to better labels, each an object of the same signature."""

from semalign.searches.evidence import Evidence, Joint, NetworkEvidence, OutOfFold, WithMesh
from semalign.searches.labels import FoundLabels, LabelSearch, Observations
from semalign.searches.methods import SEARCHES, Settings, make_search

__all__ = [
    "SEARCHES",
    "Evidence",
    "FoundLabels",
    "Joint",
    "LabelSearch",
    "NetworkEvidence",
    "Observations",
    "OutOfFold",
    "Settings",
    "WithMesh",
    "make_search",
]
