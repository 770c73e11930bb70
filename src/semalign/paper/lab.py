"""The cache of experiments that tables and figures share, each made once and kept in a folder of its own.

    WORK/PROTOCOL/start                 trained on the annotations until it roughly converges
    WORK/PROTOCOL/baseline              from there on the annotations for as long as the alignment: 'HGs'
    WORK/PROTOCOL/aligned-...           from there with label search: 'SA', named by the settings that tables vary
    WORK/PROTOCOL/NETWORK/ghcu          a correction unit for that network, on the labels that it was trained on
    WORK/PROTOCOL/NETWORK/regression    a coordinate regressor on those labels
    WORK/PROTOCOL-norm/...              the same on faces righted by WORK/PROTOCOL-norm/rotation

A network's folder holds model.safetensors, log.jsonl, label versions, the landmarks found on the test faces by method
(METHOD.npz) and their errors by column (figures.json). What is there is read: an interrupted job goes on where it stood.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semalign.core.affine import transform_points
from semalign.core.heatmaps import decode_heatmaps
from semalign.core.search import scaled_radius
from semalign.data.labels import LabelStore
from semalign.errors import SemalignError
from semalign.files import atomic_path, write_json
from semalign.inference.heatmaps import heatmap_to_image, heatmaps_of, predict
from semalign.models.checkpoint import Model
from semalign.models.ghcu import Ghcu, load_ghcu
from semalign.models.network import HeatmapNetwork
from semalign.paper.normalisation import righted, rotations_of, train_rotation
from semalign.paper.outcome import Outcome
from semalign.paper.protocols import NAMES, Protocol, make_protocol
from semalign.paper.regression import predict_regressor, train_regressor
from semalign.paper.regressor import Regressor, RegressorModel, load_regressor, save_regressor
from semalign.paper.rotation import RotationModel, RotationNetwork, load_rotation, save_rotation
from semalign.paper.shape_fit import fit_to_heatmaps
from semalign.paper.shape_model import ShapeModel
from semalign.paper.sizes import Size
from semalign.pipeline.job import MODEL, Job
from semalign.pipeline.prepare import Faces
from semalign.pipeline.run import alternate, train_baseline, train_start
from semalign.pipeline.summary import versions
from semalign.progress import Advance, PrefixedProgress, Progress
from semalign.training.correction import Use, correct, predict_corrected, train_ghcu
from semalign.training.trainer import LOG, Record, Trainer, make_accelerator

WATCHED = 6  # training faces whose landmarks are kept after every epoch (Fig. 2b)
CHECKPOINTS = "checkpoints.npz"


@dataclass(frozen=True)
class Alignment:
    """What tables and figures vary about semantic alignment; sizes in pixels of a 256×256 heatmap."""

    weight: float  # of the likelihood
    template: int
    searches: int
    update: bool = True


@dataclass(frozen=True)
class Detector:
    """A landmark network: of which protocol, trained on which labels, on righted faces or on plain ones."""

    protocol: str
    alignment: Alignment | None = None  # None = annotations
    righted: bool = False


class Lab:
    """All experiments of one seed and size.

    Args:
        out: the folder of the reproduction.
        size: all settings.
        seed: of data, networks and draws.
        data: folders of real data by name.
        progress: told what goes on.
        real_only: protocols without real data are to be left out, see `has`.
    """

    def __init__(
        self,
        out: Path,
        size: Size,
        seed: int,
        data: Mapping[str, Path],
        progress: Progress,
        real_only: bool = False,
    ) -> None:
        self.out, self.size, self.seed, self.data, self.progress = Path(out), size, seed, data, progress
        self.real_only = real_only
        self._protocols: dict[str, Protocol] = {}
        self._righted: dict[str, Protocol] = {}

    @property
    def alignment(self) -> Alignment:
        """That of 'SA' where nothing is varied."""
        return Alignment(self.size.search.likelihood_weight, self.size.search.template, self.size.alternation.searches)

    def has(self, name: str) -> bool:
        """Whether a protocol is to be measured."""
        return not self.real_only or name in self.data

    def protocol(self, name: str) -> Protocol:
        """A protocol with its faces."""
        if name not in self._protocols:
            self._protocols[name] = make_protocol(name, self.size, self.seed, self.data, self.out, self.progress)
        return self._protocols[name]

    def righted(self, name: str) -> Protocol:
        """The same with all faces turned upright by the trained rotation network."""
        if name not in self._righted:
            plain, network = self.protocol(name), self._rotation(name)
            parts = []
            for faces, part in ((plain.train, "train"), (plain.test, "test")):
                angles = rotations_of(network, faces.crops)
                file = self.out / "work" / f"{name}-norm" / f"{part}.u8"
                parts.append(Faces(faces.dataset, righted(faces.crops, angles, file)))
            self._righted[name] = replace(plain, train=parts[0], test=parts[1])
        return self._righted[name]

    def folder(self, detector: Detector) -> Path:
        """A detector's folder. Settings that come to the same in this heatmap share one."""
        base = self.out / "work" / (f"{detector.protocol}-norm" if detector.righted else detector.protocol)
        way = self._effective(detector.alignment)
        if way is None:
            return base / "baseline"
        radius = scaled_radius(way.template, self.size.network.heatmap_size)
        update = "" if way.update else "-fixed"
        return base / f"aligned-weight{way.weight:g}-radius{radius}-searches{way.searches}{update}"

    def start_folder(self, name: str, righted: bool = False) -> Path:
        """The folder of the network from which all others of a protocol go on."""
        return self.out / "work" / (f"{name}-norm" if righted else name) / "start"

    def start(self, name: str, righted: bool = False) -> Model:
        """The roughly converged network."""
        return train_start(self._job(Detector(name, righted=righted)), self.start_folder(name, righted))

    def model(self, detector: Detector) -> Model:
        """A trained detector; without any search it is the baseline."""
        start, folder = self.start(detector.protocol, detector.righted), self.folder(detector)
        if self._effective(detector.alignment) is None:
            return train_baseline(self._job(detector), folder, start)
        return alternate(self._job(detector), folder, folder / "labels", start)

    def log(self, folder: Path) -> list[Record]:
        """What a training logged, epoch by epoch."""
        return [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]

    def watched(self, folder: Path) -> np.ndarray:
        """(epochs, faces, n, 2): landmarks of the first training faces after every epoch, image frame."""
        return np.asarray(np.load(folder / CHECKPOINTS)["points"])

    def labels(self, detector: Detector) -> np.ndarray:
        """(b, n, 2): the labels that a detector was trained on last, image frame."""
        store = self.store(detector)
        return self._faces(detector).train.dataset.points() if store is None else store.read().points

    def store(self, detector: Detector) -> LabelStore | None:
        """Its label versions; None for the baseline."""
        if self._effective(detector.alignment) is None:
            return None
        self.model(detector)
        return LabelStore(self.folder(detector) / "labels")

    def converged(self, name: str) -> np.ndarray:
        """(b, n, 2): the landmarks that the roughly converged network finds on its training faces, image frame."""
        model, crops = self.start(name), self.protocol(name).train.crops
        return self._kept(
            self.start_folder(name) / "train.npz",
            lambda: predict(model.network, crops, model.sigma, model.scheme).points,
        )

    def detected(self, detector: Detector) -> Outcome:
        """A detector's own landmarks on the test faces."""
        model = self.model(detector)
        crops = self._faces(detector).test.crops
        return self._outcome(
            detector,
            "detected",
            lambda: predict(model.network, crops, model.sigma, model.scheme).points,
            self.describe(detector),
        )

    def corrected(self, detector: Detector, use: Use = "alone") -> Outcome:
        """The landmarks after the correction unit, in one of its uses."""
        crops = self._faces(detector).test.crops
        return self._outcome(
            detector,
            f"corrected-{use}",
            lambda: predict_corrected(self.model(detector), self.unit(detector), crops, use).points,
            f"{self.describe(detector)}, GHCU {use}",
        )

    def shape_fitted(self, detector: Detector, iterative: bool) -> Outcome:
        """The landmarks after the shape model: fitted to the heatmaps, or the peaks projected on it."""
        model, shapes = self.model(detector), self.shapes(detector)
        fit = self._fit if iterative else _project

        def find() -> np.ndarray:
            parts = []
            crops = self._faces(detector).test.crops
            with self._stage(detector, f"shape model, {name}", len(crops)) as advance:
                for rows, maps in heatmaps_of(model.network, crops):
                    points = fit(shapes, maps.cpu(), model.sigma)
                    parts.append(
                        transform_points(points.double(), heatmap_to_image(model.network, crops, rows)).numpy()
                    )
                    advance(len(rows))
            return np.concatenate(parts)

        name = "iterative fit" if iterative else "projection"
        return self._outcome(
            detector,
            name.replace(" ", "-"),
            find,
            f"{self.describe(detector)}, PCA ({name}, {len(shapes.eigenvalues)} components)",
        )

    def regressed(self, detector: Detector) -> Outcome:
        """The landmarks of a coordinate regressor that was trained on the labels that the detector was trained on last."""
        crops = self._faces(detector).test.crops
        labels = "annotations" if self._effective(detector.alignment) is None else "searched labels"
        return self._outcome(
            detector,
            "regressed",
            lambda: (
                predict_regressor(self._regressor(detector), crops, self._faces(detector).train.dataset.scheme).points
            ),
            f"Reg on {labels}",
        )

    def unit(self, detector: Detector) -> Ghcu:
        """The correction unit for a detector."""
        size, faces, folder = self.size, self._faces(detector), self.folder(detector) / "ghcu"
        model = self.model(detector)
        if (folder / MODEL).is_file():
            return load_ghcu(folder / MODEL, model.scheme)
        with self._stage(detector, "GHCU", size.correction_training.epochs) as advance:
            return train_ghcu(
                folder,
                model,
                faces.train.crops,
                faces.train.crops.to_crop(self.labels(detector)),
                size.correction_training,
                size.correction,
                size.augmentation,
                self.seed,
                self._about(detector),
                _epochs(advance, len(faces.train.crops), size.correction_training.batch_size),
            )

    def shapes(self, detector: Detector) -> ShapeModel:
        """The shape model of a detector's labels."""
        return ShapeModel.fit(self.labels(detector))

    def heatmaps(self, detector: Detector, rows: np.ndarray) -> np.ndarray:
        """(k, n, h, w): the heatmaps of some test faces."""
        model = self.model(detector)
        (_, maps), *_ = heatmaps_of(model.network, self._faces(detector).test.crops.take(rows))
        return maps.cpu().numpy()

    def milliseconds(self, detector: Detector) -> dict[str, float]:
        """Median CPU time of each correction for one image, given its heatmaps; measured in one run, in turn."""
        path = self.folder(detector) / "milliseconds.json"
        if not path.is_file():
            write_json(path, self._measure(detector))
        measured: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        return measured

    def timed(self, detector: Detector) -> int:
        """On how many images."""
        return min(self.size.timed, len(self._faces(detector).test.crops))

    def describe(self, detector: Detector) -> str:
        """A detector in words."""
        way = self._effective(detector.alignment)
        righted = ", righted faces" if detector.righted else ""
        if way is None:
            return f"HGs{righted}"
        radius = scaled_radius(way.template, self.size.network.heatmap_size)
        update = "" if way.update else ", without update"
        return (
            f"HGs + SA{righted} (weight {way.weight:g}, template {way.template} px = {2 * radius + 1} px of this heatmap, "
            f"searches {way.searches}{update})"
        )

    def _effective(self, way: Alignment | None) -> Alignment | None:
        """None where the labels stay the annotations."""
        return None if way is None or way.weight == 0 or way.searches == 0 else way

    def _faces(self, detector: Detector) -> Protocol:
        return self.righted(detector.protocol) if detector.righted else self.protocol(detector.protocol)

    def _job(self, detector: Detector) -> Job:
        faces, way = self._faces(detector), self._effective(detector.alignment)
        recipe = self.size.recipe(detector.protocol, faces.train.dataset.scheme.name, self.seed)
        if way is not None:
            recipe = replace(
                recipe,
                search=replace(self.size.search, likelihood_weight=way.weight, template=way.template),
                alternation=replace(recipe.alternation, searches=way.searches, update=way.update),
            )
        progress = PrefixedProgress(
            self.progress, f"{NAMES[detector.protocol]}{' righted' if detector.righted else ''}: "
        )
        return _WatchedJob(recipe, faces.train, faces.test, progress, self._about(detector))

    def _about(self, detector: Detector) -> dict[str, Any]:
        protocol = self.protocol(detector.protocol)
        return {"data": protocol.data, "size": self.size.name, "seed": self.seed, "versions": versions()}

    def _stage(self, detector: Detector, title: str, total: int) -> AbstractContextManager[Advance]:
        return self.progress.stage(f"{NAMES[detector.protocol]}: {title}", total)

    def _outcome(self, detector: Detector, method: str, find: Callable[[], np.ndarray], detail: str) -> Outcome:
        """The landmarks of a method, found or read; their errors go into the detector's figures.json."""
        folder = self.folder(detector)
        there = (folder / f"{method}.npz").is_file()
        outcome = Outcome(
            self.protocol(detector.protocol), self._kept(folder / f"{method}.npz", find), self.seed, detail
        )
        if not there:
            path = folder / "figures.json"
            figures = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            cells = outcome.cells(tuple(outcome.protocol.columns))
            write_json(path, figures | {method: {name: cell and cell.value for name, cell in cells.items()}})
        return outcome

    def _kept(self, path: Path, find: Callable[[], np.ndarray]) -> np.ndarray:
        if not path.is_file():
            _write_points(path, find())
        return np.asarray(np.load(path)["points"])

    def _rotation(self, name: str) -> RotationNetwork:
        folder, size = self.out / "work" / f"{name}-norm" / "rotation", self.size
        if (folder / MODEL).is_file():
            return load_rotation(folder / MODEL).network.to(make_accelerator().device)
        train = self.protocol(name).train
        training = size.rotation_training
        with self.progress.stage(f"{NAMES[name]}: rotation network", training.epochs) as advance:
            network = train_rotation(
                folder, train.crops, train.dataset.points(), train.dataset.scheme, training, size.rotation, self.seed,
                advance=_epochs(advance, len(train.crops), training.batch_size),
            )  # fmt: skip
        save_rotation(folder / MODEL, RotationModel(network, size.crop, self._about(Detector(name))))
        return network

    def _regressor(self, detector: Detector) -> Regressor:
        folder, size, train = self.folder(detector) / "regression", self.size, self._faces(detector).train
        if (folder / MODEL).is_file():
            return load_regressor(folder / MODEL).network.to(make_accelerator().device)
        labels, training = self.labels(detector), size.regression
        with self._stage(detector, "regression", training.epochs) as advance:
            network = train_regressor(
                folder, train.crops, labels, train.dataset.scheme, training, size.augmentation, size.regressor, self.seed,
                advance=_epochs(advance, len(train.crops), training.batch_size),
            )  # fmt: skip
        save_regressor(folder / MODEL, RegressorModel(network, train.dataset.scheme, size.crop, self._about(detector)))
        return network

    def _fit(self, shapes: ShapeModel, maps: Tensor, sigma: float) -> Tensor:
        return fit_to_heatmaps(shapes, maps, sigma, self.size.shape_fit)

    def _measure(self, detector: Detector) -> dict[str, float]:
        """Each image by each method in turn, so that a busy moment hits all of them alike.

        A method is called twice on an image and the second call is timed: what the method before it left in the caches does
        not count.
        """
        model, shapes, ghcu = self.model(detector), self.shapes(detector), self.unit(detector)
        ghcu.network.cpu().eval()
        methods: dict[str, Callable[[Tensor], object]] = {
            "iterative fit": lambda maps: self._fit(shapes, maps, model.sigma),
            "projection": lambda maps: _project(shapes, maps, model.sigma),
            "GHCU": lambda maps: correct(ghcu, maps, model.sigma, "alone"),
            "gated GHCU": lambda maps: correct(ghcu, maps, model.sigma, "gated"),
            "fused GHCU": lambda maps: correct(ghcu, maps, model.sigma, "fused"),
        }
        crops = self._faces(detector).test.crops
        rows = np.linspace(0, len(crops) - 1, self.timed(detector)).round().astype(int)
        seconds: dict[str, list[float]] = {name: [] for name in methods}
        with self._stage(detector, "milliseconds of the corrections", len(rows)) as advance:
            for row in rows:
                (_, maps), *_ = heatmaps_of(model.network, crops.take(np.array([row])))
                maps = maps.cpu().clone()
                for name, method in methods.items():
                    method(maps)
                    begin = time.perf_counter()
                    method(maps)
                    seconds[name].append(time.perf_counter() - begin)
                advance(1)
        return {name: 1000 * median(values) for name, values in seconds.items()}


class _WatchedJob(Job):
    """A job that also keeps the landmarks of a few training faces after every epoch."""

    def measure(self, network: HeatmapNetwork, trainer: Trainer[HeatmapNetwork], title: str) -> Record:
        """As a job; the landmarks go into the training's folder."""
        crops, epoch = self.train.crops.take(np.arange(min(WATCHED, len(self.train.crops)))), trainer.epoch - 1
        path = trainer.folder / CHECKPOINTS
        before = np.load(path)["points"][:epoch] if epoch else np.empty((0, len(crops), self.scheme.count, 2))
        found = predict(network, crops, self.sigma, self.scheme).points
        _write_points(path, np.concatenate([before, found[None]]))
        return super().measure(network, trainer, title)


def _project(shapes: ShapeModel, maps: Tensor, sigma: float) -> Tensor:
    """The peaks, weighted by their heights, projected on the shape model."""
    decoded = decode_heatmaps(maps, sigma)
    weights = decoded.confidence.double().clamp(min=1e-6).numpy()
    fitted = shapes.project(decoded.points.double().numpy(), weights)
    return torch.from_numpy(fitted.points)


def _epochs(advance: Advance, faces: int, batch_size: int) -> Callable[[int, str], None]:
    """Turns reports of batches into reports of epochs."""
    steps = -(-faces // batch_size)

    def count() -> Iterator[None]:
        while True:
            for _ in range(steps - 1):
                yield
            advance(1)
            yield

    counter = count()
    return lambda done, note: next(counter)


def _write_points(path: Path, points: np.ndarray) -> None:
    if not np.isfinite(points).all():
        raise SemalignError(f"{path}: landmarks are not finite; the training has diverged, lower its learning rate.")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, points=points, allow_pickle=False)
