"""What model files of every kind say of themselves, checked: whether such a network can be made and used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from semalign.data.crops import CropSettings

# The largest that a whole number of a network's settings may be, by its name: more is no network that could be computed.
MOST = {"stacks": 32, "depth": 10, "scales": 10, "blocks": 64, "expansion": 64}
MOST_OTHER = 4096
MOST_PARTS = 64  # numbers of a list of settings
LARGEST_FACTOR = 64.0  # of a number that is not whole


def number_in(description: Mapping[str, Any], name: str, most: float) -> float:
    """A number above 0 of a description.

    Raises:
        KeyError, TypeError, ValueError: it is not there, no number, or out of range.
    """
    value = description[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise ValueError(f"{name} must be a number above 0 and up to {most:g}")
    return float(value)


def crop_in(description: Mapping[str, Any]) -> CropSettings:
    """Which square of a picture the model sees.

    Raises:
        KeyError, TypeError, ValueError: the description says none that can be cut out.
    """
    crop = CropSettings(**description["crop"])
    number_in(vars(crop), "scale", 100)
    number_in(vars(crop), "margin", 100)
    return crop


def about_in(description: Mapping[str, Any]) -> dict[str, Any]:
    """Where the model comes from.

    Raises:
        KeyError, TypeError: the description does not say.
    """
    about = description["about"]
    if not isinstance(about, dict):
        raise TypeError("about must be an object")
    return about


def check_settings(settings: Any) -> None:
    """Refuse a network's settings (a dataclass) that are of other types than theirs, or too large to be made.

    Raises:
        TypeError, ValueError: they are.
    """
    hints = get_type_hints(type(settings))
    for item in fields(settings):
        value, hint = getattr(settings, item.name), hints[item.name]
        if is_dataclass(value):
            check_settings(value)
        elif get_origin(hint) is Literal:
            if value not in get_args(hint):
                raise ValueError(f"{item.name} must be one of {get_args(hint)}")
        elif hint is bool:
            if not isinstance(value, bool):
                raise TypeError(f"{item.name} must be true or false")
        else:
            numbers = value if isinstance(value, tuple) else (value,)
            if len(numbers) > MOST_PARTS:
                raise ValueError(f"{item.name} has more than {MOST_PARTS} numbers")
            for number in numbers:
                _check_number(item.name, number, hint is float)


def _check_number(name: str, value: Any, real: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float if real else int) or not math.isfinite(value):
        raise TypeError(f"{name} must be a number")
    most = LARGEST_FACTOR if real else MOST.get(name, MOST_OTHER)
    if not 0 <= value <= most:
        raise ValueError(f"{name} must be from 0 to {most:g}")
