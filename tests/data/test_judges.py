"""Other tools read what we write and find the same points, and what they write we read.

They are the extra `judges`; a test of a tool that is not installed is skipped, which it says. Where they are in an environment
of their own, SEMALIGN_JUDGES names its Python.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated import SCHEMES, draw_pictures, face_points

from semalign.data.formats import FORMATS
from semalign.data.formats.cvat import Cvat
from semalign.data.formats.label_studio import label_config
from semalign.data.opening import scan_dataset
from semalign.data.samples import Dataset, Sample

PYTHON = os.environ.get("SEMALIGN_JUDGES", sys.executable)
SIZE = (640, 480)
ROUNDED = 0.0051  # px, as Datumaro keeps two decimals


def ask(module: str, script: str, *arguments: str | Path) -> Any:
    """What a script in the judges' environment prints as its last line, as JSON; skipped where it lacks the module."""
    found = subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"{module} is not installed: {found.stderr.strip().splitlines()[-1][:120]}")
    words = [PYTHON, "-c", script, *map(str, arguments)]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.strip().splitlines()[-1])


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two faces in one picture and one in another, with boxes, hidden points and one that is absent; the pictures exist."""
    scheme = SCHEMES["ibug68"]
    samples = []
    for row, name in enumerate(("a.png", "b.png", "a.png")):
        points = face_points(row, 68, SIZE).round(3)
        points[7] = np.nan if row == 1 else points[7]
        visible = np.arange(68) % 5 > 0
        samples.append(
            Sample(
                str(row),
                tmp_path / name,
                points,
                "train",
                "",
                "",
                (10.0, 12.5, 400.0, 300.0),
                None,
                visible,
                name=name,
                size=SIZE,
            )
        )
    made = Dataset(tmp_path, "set", scheme, tuple(samples))
    draw_pictures(made, tmp_path)
    return made


def by_name(dataset: Dataset) -> list[Sample]:
    return sorted(dataset.samples, key=lambda sample: sample.name)


DATUMARO = """
import json, sys
from datumaro.components.dataset import Dataset
found = Dataset.import_from(sys.argv[1], sys.argv[2])
labels = found.categories()[next(k for k in found.categories() if k.name == "label")]
print(json.dumps(sorted([
    item.id, ann.type.name, labels[ann.label].name,
    list(map(float, ann.points)) if ann.type.name == "points" else ann.get_bbox(),
    [v.value for v in ann.visibility] if ann.type.name == "points" else [], bool(ann.attributes.get("occluded")),
] for item in found for ann in item.annotations)))
"""


@pytest.mark.slow
def test_datumaro_reads_the_points_of_our_skeletons(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "annotations.xml"
    draw_pictures(dataset, tmp_path / "images")
    FORMATS["cvat"].write(dataset, out)
    rows = [row for row in ask("datumaro", DATUMARO, out, "cvat") if row[1] == "points"]
    assert len(rows) == 3 * 68
    for name in dataset.scheme.landmarks:
        index = dataset.scheme.landmarks.index(name)
        found = sorted((row[0], *row[3], row[5]) for row in rows if row[2] == name)
        wanted = sorted(
            (
                Path(s.name).stem,
                *(s.points[index] + 0.5 if np.isfinite(s.points[index, 0]) else (0.0, 0.0)),
                not s.visible[index] and bool(np.isfinite(s.points[index, 0])),
            )
            for s in dataset.samples
        )
        for one, other in zip(found, wanted, strict=True):
            assert one[0] == other[0] and one[3] == other[3]
            np.testing.assert_allclose(one[1:3], other[1:3], atol=ROUNDED)


@pytest.mark.slow
def test_datumaro_reads_our_shapes_of_points_and_our_boxes(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "annotations.xml"
    draw_pictures(dataset, tmp_path / "images")
    whole = Dataset(
        dataset.root, "set", dataset.scheme, tuple(s for s in dataset.samples if np.isfinite(s.points).all())
    )
    Cvat(shape="points").write(whole, out)
    rows = ask("datumaro", DATUMARO, out, "cvat")
    points = np.array([row[3] for row in rows if row[1] == "points"]).reshape(-1, 68, 2) - 0.5
    order = np.argsort(points[:, 1, 0])
    wanted = np.stack([sample.points for sample in by_name(whole)])
    np.testing.assert_allclose(points[order], wanted[np.argsort(wanted[:, 1, 0])], atol=ROUNDED)
    assert [row[3] for row in rows if row[1] == "bbox"] == [[10.5, 13.0, 390.0, 287.5]] * 2


@pytest.mark.slow
def test_datumaro_reads_our_coco(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "coco/annotations").mkdir(parents=True)
    draw_pictures(dataset, tmp_path / "coco/images/train")
    FORMATS["coco"].write(dataset, tmp_path / "coco/annotations/person_keypoints_train.json")
    rows = [row for row in ask("datumaro", DATUMARO, tmp_path / "coco", "coco") if row[1] == "points"]
    assert len(rows) == 3
    for row in rows:
        points = np.array(row[3]).reshape(68, 2)
        near = [
            s
            for s in dataset.samples
            if Path(s.name).stem == row[0] and np.allclose(np.nan_to_num(s.points), points, atol=ROUNDED)
        ]
        assert len(near) == 1
        visible = near[0].visible
        assert visible is not None
        wanted = np.where(np.isnan(near[0].points[:, 0]), 0, np.where(visible, 2, 1))
        np.testing.assert_array_equal(row[4], wanted)


DATUMARO_WRITES = """
import sys, json
import numpy as np
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.annotation import AnnotationType, Bbox, LabelCategories, Points, PointsCategories
from datumaro.components.media import Image
points, names = json.loads(sys.argv[3]), json.loads(sys.argv[4])
categories = {
    AnnotationType.label: LabelCategories.from_iterable(["face"]),
    AnnotationType.points: PointsCategories.from_iterable([(0, names)]),
}
items = [
    DatasetItem(id="a", subset="train", media=Image.from_file(path=sys.argv[5]), annotations=[
        Points(points, [1] + [2] * (len(points) // 2 - 1), label=0, id=1, group=1),
        Bbox(10.5, 13.0, 390.0, 287.5, label=0, id=1, group=1, attributes={"occluded": False}),
    ], attributes={"id": 1, "frame": 0})
]
Dataset.from_iterable(items, categories=categories, media_type=Image).export(sys.argv[1], sys.argv[2], save_media=True)
print("1")
"""


@pytest.mark.slow
@pytest.mark.parametrize("short", ["coco_person_keypoints", "cvat"])
def test_we_read_what_datumaro_writes(dataset: Dataset, tmp_path: Path, short: str) -> None:
    sample = dataset.samples[0]
    shift = 0.5 if short == "cvat" else 0.0
    values = json.dumps((sample.points + shift).ravel().tolist()), json.dumps(list(dataset.scheme.landmarks))
    ask("datumaro", DATUMARO_WRITES, tmp_path / "out", short, *values, sample.image)
    found = scan_dataset(tmp_path / "out", pictures=True)
    assert found.scheme.name == "ibug68" and len(found) == 1
    np.testing.assert_allclose(found.samples[0].points, sample.points, atol=0.01)  # as Datumaro rounds
    if short == "coco_person_keypoints":
        assert found.samples[0].visibility.tolist() == [1] + [2] * 67
    assert found.samples[0].image.is_file() and found.samples[0].size == SIZE


LABEL_STUDIO = """
import json, sys, warnings
from label_studio_sdk.converter import Converter
converter = Converter(open(sys.argv[2]).read(), project_dir=None, download_resources=False)
converter.convert_to_coco(sys.argv[1], sys.argv[3], is_dir=False)
print(json.dumps(json.load(open(sys.argv[3] + "/result.json"))))
"""


@pytest.mark.slow
def test_label_studio_converts_our_tasks_to_the_same_points(dataset: Dataset, tmp_path: Path) -> None:
    one_each = Dataset(
        dataset.root, "set", dataset.scheme, dataset.samples[:2]
    )  # its converter makes one face of a task
    FORMATS["label-studio"].write(one_each, tmp_path / "tasks.json")
    (tmp_path / "config.xml").write_text(label_config(dataset.scheme.landmarks))
    coco = ask("label_studio_sdk", LABEL_STUDIO, tmp_path / "tasks.json", tmp_path / "config.xml", tmp_path / "coco")
    found = [annotation for annotation in coco["annotations"] if annotation.get("keypoints")]
    assert len(found) == 2
    for sample, annotation in zip(one_each.samples, found, strict=True):
        triples = np.array(annotation["keypoints"]).reshape(68, 3)
        there = np.isfinite(sample.points[:, 0])
        np.testing.assert_array_equal(triples[:, 2] > 0, there)
        np.testing.assert_allclose(
            triples[there, :2], sample.points[there] + 0.5, atol=0.5 + 1e-6
        )  # it rounds to pixels
    boxes = [annotation["bbox"] for annotation in coco["annotations"] if not annotation.get("keypoints")]
    np.testing.assert_allclose(boxes, [[10.5, 13.0, 390.0, 287.5]] * 2, atol=1.0)


LABELME = """
import json, sys
from pathlib import Path
try:
    from labelme._label_file import load_label_file as load
except ImportError:
    from labelme import LabelFile
    def load(path):
        return LabelFile(str(path))
found = []
for path in sorted(Path(sys.argv[1]).rglob("*.json")):
    file = load(path)
    shapes = [[s["label"], s["shape_type"], s["group_id"], s["flags"], s["points"]] for s in file.shapes]
    found.append([str(getattr(file, "image_path", None) or file.imagePath), shapes])
print(json.dumps(found))
"""


@pytest.mark.slow
def test_labelme_loads_our_files(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "labelme"
    FORMATS["labelme"].write(dataset, out)
    draw_pictures(dataset, out)
    files = ask("labelme", LABELME, out)
    assert [Path(name).name for name, _ in files] == ["a.png", "b.png"]
    faces = {}
    for name, shapes in files:
        for label, kind, group, flags, points in shapes:
            if kind == "point":
                faces.setdefault((Path(name).name, group), {})[label] = (
                    *np.subtract(points[0], 0.5),
                    flags["occluded"],
                )
    wanted = by_name(dataset)
    assert len(faces) == len(wanted)
    for face, sample in zip(faces.values(), wanted, strict=True):
        for label, point, seen in zip(dataset.scheme.landmarks, sample.points, sample.visible, strict=True):
            if np.isfinite(point[0]):
                np.testing.assert_allclose(face[label][:2], point, atol=1e-12)
                assert face[label][2] == (not seen)
            else:
                assert label not in face


DLIB = """
import json, os, sys
import dlib
os.chdir(sys.argv[2])
options = dlib.shape_predictor_training_options()
options.tree_depth, options.cascade_depth, options.num_trees_per_cascade_level, options.be_verbose = 1, 1, 1, False
options.oversampling_amount, options.num_test_splits, options.feature_pool_size = 1, 1, 20
dlib.train_shape_predictor(sys.argv[1], sys.argv[3], options)
left, top, right, bottom = json.loads(sys.argv[4])
shape = dlib.shape_predictor(sys.argv[3])(dlib.load_rgb_image("b.png"), dlib.rectangle(left, top, right, bottom))
print(json.dumps([[shape.part(i).x, shape.part(i).y] for i in range(shape.num_parts)]))
"""


@pytest.mark.slow
def test_dlib_learns_one_face_of_our_file_by_heart(dataset: Dataset, tmp_path: Path) -> None:
    """What it is trained on is what its own loader has read; the mean of one face is that face."""
    points = dataset.samples[0].points
    face = Sample("b", tmp_path / "b.png", points, "train", "", box=(9.5, 11.5, 400.5, 300.5), name="b.png", size=SIZE)
    FORMATS["dlib"].write(Dataset(tmp_path, "set", dataset.scheme, (face,)), tmp_path / "faces.xml")
    found = ask("dlib", DLIB, tmp_path / "faces.xml", tmp_path, tmp_path / "model.dat", json.dumps([10, 12, 400, 300]))
    np.testing.assert_allclose(found, np.floor(points + 0.5), atol=1.0)
    np.testing.assert_array_equal(scan_dataset(tmp_path / "faces.xml").samples[0].points, np.floor(points + 0.5))
    assert scan_dataset(tmp_path / "faces.xml").samples[0].box == face.box
