"""The models that come with the package, by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from semalign.errors import SemalignError
from semalign.extras import needs_training
from semalign.models.arrays import load_arrays
from semalign.models.correction import SUFFIX, ShapeCorrection, load_correction
from semalign.schemes import LandmarkScheme
from semalign.schemes.scheme import refuse_unknown

if TYPE_CHECKING:
    from semalign.models.checkpoint import Model

# What these stand for; a file of such a name comes first.
NAMES = {"default": "300w-cascade", "fast": "300w-fast", "free": "by-mesh"}
DEFAULT = NAMES["default"]
COMPANIONS = {DEFAULT: "300w-detector"}  # of another origin, which errs in other ways: label searches hear both
ENDING = ".safetensors"
EXPORTED = ".onnx"  # files that `semalign.export` writes and reads
CORRECTIONS = "corrections"  # folder beside the shipped models
BESIDE = ("adaptation.", "dialect.", "mesh.")  # begin the names of arrays that are not the network's
SEEN = (".running_mean", ".running_var", ".num_batches_tracked")  # end the names of those that are not learned


def available() -> dict[str, Path]:
    """The shipped models: name -> file, sorted by name; empty where none came with this installation."""
    folder = Path(str(resources.files("semalign") / "pretrained"))
    return {path.stem: path for path in sorted(folder.glob(f"*{ENDING}"))}


def resolve(name_or_path: str | Path) -> Path:
    """The model file that a shipped name or a path stands for: what ends in .safetensors or .onnx or names a folder is a path.

    Raises:
        SemalignError: a name that is not shipped. Whether the file of a path is there is seen when it is loaded.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith((ENDING, EXPORTED)) or Path(text).name != text:
        return Path(name_or_path)
    return _shipped(text, " (neither shipped nor the path of a .safetensors file)")


def load(name_or_path: str | Path, scheme: LandmarkScheme | None = None) -> Model:
    """A shipped model by its name, or the model of a file, for PyTorch.

    Raises:
        SemalignError: as `resolve` and `semalign.models.checkpoint.load_model`; an exported model; PyTorch is not installed.
    """
    path = resolve(name_or_path)
    if path.suffix == EXPORTED:
        raise SemalignError(
            f"{path}: is an exported model, which finds landmarks and does nothing else; give the model file it was made from."
        )
    with needs_training(f"{name_or_path}: computing a model file"):
        from semalign.models.checkpoint import load_model
    return load_model(path, scheme)


def exported(name_or_path: str | Path) -> Path | None:
    """The ONNX file beside a shipped model, for who gives its name; None where there is none, or for a path."""
    path = _by_name(name_or_path)
    file = None if path is None else path.with_suffix(EXPORTED)
    return file if file is not None and file.is_file() else None


def companion(name_or_path: str | Path) -> str | None:
    """The shipped model that a label search hears beside a shipped one that is given by its name; None where there is none."""
    path = _by_name(name_or_path)
    return None if path is None else COMPANIONS.get(path.stem)


def _by_name(name_or_path: str | Path) -> Path | None:
    """The file of a shipped model that is given by its name; None for a path. Raises as `resolve`."""
    path = resolve(name_or_path)
    return path if path in available().values() and path != Path(name_or_path) else None


class Facts(NamedTuple):
    """What a model file says, without its network being built."""

    scheme: LandmarkScheme
    input_size: int
    parameters: int
    terms: str | None


def facts(path: Path) -> Facts:
    """What a shipped model's file says; raises as `semalign.models.arrays.load_arrays`."""
    arrays, description = load_arrays(path)
    learned = [value.size for name, value in arrays.items() if not name.startswith(BESIDE) and not name.endswith(SEEN)]
    terms = description["about"].get("terms")
    scheme = LandmarkScheme.from_dict(description["scheme"])
    return Facts(scheme, int(description["network"]["input_size"]), sum(learned), terms)


def corrections() -> dict[str, Path]:
    """The shipped corrections for hidden landmarks: name of the model -> file."""
    folder = Path(str(resources.files("semalign") / "pretrained" / CORRECTIONS))
    return {path.stem: path for path in sorted(folder.glob(f"*{ENDING}"))}


def correction_for(about: Mapping[str, Any], scheme: LandmarkScheme) -> ShapeCorrection | None:
    """The shipped correction that was made for a model, told by what the model says of itself; None where none was.

    So a copy of a shipped model and an export of it have its correction, too.
    """
    for path in corrections().values():
        correction = load_correction(path)
        if correction.scheme == scheme and _origin(correction.base) == _origin(about):
            return correction
    return None


def correction_beside(path: Path, scheme: LandmarkScheme) -> ShapeCorrection | None:
    """The correction that lies beside a model's file; None where none does; raises as `load_correction`."""
    file = path.with_suffix(SUFFIX)
    return load_correction(file, scheme) if file.is_file() else None


def _origin(about: Mapping[str, Any]) -> dict[str, Any]:
    """What tells one model from another; an export may have its terms added."""
    return {key: value for key, value in about.items() if key != "terms"}


def card(name: str) -> str:
    """A shipped model's card (Markdown): data, recipe, figures, speed, terms, known failures.

    Raises:
        SemalignError: a name that is not shipped.
    """
    return _shipped(name).with_suffix(".md").read_text(encoding="utf-8")


def _shipped(name: str, where: str = "") -> Path:
    """The file of a shipped model; `where` is for the message about an unknown name."""
    shipped = available()
    if name not in shipped:
        name = NAMES.get(name, name)
    if not shipped:
        raise SemalignError(
            f"the model {name!r} is unknown: none came with this installation; give the path of a model.safetensors."
        )
    refuse_unknown([name], shipped, "model", where)
    return shipped[name]
