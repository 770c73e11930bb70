"""The options of `semalign predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from semalign.cli.options import Shard as Shard
from semalign.cli.options import argument, flag, option

Inputs = Annotated[
    list[str],
    argument(
        "INPUT...",
        "Images, videos, folders, patterns such as 'faces/*.jpg', tar archives of images, addresses such as "
        "s3://bucket/faces, lists of them (@list.txt, a name a line; - is standard input), or camera, camera:1 …",
    ),
]
Out = Annotated[
    Path,
    option(
        "--out",
        "DIR",
        "Folder for everything that is written; - prints JSON lines and writes nothing.",
        default=True,
    ),
]
Formats = Annotated[
    list[str] | None,
    option(
        "--format",
        "NAME",
        "json (always), jsonl, csv, parquet, coco, pts or overlay (pictures and videos with landmarks); may be given "
        "several times.",
        default="json and overlay",
    ),
]
ModelFile = Annotated[
    str,
    option(
        "--model",
        "MODEL",
        "A model that ships with Semalign, or a model file, exported ones (.onnx) too.",
        default=True,
    ),
]
Boxes = Annotated[
    Path | None,
    option("--boxes", "FILE", "Faces' boxes (CSV: image,x0,y0,x1,y1, JSON or COCO) instead of finding faces."),
]
BoxKind = Annotated[
    Literal["xyxy", "xywh", "cxcywh"] | None,
    option(
        "--box-format",
        "FORMAT",
        "What a box's numbers are: xyxy (two corners), xywh (corner, sides) or cxcywh (centre, sides).",
        default="what a CSV file's columns say, else xyxy",
    ),
]
Finder = Annotated[
    str,
    option(
        "--finder",
        "NAME",
        "Face detector: centerface, cascades (OpenCV's), or the ONNX file of YuNet.",
        default=True,
    ),
]
MinFace = Annotated[
    float | None,
    option(
        "--min-face",
        "PX",
        "Smallest face to be found, in pixels, or as a share of the picture if below 1 (0.05).",
        default="a sixteenth, or 20 pixels where there are hints of small faces or no others",
    ),
]
MaxFaces = Annotated[
    int | None,
    option("--max-faces", "N", "At most so many found faces of a picture, the largest.", default="all", min=1),
]
Largest = Annotated[bool, flag("--largest", "The largest found face only, as --max-faces 1.")]
ScoreThreshold = Annotated[
    float,
    option("--score-threshold", "S", "Found faces that are less sure are dropped, 0 to 1.", default=True, min=0, max=1),
]
Tta = Annotated[
    int | None,
    option(
        "--tta",
        "N",
        "Test-time augmentation: mean over so many versions of each crop (mirrored, turned), 1 to 4; steadier, slower.",
        default="the model's own",
        min=1,
        max=4,
    ),
]
Correct = Annotated[
    bool,
    flag(
        "--correct",
        "Move landmarks that the network is not sure of to where the others say that they are; for faces behind things.",
    ),
]
NoSmoothing = Annotated[bool, flag("--no-smoothing", "Leave the landmarks of videos as each frame gives them.")]
Limit = Annotated[
    int | None, option("--limit", "N", "Stop a video or a camera after so many frames.", default="none", min=1)
]
Device = Annotated[
    str | None,
    option(
        "--device",
        "NAME",
        "Where to compute: cpu, cuda …",
        default="the CPU for shipped and exported models, else an accelerator if there is one",
    ),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"],
    option(
        "--precision",
        "NAME",
        "fp32, bf16 (a third of the time on processors with AMX), or auto, which is bf16 there.",
        default=True,
    ),
]
Workers = Annotated[
    int | None,
    option("--workers", "N", "Threads; each reads, finds and writes some pictures.", default="one per core", min=1),
]
Resume = Annotated[
    bool, flag("--resume", "Continue what was started in DIR: pictures that are done are left out; or start it.")
]
Overwrite = Annotated[bool, flag("--overwrite", "Replace the results that DIR holds.")]
DryRun = Annotated[bool, flag("--dry-run", "Only list what would be read and where its results would go.")]
