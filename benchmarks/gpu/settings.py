"""Settings of the shipped recipes, read without the libraries that check a user's own."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from semalign.core.search import SearchSettings
from semalign.models.hourglass import HourglassSettings
from semalign.training.settings import AlternationSettings, HeatmapSettings, TrainingSettings


@dataclass(frozen=True)
class Recipe:
    """The parts of a recipe that a training and a search need."""

    network: HourglassSettings
    heatmap: HeatmapSettings
    start: TrainingSettings
    alignment: TrainingSettings
    search: SearchSettings
    alternation: AlternationSettings


def recipe_tables(name: str) -> dict[str, Any]:
    """A shipped recipe's TOML by its name."""
    text = resources.files("semalign").joinpath(f"pipeline/recipes/{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def read_recipe(name: str) -> Recipe:
    """A shipped recipe by its name."""
    tables = recipe_tables(name)

    def part(kind: type, table: str) -> Any:
        values = tables.get(table, {})  # TOML has lists where the settings have tuples
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})

    return Recipe(
        part(HourglassSettings, "network"),
        part(HeatmapSettings, "heatmap"),
        part(TrainingSettings, "start"),
        part(TrainingSettings, "alignment"),
        part(SearchSettings, "search"),
        part(AlternationSettings, "alternation"),
    )
