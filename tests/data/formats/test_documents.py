"""Documents as other tools write them: what is read of them, what they are called, and which scheme they have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated import face_points, make_pts

from semalign.data import LabelStore, check_dataset, convert_dataset, open_dataset, rewrite_dataset
from semalign.data.formats import READERS
from semalign.data.opening import find_dataset, scan_dataset
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme, load_scheme, scheme_text

SIZE = (100, 80)
POINTS = face_points(0, 5, SIZE).round(2)
NAMES = ("left eye", "right eye", "nose", "left mouth", "right mouth")


def pictures(root: Path, *names: str) -> Path:
    """Pictures without annotations."""
    make_pts(root, names)
    for path in root.rglob("*.pts"):
        path.unlink()
    return root


def coco(points: np.ndarray = POINTS, **more: Any) -> dict[str, Any]:
    keypoints = [value for x, y in points.tolist() for value in (x, y, 2)]
    return {
        "info": {"description": "NaN is a word, 1.5 a number"},
        "images": [{"id": 7, "file_name": "a.png", "width": 100, "height": 80}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 50, 60], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 3, "keypoints": keypoints, "num_keypoints": len(points)} | more,
        ],
        "categories": [{"id": 3, "name": "pet", "keypoints": list(NAMES)}],
    }


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><job><id>9</id><labels>
    <label><name>pet</name><color>#ffffff</color><type>skeleton</type><attributes></attributes></label>
    {labels}
  </labels></job><dumped>2024-01-01</dumped></meta>
  <image id="0" name="a.png" subset="Validation" width="100" height="80">
    <tag label="good" source="manual"></tag>
    <polygon label="ear" source="manual" occluded="0" points="1.00,2.00;3.00,4.00;5.00,6.00" z_order="0"></polygon>
    <skeleton label="pet" source='manual' z_order="0">
{points}
      <attribute name="mood">5.0 &amp; "calm"</attribute>
    </skeleton>
  </image>
  <image id="1" name="b.png" width="100" height="80"></image>
</annotations>
"""


def cvat(names: tuple[str, ...] = NAMES) -> str:
    labels = "".join(
        f"<label><name>{name}</name><type>points</type><attributes/><parent>pet</parent></label>" for name in names
    )
    rows = [
        f'      <points label=\'{name}\' source="manual" outside="{int(index == 2)}" occluded="{int(index == 1)}" '
        f'points="{x + 0.5:.2f},{y + 0.5:.2f}">\n      </points>'
        for index, (name, (x, y)) in enumerate(zip(names, POINTS.tolist(), strict=True))
    ]
    return CVAT.format(labels=labels, points="\n".join(rows[::-1]))  # CVAT lists them in any order


def test_coco_as_others_write_it(tmp_path: Path) -> None:
    root = pictures(tmp_path / "set/images", "a.png").parent
    (root / "annotations").mkdir()
    path = root / "annotations/person_keypoints_val2017.json"
    path.write_text(json.dumps(coco(track_id=4), indent=1))
    for given in (path, root, root / "annotations", tmp_path):
        dataset = open_dataset(given)
        assert dataset.ids() == ("a.png",) and dataset.samples[0].image == root / "images/a.png"
        assert dataset.scheme == LandmarkScheme("pet", NAMES)
        np.testing.assert_array_equal(dataset.points()[0], POINTS)
        assert (dataset.samples[0].split, dataset.samples[0].track, dataset.samples[0].size) == ("test", "4", SIZE)
        assert "1 annotations without keypoints are passed over." in dataset.notes
    assert check_dataset(path).ok
    done = rewrite_dataset(root, {"a.png": POINTS + [[0.5, 0.0]]}, tmp_path / "out")
    assert done.files == (tmp_path / "out/annotations/person_keypoints_val2017.json",)
    old, new = path.read_text().splitlines(), done.files[0].read_text().splitlines()
    assert sum(a != b for a, b in zip(old, new, strict=True)) == 5
    (root / "annotations/person_keypoints_train2017.json").write_text(json.dumps(coco()))
    with pytest.raises(
        SemalignError, match=r"holds several COCO keypoints files \(.*_train2017.json, .*_val2017.json\); give one"
    ):
        open_dataset(root)
    assert open_dataset(root / "annotations/person_keypoints_train2017.json").samples[0].split == "train"


def test_coco_numbers_of_any_kind(tmp_path: Path) -> None:
    root = pictures(tmp_path, "a.png")
    path = root / "x.json"
    whole = [20, 30.0, 2, 40, 30, 2, 30, 40, 2, 25, 50, 2, 35, 50, 2]
    path.write_text(json.dumps(coco(keypoints=whole)))
    np.testing.assert_array_equal(open_dataset(path).points()[0], np.reshape(whole, (5, 3))[:, :2])
    for bad, said in (("20", "valid number"), (True, "valid number"), (10**400, ""), ([20], "valid number")):
        path.write_text(json.dumps(coco(keypoints=[bad, *whole[1:]])))
        with pytest.raises(SemalignError, match=rf"annotation 1 \(from 0\): .*{said}"):
            open_dataset(path)
    value = coco()
    value["categories"][0]["keypoints"] = [1, 2, 3, 4, 5]
    path.write_text(json.dumps(value))
    with pytest.raises(SemalignError, match=r"category 0 .from 0.: keypoints.0: .*valid string"):
        open_dataset(path)
    path.write_text(json.dumps(coco(keypoints=[])))
    with pytest.raises(SemalignError, match="holds no annotated face"):
        open_dataset(path)


def test_kinds_are_chosen_by_the_scheme(tmp_path: Path) -> None:
    root = pictures(tmp_path, "a.png")
    value = coco()
    value["categories"].append({"id": 4, "name": "hand", "keypoints": ["a", "b", "c"]})
    extra = [number for x, y in POINTS[:3].tolist() for number in (x, y, 2)]
    value["annotations"].append({"id": 5, "image_id": 7, "category_id": 4, "keypoints": extra})
    path = root / "x.json"
    path.write_text(json.dumps(value))
    with pytest.raises(SemalignError, match=r"landmarks of several kinds \(pet \(5\), hand \(3\)\); choose one"):
        open_dataset(path)
    dataset = open_dataset(path, LandmarkScheme("three", ("p", "q", "r")))
    assert len(dataset) == 1 and "1 annotations of other landmarks than the scheme's are left out." in dataset.notes
    np.testing.assert_array_equal(dataset.points()[0], POINTS[:3])


def test_names_of_a_scheme_tell_the_order_and_rewriting_keeps_the_document_s(tmp_path: Path) -> None:
    root = pictures(tmp_path, "a.png")
    own = LandmarkScheme("own", NAMES[::-1])
    path = root / "x.json"
    path.write_text(json.dumps(coco()))
    dataset = open_dataset(path, own)
    np.testing.assert_array_equal(dataset.points()[0], POINTS[::-1])
    new = dataset.points()[0].copy()
    new[0] = (9.5, 8.25)
    rewrite_dataset(path, {"a.png": new}, tmp_path / "new.json", own)
    keypoints = json.loads((tmp_path / "new.json").read_text())["annotations"][1]["keypoints"]
    assert keypoints[-3:] == [9.5, 8.25, 2] and keypoints[:12] == coco()["annotations"][1]["keypoints"][:12]
    with pytest.raises(SemalignError, match="has 5 landmarks a face, the scheme aflw19 19"):
        open_dataset(path, load_scheme("aflw19"))
    aflw = load_scheme("aflw19")
    shuffled = list(np.random.default_rng(0).permutation(aflw.landmarks))
    value = coco(face_points(2, 19, SIZE))
    value["categories"][0]["keypoints"] = shuffled
    path.write_text(json.dumps(value))
    found = open_dataset(path)
    assert found.scheme == aflw
    np.testing.assert_array_equal(found.points()[0, aflw.landmarks.index(shuffled[3])], face_points(2, 19, SIZE)[3])
    value["categories"][0]["keypoints"] = [f"thing {letter}" for letter in "abcdefghijklmnopqrs"]
    path.write_text(json.dumps(value))
    assert any("are called otherwise than those of aflw19" in note for note in open_dataset(path).notes)
    value["categories"][0]["keypoints"] = [str(index) for index in range(1, 20)]
    path.write_text(json.dumps(value))
    assert open_dataset(path).scheme == aflw and not any("otherwise" in note for note in open_dataset(path).notes)


def test_cvat_as_it_exports(tmp_path: Path) -> None:
    root = pictures(tmp_path / "images", "a.png", "b.png").parent
    path = root / "annotations.xml"
    path.write_text(cvat())
    dataset = open_dataset(root)
    assert dataset.scheme == LandmarkScheme("pet", NAMES) and dataset.ids() == ("a.png",)
    wanted = POINTS.copy()
    wanted[2] = np.nan
    np.testing.assert_array_equal(dataset.points()[0], wanted)
    assert dataset.samples[0].visibility.tolist() == [2, 1, 0, 2, 2] and dataset.samples[0].split == "test"
    assert dataset.notes[:2] == (
        "1 tag elements are no landmarks and are passed over.",
        "1 polygon elements are no landmarks and are passed over.",
    )
    new = dataset.points()[0].copy()
    new[0] += (0.0, 0.125)
    rewrite_dataset(root, {"a.png": new}, tmp_path / "out")
    old_text, new_text = cvat(), (tmp_path / "out/annotations.xml").read_text()
    x, y = POINTS[0]
    assert new_text == old_text.replace(f'points="{x + 0.5:.2f},{y + 0.5:.2f}"', f'points="{x + 0.5:.2f},{y + 0.625}"')
    path.write_text(cvat(("5", "3", "1", "2", "4")))
    numbered = open_dataset(root)
    assert numbered.scheme.landmarks == ("1", "2", "3", "4", "5")
    np.testing.assert_array_equal(numbered.points()[0, 0], wanted[2])
    np.testing.assert_array_equal(numbered.points()[0, 4], wanted[0])


def test_cvat_points_one_by_one_and_what_is_no_image_export(tmp_path: Path) -> None:
    root = pictures(tmp_path, "a.png")
    shape = '<points label="{}" occluded="0" points="{:.2f},{:.2f}" z_order="0"{}/>'
    rows = [shape.format(index, x + 0.5, y + 0.5, "") for index, (x, y) in enumerate(POINTS.tolist(), 1)]
    image = '<annotations><image id="0" name="a.png" width="100" height="80">{}</image></annotations>'
    (root / "a.xml").write_text(image.format("".join(rows[::-1])))
    dataset = open_dataset(root / "a.xml")
    np.testing.assert_allclose(dataset.points()[0], POINTS)
    (root / "a.xml").write_text(image.format("".join(rows + rows)))
    with pytest.raises(
        SemalignError, match="two points with the label '1' for one face; group the points of each face"
    ):
        open_dataset(root / "a.xml")
    (root / "a.xml").write_text('<annotations><track id="0"/></annotations>')
    with pytest.raises(SemalignError, match=r"export it from CVAT as 'CVAT for images 1\.1'"):
        open_dataset(root / "a.xml")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/upload/3/0a1b2c3d-a.png", "a.png"),
        ("/data/local-files/?d=deep/a.png", "deep/a.png"),
        ("s3://bucket/key/a.png", "a.png"),
        ("https://example.org/x/a%2Epng?token=1", "a.png"),
        ("deep/a.png", "deep/a.png"),
    ],
)
def test_label_studio_as_it_exports(tmp_path: Path, address: str, name: str) -> None:
    root = pictures(tmp_path, "deep/a.png")
    results = [
        {
            "id": str(index),
            "type": "keypointlabels",
            "original_width": 100,
            "original_height": 80,
            "image_rotation": 0,
            "from_name": "kp",
            "to_name": "image",
            "value": {"x": x + 0.5, "y": (y + 0.5) / 0.8, "width": 0.4, "keypointlabels": [label]},
        }
        for index, (label, (x, y)) in enumerate(zip(NAMES, POINTS.tolist(), strict=True))
    ]
    task = {
        "id": 1,
        "data": {"image": address, "note": "12 e 5"},
        "annotations": [{"result": [], "was_cancelled": True}, {"result": results}],
    }
    path = root / "tasks.json"
    path.write_text(json.dumps([task], indent=2))
    dataset = open_dataset(path)
    assert dataset.ids() == (name,) and dataset.samples[0].image == root / "deep/a.png"
    np.testing.assert_allclose(dataset.points()[0], POINTS, atol=1e-9)
    new = dataset.points()[0].copy()
    new[3] += 1.0
    rewrite_dataset(path, {name: new}, tmp_path / "new.json")
    lines = zip(path.read_text().splitlines(), (tmp_path / "new.json").read_text().splitlines(), strict=True)
    assert sum(a != b for a, b in lines) == 2
    np.testing.assert_allclose(open_dataset(tmp_path / "new.json").points()[0], new, atol=1e-9)


def test_dlib_as_imglab_writes_it(tmp_path: Path) -> None:
    root = pictures(tmp_path, "in/a.png")
    parts = "".join(
        f"<part name='{index:02d}' x='{x:.0f}' y='{y:.0f}'/>" for index, (x, y) in enumerate(POINTS) if index
    )
    text = (
        "<?xml version='1.0' encoding='ISO-8859-1'?>\n<?xml-stylesheet type='text/xsl' href='i.xsl'?>\n<dataset>\n"
        "<name>pets</name>"
        "<comment>Größe</comment><images>"
        "<image file='in\\a.png'><box top='1' left='2' width='90' height='70'><label>pet</label>"
        f"{parts}</box><box top='1' left='2' width='9' height='7' ignore='1'/></image></images></dataset>"
    )
    path = root / "faces.xml"
    path.write_bytes(text.encode("latin-1"))
    dataset = open_dataset(path, LandmarkScheme("pet", NAMES))
    assert dataset.ids() == ("in/a.png",) and dataset.samples[0].box == (1.5, 0.5, 91.5, 70.5)
    assert np.isnan(dataset.points()[0, 0]).all()
    np.testing.assert_array_equal(dataset.points()[0, 1:], np.round(POINTS[1:]))
    done = rewrite_dataset(
        path, {"in/a.png": dataset.points()[0] + 0.7}, tmp_path / "out", LandmarkScheme("pet", NAMES)
    )
    assert done.notes == ("dlib XML holds whole pixels: points moved by up to 0.42 px.",)
    assert "Größe" in done.files[0].read_bytes().decode("latin-1")


def test_labelme_in_folders(tmp_path: Path) -> None:
    root = pictures(tmp_path, "one/a.png", "two/b.png")
    for place, name in (("one", "a"), ("two", "b")):
        shapes = [
            {"label": label, "points": [[x + 0.5, y + 0.5]], "group_id": None, "shape_type": "point", "flags": {}}
            for label, (x, y) in zip(NAMES, POINTS.tolist(), strict=True)
        ]
        shapes.append(
            {"label": "ear", "points": [[1, 2], [3, 4], [5, 6]], "group_id": None, "shape_type": "polygon", "flags": {}}
        )
        document = {
            "version": "5.0.1",
            "flags": {},
            "shapes": shapes,
            "imagePath": f"..\\{place}\\{name}.png",
            "imageData": "12ab",
        }
        (root / place / f"{name}.json").write_text(json.dumps(document, indent=2))
    dataset = open_dataset(root)
    assert dataset.ids() == ("one/a.png", "two/b.png") and dataset.subsets() == {"one": 1, "two": 1}
    np.testing.assert_allclose(dataset.points(), [POINTS, POINTS])
    assert dataset.scheme.landmarks == NAMES
    (root / "two/b.json").write_text('{"shapes": [], "imagePath": 3}')
    with pytest.raises(SemalignError, match=r"b\.json: imagePath: Input should be a valid string"):
        open_dataset(root)
    assert open_dataset(root, keep_going=True).ids() == ("one/a.png",)


def test_tables_of_one_s_own(tmp_path: Path) -> None:
    root = pictures(tmp_path, "a.png")
    path = root / "wide.csv"
    head = ",".join(["file", *(f"{axis}{index}" for index in range(5) for axis in "xy"), "remark"])
    path.write_bytes(
        ("\ufeff" + head + "\r\n" + ",".join(["a.png", *map(str, POINTS.ravel()), '"so, so"']) + "\r\n").encode()
    )
    dataset = open_dataset(path)
    np.testing.assert_array_equal(dataset.points()[0], POINTS)
    assert dataset.notes == ("wide.csv: the columns remark are not read.",)
    rewrite_dataset(path, {"a.png": POINTS + [0.0, 0.5]}, root / "new.csv")
    new = (root / "new.csv").read_bytes()
    assert new.startswith("\ufeff".encode()) and new.endswith(b',"so, so"\r\n')
    np.testing.assert_array_equal(open_dataset(root / "new.csv").points()[0], POINTS + [0.0, 0.5])
    (root / "box.csv").write_text("image,x0,y0,x1,y1\na.png,1,2,3,4\n")
    with pytest.raises(SemalignError, match="no document of a known format"):
        open_dataset(root / "box.csv")
    rows = [f"a.png,{name},{x},{y}" for name, (x, y) in zip(NAMES, POINTS.tolist(), strict=True)]
    (root / "long.csv").write_text("\n".join(["image,landmark,x,y", *rows]))
    assert open_dataset(root / "long.csv").scheme.landmarks == NAMES
    (root / "long.csv").write_text("\n".join(["image,landmark,x,y", *rows, rows[0]]))
    with pytest.raises(SemalignError, match="has landmark 'left eye' twice; number a picture's faces in a column face"):
        open_dataset(root / "long.csv")


def test_label_versions_of_our_own_are_no_data_set(tmp_path: Path) -> None:
    root = make_pts(tmp_path / "set", ("a.png",))
    LabelStore(tmp_path / "labels").start(open_dataset(root))
    with pytest.raises(SemalignError, match="no data set of a known layout"):
        open_dataset(tmp_path / "labels")


def test_pts_files_come_before_documents_beside_them(tmp_path: Path) -> None:
    root = make_pts(tmp_path, ("a.png",))
    (root / "x.json").write_text(json.dumps(coco()))
    dataset = open_dataset(root)
    assert dataset.scheme.name == "ibug68"
    assert dataset.notes == (
        "The .pts files are read, and COCO keypoints beside them is not; give the file itself to read that.",
    )
    assert open_dataset(root / "x.json").scheme.count == 5
    reader, place = find_dataset(root / "x.json", READERS)
    assert (reader.title, place) == ("COCO keypoints", root / "x.json")


def test_a_picture_of_another_size_is_suspicious(tmp_path: Path) -> None:
    root = pictures(tmp_path, "a.png")
    value = coco()
    value["images"][0] |= {"width": 200, "height": 160}
    (root / "x.json").write_text(json.dumps(value))
    ((name, why),) = open_dataset(root / "x.json").suspicious
    assert name == "a.png" and "the picture has 100×80 px where the annotation says 200×160" in why


def test_a_scheme_made_of_names_goes_into_label_versions(tmp_path: Path) -> None:
    assert scheme_text(LandmarkScheme("pet", NAMES)).startswith("{")
    root = pictures(tmp_path, "a.png")
    (root / "x.json").write_text(json.dumps(coco()))
    assert scan_dataset(root / "x.json").scheme == LandmarkScheme("pet", NAMES)


def test_real_points_go_through_every_format(shared_data: Path, tmp_path: Path) -> None:
    """The faces of real video frames, where they are here."""
    root = shared_data / "video_frames"
    if not root.is_dir():
        pytest.skip("video frames are not here")
    before = scan_dataset(root, keep_going=True)
    for to, name in (("coco", "x.json"), ("cvat", "x.xml"), ("csv", "x.csv"), ("parquet", "x.parquet")):
        done = convert_dataset(root, tmp_path / to / name, to, keep_going=True)
        after = scan_dataset(tmp_path / to / name, pictures=False)
        assert len(done.dataset) == len(before)
        np.testing.assert_allclose(after.points(), before.points(), atol=1e-9)
