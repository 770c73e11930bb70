"""Recipes: a whole run's settings as a tree of frozen dataclasses, read from TOML of exactly the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import tomli_w
from pydantic import Field, TypeAdapter, ValidationError

from semalign.core.search import SearchSettings
from semalign.data.augment import AugmentationSettings
from semalign.data.crops import CropSettings
from semalign.errors import SemalignError
from semalign.files import parse_toml, reason
from semalign.models.described import check_settings
from semalign.models.hourglass import HourglassSettings
from semalign.models.kinds import DEFAULT, KINDS, AnySettings
from semalign.schemes.scheme import in_short, refuse_unknown
from semalign.searches import methods as searches
from semalign.searches.methods import METHODS
from semalign.synthetic.settings import SynthesisSettings
from semalign.training.settings import (
    AlternationSettings,
    DecodingSettings,
    DistillationSettings,
    FinishSettings,
    HeatmapSettings,
    LabelAdaptationSettings,
    TrainingSettings,
)

RENAMED = {  # settings of version 0.1, and what they are called now
    "dialect": "label_adaptation",
    "dialect.modes": "label_adaptation.components",
    "readout": "decoding",
    "readout.views": "decoding.tta",
    "alternation.views": "alternation.tta",
    "alternation.modes": "alternation.adaptation_components",
}


@dataclass(frozen=True)
class _Choice:
    """A table of a recipe that may be of several kinds."""

    key: str  # of the table, which names the kind
    default: str
    kinds: Mapping[str, type]
    what: str  # is named, in messages


CHOICES = {
    "network": _Choice("kind", DEFAULT, KINDS, "kind of network"),
    "search": _Choice("method", searches.DEFAULT, METHODS, "method of label search"),
}


@dataclass(frozen=True)
class DataSettings:
    """Which faces are trained and tested on. Raises a ValueError for a share that is not from 0 to below 1."""

    scheme: str = "ibug68"  # a shipped landmark scheme or the path of a TOML file
    test: tuple[str, ...] = ()  # subsets to test on and to leave out of training; none = the data set's own test faces
    holdout: float = 0.1  # share of the faces to test on where the data set has no test faces; 0 = none
    leave_out_duplicates: bool = True  # training faces whose photograph is also a test face are left out

    def __post_init__(self) -> None:
        if not 0 <= self.holdout < 1:
            raise ValueError("holdout must be 0 or a share below 1, such as 0.1")


@dataclass(frozen=True)
class Recipe:
    """All settings of a run. Three trainings: *start* on the annotations until it roughly converges, then from there
    *aligned* (search and training in turn) and *baseline* (as long on the annotations), the latter two `repeats` times.
    """

    name: str = "unnamed"
    description: str = ""
    seed: int = 0
    repeats: int = 1  # of the trainings after the start, with seeds seed, seed + 1, ...
    data: DataSettings = field(default_factory=DataSettings)
    synthesis: SynthesisSettings | None = None  # make this data set where none is given
    crop: CropSettings = field(default_factory=CropSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    network: Annotated[AnySettings, Field(discriminator="kind")] = field(default_factory=HourglassSettings)
    # a shipped model or a model file whose weights, but for the heads, a new network begins with; "" = random ones
    features: str = ""
    heatmap: HeatmapSettings = field(default_factory=HeatmapSettings)
    start: TrainingSettings = field(default_factory=TrainingSettings)
    search: Annotated[searches.Settings, Field(discriminator="method")] = field(default_factory=SearchSettings)
    alternation: AlternationSettings = field(default_factory=AlternationSettings)
    alignment: TrainingSettings = field(default_factory=TrainingSettings)  # of *aligned* and *baseline*
    finish: FinishSettings = field(default_factory=FinishSettings)  # of detectors: all but a run's *start*
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    label_adaptation: LabelAdaptationSettings = field(default_factory=LabelAdaptationSettings)
    decoding: DecodingSettings = field(default_factory=DecodingSettings)


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    return tuple(sorted(path.name[: -len(".toml")] for path in _folder().iterdir() if path.name.endswith(".toml")))


def recipe_text(name: str) -> str:
    """A shipped recipe as TOML.

    Raises:
        SemalignError: there is no recipe of that name.
    """
    refuse_unknown([name], shipped_recipes(), "recipe")
    return (_folder() / f"{name}.toml").read_text(encoding="utf-8")


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A shipped recipe by its name, or one from a TOML file.

    Args:
        name_or_path: what ends in .toml or holds a separator is a path.
        overrides: settings as 'start.epochs=20', in TOML's notation; a bare word is a string.

    Raises:
        SemalignError: no such recipe, not TOML, an unknown setting (with the nearest known one), a value that does not fit.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.name != str(name_or_path):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SemalignError(
                f"{path}: the recipe cannot be read ({getattr(error, 'strerror', None) or error}); check the path."
            ) from error
        where, default = str(path), path.stem
    else:
        text, where, default = recipe_text(str(name_or_path)), f"recipe {name_or_path}", str(name_or_path)
    return parse_recipe(text, where, default, overrides)


def parse_recipe(
    text: str, where: str, name: str = "unnamed", overrides: Sequence[str] = (), upgrade: bool = False
) -> Recipe:
    """A recipe from TOML; `where` is for messages. Raises as `load_recipe` does.

    With `upgrade`, settings may have the names of version 0.1, as in the recipes that its model files hold.
    """
    try:
        tree = {"name": name} | parse_toml(text)
    except ValueError as error:
        raise SemalignError(f"{where}: is not valid TOML ({reason(error)}); correct that line.") from error
    for override in overrides:
        _override(tree, override)
    _rename(tree, None if upgrade else where)
    _refuse_unknown(tree, Recipe, where)
    for table, choice in CHOICES.items():
        if isinstance(tree.get(table), dict):
            tree[table] = {choice.key: choice.default} | tree[table]
    try:
        recipe = TypeAdapter(Recipe).validate_python(tree)
        check_settings(recipe.network)
        return recipe
    except (TypeError, RecursionError, OverflowError) as error:
        raise SemalignError(f"{where}: network: {reason(error)}; correct it.") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if part not in ("SynthesisSettings", *KINDS, *METHODS))
        raise SemalignError(
            f"{where}: {key or 'a setting'}: {first['msg'][:300]} (it is {in_short(first.get('input'))}); correct it."
        ) from error
    except ValueError as error:
        raise SemalignError(f"{where}: network: {reason(error)}; correct it.") from error


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as TOML with every setting spelled out; `parse_recipe` gives the same recipe back."""
    return tomli_w.dumps(_without_none(asdict(recipe)))


def _folder() -> Any:
    return files("semalign.pipeline") / "recipes"


def _override(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise SemalignError(f"--set {override}: is not of the form KEY=VALUE; write for example start.epochs=20.")
    try:
        parsed = parse_toml(f"value = {value}")["value"]
    except ValueError:
        parsed = value.strip()
    *parents, last = key.strip().split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise SemalignError(f"--set {override}: {parent} is a value, not a table; check the setting's name.")
    tree[last] = parsed


def _rename(tree: dict[str, Any], where: str | None) -> None:
    """Give what has a name of version 0.1 its new one; with `where`, refuse it and name the new one."""
    old = [name for name in RENAMED if _value(tree, name) is not None]
    if old and where is not None:
        names = ", ".join(f"{name} is {RENAMED[name]} now" for name in old)
        raise SemalignError(f"{where}: has names of an earlier version ({names}); rename them.")
    for name in sorted(old, key=lambda name: -name.count(".")):  # what is in a table before the table
        table, _, key = name.rpartition(".")
        parent = tree[table] if table else tree
        parent[RENAMED[name].rpartition(".")[2]] = parent.pop(key)


def _value(tree: dict[str, Any], name: str) -> Any:
    table, _, key = name.rpartition(".")
    parent = tree.get(table) if table else tree
    return parent.get(key) if isinstance(parent, dict) else None


def _refuse_unknown(tree: dict[str, Any], kind: type, where: str, table: str = "") -> None:
    hints = get_type_hints(kind)
    choice = CHOICES.get(table)
    of_kind = "" if choice is None else f", of {choice.key} {tree.get(choice.key, choice.default)},"
    place = f" in [{table}]{of_kind} of {where}" if table else f" in {where}"
    refuse_unknown(tree, [item.name for item in fields(kind)], "setting", place)
    for key, value in tree.items():
        name = f"{table}.{key}".lstrip(".")
        if isinstance(value, dict) and (inner := _settings_of(name, hints[key], value, where)) is not None:
            _refuse_unknown(value, inner, where, name)


def _settings_of(name: str, hint: Any, table: dict[str, Any], where: str) -> type | None:
    """The settings that a table is read as; None where a value is no table. Of several kinds the one that it names."""
    if (choice := CHOICES.get(name)) is not None:
        named = str(table.get(choice.key, choice.default))
        refuse_unknown([named], choice.kinds, choice.what, f" in [{name}] of {where}")
        return choice.kinds[named]
    candidates = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return next((c for c in candidates if isinstance(c, type) and is_dataclass(c)), None)


def _without_none(tree: dict[str, Any]) -> dict[str, Any]:
    """TOML has no word for None; a setting that is left out is read as its default."""
    present = {key: value for key, value in tree.items() if value is not None}
    return {key: _without_none(value) if isinstance(value, dict) else value for key, value in present.items()}
