"""The methods of label search by their settings: a new one is a file beside these and a line in `SEARCHES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from semalign.core.search import SearchSettings
from semalign.searches.adapted import Adapted, Components
from semalign.searches.average import Average, AverageSettings
from semalign.searches.calibrated import Calibrated, CalibratedSettings
from semalign.searches.labels import LabelSearch
from semalign.searches.semantic_alignment import SemanticAlignment

Settings = SearchSettings | AverageSettings | CalibratedSettings
DEFAULT = "semantic-alignment"  # the method where a recipe names none
SEARCHES: Mapping[type, Callable[[Any], LabelSearch]] = {
    SearchSettings: SemanticAlignment,
    AverageSettings: Average,
    CalibratedSettings: Calibrated,
}
METHODS: Mapping[str, type] = {kind.method: kind for kind in SEARCHES}  # type: ignore[attr-defined]


def make_search(settings: Settings, adaptation_components: Components = -1) -> LabelSearch:
    """The search of these settings.

    Args:
        settings: of one of `SEARCHES`.
        adaptation_components: principal components of the label adaptation around it, 'auto' = chosen by cross-validation;
            -1 = none, as in the paper.
    """
    if isinstance(settings, CalibratedSettings):
        return Calibrated(settings, adaptation_components)
    search = SEARCHES[type(settings)](settings)
    return search if adaptation_components == -1 else Adapted(search, adaptation_components)
