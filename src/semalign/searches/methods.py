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


def _adapting(kind: Callable[[Any], LabelSearch]) -> Callable[[Any, Components], LabelSearch]:
    """Label adaptation around a search that knows none."""

    def make(settings: Any, components: Components) -> LabelSearch:
        search = kind(settings)
        return search if components == -1 else Adapted(search, components)

    return make


SEARCHES: Mapping[type, Callable[[Any, Components], LabelSearch]] = {
    SearchSettings: SemanticAlignment,
    AverageSettings: _adapting(Average),
    CalibratedSettings: Calibrated,
}
METHODS: Mapping[str, type] = {kind.method: kind for kind in SEARCHES}  # type: ignore[attr-defined]


def make_search(settings: Settings, adaptation_components: Components = -1) -> LabelSearch:
    """The search of these settings.

    Args:
        settings: of one of `SEARCHES`.
        adaptation_components: principal components of the label adaptation of it, 'auto' = chosen by cross-validation;
            -1 = none, as in the paper.
    """
    return SEARCHES[type(settings)](settings, adaptation_components)
