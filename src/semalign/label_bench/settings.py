"""How much is measured, and the noise of the annotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from semalign.core.search import SearchSettings
from semalign.searches.adapted import Components
from semalign.searches.calibrated import CalibratedSettings
from semalign.synthetic import GroupNoise, NoiseSettings
from semalign.synthetic.annotators import noise_size

_ISOTROPIC, _SLIDING = GroupNoise(0.0, 0.0, 1.0), GroupNoise(2.0, 1.0, 0.0)


def _alike(group: GroupNoise) -> NoiseSettings:
    """The same noise for all landmarks, visible or not, without habits."""
    return NoiseSettings(group, group, group, group, group, strong=1.0, habit=0.0, occluded=1.0)


NOISES: Mapping[str, NoiseSettings] = MappingProxyType(
    {"annotators": NoiseSettings(), "isotropic": _alike(_ISOTROPIC), "sliding": _alike(_SLIDING)}
)
PLANTED = ("isotropic", "sliding")  # in real labels, which have the annotators' noise already
ANNOTATORS = 6  # who share the marking of noise with habits


def noise_of(kind: str, level: float) -> NoiseSettings:
    """Noise of a kind of `NOISES` whose root mean square is `level` % of the outer-eye distance (`noise_size`)."""
    settings = NOISES[kind]
    return replace(settings, scale=level / noise_size(settings))


@dataclass(frozen=True)
class BenchSettings:
    """What is measured. Raises a ValueError for fewer than three folds or no passes."""

    noises: tuple[str, ...] = tuple(NOISES)
    levels: tuple[float, ...] = (2.0, 4.0, 8.0)  # % of the outer-eye distance, root mean square
    faces: tuple[int, ...] = (400, 1600)  # synthetic faces in a cell
    folds: int = 5
    recipe: str = "demo"  # of the networks that are trained on synthetic faces
    changes: tuple[str, ...] = ()  # to the recipe, as `key=value`
    halves_level: float = 4.0  # of the annotators' noise where two halves of the faces are compared
    real_faces: int | None = None  # at most so many real faces with planted noise; None = all
    passes: int = 3  # of the paper's search, of which the best counts
    drift_passes: int = 20  # of the default method, each from the labels of the one before
    seed: int = 0
    paper: SearchSettings = field(
        default_factory=lambda: SearchSettings(likelihood_weight=4.0, region=17, template=9)
    )  # as recipes with Gaussians of this width have it
    calibrated: CalibratedSettings = field(default_factory=CalibratedSettings)
    adaptation_components: Components = (
        "auto"  # of the label adaptation around the mean and the calibrated search, as `crossfit` has it
    )

    def __post_init__(self) -> None:
        if self.folds < 3:
            raise ValueError("folds must be at least 3, as each network leaves two out")
        if min(self.passes, self.drift_passes) < 1:
            raise ValueError("passes and drift_passes must be at least 1")


SIZES: Mapping[str, BenchSettings] = MappingProxyType(
    {
        "tiny": BenchSettings(
            noises=("annotators",),
            levels=(4.0, 8.0),
            faces=(54,),
            folds=3,
            changes=(
                "synthesis.face.size=96",
                "network={input_size=64, heatmap_size=32, stacks=1, width=8, depth=2}",
                "heatmap.sigma=12.0",
                "start={epochs=1, batch_size=9}",
                "alternation.tta=1",
            ),
            real_faces=12,
        ),
        "small": BenchSettings(
            faces=(80, 240),
            folds=4,
            changes=(
                "network={input_size=64, heatmap_size=32, stacks=1, width=32}",
                "start.epochs=20",
                "start.batch_size=8",
                "start.ema=0.98",
                "alternation={tta=1, mesh=true}",
            ),
            real_faces=200,
        ),
        "full": BenchSettings(changes=("alternation.mesh=true",)),
    }
)
