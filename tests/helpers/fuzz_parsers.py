"""Everything that reads a file of a stranger: a valid example of it, how it is made hostile, and what reads it."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from annotated import HAND, draw_pictures, face_points, made, make_pts
from fuzz_mutators import (
    INTEGERS,
    NAMES,
    Mutator,
    by_bytes,
    by_lines,
    by_text,
    by_values,
    changed_value,
    hostile_value,
)
from PIL import Image

from semalign.data import Dataset, convert_dataset, rewrite_dataset, write_pts
from semalign.data.endings import lacks_its_end
from semalign.data.export import export_labels
from semalign.data.formats import FORMATS
from semalign.data.formats.base import Bad, Entry, Reader
from semalign.data.formats.cofw import Cofw
from semalign.data.formats.document import DocumentFormat
from semalign.data.images import image_size, read_image
from semalign.data.labels import LabelStore
from semalign.data.opening import scan_dataset
from semalign.data.pts import read_pts
from semalign.data.video import open_video
from semalign.detect.boxes import BoxFile
from semalign.detect.writers import ResultFolder
from semalign.errors import SemalignError
from semalign.schemes import load_scheme, scheme_toml

FEW = {"cvat": 2.0, "csv": 2.0, "parquet": 0.6, "labelme": 0.6, "label-studio": 0.6}  # weights of those that are read
NAMED = ("coco", "cvat", "label-studio", "labelme", "csv", "parquet")  # formats whose landmarks have names
PLAN = (
    ((100, 80), [(1, True, True, True, True), (2, False, False, True, False)]),
    ((100, 80), [(3, False, True, False, False)]),
)
Files = dict[str, bytes]
# Shares of the inputs: those opened as data sets, while of others only the files are read, and those used for everything.
OPENED = float(os.environ.get("FUZZ_OPENED", "1"))
THOROUGH = float(os.environ.get("FUZZ_THOROUGH", "1"))


@dataclass(frozen=True)
class Parser:
    """What reads a file.

    Attributes:
        name: of it.
        make: writes a valid example into an empty folder.
        read: reads the folder, and writes into another one what a person would have it write.
        hostile: how each file is made hostile, by its name or its ending; others are left alone.
        weight: how many inputs it gets, in those of the others: slow ones get fewer.
        writes: reading changes what is read.
        fixed: gives hostile files beyond what chance would find, by name: which of the files, and its content.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path, Path, Random], None]
    hostile: Mapping[str, Mutator]
    weight: float = 1.0
    writes: bool = False
    fixed: Callable[[], Mapping[str, tuple[str, bytes]]] = dict

    def input(self, rng: Random, files: Files) -> tuple[str, bytes]:
        """One of the files, made hostile."""
        chosen = [(name, how) for name in sorted(files) if (how := self._how(name)) is not None]
        name, how = rng.choice(chosen)
        return name, how(rng, files[name])

    def _how(self, name: str) -> Mutator | None:
        return self.hostile.get(name, self.hostile.get(Path(name).suffix))


REFUSED: list[str] = []  # what was refused of the input that is being read


def _of(file: str, contents: Callable[[], Mapping[str, bytes]]) -> dict[str, tuple[str, bytes]]:
    return {name: (file, data) for name, data in contents().items()}


def small(function: Callable[[], Any]) -> Any:
    """What a function gives, or the SemalignError that it raises."""
    try:
        return function()
    except SemalignError as error:
        REFUSED.append(str(error))
        checked(error)
        return error


# ---- data sets -----------------------------------------------------------------------------------------------------------


def use(dataset: Dataset, out: Path) -> None:
    """What is done with a data set that was read: its labels are exported."""
    ids = dataset.ids()
    if not ids or len(set(ids)) < len(ids):
        return
    store = LabelStore(out / "labels")
    points = dataset.points()
    version = store.append(ids, points, iteration=0, visibility=np.where(np.isnan(points).any(axis=-1), 0, -1))
    export_labels(version, dataset, out / "export", overwrite=True)


def read_set(place: str, reader: Reader | None, folder: Path, out: Path, rng: Random) -> None:
    """Open a data set, or read its files only; of some also: go on at bad faces, write it in another format, and in its own."""
    depth = rng.random()
    path = folder / place if place else folder
    if isinstance(reader, Cofw):
        reader = Cofw(out / "pictures")
    if depth >= OPENED and reader is not None:
        small(lambda: read_files(path, reader, folder / (folder / "changed").read_text()))
        return
    small(lambda: scan_dataset(path, reader=reader))
    if depth >= THOROUGH:
        return
    dataset = small(lambda: scan_dataset(path, reader=reader, keep_going=True, pictures=rng.random() < 0.5))
    if isinstance(dataset, SemalignError):
        checked(dataset)
    else:
        for sample in dataset.samples:
            if not np.isfinite(sample.points).any():
                raise AssertionError("a face without points")
        small(lambda: use(dataset, out / "used"))
        to = rng.choice(list(FORMATS))
        if not isinstance(reader, Cofw):
            small(lambda: convert_dataset(path, out / f"set{FORMATS[to].ending}", to, keep_going=True))
            moved = {sample.id: sample.points + 0.25 for sample in dataset.samples}
            small(lambda: rewrite_dataset(path, moved, out / "again"))
    if isinstance(reader, DocumentFormat):
        reader.holds(path)


def read_files(place: Path, reader: Reader, changed: Path) -> None:
    """What reads the file that was changed; of documents and lists all faces."""
    if changed.suffix in (".pts", ".toml", ".png"):
        {".pts": read_pts, ".toml": load_scheme, ".png": image_size}[changed.suffix](changed)
        return
    reader.choose_scheme(place, None)
    for item in reader.entries(place):
        if isinstance(item, Entry):
            small(item.read)
        elif isinstance(item, Bad):
            checked(item.error)


def checked(error: SemalignError) -> None:
    """What is said must be one sentence that can be printed."""
    text = str(error)
    if "\n" in text or len(text) > 3000 or not text or any(ord(letter) < 32 for letter in text):
        raise AssertionError(f"no sentence: {text[:300]!r} … ({len(text)} letters)")


def make_document(known: DocumentFormat, scheme: str, folder: Path) -> None:
    dataset = made((scheme, tuple(zip(("a.png", "b/c d.png"), PLAN, strict=True))))
    if known.ending:
        known.write(dataset, folder / f"set{known.ending}")
    else:
        known.write(dataset, folder / "set")
    draw_pictures(dataset, folder if known.ending else folder / "set")


def documents() -> list[Parser]:
    """All formats of documents; most inputs are of few landmarks, which are soon read and mostly structure."""
    how: dict[str, Mutator] = {".json": by_values, ".xml": by_text, ".csv": by_text, ".txt": by_text}
    found = []
    for short, known in FORMATS.items():
        if isinstance(known, DocumentFormat):
            place = f"set{known.ending}" if known.ending else ""
            mutators = how | {".parquet": by_columns}
            read = partial(read_set, place, known)
            few = short in NAMED
            found.append(
                Parser(
                    short,
                    partial(make_document, known, "wflw98" if short == "wflw" else "ibug68"),
                    read,
                    mutators,
                    0.1 if few else 0.2,
                    fixed=partial(_of, place or "set/a.json", partial(_bombs, short)),
                )
            )
            if few:
                found.append(
                    Parser(f"{short}-few", partial(make_document, known, "hand"), read, mutators, FEW.get(short, 1.0))
                )
    return found


def _bombs(short: str) -> dict[str, bytes]:
    """Documents that would take time or memory."""
    laughs = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
    head = b"image,landmark,x,y\n"
    if short in ("cvat", "dlib"):
        root = b"annotations" if short == "cvat" else b"dataset"
        inner = b"" if short == "cvat" else b"<images>"
        image = b"image name='a' width='9' height='9'" if short == "cvat" else b"image file='a'"
        return {
            "laughs": b'<!DOCTYPE x [<!ENTITY a0 "ha">' + laughs + b"]><%s>&a11;</%s>" % (root, root),
            "blowup": b'<!DOCTYPE x [<!ENTITY a "%s">]><%s>%s</%s>' % (b"a" * 50_000, root, b"&a;" * 50_000, root),
            "external": b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><%s>&e;</%s>' % (root, root),
            "dtd": b'<!DOCTYPE x SYSTEM "file:///dev/zero"><%s/>' % root,
            "deep": b"<%s>" % root + b"<a>" * 200_000,
            "attributes": b"<%s>%s<%s " % (root, inner, image)
            + b" ".join(b'a%d="1"' % n for n in range(50_000))
            + b"/>",
            "comments": b"<%s>" % root + b"<!--" * 100_000,
            "points": b'<annotations><image name="a"><points label="x" points="'
            + b"1,1;" * 200_000
            + b'"/></image></annotations>',
            "labels": b"<annotations><image name='a'><skeleton label='f'>"
            + b"".join(b"<points label='%s1' points='1,1'/>" % (b"_" * 30_000) for _ in range(2))
            + b"</skeleton></image></annotations>",
        }
    if short in ("coco", "label-studio", "labelme"):
        return {
            "lists": b"[" * 200_000,
            "objects": b'{"images": [], "annotations": [], "categories": {"a":' + b'{"a":' * 100_000,
            "digits": b'{"a": ' + b"9" * 200_000 + b"}",
            "numbers": b'{"images":[{"id":1,"file_name":"a","width":1e9,"height":'
            + b"1" * 4000
            + b'}],"annotations":[]}',
            "faces": b'{"images": [{"id": 1, "file_name": "a.png"}], "categories": [], "annotations": ['
            + b",".join(b'{"image_id": 1, "keypoints": [1, 1, 2, 30, 30, 2, 60, 1, 2]}' for _ in range(300))
            + b"]}",
        }
    if short == "csv":
        return {
            "many": head + b"".join(b"p%d,99998,1,1\n" % n for n in range(20_000)),
            "twice": head + b"".join(b"a,p%d,1,1\n" % (n // 2 if n > 80_000 else n) for n in range(90_000)),
            "beyond": head + b"a,999999999999,1,1\n",
            "quotes": head + b'a,0,"' + b'""' * 500_000,
            "commas": head + b"," * 500_000,
            "names": head + b"".join(b"a,%s%d,1,1\n" % (b"_" * 20_000, n) for n in range(30)),
            "wide": b"image," + b",".join(b"x%d,y%d" % (n, n) for n in range(4000)) + b"\na" + b",1" * 8000,
            "sizes": b"image,landmark,x,y,width,height\na,0,1,1,1e308,1e308\na,1,30,1,1,1\na,2,1,40,1,1\n",
        }
    if short == "hrnet":
        return {"wide": b"image_name,scale,center_w,center_h" + b",a" * 300_000 + b"\n" + b"1," * 300_000}
    if short == "wflw":
        return {"words": b"1 " * 1_000_000, "separators": b"1 \x0b\x0c\x1c\x1d\xc2\x85" * 100_000}
    if short == "parquet":
        return {"empty": b"PAR1" + b"\xff" * 1000 + b"PAR1", "runs": _runs()}
    return {}


def _runs() -> bytes:
    """A Parquet file of a few kilobytes with millions of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 2_000_000
    columns = {
        "image": pa.array(np.full(rows, "a", object), pa.string()),
        "landmark": pa.array(np.zeros(rows, np.int32)),
    }
    columns |= {"x": pa.array(np.ones(rows)), "y": pa.array(np.ones(rows))}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()


def by_columns(rng: Random, data: bytes) -> bytes:
    """A Parquet file with other bytes, or with columns that were left out, called otherwise, or of other types and values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if rng.random() < 0.3:
        return by_bytes(rng, data)
    table = pq.read_table(io.BytesIO(data))
    for _ in range(rng.choice((1, 1, 2))):
        index, kind = rng.randrange(table.num_columns), rng.randrange(8)
        name, column = table.schema.names[index], table.column(index)
        if kind == 0 and table.num_columns > 1:
            table = table.remove_column(index)
        elif kind == 1:
            table = table.append_column(rng.choice((*table.schema.names, "a", "")), column)
        elif kind == 2:
            table = table.slice(0, rng.randrange(len(table) + 1))
        elif kind == 3:
            table = pa.concat_tables([table] * rng.choice((2, 3)))
        elif kind == 4:
            value = rng.choice((b"semalign", b"scheme", b"pandas", b"ARROW:schema"))
            table = table.replace_schema_metadata({value: rng.choice((b"", b"{", b"[]", b"null", b"\xff", b"1e999"))})
        else:
            others = other_column(rng, column, kind)
            table = table.set_column(index, name, others)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def other_column(rng: Random, column: Any, kind: int) -> Any:
    """A column of as many rows, of hostile numbers (5), of the same values elsewhere or missing (6), or of another type (7)."""
    import pyarrow as pa

    values = column.to_pylist()
    rows = len(values)
    if kind == 5:
        return pa.array([hostile_number(rng) for _ in values], rng.choice((pa.float64(), pa.float32())))
    if kind == 6:
        return pa.array([rng.choice(values) if rng.random() < 0.9 else None for _ in values], column.type)
    return rng.choice(
        (
            pa.array([rng.choice(NAMES).encode("utf-8", "replace").decode() for _ in values], pa.string()),
            pa.array([rng.choice((0, -1, 1, 2**31 - 1, 10**9)) for _ in values], pa.int64()),
            pa.array([rng.randbytes(4) for _ in values], pa.binary()),
            pa.array([[1]] * rows),
            pa.array([{"a": 1}] * rows),
            pa.nulls(rows),
            pa.array([True] * rows),
            pa.array(list(range(rows)), pa.timestamp("us")),
            pa.array([None if index else 1.5 for index in range(rows)], pa.float16()),
            pa.array([str(value) for value in values], pa.large_string()).dictionary_encode(),
        )
    )


def hostile_number(rng: Random) -> float:
    """A number that is none, or too large, or another one."""
    return float(rng.choice((0, -1, 1e308, -1e308, float("nan"), float("inf"), 1e-320, 1.5, 40, 60, 1e9)))


def make_plain(folder: Path) -> None:
    make_pts(folder, ("a.png", "test/b.png"))
    (folder / "scheme.toml").write_text(scheme_toml(load_scheme("ibug68")))
    (folder / "provenance.json").write_text('{"label_version": 3, "made_by": "semalign"}')


def make_few(folder: Path) -> None:
    """Pictures with points of five landmarks."""
    for seed, name in enumerate(("a.png", "test/b.png")):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (100, 80)).save(path)
        write_pts(path.with_suffix(".pts"), face_points(seed, HAND.count, (100, 80)).round(3))
    (folder / "scheme.toml").write_text(scheme_toml(HAND))


def make_w300(folder: Path) -> None:
    make_pts(folder / "afw", ("a.png",), absent=False)


def make_synthetic(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    make_pts(folder / "afw", ("a.png",), absent=False)
    (folder / "synthetic.json").write_text(json.dumps({"scheme": "ibug68", "train": 1, "seed": 3}))
    points = read_pts(folder / "afw/a.pts")
    columns = {"image": ["afw/a.png"] * 68, "landmark": list(range(68)), "x": points[:, 0], "y": points[:, 1]}
    pq.write_table(pa.table(columns | {"visible": [True] * 68}), folder / "truth.parquet")


@cache
def clip() -> bytes:
    """A short video."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        writer = cv2.VideoWriter(f"{folder}/a.avi", cv2.VideoWriter.fourcc(*"MJPG"), 25, (100, 80))
        for level in range(4):
            writer.write(np.full((80, 100, 3), 40 * level, np.uint8))
        writer.release()
        return Path(folder, "a.avi").read_bytes()


def make_vw300(folder: Path) -> None:
    (folder / "001/annot").mkdir(parents=True)
    (folder / "001/vid.avi").write_bytes(clip())
    for frame in (1, 2):
        write_pts(folder / f"001/annot/{frame:06d}.pts", face_points(frame, 68, (100, 80)))


def make_wflw(folder: Path) -> None:
    dataset = made(("wflw98", tuple(zip(("a.png", "b/c d.png"), PLAN, strict=True))))
    FORMATS["wflw"].write(dataset, folder / "list.txt")
    lists = folder / "WFLW_annotations/list_98pt_rect_attr_train_test"
    lists.mkdir(parents=True)
    for split in ("train", "test"):
        shutil.copy(folder / "list.txt", lists / f"list_98pt_rect_attr_{split}.txt")
    (folder / "list.txt").unlink()
    draw_pictures(dataset, folder / "WFLW_images")


def matlab(content: Mapping[str, Any]) -> bytes:
    """A file of MATLAB 5."""
    import scipy.io

    sink = io.BytesIO()
    scipy.io.savemat(sink, dict(content))
    return sink.getvalue()


def aflw_arrays() -> dict[str, Any]:
    names = np.empty((3, 1), dtype=object)
    names[:, 0] = ["a.png", "b/c d.png", "a.png"]
    points = [face_points(seed, 19, (100, 80)).T.ravel() for seed in range(3)]
    return {
        "nameList": names,
        "data": np.array(points),
        "bbox": np.array([(10.0, 60.0, 20.0, 70.0)] * 3),
        "mask_new": np.ones((3, 19)),
        "ra": np.array([[3.0, 1.0, 2.0]]),
    }


def make_aflw(folder: Path) -> None:
    (folder / "AFLWinfo_release.mat").write_bytes(matlab(aflw_arrays()))
    (folder / "synthetic.json").write_text(json.dumps({"scheme": "aflw19", "train": 2}))
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = aflw_arrays()
    rows = [
        (f"flickr/{Path(str(name)).with_suffix('')}-{row:05d}.png", index, x, y)
        for row, (name, own) in enumerate(zip(arrays["nameList"].ravel(), arrays["data"], strict=True))
        for index, (x, y) in enumerate(own.reshape(2, 19).T.tolist())
    ]
    columns = dict(zip(("image", "landmark", "x", "y"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), folder / "truth.parquet")
    for name in ("a.png", "b/c d.png"):
        path = folder / "flickr" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (100, 80)).save(path)


def by_arrays(rng: Random, data: bytes) -> bytes:
    """A MATLAB file with other arrays in it."""
    if rng.random() < 0.3:
        return by_bytes(rng, data)
    content = aflw_arrays()
    name = rng.choice(list(content))
    kind = rng.randrange(6)
    if name == "nameList" and kind < 4:
        value = rng.choice((*NAMES, *NAMES, np.zeros(3), "", np.empty((0, 0)), 7))
        content[name][rng.randrange(3), 0] = (
            value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        )
    else:
        content[name] = other_array(rng, content[name])
    return matlab({key: value for key, value in content.items() if value is not None})


def other_array(rng: Random, array: np.ndarray) -> Any:
    """An array of another shape, type or content, or none."""
    kind = rng.randrange(9)
    if kind == 0:
        return None
    if kind == 1:
        return (
            array.astype(rng.choice((np.complex128, np.int8, np.uint64, np.float16, bool)))
            if array.dtype != object
            else 1
        )
    if kind == 2:
        return array[: rng.randrange(len(array) + 1)] if array.ndim else array
    if kind == 3:
        return np.zeros(rng.choice(((0,), (1,), (3, 3), (0, 5), (1, 1, 1), (100, 100))))
    if kind == 4:
        return rng.choice(("text", 3.5, np.array(["a", "b"]), np.array([[1j]])))
    if kind == 5:
        return array.T
    if array.dtype == object or not array.size:
        return np.nan
    changed = array.astype(np.float64)
    for _ in range(rng.randint(1, 5)):
        changed.ravel()[rng.randrange(array.size)] = hostile_number(rng)
    return changed


def make_cofw(folder: Path) -> None:
    (folder / "COFW_test_color.mat").write_bytes(hdf5())


def hdf5(rng: Random | None = None) -> bytes:
    """A file of COFW, or one with other arrays in it."""
    import h5py

    sink = io.BytesIO()
    with h5py.File(sink, "w") as file:
        cells = []
        for index in range(2):
            picture: Any = np.zeros((3, 30, 20), np.uint8) if index else np.zeros((30, 20), np.uint8)
            if rng is not None and rng.random() < 0.4:
                picture = other_array(rng, picture.astype(np.float64))
                picture = np.zeros(1) if picture is None or isinstance(picture, str) else np.asarray(picture)
                picture = picture if picture.dtype.kind in "fiub" else np.zeros(2)
            cells.append(file.create_dataset(f"cell{index}", data=picture).ref)
        points = np.stack([np.concatenate([*face_points(seed, 29, (20, 20)).T + 1, np.zeros(29)]) for seed in range(2)])
        arrays: dict[str, Any] = {"phisT": points.T, "bboxesT": np.array([[3.0, 3, 10, 10]] * 2).T}
        arrays["IsT"] = np.array([cells], dtype=h5py.ref_dtype)
        if rng is not None:
            name = rng.choice(list(arrays))
            if name == "IsT":
                arrays[name] = rng.choice((np.zeros(2), np.array([cells[0]], dtype=h5py.ref_dtype), np.arange(3)))
            else:
                arrays[name] = other_array(rng, arrays[name])
        for name, value in arrays.items():
            if value is None or (isinstance(value, np.ndarray) and value.dtype.kind in "US"):
                continue
            if name == "IsT" and isinstance(value, np.ndarray) and value.dtype == object:
                file.create_dataset(name, data=value, dtype=h5py.ref_dtype)
            elif rng is not None and rng.random() < 0.05:
                file.create_dataset(name, shape=(10**9, 87), dtype="f8", chunks=(1000, 87))
            elif rng is not None and rng.random() < 0.05:
                file[name] = h5py.ExternalLink("/etc/passwd", "/a")
            elif rng is not None and rng.random() < 0.05:
                file[name] = h5py.SoftLink("/" + name)
            else:
                file.create_dataset(name, data=value)
    return sink.getvalue()


def by_hdf5(rng: Random, data: bytes) -> bytes:
    """A file of MATLAB 7.3 with other arrays in it, or other bytes."""
    return by_bytes(rng, data) if rng.random() < 0.4 else hdf5(rng)


def sets() -> list[Parser]:
    """Data sets in folders."""
    of = {type(reader).__name__: reader for reader in _readers()}
    pictures: dict[str, Mutator] = {".pts": by_text, ".png": by_bytes, ".toml": by_text, ".json": by_values}
    many = b"version: 1\nn_points: %d\n{\n%s}\n"
    pts = {
        "count": many % (10**9, b"1 1\n"),
        "points": many % (200_000, b"1 1\n" * 200_000),
        "spaces": b"version: 1\n" + b" " * 200_000 + b"n_points: 1",
        "letters": b"version: " + b"a" * 200_000,
        "braces": b"version: 1\nn_points: 1\n" + b"{" * 200_000,
        "digits": b"version: 1\nn_points: " + b"9" * 200_000 + b"\n{\n1 1\n}",
        "numbers": many % (3, b"1e308 1e308\n-1e308 -1e308\n1e-320 5\n"),
    }
    tars = {
        "size": _tar_head(b"a.png", b"%011o\0" % (8**11 - 1)),
        "below 0": _tar_head(b"a.png", b"\xff" * 12) * 3,
        "huge": _tar_head(b"a.png", b"\x80" + b"\x7f" * 11) * 3,
        "long names": _tar_head(b"a.png", b"%011o\0" % 0, b"L") * 3000,
        "extended": _tar_head(b"a.png", b"%011o\0" % (8**11 - 1), b"x") * 3,
        "out": _tar_head(b"../../a.png", b"%011o\0" % 0) + bytes(1024),
        "link": _tar_head(b"a.png", b"%011o\0" % 0, b"2") + bytes(1024),
        "many": _tar_head(b"a.png", b"%011o\0" % 0) * 20_000 + bytes(1024),
        "compressed": b"\x1f\x8b" + bytes(600),
    }
    return [
        Parser(
            "pts", make_plain, partial(read_set, "", of["Plain"]), pictures, 0.1,
            fixed=partial(_of, "a.pts", lambda: pts),
        ),
        Parser("pts-few", make_few, partial(read_set, "", of["Plain"]), pictures, 3.0),
        Parser(
            "tar", make_tar, partial(read_set, "a.tar", of["Tar"]), {".tar": by_bytes}, 0.4,
            fixed=partial(_of, "a.tar", lambda: tars),
        ),
        Parser("300w", make_w300, partial(read_set, "", of["W300"]), {".pts": by_text}, 3.0),
        Parser(
            "synthetic", make_synthetic, partial(read_set, "", None), {".json": by_values, "truth.parquet": by_columns}, 0.2
        ),
        Parser("300vw", make_vw300, partial(read_set, "", of["Vw300"]), {".pts": by_text, ".avi": by_bytes}, 0.2),
        Parser("wflw-folder", make_wflw, partial(read_set, "", of["Wflw"]), {".txt": by_text}, 0.4),
        Parser(
            "aflw", make_aflw, partial(read_set, "", of["Aflw"]),
            {".mat": by_arrays, ".json": by_values, "truth.parquet": by_columns}, 0.4,
        ),
        Parser("cofw", make_cofw, partial(read_set, "", of["Cofw"]), {".mat": by_hdf5}, 0.3),
    ]  # fmt: skip


def make_tar(folder: Path) -> None:
    """An archive of what `make_plain` makes."""
    with TemporaryDirectory() as place, tarfile.open(folder / "a.tar", "w") as tar:
        make_plain(Path(place))
        for path in sorted(Path(place).rglob("*")):
            tar.add(path, path.relative_to(place).as_posix(), recursive=False)


def _tar_head(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """A head of a tar archive with a right checksum."""
    head = bytearray(512)
    for at, value in ((0, name), (100, b"0000644\0"), (124, size), (148, b" " * 8), (156, kind), (257, b"ustar\00000")):
        head[at : at + len(value)] = value
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def _readers() -> Sequence[Reader]:
    from semalign.data.formats import READERS

    return READERS


# ---- pictures and videos -------------------------------------------------------------------------------------------------

KINDS = {
    **{"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "gif": "GIF", "tif": "TIFF", "webp": "WEBP", "ppm": "PPM"},
    **{"jp2": "JPEG2000", "avif": "AVIF", "tga": "TGA", "pcx": "PCX", "sgi": "SGI", "ico": "ICO"},
}


def make_pictures(folder: Path) -> None:
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)).convert("RGB")
    exif = image.getexif()
    exif[0x0112] = 6
    for ending, kind in KINDS.items():
        options = {"exif": exif} if ending in ("jpg", "png", "webp") else {}
        image.save(folder / f"a.{ending}", kind, **options)
    image.save(folder / "progressive.jpg", progressive=True)
    Image.fromarray(rng.integers(0, 2**16, (20, 30), np.uint16)).save(folder / "deep.png")
    image.convert("P").save(folder / "palette.png", transparency=3)
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.save(folder / "packed.tif", compression="tiff_lzw")
    cv2.imwrite(str(folder / "deep.tif"), rng.integers(0, 2**16, (20, 30, 3), np.uint16))


def read_pictures(folder: Path, out: Path, rng: Random) -> None:
    """Every use of a picture; only the changed one is read."""
    path = folder / (folder / "changed").read_text()
    lacks_its_end(path)
    for what in (lambda: image_size(path), lambda: read_image(path, rng.choice((1, 4))), lambda: read_image(path)):
        found = small(what)
        if isinstance(found, SemalignError):
            checked(found)


def pictures() -> list[Parser]:
    """Pictures and videos."""
    names = [*(f".{ending}" for ending in KINDS)]
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n{} loop\n"
    return [
        Parser(
            "pictures", make_pictures, read_pictures, dict.fromkeys(names, by_bytes), 4.0,
            fixed=lambda: {
                "postscript": ("a.png", postscript),
                "svg": ("a.png", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'),
                "png": ("a.png", _png_of(60_000, 60_000)),
                "png-rows": ("a.png", _png_of(2**31 - 1, 1)),
                "ppm": ("a.ppm", b"P6 100000 100000 255\n"),
                "ppm-digits": ("a.ppm", b"P6 " + b"9" * 5000),
                "pbm-text": ("a.ppm", b"P1 13000 13000\n"),
                "gif": ("a.gif", b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02L\x01\x00;"),
                "bmp": ("a.bmp", _bmp_of(100_000, 100_000)),
                "tiff": ("a.tif", _tiff_of(60_000, 60_000)),
                "deep-tiff": ("a.tif", _tiff_of(30_000, 30_000, 16)),
                "tiff-circle": ("a.tif", b"II*\0\x08\0\0\0\0\0\x08\0\0\0"),
            },
        ),
        Parser(
            "videos", make_vw300,
            lambda folder, out, rng: _see(folder / "001/vid.avi"), {".avi": by_bytes}, 0.5,
            fixed=lambda: {
                "playlist": ("001/vid.avi", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
                "network": ("001/vid.avi", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"),
                "concat": ("001/vid.avi", b"ffconcat version 1.0\nfile /etc/passwd\n"),
                "text": ("001/vid.avi", b"hello " * 1000),
            },
        ),
    ]  # fmt: skip


def _see(path: Path) -> None:
    video = open_video(path)
    for number, _ in video.numbered(0, 6):
        if number > 5:
            break


def _png_of(width: int, height: int) -> bytes:
    import struct
    import zlib

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1_000_000))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _bmp_of(width: int, height: int) -> bytes:
    import struct

    return (
        b"BM"
        + struct.pack("<IHHI", 0, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    )


def _tiff_of(width: int, height: int, bits: int = 8) -> bytes:
    import struct

    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
    ]
    entries += [(277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, 100)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(100)


# ---- settings, boxes, results --------------------------------------------------------------------------------------------


def make_scheme(folder: Path) -> None:
    (folder / "own.toml").write_text(scheme_toml(load_scheme("ibug68")))


def read_scheme(folder: Path, out: Path, rng: Random) -> None:
    load_scheme(folder / "own.toml")


def make_boxes(folder: Path) -> None:
    (folder / "b.csv").write_text("image,frame,x0,y0,x1,y1\na.png,0,1,2,30,40\nb.avi,3,1,2,30,40\n")
    (folder / "b.json").write_text(json.dumps({"a.png": [[1, 2, 30, 40]], "b.avi": {"3": [[1, 2, 30, 40]]}}))
    image = {"id": 1, "file_name": "a.png", "frame": 0}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40]}
    coco = {"images": [image], "annotations": [annotation], "categories": [{"id": 1, "name": "face"}]}
    (folder / "coco.json").write_text(json.dumps(coco))


def read_boxes(folder: Path, out: Path, rng: Random) -> None:
    path = folder / (folder / "changed").read_text()
    found = BoxFile(path, rng.choice((None, "xyxy", "xywh", "cxcywh")))
    found.expect(["a.png", "b/a.png"])
    for name in ("a.png", "b.avi"):
        small(lambda name=name: found.of(name))


SCHEME3 = ("red", "green", "blue")


def make_results(folder: Path) -> None:
    from semalign.detect import Face
    from semalign.detect.finding import Finding
    from semalign.schemes import LandmarkScheme

    scheme = LandmarkScheme("dots", SCHEME3)
    picture = np.full((48, 65, 3), 90, np.uint8)
    from pathlib import PurePosixPath

    formats = ["pts", "jsonl", "csv"]
    with ResultFolder(folder / "done", formats, scheme, {"model": "m"}) as results:
        for name, frame in (("a.jpg", None), ("b/c.jpg", None), ("v.avi", 0), ("v.avi", 1)):
            face = Face(np.full((3, 2), 20.0), np.full(3, 0.5), scheme, None if frame is None else 1)
            time = None if frame is None else frame / 25
            stem = PurePosixPath(name).with_suffix("")
            results.add(Finding(name, stem, (65, 48), [face], frame, time), picture)
        results.end_video("v.avi")
    shutil.copytree(folder / "done", folder / "going")
    (folder / "going/landmarks.json").unlink()
    for name in ("secret.pts", "secret.png", "secret.jpg"):
        (folder / name).write_text("must stay")


def read_results(folder: Path, out: Path, rng: Random) -> None:
    """Continue results, and replace them."""
    from semalign.schemes import LandmarkScheme

    scheme = LandmarkScheme("dots", SCHEME3)
    overwrite = rng.random() < 0.5
    for name in ("done", "going"):

        def go(name: str = name) -> None:
            formats = ["pts", "jsonl", "csv"]
            with ResultFolder(
                folder / name, formats, scheme, {"model": "m"}, resume=not overwrite, overwrite=overwrite
            ):
                pass

        found = small(go)
        if isinstance(found, SemalignError):
            checked(found)
    if not all((folder / name).is_file() for name in ("secret.pts", "secret.png", "secret.jpg")):
        raise AssertionError("a file beside the results was deleted")


def read_annotators_file(folder: Path, out: Path, rng: Random) -> None:
    from semalign.evaluation.annotators import read_annotators

    read_annotators(folder / "marks.csv")


def make_annotators(folder: Path) -> None:
    points = sorted([*range(29)])
    head = ["file", "annotator", *(f"{axis}{point}" for point in points for axis in "xy")]
    rows = [
        [name, str(worker), *(f"{value * worker:.1f}" for value in range(1, 59))]
        for name in "ab"
        for worker in (1, 2, 3)
    ]
    (folder / "marks.csv").write_text("\n".join(",".join(row) for row in [head, *rows]) + "\n")


def settings() -> list[Parser]:
    """Schemes, boxes, results and marks; nothing of it needs PyTorch."""
    deep = {"lists": "a = " + "[" * 100_000, "tables": "[" + "a." * 100_000 + "a]", "keys": "a." * 100_000 + "a = 1"}
    numbers = {"number": 'name = "a"\nlandmarks = ["a", "b"]\npairs = [[0, ' + "9" * 4000 + "]]"}
    many = {"many": 'name = "a"\nlandmarks = [' + ",".join(f'"p{n}"' for n in range(30_000)) + "]\nstrong = [40000]"}
    unknown = {
        "unknown": 'name = "a"\nlandmarks = ['
        + ",".join(f'"{"p" * 50}{n}"' for n in range(20_000))
        + ']\nstrong = ["'
        + "p" * 3000
        + '"]'
    }
    toml = {name: text.encode() for name, text in (deep | numbers | many | unknown).items()}
    return [
        Parser("scheme-few", lambda folder: (folder / "own.toml").write_text(scheme_toml(HAND)) and None, read_scheme,
               {".toml": by_text}, 3.0),
        Parser("scheme", make_scheme, read_scheme, {".toml": by_text}, 0.1,
               fixed=partial(_of, "own.toml", lambda: toml)),
        Parser("boxes", make_boxes, read_boxes, {".csv": by_text, ".json": by_values}, 4.0,
               fixed=lambda: {"field": ("b.csv", b"image,x0,y0,x1,y1\n" + b"a" * 200_000 + b",1,2,30,40\n"),
                      "deep": ("b.json", b"[" * 200_000), "digits": ("b.json", b'{"a": ' + b"9" * 9000 + b"}")}),
        Parser("results", make_results, read_results, {".json": by_lines, ".jsonl": by_lines}, 0.3, True,
               fixed=lambda: {"deep": ("going/landmarks.jsonl", b"[" * 200_000 + b"\n")}),
        Parser("annotators", make_annotators, read_annotators_file, {".csv": by_text}, 3.0),
    ]  # fmt: skip


# ---- audits --------------------------------------------------------------------------------------------------------------


def make_audit(folder: Path) -> None:
    from semalign.auditing import Audit, Decisions, write_audit
    from semalign.auditing.decisions import Decision
    from semalign.schemes import LandmarkScheme

    rng = np.random.default_rng(3)
    points = rng.uniform(10, 90, (3, 5, 2))
    scheme = LandmarkScheme("dots", tuple("abcde"))
    audit = Audit(
        ids=("a.png", "b.png", "c/d.png"),
        files=tuple(str(folder / name) for name in ("a.png", "b.png", "c/d.png")),
        frames=np.full(3, -1, np.int32),
        scheme=scheme,
        annotations=points,
        proposals=points + 1.0,
        spread=np.ones((3, 5, 2)),
        face_probability=np.array([0.1, 0.9, 0.5]),
        face_kind=np.array([-1, 3, 1], np.int8),
        point_probability=rng.uniform(0, 1, (3, 5)),
        point_kind=np.zeros((3, 5), np.int8),
        about={"data": str(folder)},
        odds=np.zeros(3),
    )
    write_audit(audit, folder)
    decisions = Decisions(folder, audit.ids, 5)
    decisions.decide([Decision(0, None, "accept"), Decision(1, 2, "move", 3.0, 4.0)], "ann")
    decisions.decide([Decision(1, 3, "reject"), Decision(2, 0, "flag")], "bob")
    decisions.undo("bob")
    decisions.close()
    with sqlite3.connect(folder / "decisions.sqlite") as file:
        file.execute("PRAGMA journal_mode = DELETE")
    file.close()


def read_audit_folder(folder: Path, out: Path, rng: Random) -> None:
    """An audit, what people decided about it, the page's index of it, and the changes that result."""
    from semalign.auditing import Decisions, read_audit
    from semalign.auditing.accepting import changes, write_changes

    audit = small(lambda: read_audit(folder))
    ids, count = (
        (("a.png", "b.png", "c/d.png"), 5) if isinstance(audit, SemalignError) else (audit.ids, audit.scheme.count)
    )
    if not isinstance(audit, SemalignError):
        small(lambda: list(audit.findings()))
        small(lambda: write_changes(out / "changes.csv", changes(audit, rng.choice(("auto", "all")))))
        small(lambda: write_changes(out / "reviewed.csv", changes(audit, "reviewed", folder=folder)))

    def decide() -> None:
        decisions = Decisions(folder, ids, count)
        try:
            list(decisions.history())
            decisions.people()
            decisions.standing.verdicts()
            decisions.undo("ann")
        finally:
            decisions.close()

    small(decide)


def by_sql(rng: Random, data: bytes) -> bytes:
    """A database with other values or tables, or other bytes."""
    if rng.random() < 0.4:
        return by_bytes(rng, data)
    file = sqlite3.connect(":memory:")
    file.deserialize(data)
    table = rng.choice(("actions", "images", "decisions", "decisions"))
    columns = {
        "actions": ("number", "who", "at", "undoes"),
        "images": ("face", "image"),
        "decisions": ("number", "action", "face", "landmark", "verdict", "x", "y"),
    }[table]
    values: tuple[Any, ...] = (
        None,
        "",
        "a",
        b"\xff\0",
        -1,
        -2,
        -(2**63),
        2**63 - 1,
        1e308,
        float("inf"),
        3,
        4,
        5,
        99,
        "move",
    )
    for _ in range(rng.randint(1, 3)):
        column = rng.choice(columns)
        statement = rng.choice(
            (
                *(
                    f"UPDATE {table} SET {column} = ? WHERE rowid = (SELECT rowid FROM {table} ORDER BY random() LIMIT 1)",
                )
                * 6,
                f"DELETE FROM {table}",
                f"DROP TABLE {table}",
                f"ALTER TABLE {table} RENAME TO other",
                f"DROP TABLE {table}; CREATE TABLE {table}({column} BLOB)",
                f"DROP TABLE {table}; CREATE TABLE {table}({', '.join(columns)}); INSERT INTO {table}({column}) VALUES(x'ff')",
                f"DROP TABLE {table}; CREATE VIEW {table} AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                f"SELECT {', '.join(f'i AS {name}' for name in columns)} FROM n",
                f"CREATE TRIGGER t AFTER INSERT ON {table} BEGIN DELETE FROM images; END",
                f"PRAGMA user_version = {rng.choice((0, 2, -1))}",
                "PRAGMA user_version = 0; CREATE TABLE a(b)",
            )
        )
        try:
            if "?" in statement:
                file.execute(statement, (rng.choice(values),))
            else:
                file.executescript(statement)
        except sqlite3.Error:
            continue
    file.commit()
    return file.serialize()


def review(folder: Path, out: Path, rng: Random) -> None:
    """The page's index, made and read again."""
    from semalign.review.index import open_index

    small(lambda: open_index(folder))
    if (folder / "review").is_dir():
        files = [path for path in sorted((folder / "review").iterdir()) if path.is_file()]
        for path in rng.sample(files, min(2, len(files))):
            path.write_bytes((by_values if path.suffix == ".json" else by_bytes)(rng, path.read_bytes()))
        small(lambda: open_index(folder))


def audits() -> list[Parser]:
    """Audits and decisions."""
    how: dict[str, Mutator] = {"audit.json": by_values, ".sqlite": by_sql}
    tables: dict[str, Mutator] = {"faces.parquet": by_columns, "points.parquet": by_columns}
    return [
        Parser("audit", make_audit, read_audit_folder, how | tables, 0.1, True),
        Parser("decisions", make_audit, read_audit_folder, {".sqlite": by_sql}, 0.1, True),
        Parser("review", make_audit, review, {"audit.json": by_values, **tables}, 0.05, True),
    ]


# ---- models, recipes, runs -----------------------------------------------------------------------------------------------


@cache
def example_model(kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the description of a small model's file."""
    import tempfile

    import torch
    from worlds import MOBILE, NETWORK

    from semalign.data.crops import CropSettings
    from semalign.models.arrays import load_arrays
    from semalign.models.checkpoint import Model, save_model
    from semalign.models.ghcu import Ghcu, GhcuSettings, build_ghcu, save_ghcu
    from semalign.models.network import build_network
    from semalign.schemes import LandmarkScheme

    torch.set_num_threads(1)
    scheme = LandmarkScheme("dots", ("red", "green", "blue"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        if kind == "ghcu":
            save_ghcu(path, Ghcu(build_ghcu(GhcuSettings(), 3, seed=1), scheme))
        elif kind == "correction":
            from semalign.models import pretrained

            return load_arrays(pretrained.corrections()["300w-fast"])
        else:
            network = build_network(MOBILE if kind == "mobile" else NETWORK, 3, seed=1)
            save_model(path, Model(network, scheme, CropSettings(), 1.5, {"seed": 1}))
        return load_arrays(path)


def packed(arrays: Mapping[str, np.ndarray], description: str) -> bytes:
    from safetensors.numpy import save

    return save({name: np.asarray(value, order="C") for name, value in arrays.items()}, {"semalign": description})


def make_model(kind: str, folder: Path) -> None:
    arrays, description = example_model(kind)
    (folder / "model.safetensors").write_bytes(packed(arrays, json.dumps(description)))


def by_model(kind: str, rng: Random, data: bytes) -> bytes:
    """A model file with another description, other arrays, or other bytes: mostly of the head."""
    choice = rng.randrange(10)
    if choice < 2:
        head = 8 + int.from_bytes(data[:8], "little")
        return by_bytes(rng, data[:head]) + data[head:]
    if choice < 3:
        return by_bytes(rng, data)
    arrays, description = example_model(kind)
    if choice < 4:
        name = rng.choice(list(arrays))
        other = other_array(rng, arrays[name])
        changed = dict(arrays)
        if other is None or np.asarray(other).dtype.kind not in "fiub":
            del changed[name]
        else:
            changed[rng.choice((name, name, "adaptation.mean", "mesh.mean", "x"))] = np.asarray(other)
        return packed(changed, json.dumps(description))
    text = json.dumps(description)
    if choice < 5:
        return packed(arrays, by_text(rng, text.encode()).decode("utf-8", "replace"))
    return packed(arrays, json.dumps(changed_value(rng, json.loads(text))).encode("utf-8", "replace").decode())


def read_model(folder: Path, out: Path, rng: Random) -> None:
    from semalign.models.checkpoint import load_model

    path = folder / "model.safetensors"
    loaded = small(lambda: load_model(path))
    if isinstance(loaded, SemalignError):
        checked(loaded)
    small(lambda: look(path))


def look(path: Path) -> None:
    """Find landmarks in a picture."""
    from semalign.inference import Landmarker

    picture = np.zeros((40, 60, 3), np.uint8)
    Landmarker.from_pretrained(path)([picture], [np.array([[5.0, 5.0, 35.0, 35.0]])])


def read_ghcu(folder: Path, out: Path, rng: Random) -> None:
    from semalign.models.ghcu import load_ghcu

    load_ghcu(folder / "model.safetensors")


def read_correction(folder: Path, out: Path, rng: Random) -> None:
    from semalign.models.correction import load_correction

    correction = load_correction(folder / "model.safetensors")
    count = correction.scheme.count
    correction(np.random.default_rng(1).uniform(0, 99, (2, count, 2)), np.full((2, count), 0.5), None)


@cache
def onnx_description() -> dict[str, Any]:
    from semalign.data.crops import CropSettings
    from semalign.schemes import LandmarkScheme

    return {
        "format": 1,
        "scheme": LandmarkScheme("dots", ("red", "green", "blue")).to_dict(),
        "crop": vars(CropSettings()),
        "sigma": 1.5,
        "precision": "float32",
        "input": {"size": 16, "pixels": "uint8"},
        "about": {"seed": 1},
        "network": {"kind": "mobile"},
    }


def onnx_file(description: str | None, nodes: Sequence[Any] = (), outputs: Sequence[str] = ()) -> bytes:
    """A small graph: points of all pictures alike; with further nodes and outputs."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    numbers = {"start": [0, 0, 0], "end": [3, 2, 1], "one": [3, 1, 1], "axes": [1, 2, 3], "last": [3], "two": [2, 3]}
    constants = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in numbers.items()]
    known = [
        helper.make_node("Cast", ["images"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["real", "start", "end", "axes"], ["cut"]),
        helper.make_node("Squeeze", ["cut", "last"], ["points"]),
        helper.make_node("Slice", ["real", "start", "one", "axes"], ["column"]),
        helper.make_node("Squeeze", ["column", "two"], ["confidence"]),
    ]
    graph = helper.make_graph(
        [*known, *nodes],
        "g",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["b", 3, 16, 16])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("points", "confidence", *outputs)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if description is not None:
        model.metadata_props.append(onnx.StringStringEntryProto(key="semalign", value=description))
    return bytes(model.SerializeToString())


def make_onnx(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(onnx_file(json.dumps(onnx_description())))


def by_onnx(rng: Random, data: bytes) -> bytes:
    """An ONNX file with other metadata, or other bytes."""
    choice = rng.randrange(10)
    if choice < 3:
        return by_bytes(rng, data)
    text = json.dumps(onnx_description())
    if choice < 5:
        return onnx_file(by_text(rng, text.encode()).decode("utf-8", "replace"))
    changed = json.dumps(changed_value(rng, json.loads(text)))
    return onnx_file(changed.encode("utf-8", "replace").decode())


def read_onnx(folder: Path, out: Path, rng: Random) -> None:
    from semalign.export.onnx import read_description
    from semalign.inference import OnnxBackend

    path = folder / "model.onnx"
    small(lambda: read_description(path))
    backend = small(lambda: OnnxBackend(path, threads=1))
    if isinstance(backend, SemalignError):
        checked(backend)
    elif b"filled" not in path.read_bytes():  # what a graph computes takes what it takes
        small(lambda: look(path))


def onnx_bombs() -> dict[str, bytes]:
    """Graphs that take memory as they are opened, or read files."""
    from onnx import TensorProto, helper, numpy_helper

    value = numpy_helper.from_array(np.array([1.0], np.float32), "v")
    text = json.dumps(onnx_description())
    found = {}
    for name, sides in (("folded", [20_000, 20_000]), ("huge", [2**20, 2**20])):
        size = helper.make_node("Constant", [], ["sides"], value=numpy_helper.from_array(np.array(sides, np.int64)))
        fill = helper.make_node("ConstantOfShape", ["sides"], ["filled"], value=value)
        found[name] = onnx_file(text, [size, fill, helper.make_node("ReduceSum", ["filled"], ["sum"])], ["sum"])
    outside = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, place in (("location", "/etc/passwd"), ("offset", "0"), ("length", "16")):
        outside.external_data.add(key=key, value=place)
    found["outside"] = onnx_file(text, [helper.make_node("Constant", [], ["read"], value=outside)], ["read"])
    return found


def make_recipe(folder: Path) -> None:
    from semalign.pipeline.recipe import dump_recipe, load_recipe

    (folder / "own.toml").write_text(dump_recipe(load_recipe("demo")))


def read_recipe(folder: Path, out: Path, rng: Random) -> None:
    """The recipe, the scheme that it names, and the recipe once more as it is written."""
    from semalign.pipeline.recipe import dump_recipe, load_recipe, parse_recipe

    recipe = load_recipe(folder / "own.toml")
    small(lambda: load_scheme(recipe.data.scheme))
    if parse_recipe(dump_recipe(recipe), "again") != recipe and "nan" not in dump_recipe(recipe):
        raise AssertionError("another recipe than it was")


def make_run(folder: Path) -> None:
    """A run's folder, of little."""
    count = 3
    names = ("red", "green", "blue")
    from semalign.schemes import LandmarkScheme

    scheme = LandmarkScheme("dots", names, regions={"all": (0, 1, 2)}, outer_eyes=(0, 1))
    subset = {
        "count": 2, "nme_interocular": 2.0, "nme_box": 1.0, "auc_interocular_8": 0.5, "failure_rate_interocular_8": 1.0,
        "by_region": {"all": 1.0}, "by_landmark": [1.0] * count,
        "cumulative_interocular": {"error": [0.0, 4.0, 8.0], "share": [0.0, 0.5, 1.0]},
    }  # fmt: skip
    summary = {
        "recipe": "demo", "description": "d", "seed": 1,
        "data": {"name": "s", "root": "r", "train": {"a": 2}, "test": {"b": 1}, "notes": [], "skipped": [["a", "b"]]},
        "hardware": "h", "versions": {"semalign": "1"}, "settings": {"start": {"epochs": 2}}, "seconds": {"start": 3.5},
        "detector": {stage: {"subsets": {"all": subset}} for stage in ("start", "baseline", "aligned")},
        "detector_nme": {"start": 1.0, "baseline": 1.0, "aligned": 1.0, "normalisation": "nme_interocular"},
        "label_movement": [{"iteration": 1, "mean": 1.0, "by_region": {"all": 1.0}}],
        "label_error": {"before": 2.0, "after": 1.0, "by_iteration": [2.0, 1.0]},
        "label_groups": {"by_iteration": [{"all": {"mean": 1.0, "along": 1.0, "across": 1.0}}] * 2},
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary, indent=1))
    (folder / "recipe.toml").write_text("seed = 1\n")
    (folder / "seconds.json").write_text('{"start": 3.5}')
    rng = np.random.default_rng(1)
    points = rng.uniform(5, 25, (2, count, 2)).astype(np.float32)
    arrays = {
        "faces": rng.integers(0, 255, (2, 32, 32, 3), np.uint8), "annotation": points, "found": points, "truth": points,
        "face_ids": np.array(["a", "b"]), "face_notes": np.array(["x", "y"]),
        "heatmap_faces": rng.integers(0, 255, (1, 32, 32, 3), np.uint8),
        "heatmap_strong": rng.uniform(0, 1, (1, 8, 8)), "heatmap_weak": rng.uniform(0, 1, (1, 8, 8)),
        "heatmap_strong_index": np.array([0]), "heatmap_weak_index": np.array([1]),
    }  # fmt: skip
    np.savez_compressed(folder / "figures.npz", **arrays)
    for stage in ("start", "aligned"):
        (folder / stage).mkdir()
        record = {
            "stage": stage,
            "epoch": 0,
            "loss": 0.1,
            "learning_rate": 1e-3,
            "seconds": 1.0,
            "nme_interocular": 2.0,
        }
        lines = [json.dumps(record | {"epoch": epoch, "iteration": 1, "movement": 0.5}) for epoch in range(2)]
        (folder / stage / "log.jsonl").write_text("\n".join(lines) + "\n")
        head = json.dumps({"scheme": scheme.to_dict()})
        (folder / stage / "model.safetensors").write_bytes(packed({"weight": np.zeros(1, np.float32)}, head))


def by_archive(rng: Random, data: bytes) -> bytes:
    """An archive of arrays with others in it, or other bytes."""
    if rng.random() < 0.4:
        return by_bytes(rng, data)
    with np.load(io.BytesIO(data)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    name = rng.choice(list(arrays))
    array = arrays[name]
    other = other_array(rng, array if array.dtype.kind in "fiu" else np.zeros(2))
    if other is None:
        del arrays[name]
    else:
        arrays[name] = np.asarray(other)
    if rng.random() < 0.1:
        arrays[rng.choice(("../x", "/tmp/x", "a" * 300, name))] = np.zeros(1)
    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays)
    return sink.getvalue()


def read_run_folder(folder: Path, out: Path, rng: Random) -> None:
    """A run is reported, and what resumes it reads its files."""
    from semalign.pipeline.clock import Clock
    from semalign.report import write_report
    from semalign.report.run import read_run

    def tick() -> None:
        with Clock(folder / "seconds.json", True)("start"):
            pass

    small(tick)
    if rng.random() < 1 - THOROUGH / 4:
        read_run(folder)
    else:
        write_report(folder)


def npz_bomb() -> bytes:
    """Four gigabytes of zeros in four megabytes: an archive whose array says so and whose pixels are not all there."""
    import zipfile

    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (4_000_000_000,)})
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("faces.npy", "w") as file:
        file.write(head.getvalue())
        for _ in range(40):
            file.write(bytes(10_000_000))
    return sink.getvalue()


def models() -> list[Parser]:
    """What needs PyTorch."""
    how: dict[str, Mutator] = {
        **{"summary.json": by_values, "seconds.json": by_values, ".jsonl": by_lines, ".npz": by_archive},
        **{".safetensors": by_bytes, ".toml": by_text},
    }
    made_of = partial(_of, "own.toml", hostile_recipes)
    heads, graphs = partial(_of, "model.safetensors", hostile_models), partial(_of, "model.onnx", hostile_graphs)
    return [
        *(
            Parser(
                f"model-{kind}", partial(make_model, kind), read_model, {".safetensors": partial(by_model, kind)}, 0.05,
                fixed=heads if kind == "mobile" else dict,
            )
            for kind in ("mobile", "hourglass")
        ),
        Parser("ghcu", partial(make_model, "ghcu"), read_ghcu, {".safetensors": partial(by_model, "ghcu")}, 0.1),
        Parser("correction", partial(make_model, "correction"), read_correction,
               {".safetensors": partial(by_model, "correction")}, 0.3),
        Parser("onnx", make_onnx, read_onnx, {".onnx": by_onnx}, 0.5, fixed=graphs),
        Parser("recipe", make_recipe, read_recipe, {".toml": by_text}, 0.5, fixed=made_of),
        Parser("run", make_run, read_run_folder, how, 0.1, True, fixed=lambda: {"npz": ("figures.npz", npz_bomb())}),
    ]  # fmt: skip


def hostile_recipes() -> dict[str, bytes]:
    """Recipes that would take time or memory."""
    deep = "[" * 100_000
    texts = {
        "lists": "a = " + deep, "keys": "a." * 100_000 + "a = 1", "tables": "[" + "a." * 100_000 + "a]",
        "wide": '[network]\nkind = "hourglass"\nwidth = 100000\nstacks = 100\n',
        "stacks": '[network]\nkind = "hourglass"\nstacks = 1000000000\n',
        "depth": '[network]\nkind = "hourglass"\ndepth = 100000\n',
        "blocks": '[network]\nkind = "mobile"\nblocks = 100000000\n',
        "scales": '[network]\nkind = "mobile"\nscales = 100000\n',
        "growth": '[network]\nkind = "mobile"\ngrowth = 1e308\n',
        "expansion": '[network]\nkind = "mobile"\nexpansion = 1000000\n',
        "input": '[network]\nkind = "hourglass"\ninput_size = 1073741824\nheatmap_size = 268435456\n',
        "cascade": '[network]\nkind = "cascade"\nwidth = 1000000\nfeatures = 1000000\nhidden = 1000000\n',
        "reaches": '[network]\nkind = "cascade"\nreaches = [' + ", ".join(["1"] * 50_000) + "]\n",
        "digits": "seed = " + "9" * 5000,
        "settings": "\n".join(f"{'a' * 2000}{n} = 1" for n in range(2000)),
        "unknown": "a" * 200_000 + " = 1",
    }  # fmt: skip
    return {name: text.encode() for name, text in texts.items()}


def hostile_models() -> dict[str, bytes]:
    """Model files that would."""
    described = {
        "wide": {"kind": "mobile", "width": 1_000_000}, "stacks": {"kind": "hourglass", "stacks": 10**9},
        "depth": {"kind": "hourglass", "depth": 10**6}, "blocks": {"kind": "mobile", "blocks": 10**9},
        "input": {"kind": "hourglass", "input_size": 2**30, "heatmap_size": 2**28},
        "cascade": {"kind": "cascade", "hidden": 10**7, "width": 10**7},
    }  # fmt: skip

    def of(network: Any) -> bytes:
        arrays, description = example_model("mobile")
        return packed(arrays, json.dumps(description | {"network": network}))

    nested: dict[str, Any] = {"kind": "mobile"}
    for _ in range(300):
        nested = {
            "kind": "adapted", "base": nested, "base_landmarks": 3, "base_sigma": 1.0, "mirrored": False, "input_size": 64,
            "heatmap_size": 32, "corner": [0, 0], "corrected": False,
        }  # fmt: skip
    arrays, description = example_model("mobile")
    names = [f"p{index}" for index in range(200_000)]
    return {
        **{name: of(network) for name, network in (described | {"nested": nested}).items()},
        "deep": packed(arrays, "[" * 200_000),
        "names": packed(arrays, json.dumps(description | {"scheme": {"name": "a", "landmarks": names}})),
        "length": (2**62).to_bytes(8, "little") + b"{}",
        "tensor": _claims(10**12),
    }


def hostile_graphs() -> dict[str, bytes]:
    """ONNX files that would, or that have none of our metadata."""
    return {"deep": onnx_file("[" * 200_000), "none": onnx_file(None), "number": onnx_file("3"), **onnx_bombs()}


def _claims(size: int) -> bytes:
    head = json.dumps(
        {"a": {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}, "__metadata__": {"semalign": "{}"}}
    )
    return len(head).to_bytes(8, "little") + head.encode()


PARSERS: Mapping[str, Callable[[], list[Parser]]] = {
    "documents": documents,
    "sets": sets,
    "pictures": pictures,
    "settings": settings,
    "audits": audits,
    "models": models,
}


@cache
def every_parser() -> dict[str, Parser]:
    """All parsers by their names."""
    return {parser.name: parser for group in PARSERS.values() for parser in group()}


__all__ = ["INTEGERS", "Parser", "every_parser", "hostile_value"]
