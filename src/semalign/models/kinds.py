"""The kinds of networks that recipes and model files know, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from semalign.models.adapted import AdaptedSettings
from semalign.models.cascade import CascadeSettings
from semalign.models.described import check_settings
from semalign.models.hourglass import HourglassSettings
from semalign.models.mesh_network import MeshSettings
from semalign.models.mobile import MobileSettings
from semalign.models.network import NetworkSettings
from semalign.schemes.scheme import refuse_unknown

AnySettings = CascadeSettings | HourglassSettings | MeshSettings | MobileSettings
ADAPTED = "adapted"  # the kind that `semalign adapt` makes
DEFAULT = "hourglass"  # the kind where none is named, as in recipes and files of version 0.1
KINDS: dict[str, type[CascadeSettings] | type[HourglassSettings] | type[MeshSettings] | type[MobileSettings]] = {
    "cascade": CascadeSettings,
    "hourglass": HourglassSettings,
    "mesh": MeshSettings,
    "mobile": MobileSettings,
}


def kind_in(table: Mapping[str, Any], place: str = "") -> str:
    """The kind that a table of settings names.

    Args:
        table: as in a recipe or a model file.
        place: where it is, such as " in [network] of mine.toml", for the message.

    Raises:
        SemalignError: there is no such kind; names the nearest one.
    """
    kind = table.get("kind", DEFAULT)
    refuse_unknown([str(kind)], KINDS, "kind of network", place)
    return str(kind)


def settings_from(table: Mapping[str, Any], place: str = "") -> AnySettings | AdaptedSettings:
    """The settings that a model file holds as a table; an adapted network, which no recipe names, may be there, too.

    Raises:
        SemalignError: as `kind_in`.
        TypeError, ValueError: they do not fit the kind.
    """
    if not isinstance(table, Mapping):
        raise TypeError("the network's settings must be a table")
    settings: AnySettings | AdaptedSettings
    if table.get("kind") == ADAPTED:
        base = table["base"]
        if isinstance(base, Mapping) and base.get("kind") == ADAPTED:
            raise ValueError("an adapted network cannot be adapted once more")
        settings = AdaptedSettings(**_with_tuples({**table, "base": settings_from(base, place)}))
    else:
        settings = KINDS[kind_in(table, place)](**_with_tuples(table))
    check_settings(settings)
    return settings


def _with_tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists alone."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def continued(own: NetworkSettings | None, wanted: AnySettings) -> AnySettings:
    """The settings by which a trained network is trained further.

    Args:
        own: the network's; None for one from outside, of whose settings nothing is known.
        wanted: of a recipe. Of its shape nothing counts, but it can make a hourglass smooth.
    """
    if not isinstance(own, AnySettings):
        return wanted
    if isinstance(own, HourglassSettings) and isinstance(wanted, HourglassSettings) and wanted.resampling == "smooth":
        return replace(own, resampling="smooth")  # it has no weights
    return own
