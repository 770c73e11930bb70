"""Model files: weights as safetensors with everything that is needed to use them as JSON beside the tensors.

Nothing in such a file executes when it is loaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import save_file

from semalign.core.adaptation import LinearAdaptation
from semalign.core.kernel_adaptation import KernelAdaptation
from semalign.core.translation import Translation
from semalign.data.crops import CropSettings
from semalign.errors import SemalignError
from semalign.models import arrays
from semalign.models.adapted import AdaptedSettings
from semalign.models.cascade import CascadeSettings
from semalign.models.described import about_in, crop_in, number_in
from semalign.models.face_mesh import face_mesh
from semalign.models.kinds import AnySettings, settings_from
from semalign.models.mesh_network import MeshSettings
from semalign.models.mesh_translation import MESH, translation_in
from semalign.models.network import HeatmapNetwork, build_network
from semalign.schemes import LandmarkScheme
from semalign.schemes.scheme import in_short

FORMAT = 2  # 1, of version 0.1, calls label adaptation 'dialect' and test-time augmentation 'views', and is read, too
Built = TypeVar("Built")
BASE = "base."  # begins the names of an adapted network's own tensors
ADAPTATION, OLD_ADAPTATION = "adaptation.", "dialect."  # begin the names of its tensors; the second in format 1


@dataclass(frozen=True)
class Model:
    """A network and what it needs: its landmarks, the square that it sees and the σ of its heatmaps.

    Attributes:
        sigma: of the Gaussians that the network was trained on, in pixels of its heatmaps.
        adaptation: what its predictions differ from the annotations as a function of the shape; None = not known.
        tta: test-time augmentation: versions of a crop whose mean heatmap is decoded, 1 to 4 (`semalign.inference.tta`).
        about: where it comes from (recipe, data, seed, versions), JSON values only.
        mesh: what the face mesh's points are in the landmarks' terms, learned from the same faces; None = not known.
    """

    network: HeatmapNetwork
    scheme: LandmarkScheme
    crop: CropSettings
    sigma: float
    about: Mapping[str, Any] = field(default_factory=dict)
    adaptation: LinearAdaptation | KernelAdaptation | None = None
    tta: int = 1
    mesh: Translation | None = None

    @property
    def input_size(self) -> int:
        """Side of the square that the network sees, pixels."""
        return self.network.input_size


def save_model(path: Path, model: Model, half: bool = False) -> None:
    """Write a model file atomically; with `half`, weights of convolutions as float16 and the label adaptation as float32.

    A kernel label adaptation, which is large, is float16 then, too. Such a file has half the size and is computed with in
    float32 all the same.

    Raises:
        SemalignError: the network is one from outside, whose code a model file cannot hold.
    """
    settings = model.network.settings
    if not isinstance(settings, AnySettings | AdaptedSettings):
        raise SemalignError(
            f"{path}: the network {model.network.name} is not one of Semalign's, whose code a model file could name; "
            "keep its weights in a file of your own, or export it as ONNX."
        )
    description = {
        "format": FORMAT,
        "network": asdict(settings),
        "scheme": model.scheme.to_dict(),
        "crop": asdict(model.crop),
        "sigma": model.sigma,
        "tta": model.tta,
        "about": dict(model.about),
    }
    tensors = weights_of(model.network)
    if half:
        tensors = {name: value.half() if value.ndim > 1 else value for name, value in tensors.items()}
    if model.adaptation is not None:
        tensors |= _adaptation_tensors(model.adaptation, half)
    if model.mesh is not None:
        tensors |= _mesh_tensors(model.mesh, half)
    save_tensors(path, tensors, description)


def _adaptation_tensors(adaptation: LinearAdaptation | KernelAdaptation, half: bool) -> dict[str, torch.Tensor]:
    kind: type[np.floating] = np.float64
    if half:
        kind = np.float16 if isinstance(adaptation, KernelAdaptation) else np.float32
    exact = ("mean", "centre")  # small, and every offset depends on them
    return {
        ADAPTATION + key: torch.from_numpy(np.ascontiguousarray(value, np.float32 if key in exact and half else kind))
        for key, value in vars(adaptation).items()
    }


def _mesh_tensors(mesh: Translation, half: bool) -> dict[str, torch.Tensor]:
    kinds = {"coefficients": np.float16} if half else {}
    usual = np.float32 if half else np.float64
    return {MESH + key: torch.from_numpy(np.array(value, kinds.get(key, usual))) for key, value in vars(mesh).items()}


def load_model(path: Path, scheme: LandmarkScheme | None = None) -> Model:
    """Read a model file; the network is in evaluation mode on the CPU.

    Args:
        path: the file.
        scheme: the landmarks of the data that the model is wanted for.

    Raises:
        SemalignError: no such file, not a model file, a damaged one, or one of another landmark scheme.
    """
    tensors, description = load_tensors(path)
    if "kind" in description:
        raise SemalignError(
            f"{path}: holds a {in_short(description['kind'])} network, not a heatmap network; use the model file of a detector."
        )
    try:
        if description["format"] not in (1, FORMAT):
            raise SemalignError(
                f"{path}: is a model file of format {in_short(description['format'])}; "
                f"this version reads formats 1 to {FORMAT}."
            )
        own = LandmarkScheme.from_dict(description["scheme"])
        settings = settings_from(description["network"], f" in {path}")
        adaptation, mesh = _take_adaptation(tensors, own.count), _take_mesh(tensors)
        crop, sigma, about = crop_in(description), number_in(description, "sigma", 1000), about_in(description)
        tta = int(number_in({"tta": description.get("tta", description.get("views", 1))}, "tta", 4))
        _refuse_misfit(settings, own.count, tensors)
        network = build_network(settings, own.count, seed=0)
        network.load_state_dict(tensors)
    except SemalignError as error:
        raise error if str(path) in str(error) else SemalignError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError, ArithmeticError) as error:
        raise SemalignError(f"{path}: is not a complete Semalign model; train it again or use another file.") from error
    refuse_other_scheme(path, own, scheme)
    return Model(network.eval(), own, crop, sigma, about, adaptation, tta, mesh)


def _refuse_misfit(
    settings: AnySettings | AdaptedSettings, landmarks: int, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Refuse tensors that are not those of the network, before its memory is taken: a file may say any sizes.

    Raises:
        ValueError: they are not.
    """
    if isinstance(
        settings, MeshSettings | AdaptedSettings
    ):  # begin with the face mesh's weights: only the map's size varies
        if isinstance(settings, AdaptedSettings) and isinstance(settings.base, AnySettings):
            inner = {name.removeprefix(BASE): value for name, value in tensors.items() if name.startswith(BASE)}
            _refuse_misfit(settings.base, settings.base_landmarks, inner)
        if len(tensors["map.weight"]) != 2 * landmarks:
            raise ValueError("the weights are of another number of landmarks")
        return
    if isinstance(settings, CascadeSettings):
        face_mesh()  # is kept once it is read, which must not be without memory
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights that come with Semalign, which no network without memory takes
        shapes = {name: value.shape for name, value in settings.network(landmarks).state_dict().items()}
    if shapes != {name: value.shape for name, value in tensors.items()}:
        raise ValueError("the weights are of another network")


def _take_adaptation(tensors: dict[str, torch.Tensor], count: int) -> LinearAdaptation | KernelAdaptation | None:
    """The label adaptation of a file, of the kind whose parts it has; its tensors are taken out of the others."""
    names = [name for name in tensors if name.startswith((ADAPTATION, OLD_ADAPTATION))]
    parts = {name.partition(".")[2]: tensors.pop(name).double().numpy() for name in names}
    if not parts:
        return None
    found = KernelAdaptation(**parts) if "faces" in parts else LinearAdaptation(**parts)
    found.offsets(np.arange(2.0 * count).reshape(1, count, 2))  # a ValueError where its parts do not fit each other
    return found


def _take_mesh(tensors: dict[str, torch.Tensor]) -> Translation | None:
    """The translation of a file's face mesh; its tensors are taken out of the others."""
    names = [name for name in tensors if name.startswith(MESH)]
    found = translation_in({name: tensors.pop(name).numpy() for name in names})
    if found is not None:
        found(np.arange(3.0 * len(found.mean)).reshape(1, -1, 3))  # a ValueError where its parts do not fit each other
    return found


def refuse_other_scheme(path: Path, own: LandmarkScheme, wanted: LandmarkScheme | None) -> None:
    """Raise a SemalignError if the data has another landmark scheme than the model in a file."""
    if wanted is not None and own != wanted:
        raise SemalignError(
            f"{path}: was trained on the landmark scheme {own.name!r} ({own.count} points), but the data has "
            f"{wanted.name!r} ({wanted.count} points); use a model of that scheme."
        )


def weights_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A network's tensors as they are written."""
    return {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> None:
    """Write tensors and a JSON description into one safetensors file, atomically."""
    arrays.write_file(path, save_file, tensors, description)


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote; raises as `semalign.models.arrays.load_arrays`."""
    return arrays.read_file(path, "pt")


def load_kind(
    path: Path, what: str, kind: str, version: int, build: Callable[[dict[str, torch.Tensor], dict[str, Any]], Built]
) -> Built:
    """As `semalign.models.arrays.load_kind`, with tensors."""
    return arrays.load_kind(path, what, kind, version, build, "pt")
