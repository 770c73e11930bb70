"""Synthetic faces written in the official formats of AFLW-Full, WFLW, COFW and 300-VW, with the truth beside them.

They are for trying the readers and the protocols of these data sets where the data themselves are not to be had. Truth
and description are as in `synthetic.dataset`: OUT/truth.parquet, and OUT/synthetic.json, written last.

Points of 19, 98 and 29 are exact points of the same head as the 68: landmarks, other vertices of the curves through
them, or means. What the head does not have is replaced by the nearest it has: the edges of a brow by points of the
brow's middle line, the pupil by the middle of the eye's opening, the middle of the mouth by that between the inner lips.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float

from semalign.data.formats import aflw, cofw, vw300, wflw
from semalign.data.formats.common import face_id, load_extra
from semalign.data.pts import write_pts
from semalign.data.truth import DESCRIPTION, TRUTH, UNFINISHED
from semalign.errors import SemalignError
from semalign.files import atomic_path, read_json, refuse_occupied, write_bytes, write_json, write_text
from semalign.synthetic.anatomy import STEP
from semalign.synthetic.annotators import annotate, make_annotators
from semalign.synthetic.dataset import face_of
from semalign.synthetic.render import SCHEME, Face
from semalign.synthetic.settings import SynthesisSettings, check_settings

FORMAT = 1
BOX_MARGIN = 0.1  # by which the box of the 68 points is enlarged on every side to be the face box, in its sides
LARGE_POSE = 30.0  # degrees of yaw from which a face has WFLW's attribute "pose"
EXPRESSIVE = 0.4  # opening of the jaw from which it has the attribute "expression"
VIDEO_QUALITY = 95  # of the frames, which are JPEG
Progress = Callable[[int, int], None]


class On(NamedTuple):
    """A point of a curve of ibug68."""

    curve: str
    position: float  # in landmarks from the curve's first one, a multiple of 1 / STEP


class Mean(NamedTuple):
    """The mean of some landmarks of ibug68."""

    landmarks: tuple[int, ...]


Place = int | On | Mean  # an int is a landmark of ibug68
LEFT_PUPIL, RIGHT_PUPIL = (Mean(eye) for eye in SCHEME.pupils)
AFLW_PLACES: tuple[Place, ...] = (
    *(17, 19, 21, 22, 24, 26),  # brows
    *(36, LEFT_PUPIL, 39, 42, RIGHT_PUPIL, 45),
    *(31, 30, 35),
    *(48, Mean((62, 66)), 54),
    8,
)
COFW_PLACES: tuple[Place, ...] = (
    *(17, 26, 21, 22),  # brows: ends, upper and lower edges
    *(On("left brow", 1.5), On("left brow", 2.5), On("right brow", 2.5), On("right brow", 1.5)),
    *(36, 45, 39, 42),  # eyes: corners, lids, pupils
    *(On("left eye", 1.5), On("left eye", 4.5), On("right eye", 1.5), On("right eye", 4.5)),
    *(LEFT_PUPIL, RIGHT_PUPIL),
    *(31, 35, 30, 33),
    *(48, 54, 51, 62, 66, 57),
    8,
)
WFLW_PLACES: tuple[Place, ...] = (
    *(On("contour", step / 2) for step in range(33)),
    # once round each brow: over its landmarks, and back between them
    *(On("left brow", position) for position in (0, 1, 2, 3, 4, 3.5, 2.5, 1.5, 0.5)),
    *(On("right brow", position) for position in (0, 1, 2, 3, 4, 3.5, 2.5, 1.5, 0.5)),
    *range(27, 36),
    *(On("left eye", step * 0.75) for step in range(8)),
    *(On("right eye", step * 0.75) for step in range(8)),
    *range(48, 68),
    *(LEFT_PUPIL, RIGHT_PUPIL),
)


@dataclass(frozen=True)
class PlacedFace:
    """A face with the points of another scheme."""

    face: Face
    points: Float[np.ndarray, "n 2"]  # exact, float64
    annotated: Float[np.ndarray, "n 2"]
    visible: Bool[np.ndarray, " n"]
    annotator: int

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The face box: x0, y0, x1, y1."""
        low, high = self.face.points.min(0), self.face.points.max(0)
        margin = BOX_MARGIN * (high - low)
        (x0, y0), (x1, y1) = low - margin, high + margin
        return float(x0), float(y0), float(x1), float(y1)


class Row(NamedTuple):
    """What the truth file says about one face."""

    image: str  # the sample's id
    points: np.ndarray  # (n, 2)
    visible: np.ndarray  # (n,) bool
    annotator: int


@runtime_checkable
class FilmedClip(Protocol):
    """A clip of one face; `semalign.synthetic.video.Clip` is one."""

    @property
    def name(self) -> str:
        """What it is called; noted in synthetic.json."""

    @property
    def category(self) -> int:
        """1 to 3."""

    @property
    def rate(self) -> float:
        """Frames a second."""

    @property
    def frames(self) -> Iterable[np.ndarray]:
        """RGB frames (h, w, 3) uint8 of one size."""

    @property
    def truth(self) -> np.ndarray:
        """Exact points (f, 68, 2)."""

    @property
    def visible(self) -> np.ndarray:
        """(f, 68) bool."""

    @property
    def annotations(self) -> np.ndarray:
        """Annotated points (f, 68, 2)."""


def place(face: Face, places: tuple[Place, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Points of a face by their places.

    Returns:
        The exact points (n, 2) in the image, and the share (n, 68) that each of the 68 landmarks has in each point: it
        moves as they do, and is hidden where one of them is.
    """
    curves = {curve.name: curve for curve in face.curves}
    points, shares = np.empty((len(places), 2)), np.zeros((len(places), SCHEME.count))
    for index, spot in enumerate(places):
        if isinstance(spot, On):
            curve = curves[spot.curve]
            first, rest = divmod(spot.position, 1.0)
            around = [curve.landmarks[int(first)], curve.landmarks[(int(first) + 1) % len(curve.landmarks)]]
            points[index] = curve.line[curve.vertices.start + round(spot.position * STEP)]
            shares[index, around] = (1.0 - rest, rest) if rest else (1.0, 0.0)
        else:
            members = [spot] if isinstance(spot, int) else list(spot.landmarks)
            points[index] = face.points[members].mean(axis=0)
            shares[index, members] = 1.0 / len(members)
    return points, shares


def write_aflw(out: str | Path, settings: SynthesisSettings, progress: Progress | None = None) -> Path:
    """AFLW-Full: AFLWinfo_release.mat and flickr/{0,2,3}; the rows of the file are shuffled, as `ra` says.

    Raises:
        SemalignError: settings that make no sense, a folder that holds something else or cannot be written, SciPy is
            not installed.
    """
    out = Path(out)
    path = out / aflw.ANNOTATION
    savemat = load_extra("scipy.io", path).savemat
    train = settings.count - settings.test_count
    description = _description("aflw", "aflw19", settings) | {"train": train}
    if _claim(out, description):
        return out
    order = np.random.default_rng([settings.seed, settings.count]).permutation(settings.count)
    names = [f"{(0, 2, 3)[index % 3]}/image{index + 1:05d}.jpg" for index in range(settings.count)]
    faces: dict[int, PlacedFace] = {}
    rows: list[Row] = []
    for number, (row, placed) in enumerate(zip(order.tolist(), _faces(settings, AFLW_PLACES, progress), strict=True)):
        name = names[number]
        _write_image(out / "flickr" / name, placed.face.image, settings)
        faces[row] = placed
        rows.append(Row(face_id("flickr", name, row), placed.points, placed.visible, placed.annotator))
    by_row = [faces[row] for row in range(settings.count)]
    listed = np.empty((settings.count, 1), dtype=object)
    for number, row in enumerate(order.tolist()):
        listed[row, 0] = names[number]
    content = {
        "nameList": listed,
        "data": np.array([placed.annotated.T.ravel() for placed in by_row]),
        "bbox": np.array([np.array(placed.box)[[0, 2, 1, 3]] for placed in by_row]),
        "mask_new": np.array([placed.visible for placed in by_row], np.uint8),
        "ra": (order + 1)[None].astype(np.float64),
    }
    with atomic_path(path) as temporary:
        savemat(str(temporary), content, appendmat=False, do_compression=True)
    return _finish(out, rows, description)


def write_wflw(out: str | Path, settings: SynthesisSettings, progress: Progress | None = None) -> Path:
    """WFLW: the two lists and WFLW_images. Attributes are pose, expression and occlusion; the others are never set.

    Raises:
        SemalignError: settings that make no sense, a folder that holds something else or cannot be written.
    """
    out = Path(out)
    description = _description("wflw", "wflw98", settings)
    if _claim(out, description):
        return out
    lines: dict[str, list[str]] = {"train": [], "test": []}
    rows: list[Row] = []
    for index, placed in enumerate(_faces(settings, WFLW_PLACES, progress)):
        split, event = _split(index, settings), index % 7
        name = f"{event}--Synthetic/{event}_Synthetic_Synthetic_{event}_{index}.jpg"
        _write_image(out / wflw.IMAGES / name, placed.face.image, settings)
        numbers = [f"{value:.6f}" for value in placed.annotated.ravel()]
        rectangle = [str(round(value)) for value in placed.box]
        lines[split].append(" ".join([*numbers, *rectangle, *map(str, _attributes(placed.face)), name]))
        rows.append(Row(face_id(split, name, len(lines[split])), placed.points, placed.visible, placed.annotator))
    for split, texts in lines.items():
        if texts:
            path = out / wflw.LIST_FOLDERS[0] / f"list_98pt_rect_attr_{split}.txt"
            write_text(path, "\n".join(texts) + "\n")
    return _finish(out, rows, description)


def write_cofw(out: str | Path, settings: SynthesisSettings, progress: Progress | None = None) -> Path:
    """COFW: COFW_train_color.mat and COFW_test_color.mat, MATLAB 7.3, with the images in them.

    Raises:
        SemalignError: settings that make no sense, a folder that holds something else or cannot be written, h5py is not
            installed.
    """
    out = Path(out)
    load_extra("h5py", out / cofw.OFFICIAL[0].file)
    description = _description("cofw", "cofw29", settings)
    if _claim(out, description):
        return out
    faces: dict[str, list[PlacedFace]] = {"train": [], "test": []}
    rows: list[Row] = []
    for index, placed in enumerate(_faces(settings, COFW_PLACES, progress)):
        split = _split(index, settings)
        faces[split].append(placed)
        name = f"{split}/{cofw.image_name(len(faces[split]) - 1)}"
        rows.append(Row(name, placed.points, placed.visible, placed.annotator))
    for part in cofw.OFFICIAL:
        if faces[part.split]:
            _write_cofw_file(out / part.file, part.suffix, faces[part.split])
    return _finish(out, rows, description)


def write_300vw(out: str | Path, clips: Iterable[FilmedClip], train: Iterable[FilmedClip] = ()) -> Path:
    """300-VW: NNN/vid.avi (Motion JPEG) and NNN/annot/%06d.pts.

    Clips take the official names of their category, `train` those of the training videos, in order; synthetic.json says
    which is which.

    Raises:
        SemalignError: no clips, a category that 300-VW does not have, more clips than it has, a clip whose frames and points
            differ in number, a folder that holds something else or cannot be written.
    """
    out = Path(out)
    refuse_occupied(out, "synthetic videos")
    free = {part.subset: iter(part.videos) for part in vw300.OFFICIAL}
    named: dict[str, str] = {}
    rows: list[Row] = []
    write_json(out / UNFINISHED, {"format": FORMAT, "layout": "300vw"})
    for subset, clip in _with_subset(clips, train):
        if subset not in free:
            raise SemalignError(f"{clip.name}: 300-VW has no category {clip.category}; choose 1, 2 or 3.")
        video = next(free[subset], None)
        if video is None:
            raise SemalignError(f"{clip.name}: 300-VW has no more videos in {subset}; make fewer clips.")
        named[video] = clip.name
        _write_clip(out / video, clip)
        for number, (points, visible) in enumerate(zip(clip.truth, clip.visible, strict=True), start=1):
            rows.append(Row(f"{video}/{number:06d}", points, visible, 0))
    if not rows:
        raise SemalignError(f"{out}: there are no clips to write; make at least one.")
    description = {
        "format": FORMAT,
        "layout": "300vw",
        "scheme": SCHEME.name,
        "seed": 0,
        "count": len(rows),
        "clips": named,
    }
    return _finish(out, rows, description)


def _with_subset(clips: Iterable[FilmedClip], train: Iterable[FilmedClip]) -> Iterator[tuple[str, FilmedClip]]:
    yield from (("train", clip) for clip in train)
    yield from ((f"category-{clip.category}", clip) for clip in clips)


def _write_clip(folder: Path, clip: FilmedClip) -> None:
    written = 0
    with atomic_path(folder / vw300.VIDEO) as temporary:
        writer: cv2.VideoWriter | None = None
        try:
            for frame in clip.frames:
                if writer is None:
                    writer = _video_writer(temporary, clip.rate, frame)
                writer.write(np.ascontiguousarray(frame[..., ::-1]))
                written += 1
        finally:
            if writer is not None:
                writer.release()
        if written != len(clip.annotations):
            raise SemalignError(f"{clip.name}: has {written} frames but annotations of {len(clip.annotations)}.")
    for number, points in enumerate(clip.annotations, start=1):
        write_pts(folder / vw300.ANNOTATIONS / f"{number:06d}.pts", points)


def _video_writer(path: Path, rate: float, frame: np.ndarray) -> cv2.VideoWriter:
    size = frame.shape[1], frame.shape[0]
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), rate, size)
    if not writer.isOpened():
        raise SemalignError(f"cannot write {path}: OpenCV has no writer for Motion JPEG; install another build of it.")
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, VIDEO_QUALITY)
    return writer


def _description(layout: str, scheme: str, settings: SynthesisSettings) -> dict[str, Any]:
    check_settings(settings)
    return {
        "format": FORMAT,
        "layout": layout,
        "scheme": scheme,
        "seed": settings.seed,
        "count": settings.count,
        "settings": asdict(settings),
    }


def _claim(out: Path, description: dict[str, Any]) -> bool:
    """Make the folder ours; True if it already holds the finished data set."""
    for name in (DESCRIPTION, UNFINISHED):
        path = out / name
        if path.is_file():
            if read_json(path, "delete the data set's folder") != json.loads(json.dumps(description)):
                raise SemalignError(f"{out}: holds a data set of other settings; choose another folder or delete it.")
            return name == DESCRIPTION
    refuse_occupied(out, "synthetic data set")
    write_json(out / UNFINISHED, description)
    return False


def _finish(out: Path, rows: list[Row], description: dict[str, Any]) -> Path:
    """Write the truth and the description."""
    points = np.concatenate([row.points for row in rows])
    count = len(rows[0].points)
    table = pa.table(
        {
            "image": pa.array([row.image for row in rows for _ in range(count)], pa.string()),
            "landmark": pa.array(np.tile(np.arange(count, dtype=np.int16), len(rows))),
            "x": pa.array(points[:, 0]),
            "y": pa.array(points[:, 1]),
            "visible": pa.array(np.concatenate([row.visible for row in rows])),
            "annotator": pa.array(np.repeat(np.array([row.annotator for row in rows], np.int16), count)),
        }
    )
    with atomic_path(out / TRUTH) as temporary:
        pq.write_table(table, temporary)
    write_json(out / DESCRIPTION, description)
    (out / UNFINISHED).unlink(missing_ok=True)
    return out


def _split(index: int, settings: SynthesisSettings) -> str:
    return "test" if index >= settings.count - settings.test_count else "train"


def _faces(settings: SynthesisSettings, places: tuple[Place, ...], progress: Progress | None) -> Iterator[PlacedFace]:
    """The faces of `synthetic.write_dataset` with these settings, in order, annotated by the same people."""
    people = make_annotators(settings.annotators, settings.seed, settings.noise)
    for index in range(settings.count):
        face = face_of(settings.seed, index, settings)
        rng = np.random.default_rng([settings.seed, index, 2])
        person = people[int(rng.integers(len(people)))]
        points, shares = place(face, places)
        moved = shares @ (annotate(face, person, rng, settings.noise) - face.points)
        visible = (shares[:, ~face.visible] == 0.0).all(axis=1)
        yield PlacedFace(face, points, points + moved, visible, person.index)
        if progress is not None:
            progress(index + 1, settings.count)


def _write_image(path: Path, image: np.ndarray, settings: SynthesisSettings) -> None:
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality])
    write_bytes(path, data.tobytes())


def _attributes(face: Face) -> list[int]:
    """0 or 1 for each of `wflw.ATTRIBUTES`."""
    traits = face.traits
    true = {
        "pose": abs(traits.pose.yaw) >= LARGE_POSE,
        "expression": traits.expression.jaw_drop >= EXPRESSIVE,
        "occlusion": face.occluder != "none",
    }
    return [int(true.get(name, False)) for name in wflw.ATTRIBUTES]


def _write_cofw_file(path: Path, suffix: str, faces: list[PlacedFace]) -> None:
    """One MATLAB 7.3 file: HDF5 behind a header of 512 bytes, arrays with their axes reversed, cells as references."""
    h5py = load_extra("h5py", path)
    shapes = [np.concatenate([(f.annotated + 1.0).T.ravel(), (~f.visible).astype(np.float64)]) for f in faces]
    boxes = [(x0 + 1.0, y0 + 1.0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in (f.box for f in faces)]
    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w", userblock_size=512) as file:
            cells = file.create_dataset(f"Is{suffix}", (1, len(faces)), dtype=h5py.ref_dtype)
            cells.attrs["MATLAB_class"] = np.bytes_("cell")
            for index, placed in enumerate(faces):
                pixels = file.create_dataset(f"#refs#/{index}", data=placed.face.image.T)
                pixels.attrs["MATLAB_class"] = np.bytes_("uint8")
                cells[0, index] = pixels.ref
            for name, values in ((f"phis{suffix}", shapes), (f"bboxes{suffix}", boxes)):
                array = file.create_dataset(name, data=np.array(values, np.float64).T)
                array.attrs["MATLAB_class"] = np.bytes_("double")
        header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 ."
        with temporary.open("r+b") as raw:
            raw.write(header.ljust(116) + bytes(8) + b"\x00\x02IM")
