"""Label searches: from observations and what a network saw to better labels, each an object of the same signature."""

from semalign.searches.evidence import Beside, Evidence, Joint, NetworkEvidence, OutOfFold
from semalign.searches.labels import FoundLabels, LabelSearch, Observations
from semalign.searches.methods import SEARCHES, Settings, make_search

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
