"""How large a reproduction is: every setting of its data, its networks and its trainings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from semalign.core.search import SearchSettings
from semalign.data.augment import AugmentationSettings
from semalign.data.crops import CropSettings
from semalign.errors import SemalignError
from semalign.models.ghcu import GhcuSettings
from semalign.models.hourglass import HourglassSettings
from semalign.paper.regressor import PRESETS as REGRESSORS
from semalign.paper.regressor import RegressorSettings
from semalign.paper.rotation import RotationSettings
from semalign.paper.shape_fit import ShapeFitSettings
from semalign.pipeline.recipe import DataSettings, Recipe, load_recipe
from semalign.synthetic.settings import FaceSettings, SynthesisSettings
from semalign.training.correction import CorrectionSettings
from semalign.training.settings import AlternationSettings, HeatmapSettings, LabelAdaptationSettings, TrainingSettings


@dataclass(frozen=True)
class FaceCounts:
    """How many synthetic faces stand in for 300W and for AFLW, and how they look."""

    train: int = 600
    common: int = 160
    challenging: int = 80
    aflw_train: int = 600
    aflw_test: int = 160
    easy: FaceSettings = field(  # training faces, the common test faces, AFLW
        default_factory=lambda: FaceSettings(
            max_yaw=45.0, occlusion=0.15, glasses=0.08, blur=0.15, low_resolution=0.05, compression=0.05
        )
    )
    hard: FaceSettings = field(  # the challenging test faces
        default_factory=lambda: FaceSettings(roll=16.0, occlusion=0.7, glasses=0.3, blur=0.6, low_resolution=0.5)
    )


@dataclass(frozen=True)
class ClipCounts:
    """How many synthetic clips stand in for 300-VW; real videos are thinned by `every`."""

    train: int = 4  # of each category
    test: int = 5  # of each category
    frames: int = 16  # of each clip
    rate: float = 5.0  # frames a second; the exposure of a frame is as long as at 25
    size: int = 144  # side of the frames, pixels
    every: int = 25  # of a real video, one frame in so many


@dataclass(frozen=True)
class Size:
    """All settings of a reproduction but its seed and its data.

    Attributes:
        search, alternation: of 'SA' wherever a table or figure does not vary them.
        search_counts: how many searches Figure 8 compares.
        timed: images on which Table 8 measures milliseconds.
    """

    name: str
    faces: FaceCounts = field(default_factory=FaceCounts)
    clips: ClipCounts = field(default_factory=ClipCounts)
    crop: CropSettings = field(default_factory=CropSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    network: HourglassSettings = field(default_factory=HourglassSettings)
    heatmap: HeatmapSettings = field(default_factory=HeatmapSettings)
    start: TrainingSettings = field(default_factory=TrainingSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    alternation: AlternationSettings = field(default_factory=AlternationSettings)
    alignment: TrainingSettings = field(default_factory=TrainingSettings)
    search_counts: tuple[int, ...] = (0, 1, 2, 3, 4, 6)
    correction: CorrectionSettings = field(default_factory=CorrectionSettings)
    correction_training: TrainingSettings = field(default_factory=TrainingSettings)
    regressor: RegressorSettings = field(default_factory=RegressorSettings)
    regression: TrainingSettings = field(default_factory=TrainingSettings)
    rotation: RotationSettings = field(default_factory=RotationSettings)
    rotation_training: TrainingSettings = field(default_factory=TrainingSettings)
    shape_fit: ShapeFitSettings = field(default_factory=ShapeFitSettings)
    timed: int = 30

    def recipe(self, protocol: str, scheme: str, seed: int) -> Recipe:
        """What the landmark networks of a protocol are trained by."""
        return Recipe(
            name=f"reproduce-{self.name}-{protocol}",
            description=f"The paper's {protocol} experiments at the size {self.name!r}.",
            seed=seed,
            data=DataSettings(scheme=scheme),
            crop=self.crop,
            augmentation=self.augmentation,
            network=self.network,
            heatmap=self.heatmap,
            start=self.start,
            search=self.search,
            alternation=self.alternation,
            alignment=self.alignment,
            label_adaptation=LabelAdaptationSettings(
                components=()
            ),  # the paper's detectors are networks without label adaptation
        )

    def synthesis(self, train: int, test: int, face: FaceSettings, seed: int) -> SynthesisSettings:
        """Synthetic faces of these numbers."""
        return SynthesisSettings(count=train + test, test_count=test, seed=seed, face=face)


def load_size(name: str) -> Size:
    """A size by its name.

    Raises:
        SemalignError: there is none of that name.
    """
    if name not in SIZES:
        raise SemalignError(f"there is no size {name!r}; choose from {', '.join(SIZES)}.")
    return SIZES[name]()


def _tiny() -> Size:
    """Seconds for everything: it shows that everything runs, and nothing else."""
    training = TrainingSettings(epochs=2, batch_size=6, warmup=0.5)
    short = replace(training, epochs=1)
    return Size(
        name="tiny",
        faces=FaceCounts(12, 4, 3, 12, 4, FaceSettings(size=80), FaceSettings(size=80, roll=16.0)),
        clips=ClipCounts(train=1, test=1, frames=3, size=80),
        network=HourglassSettings(input_size=64, heatmap_size=32, stacks=1, width=8, depth=1),
        heatmap=HeatmapSettings(sigma=12.0),
        start=training,
        search=SearchSettings(likelihood_weight=5.0, guard=False),  # so that an untrained network moves labels
        alternation=AlternationSettings(searches=1, tta=1, adaptation_components=-1),
        alignment=training,
        search_counts=(0, 1, 2),
        correction=CorrectionSettings(unit=GhcuSettings(input_size=32), copies=2, gate_passes=1),
        correction_training=short,
        regressor=RegressorSettings(input_size=64, width=4, blocks=(1, 1)),
        regression=short,
        rotation=RotationSettings(input_size=32, width=4, blocks=(1, 1)),
        rotation_training=short,
        timed=3,
    )


def _small() -> Size:
    """Two CPU cores, well within an hour for everything."""
    demo = load_recipe("demo")
    alignment = TrainingSettings(epochs=6, batch_size=16, learning_rate=6e-4, warmup=0.2, ema=0.99, precision="bf16")
    return Size(
        name="small",
        augmentation=replace(demo.augmentation, occlusion=0.25),
        network=HourglassSettings(input_size=96, heatmap_size=48, stacks=1, width=48, depth=3),
        heatmap=demo.heatmap,
        start=TrainingSettings(epochs=30, batch_size=16, learning_rate=4e-3, warmup=0.5, ema=0.99, precision="bf16"),
        search=SearchSettings(likelihood_weight=2.0, region=17, template=9),
        alternation=AlternationSettings(searches=2, tta=2, adaptation_components=20),
        alignment=alignment,
        correction=CorrectionSettings(unit=GhcuSettings(input_size=24), gate_passes=8),
        correction_training=TrainingSettings(
            epochs=80, batch_size=32, learning_rate=2e-3, warmup=1.0, ema=0.99, precision="bf16"
        ),
        regressor=RegressorSettings(input_size=96, width=16, blocks=(1, 1, 1, 1)),
        regression=TrainingSettings(
            epochs=40, batch_size=16, learning_rate=3e-3, warmup=1.0, ema=0.99, precision="bf16"
        ),
        rotation=RotationSettings(input_size=64, width=16, blocks=(1, 1, 1, 1)),
        rotation_training=TrainingSettings(
            epochs=30, batch_size=32, learning_rate=2e-3, warmup=1.0, ema=0.99, precision="bf16"
        ),
    )


def _compact() -> Size:
    """300W on two CPU cores in little more than an hour: the recipe 300w-compact with one stack and shorter trainings."""
    recipe = load_recipe("300w-compact")
    long = replace(recipe.start, batch_size=32, epochs=24)
    return Size(
        name="compact",
        faces=FaceCounts(train=2000, common=550, challenging=140, aflw_train=2000, aflw_test=700),
        clips=ClipCounts(train=16, test=15, frames=40),
        crop=recipe.crop,
        augmentation=recipe.augmentation,
        network=replace(_hourglass(recipe), stacks=1),
        heatmap=recipe.heatmap,
        start=recipe.start,
        search=_papers_search(recipe),
        alternation=replace(recipe.alternation, tta=2),
        alignment=replace(recipe.alignment, epochs=4),
        search_counts=(0, 1, 2, 4),
        correction=CorrectionSettings(unit=GhcuSettings(input_size=32), gate_passes=8),
        correction_training=long,
        regressor=REGRESSORS["compact"],
        regression=replace(long, epochs=40),
        rotation_training=long,
        timed=100,
    )


def _paper() -> Size:
    """The paper's own settings, by the recipe 300w-paper: for GPUs."""
    recipe = load_recipe("300w-paper")
    long = TrainingSettings(epochs=60, batch_size=32, learning_rate=1e-3)
    return Size(
        name="paper",
        faces=FaceCounts(train=3148, common=554, challenging=135, aflw_train=20000, aflw_test=4386),
        clips=ClipCounts(train=16, test=20, frames=200, size=288, every=5),
        crop=recipe.crop,
        augmentation=recipe.augmentation,
        network=_hourglass(recipe),
        heatmap=recipe.heatmap,
        start=recipe.start,
        search=_papers_search(recipe),
        alternation=recipe.alternation,
        alignment=recipe.alignment,
        search_counts=(0, 1, 2, 4, 6, 8, 10, 20),
        correction_training=long,
        regression=replace(long, epochs=150),
        rotation_training=long,
        timed=100,
    )


def _papers_search(recipe: Recipe) -> SearchSettings:
    """The search of a shipped recipe, which is the paper's."""
    assert isinstance(recipe.search, SearchSettings)
    return recipe.search


def _hourglass(recipe: Recipe) -> HourglassSettings:
    """The network of a recipe, which is of the paper's kind."""
    assert isinstance(recipe.network, HourglassSettings)
    return recipe.network


SIZES = {"tiny": _tiny, "small": _small, "compact": _compact, "paper": _paper}
