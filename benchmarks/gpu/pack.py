"""What a machine with a GPU and no network needs, in a folder that git ignores: a data set in one file, and wheels.

    python benchmarks/gpu/pack.py --data 300w --annotators lfpw_annotators.csv
    python benchmarks/gpu/pack.py --wheels 3.12
    python benchmarks/gpu/pack.py --synthetic 200 400 --out synthetic.npz

The first call writes packed/faces.npz, at most 40 MiB: every training and test face as a small picture of the square
that networks see with its margin, the annotations, what people marked in some of them, and folds that keep
near-duplicates together; training faces whose photograph is also a test face are left out. The second fetches, for
the Python version of that machine, the wheels of what Semalign needs there beyond PyTorch, NumPy and OpenCV. The
third packs synthetic training and test faces like those of the demo, with their truth. On the machine:

    python3 -m pip install --no-index --no-deps --target /tmp/site benchmarks/gpu/packed/wheels/*.whl
    export PYTHONPATH=/tmp/site:src
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from faces import CROP, Faces, write_faces
from settings import recipe_tables

from semalign.data.crops import crop_maps, cut, face_boxes
from semalign.data.duplicates import independent_folds, leaky_training_ids
from semalign.data.opening import open_dataset
from semalign.data.samples import Dataset, Sample
from semalign.data.video import read_picture
from semalign.errors import SemalignError
from semalign.evaluation.annotators import read_annotators
from semalign.synthetic import FaceSettings, SynthesisSettings, write_dataset

PACKED = Path(__file__).resolve().parent / "packed"
FACES, WHEELS = PACKED / "faces.npz", PACKED / "wheels"
LARGEST = 40 * 2**20  # bytes
INPUT = 144  # pixels of the packed input square; 300W's crops have some 147
QUALITY = 80  # of WebP: as good as 90 for `default` (3.95 for both on lfpw/testset, 3.93 from the files themselves)
FOLDS = 2
NEEDED = (  # accelerate with what its import touches, and what reading, shapes and model files need
    "accelerate",
    "annotated-types",
    "defusedxml",
    "huggingface_hub",
    "jaxtyping",
    "packaging",
    "pillow",
    "psutil",
    "pydantic",
    "pydantic_core",
    "PyYAML",
    "safetensors",
    "tqdm",
    "typing-inspection",
    "wadler_lindig",
)
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of a data set with 68 landmarks")
    parser.add_argument("--synthetic", type=int, nargs=2, metavar=("TRAIN", "TEST"), help="draw so many faces instead")
    parser.add_argument("--seed", type=int, default=1, help="of synthetic faces")
    parser.add_argument("--quality", type=int, default=QUALITY, help="of the pictures, 1 to 100")
    parser.add_argument("--annotators", type=Path, help="CSV file of LFPW's three annotators")
    parser.add_argument("--out", type=Path, default=FACES, help="the file to write")
    parser.add_argument("--wheels", metavar="PYTHON", help="fetch wheels for this version, such as 3.12")
    options = parser.parse_args()
    if options.data is None and options.synthetic is None and options.wheels is None:
        parser.error("nothing to do; give --data, --synthetic or --wheels.")
    try:
        if options.synthetic is not None:
            write(options.out, synthetic(*options.synthetic, options.seed, options.quality))
        elif options.data is not None:
            write(options.out, packed(options.data, options.annotators, options.quality))
        if options.wheels is not None:
            fetch(options.wheels)
    except SemalignError as error:
        sys.exit(f"error: {error}")


def write(path: Path, faces: Faces) -> None:
    """Write them, unless they are too many to be carried."""
    size = sum(map(len, faces.pictures))
    if size > LARGEST:
        raise SemalignError(f"{path}: would be larger than {LARGEST >> 20} MiB; pack fewer faces.")
    write_faces(path, faces)
    print(f"{path}: {len(faces.ids)} faces, {path.stat().st_size / 2**20:.1f} MiB")


def synthetic(train: int, test: int, seed: int, quality: int = QUALITY) -> Faces:
    """Faces as the demo draws them, with their truth."""
    face = FaceSettings(**recipe_tables("demo")["synthesis"]["face"])
    settings = SynthesisSettings(count=train + test, seed=seed, test_count=test, face=face)
    with tempfile.TemporaryDirectory() as folder:
        return packed(write_dataset(Path(folder) / "faces", settings), quality=quality)


def packed(data: Path, annotators: Path | None = None, quality: int = QUALITY) -> Faces:
    """The faces of a data set, training faces first."""
    dataset = open_dataset(data)
    dataset = dataset.select(exclude=set(leaky_training_ids(dataset)))
    train, test = dataset.select(split="train"), dataset.select(split="test")
    samples = (*train.samples, *test.samples)
    maps, side = crop_maps(face_boxes(samples), CROP, INPUT)
    with ThreadPoolExecutor() as pool:
        pictures = tuple(pool.map(lambda sample, matrix: encoded(sample, matrix, side, quality), samples, maps))
    truth = dataset.truth
    return Faces(
        name=described(dataset),
        scheme=dataset.scheme,
        ids=tuple(sample.id for sample in samples),
        test=np.arange(len(samples)) >= len(train),
        folds=np.concatenate([independent_folds(train, FOLDS, 0), np.full(len(test), -1)]),
        points=np.stack([sample.points for sample in samples]),
        truth=None if truth is None else np.stack([truth[sample.id] for sample in samples]),
        image_to_crop=maps,
        side=side,
        pictures=pictures,
        marks=None if annotators is None else read_annotators(annotators),
    )


def described(dataset: Dataset) -> str:
    """The data set's name and how many faces of which part it holds."""
    counts = (f"{subset} {count}" for subset, count in dataset.subsets().items())
    return f"{dataset.name} ({', '.join(counts)})"


def encoded(sample: Sample, image_to_crop: np.ndarray, side: int, quality: int) -> np.ndarray:
    """A face's crop as a WebP file."""
    crop = cut(read_picture(sample), image_to_crop, side)
    done, data = cv2.imencode(".webp", crop[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise SemalignError(f"{sample.image}: cannot be encoded as WebP; install an OpenCV that writes it.")
    return data.ravel()


def fetch(python: str) -> None:
    """Download the wheels, pinned as in constraints.txt."""
    constraints = Path(__file__).resolve().parents[2] / "constraints.txt"
    pins = dict(line.split("==") for line in constraints.read_text(encoding="utf-8").splitlines() if "==" in line)
    WHEELS.mkdir(parents=True, exist_ok=True)
    for old in WHEELS.glob("*.whl"):
        old.unlink()
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    target = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp", *platforms]
    wanted = [f"{name}=={pins[name]}" for name in NEEDED]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *target, "--dest", str(WHEELS), *wanted]
    if subprocess.run(command, check=False).returncode:
        raise SemalignError(f"{WHEELS}: not all wheels for Python {python} could be fetched; see above.")
    files = sorted(WHEELS.glob("*.whl"))
    print(f"{WHEELS}: {len(files)} wheels, {sum(file.stat().st_size for file in files) / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
