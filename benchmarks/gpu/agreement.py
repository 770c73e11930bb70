"""Do a GPU and the CPU give the same landmarks, labels and figures?

    python benchmarks/gpu/agreement.py --out agreement.json

`default` on the packed test faces, in float32 on both: landmarks of the same crops; labels of the paper's search and
of ours around the annotations, once in the same heatmaps (the search alone) and once in each device's own; and the
error on the annotations. Says the largest difference and the 99.9th percentile, in pixels of the crop, and ends with
an error where a limit is passed. A GPU's convolutions round their inputs to TF32 unless they are told not to: that is
measured beside, without a limit. Without a GPU the CPU is compared with itself, the compiled search with the one in
whole tensors.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faces import read_faces
from pack import FACES
from paper_size import BEST, machine, say_row
from settings import read_recipe
from torch import Tensor

from semalign.core.affine import compose, invert, rescaling, transform_points
from semalign.core.heatmaps import decode_heatmaps
from semalign.core.metrics import nme_interpupil
from semalign.core.search import SearchSettings, search_labels, search_labels_torch
from semalign.data.crops import CropCache
from semalign.errors import SemalignError
from semalign.files import write_json
from semalign.inference.heatmaps import heatmaps_of
from semalign.models.checkpoint import Model
from semalign.models.pretrained import load

LIMITS = {"landmarks": 0.05, "labels, same heatmaps": 0.01, "labels": 0.05}  # px of the crop, at the 99.9th percentile
SAME_FIGURE = 0.002  # % inter-pupil
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packed", type=Path, default=FACES)
    parser.add_argument("--faces", type=int, default=224, help="test faces to compare on")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        packed = read_faces(options.packed)
        faces = packed.take(np.flatnonzero(packed.test)[: options.faces])
        model = load("default")
        crops = faces.crops(model.input_size)
        searches = {"the paper's search": read_recipe("300w-paper").search, "our search": BEST}
        rows = compare(model, crops, faces.points, device, searches)
    except SemalignError as error:
        sys.exit(f"error: {error}")
    for row in rows:
        say_row(row)
    if options.out:
        write_json(options.out, {"machine": machine(device), "rows": rows})
    beyond = [row["what"] for row in rows if not row["within"]]
    if beyond:
        sys.exit(f"error: {device} and the CPU differ by more than they may: {', '.join(beyond)}.")


def compare(
    model: Model, crops: CropCache, annotations: np.ndarray, device: torch.device, searches: dict[str, SearchSettings]
) -> list[dict[str, Any]]:
    """A row for each comparison; `within` says whether its limit is kept."""
    torch.backends.cudnn.allow_tf32 = False
    cpu, gpu = heatmaps(model, crops, torch.device("cpu")), heatmaps(model, crops, device)
    found = [landmarks(model, crops, maps) for maps in (cpu, gpu)]
    rows = [difference("landmarks", "landmarks", *found)]
    observations = transform_points(torch.from_numpy(crops.to_crop(annotations)), to_heatmap(model, crops)).float()
    for name, settings in searches.items():
        same = [labels(model, maps, observations, place, settings) for maps, place in ((cpu, "cpu"), (cpu, device))]
        own = labels(model, gpu, observations, device, settings)
        back = invert(to_heatmap(model, crops))
        first, second, third = (transform_points(points.double(), back) for points in (*same, own))
        rows.append(difference(f"labels of {name} in the same heatmaps", "labels, same heatmaps", first, second))
        rows.append(difference(f"labels of {name}", "labels", first, third))
    rows.append(same_figure(model, crops, annotations, found))
    torch.backends.cudnn.allow_tf32 = True
    rounded = landmarks(model, crops, heatmaps(model, crops, device))
    rows.append(difference("landmarks with TF32", None, found[0], rounded))
    return rows


def heatmaps(model: Model, crops: CropCache, device: torch.device) -> Tensor:
    """(b, n, h, h) float32 on the CPU, computed on the device; contiguous, as the compiled search wants them."""
    flip = model.scheme.flip_index
    parts = heatmaps_of(model.network.to(device), crops, BATCH, tta=model.tta, flip_index=flip)
    return torch.cat([maps.cpu() for _, maps in parts]).contiguous()


def to_heatmap(model: Model, crops: CropCache) -> Tensor:
    """crop_to_heatmap (1, 2, 3), float64."""
    network = model.network
    return compose(rescaling(network.input_size, network.heatmap_size), crops.crop_to_input[None])


def landmarks(model: Model, crops: CropCache, maps: Tensor) -> Tensor:
    """(b, n, 2) of the crop frame."""
    return transform_points(decode_heatmaps(maps, model.sigma).points.double(), invert(to_heatmap(model, crops)))


def labels(
    model: Model, maps: Tensor, observations: Tensor, device: torch.device | str, settings: SearchSettings
) -> Tensor:
    """(b, n, 2) of the heatmap frame, searched on the device: "cpu" takes the compiled search where there is one."""
    search = search_labels if device == "cpu" else search_labels_torch
    parts = [
        search(
            maps[start : start + BATCH].to(device),
            observations[start : start + BATCH].to(device),
            model.sigma,
            settings,
        )
        for start in range(0, len(maps), BATCH)
    ]
    return torch.cat([part.points.cpu() for part in parts])


def difference(what: str, limit: str | None, a: Tensor, b: Tensor) -> dict[str, Any]:
    apart = (a - b).norm(dim=-1).flatten()
    high = float(apart.quantile(0.999))
    within = limit is None or high <= LIMITS[limit]
    return {
        "what": what,
        "largest, px": float(apart.max()),
        "99.9 %, px": high,
        "limit, px": "" if limit is None else LIMITS[limit],
        "within": within,
    }


def same_figure(model: Model, crops: CropCache, annotations: np.ndarray, found: list[Tensor]) -> dict[str, Any]:
    """The inter-pupil error of both sets of landmarks (network alone), in %."""
    reference = crops.to_crop(annotations)
    cpu, gpu = (float(nme_interpupil(points.numpy(), reference, model.scheme).mean()) for points in found)
    return {
        "what": "nme_interpupil",
        "CPU": cpu,
        "device": gpu,
        "limit, %": SAME_FIGURE,
        "within": abs(cpu - gpu) <= SAME_FIGURE,
    }


if __name__ == "__main__":
    main()
