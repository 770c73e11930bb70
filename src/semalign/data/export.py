"""A label version written back as `.pts` files in the folder layout of its data set, beside copies of the images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from semalign.data.archives import read_bytes
from semalign.data.labels import LabelVersion
from semalign.data.pts import write_pts
from semalign.data.results import DONE, STARTED
from semalign.data.samples import Dataset
from semalign.data.truth import DESCRIPTION, TRUTH
from semalign.errors import SemalignError
from semalign.files import inside, parse_toml, read_json, refuse_occupied, write_bytes, write_json
from semalign.locks import writes_into
from semalign.schemes import LandmarkScheme, load_scheme, scheme_of_text, shipped_schemes

_SAME = ("data", "scheme", "faces")  # what an export must share with the one that it replaces
REMEDY = "repair or delete it"  # of a description that cannot be read


@writes_into("out")
def export_labels(
    version: LabelVersion,
    dataset: Dataset,
    out: str | Path,
    progress: Callable[[int, int], None] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the whole data set into `out` with the labels of `version`, and return `out`.

    Faces that the version has no labels of (test faces, as a rule) keep their annotations. provenance.json, written
    last, says how many of each there are and where the labels came from. An export that was broken off is completed,
    a finished one of the same version kept. With `overwrite` an export of another version of the same data set is
    replaced. The truth of a synthetic data set is copied. `progress` is called with (faces done, faces in all).

    Raises:
        SemalignError: labels of other images or another number of landmarks, a folder that holds something else, an id that
            leads out of the folder, or a file that cannot be read or written.
    """
    out = Path(out)
    labels = labels_of(version, dataset)
    description = _description(version, dataset)
    if _claim(out, description, overwrite):
        return out
    for done, sample in enumerate(dataset.samples, start=1):
        copy = inside(out, sample.id)
        if sample.frame is None:
            _copy(sample.image, copy)
        write_pts(copy.with_suffix(".pts"), labels.get(sample.id, sample.points), absent=True)
        if progress is not None:
            progress(done, len(dataset))
    if dataset.truth is not None:
        for name in (TRUTH, DESCRIPTION):
            _copy(dataset.root / name, out / name)
    write_json(out / DONE, description)
    (out / STARTED).unlink(missing_ok=True)
    return out


def scheme_of_labels(version: LabelVersion, folder: str | Path) -> LandmarkScheme | None:
    """The scheme that labels were made with: the one stored with them, else the one that the recipe of their run names.

    Labels of version 0.1 hold no scheme. If their run does not tell either, it is None where a shipped scheme has as many
    points, which a data set then finds by itself, and points without meaning where none has.
    """
    if text := str(version.provenance.get("scheme", "")):
        return scheme_of_text(text)
    count = version.shape[1]
    try:
        recipe = parse_toml((Path(folder).resolve().parent / "recipe.toml").read_text(encoding="utf-8"))
        scheme = load_scheme(recipe["data"]["scheme"])
        if scheme.count == count:
            return scheme
    except (OSError, ValueError, KeyError, TypeError, SemalignError):
        pass  # labels without a run, or a scheme's file that has gone
    if any(load_scheme(name).count == count for name in shipped_schemes()):
        return None
    return LandmarkScheme(f"{count} points", tuple(f"point_{index}" for index in range(count)))


def labels_of(version: LabelVersion, dataset: Dataset) -> dict[str, np.ndarray]:
    """The labels (n, 2) of each face of the data set that has any, by its id.

    Raises:
        SemalignError: labels of other images or of another number of landmarks.
    """
    if version.shape[1] != dataset.scheme.count:
        raise SemalignError(
            f"{dataset.root}: has {dataset.scheme.count} landmarks a face, "
            f"the label version {version.shape[1]}; give the data set that the labels were made for."
        )
    strange = set(version.ids) - set(dataset.ids())
    if strange:
        raise SemalignError(
            f"{dataset.root}: has no image {min(strange)}, of which there are labels; "
            "give the data set that they were made for."
        )
    return dict(zip(version.ids, version.points, strict=True))


def _description(version: LabelVersion, dataset: Dataset) -> dict[str, Any]:
    return {
        "label_version": version.index,
        "iteration": version.iteration,
        "data": dataset.name,
        "scheme": dataset.scheme.name,
        "faces": len(dataset),
        "faces_with_these_labels": len(version.ids),
        "faces_with_their_annotations": len(dataset) - len(version.ids),
        "labels": dict(version.provenance),
    }


def _claim(out: Path, description: dict[str, Any], overwrite: bool) -> bool:
    """Make the folder ours; True if it already holds this very export, finished."""
    name = next((name for name in (DONE, STARTED) if (out / name).is_file()), None)
    if name is None:
        refuse_occupied(out, "export of labels")
    else:
        before = read_json(out / name, REMEDY)
        if before == description:
            return name == DONE
        if not isinstance(before, dict) or any(before.get(key) != description[key] for key in _SAME):
            raise SemalignError(
                f"{out}: holds the export of another data set; choose another folder or delete it first."
            )
        if not overwrite:
            raise SemalignError(
                f"{out}: holds the export of other labels; give overwrite=True to replace them, or choose another folder."
            )
    write_json(out / STARTED, description)
    (out / DONE).unlink(missing_ok=True)
    return False


def _copy(source: Path, destination: Path) -> None:
    try:
        data = read_bytes(source)
    except OSError as error:
        raise SemalignError(f"{source}: cannot be read ({error.strerror}); restore it and export again.") from error
    write_bytes(destination, data)
