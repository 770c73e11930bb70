"""Schemes by name (shipped as TOML beside this file) or from a user's TOML file."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from semalign.errors import SemalignError
from semalign.files import parse_json, parse_toml, reason
from semalign.schemes.scheme import LandmarkScheme, refuse_unknown

SCHEME_FILE = "scheme.toml"  # in a data set's folder: the scheme of its own


@cache
def shipped_schemes() -> tuple[str, ...]:
    """Names of the schemes that come with Semalign, sorted."""
    folder = resources.files("semalign.schemes")
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")))


def load_scheme(name_or_path: str | Path) -> LandmarkScheme:
    """A shipped scheme by its name, or one from a TOML file: what ends in .toml or names a folder is a path.

    Raises:
        SemalignError: an unknown name, or a file that is missing, is no TOML or describes no sound scheme.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or Path(text).name != text:
        return _read(Path(name_or_path))
    refuse_unknown([text], shipped_schemes(), "landmark scheme", " (neither shipped nor the path of a .toml file)")
    return _shipped(text)


def scheme_text(scheme: LandmarkScheme) -> str:
    """The scheme as a text that `scheme_of_text` reads back: the name of a shipped one, all of any other as JSON."""
    if scheme.name in shipped_schemes() and load_scheme(scheme.name) == scheme:
        return scheme.name
    return json.dumps(scheme.to_dict(), ensure_ascii=False)


def scheme_toml(scheme: LandmarkScheme) -> str:
    """The scheme as TOML, which `load_scheme` reads from a file."""
    import tomli_w  # schemes are read at every start, and seldom written

    return tomli_w.dumps({key: value for key, value in scheme.to_dict().items() if value is not None})


def scheme_of_text(text: str) -> LandmarkScheme:
    """The scheme of a text by `scheme_text`.

    Raises:
        SemalignError: it describes no sound scheme.
    """
    if not text.startswith("{"):
        return load_scheme(text)
    try:
        return LandmarkScheme.from_dict(parse_json(text))
    except ValueError as error:
        raise SemalignError(
            f"the scheme of these labels cannot be read ({reason(error)}); name it with --scheme."
        ) from error


@cache
def _shipped(name: str) -> LandmarkScheme:
    return LandmarkScheme.from_dict(
        parse_toml((resources.files("semalign.schemes") / f"{name}.toml").read_text("utf-8"))
    )


def _read(path: Path) -> LandmarkScheme:
    try:
        return LandmarkScheme.from_dict(_toml(path))
    except SemalignError as error:
        raise SemalignError(f"{path}: {error}") from None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SemalignError("there is no such file; give the path of a scheme's TOML file.") from None
    except OSError as error:
        raise SemalignError(f"cannot be read ({error.strerror}); check the path and the permissions.") from error
    except ValueError as error:
        raise SemalignError(f"is no valid TOML ({reason(error)}); correct it there.") from error
