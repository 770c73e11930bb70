"""300W in its official folder layout, complete or in part, and the synthetic data sets that share it.

ROOT/afw/*.jpg + *.pts                           337 faces   train
ROOT/helen/trainset, ROOT/lfpw/trainset         2000, 811    train
ROOT/helen/testset, ROOT/lfpw/testset            330, 224    test, common
ROOT/ibug                                        135         test, challenging
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from semalign.data.export import exported_version
from semalign.data.faults import check_points
from semalign.data.images import image_size
from semalign.data.pts import read_pts
from semalign.data.samples import Dataset, Sample, Split
from semalign.data.truth import read_description, read_truth
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme, load_scheme


@dataclass(frozen=True)
class Part:
    """One folder of the official set."""

    folder: str
    split: Split
    group: str
    count: int  # faces in the official set


OFFICIAL = (
    Part("afw", "train", "", 337),
    Part("helen/trainset", "train", "", 2000),
    Part("lfpw/trainset", "train", "", 811),
    Part("helen/testset", "test", "common", 330),
    Part("lfpw/testset", "test", "common", 224),
    Part("ibug", "test", "challenging", 135),
)
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")  # in either case of letters


def open_300w(root: str | Path, scheme: LandmarkScheme | None = None, keep_going: bool = False) -> Dataset:
    """The data set in the folder `root`, named "300w", or "synthetic" (with its truth) where synthetic.json says so.

    `root` may also be the folder that holds the data set's, if it holds one only, or a folder inside it. Samples come
    by folder, in the order of `OFFICIAL`, then by file name. What the official set has beyond this one is said in
    `notes`. Images are not decoded, only their size is read. `scheme` defaults to ibug68, or to what the synthetic
    set says.

    Raises:
        SemalignError: no such data set or an empty one; and, unless `keep_going` puts them into `skipped`, the first
            bad sample: an image without .pts or the other way round, an unreadable file, a wrong number of points, a
            point that is not finite or far off the image, points that all coincide.
    """
    dataset = scan_300w(root, scheme, keep_going)
    refuse_empty(dataset)
    return dataset


def refuse_empty(dataset: Dataset) -> None:
    """Raise SemalignError for a data set without samples."""
    if not dataset.samples:
        why = "no usable face" if dataset.skipped else "no annotated face"
        raise SemalignError(f"{dataset.root}: holds {why} (.jpg or .png with .pts beside it); choose another folder.")


def scan_300w(root: str | Path, scheme: LandmarkScheme | None = None, keep_going: bool = False) -> Dataset:
    """As `open_300w`, but a data set without any sample is given back, too."""
    given, folder = Path(root), find_root(Path(root))
    description = read_description(folder)
    if scheme is None:
        scheme = load_scheme("ibug68" if description is None else description.scheme)
    samples: list[Sample] = []
    skipped: list[tuple[str, str]] = []
    for part in OFFICIAL:
        for stem, files in annotated_files(folder / part.folder).items():
            try:
                samples.append(read_sample(folder, part, stem, files, scheme))
            except SemalignError as error:
                if not keep_going:
                    raise
                skipped.append((f"{part.folder}/{files[0].name}", str(error)))
    dataset = Dataset(folder, "300w", scheme, tuple(samples), skipped=tuple(skipped))
    inside = folder.resolve() in given.resolve().parents
    notes = (f"{given} is a part of {folder}, all of which is read.",) if inside else ()
    if (version := exported_version(folder)) is not None:
        notes = (*notes, f"The training labels are label version {version}, exported by Semalign.")
    if description is None:
        return replace(dataset, notes=(*notes, *_missing(dataset)))
    plain = tuple(replace(sample, group="") for sample in samples)
    truth = read_truth(folder, scheme.count, [sample.id for sample in samples])
    return replace(dataset, name="synthetic", samples=plain, notes=notes, truth=truth)


def find_root(given: Path) -> Path:
    """The folder that holds the official folders: the given one, its only child that does, or the given one's parent.

    Raises:
        SemalignError: the folder is missing or unreadable, there is none of the official folders, or a choice of them.
    """
    if not os.path.isdir(given):
        what = "is a file, not a folder" if os.path.exists(given) else "there is no such folder"
        raise SemalignError(f"{given}: {what}; give the folder that holds afw, helen, lfpw or ibug.")
    if has_layout(given):
        return given
    children = [Path(entry.path) for entry in _entries(given) if entry.is_dir() and has_layout(Path(entry.path))]
    if len(children) == 1:
        return children[0]
    if children:
        names = ", ".join(child.name for child in children)
        raise SemalignError(f"{given}: holds several data sets ({names}); give the folder of one of them.")
    upright = given.resolve()
    for depth, parent in enumerate(list(upright.parents)[:2], start=1):
        inside = "/".join(upright.parts[-depth:])
        if has_layout(parent) and any(f"{part.folder}/".startswith(f"{inside}/") for part in OFFICIAL):
            return parent
    raise SemalignError(
        f"{given}: holds none of the folders {', '.join(part.folder for part in OFFICIAL)}; give the one that does."
    )


def has_layout(folder: Path) -> bool:
    """Whether the folder holds one of the official folders."""
    return any(os.path.isdir(folder / part.folder) for part in OFFICIAL)  # False for what must not be looked at


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SemalignError(f"{folder}: cannot be read ({error.strerror}); check the folder's permissions.") from error


def annotated_files(folder: Path) -> dict[str, list[Path]]:
    """Images and .pts of a folder by their common stem, in order of the names, without hidden and other files."""
    found: dict[str, list[Path]] = {}
    for entry in _entries(folder):
        stem, ending = os.path.splitext(entry.name)
        if ending.lower() in (*IMAGE_ENDINGS, ".pts") and not entry.name.startswith("."):
            found.setdefault(stem, []).append(folder / entry.name)
    return found


def read_sample(root: Path, part: Part, stem: str, files: list[Path], scheme: LandmarkScheme) -> Sample:
    """The face of an image and its `.pts`, the files of one stem.

    Raises:
        SemalignError: one of them is missing, there are several, or what `open_300w` refuses.
    """
    images = [path for path in files if path.suffix.lower() in IMAGE_ENDINGS]
    annotations = [path for path in files if path.suffix.lower() == ".pts"]
    where = root / part.folder / stem
    if len(images) > 1 or len(annotations) > 1:
        names = ", ".join(path.name for path in files)
        raise SemalignError(
            f"{where}: has several files where one image and one .pts belong ({names}); keep one of each."
        )
    if not annotations:
        raise SemalignError(f"{images[0]}: has no .pts beside it; add {stem}.pts or remove the image.")
    if not images:
        raise SemalignError(f"{annotations[0]}: has no image beside it; add {stem}.jpg or .png, or remove the .pts.")
    image, pts = images[0], annotations[0]
    points = read_pts(pts)
    if len(points) != scheme.count:
        raise SemalignError(
            f"{pts}: holds {len(points)} points where the scheme {scheme.name} has {scheme.count}; "
            "replace the file or choose another scheme."
        )
    check_points(points, image_size(image), pts)
    name = (PurePosixPath(part.folder) / image.name).as_posix()
    return Sample(name, image, points, part.split, part.folder, part.group)


def _missing(dataset: Dataset) -> tuple[str, ...]:
    """Where this set and the official one differ, a sentence for each folder and for each set that is cited."""
    counts = dataset.subsets()
    notes = []
    for part in OFFICIAL:
        have = counts.get(part.folder, 0)
        if have == 0:
            notes.append(f"{part.folder} is missing ({part.count} faces in the official set).")
        elif have != part.count:
            notes.append(f"{part.folder} holds {have} of the official {part.count} faces.")
    sets = (
        ("train", "", "The training set"),
        ("test", "common", "The common test set"),
        ("test", "", "The full test set"),
    )
    for split, group, title in sets:
        chosen = [part for part in OFFICIAL if part.split == split and group in ("", part.group)]
        have, official = sum(counts.get(part.folder, 0) for part in chosen), sum(part.count for part in chosen)
        if 0 < have != official:
            notes.append(f"{title} has {have} of the official {official} faces.")
    return tuple(notes)
