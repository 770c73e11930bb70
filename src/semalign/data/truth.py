"""What a synthetic data set says about itself: synthetic.json (its description) and truth.parquet (the exact
points).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semalign.data.tables import read_table
from semalign.errors import SemalignError
from semalign.files import parse_json, reason

DESCRIPTION, UNFINISHED, TRUTH = "synthetic.json", "synthetic.started.json", "truth.parquet"


@dataclass(frozen=True)
class Description:
    """The part of synthetic.json that a reader needs."""

    scheme: str
    train: int | None  # how many faces, the first ones, are for training; some layouts say it in another way


def read_description(root: Path) -> Description | None:
    """The description in `root`, or None where the data set is not a synthetic one.

    Raises:
        SemalignError: an unfinished data set, or a description that cannot be read.
    """
    path = root / DESCRIPTION
    if not path.exists():
        if (root / UNFINISHED).exists():
            raise SemalignError(
                f"{root}: is an unfinished synthetic data set; make it again with the same settings to complete it."
            )
        return None
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        return Description(str(data["scheme"]), int(data["train"]) if "train" in data else None)
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise SemalignError(
            f"{path}: cannot be read as a description ({reason(error)}); make the data set again."
        ) from error


def read_truth(root: Path, count: int, ids: Iterable[str]) -> dict[str, np.ndarray]:
    """The exact points (count, 2) float64 of each image, image frame, by id.

    Raises:
        SemalignError: the file is missing, damaged, of another number of landmarks, or knows nothing of one of the
            `ids`.
    """
    import pyarrow as pa

    path = root / TRUTH
    try:
        table = read_table(path, ["image", "landmark", "x", "y"])
    except FileNotFoundError:
        raise SemalignError(f"{path}: there is no such file; make the synthetic data set again.") from None
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError, pa.ArrowException) as error:
        raise SemalignError(f"{path}: cannot be read ({reason(error)}); make the synthetic data set again.") from error
    kinds = [table.schema.field(name).type for name in ("image", "landmark", "x", "y")]
    right = (_is_text, pa.types.is_integer, pa.types.is_floating, pa.types.is_floating)
    if not all(is_kind(kind) for is_kind, kind in zip(right, kinds, strict=True)) or any(
        column.null_count for column in table.columns
    ):
        raise SemalignError(f"{path}: has columns of other types than it should; make the synthetic data set again.")
    faces = table.num_rows // count
    whole = faces * count == table.num_rows
    if not whole or not np.array_equal(table["landmark"].to_numpy(), np.tile(np.arange(count), faces)):
        raise SemalignError(
            f"{path}: does not hold {count} landmarks for each image; make the synthetic data set again."
        )
    points = (
        np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1).astype(np.float64).reshape(faces, count, 2)
    )
    if not np.isfinite(points).all():
        raise SemalignError(f"{path}: holds a point that is not finite; make the synthetic data set again.")
    truth = dict(zip(table["image"].to_numpy()[::count].tolist(), points, strict=True))
    for name in ids:
        if name not in truth:
            raise SemalignError(
                f"{path}: knows nothing of {name}; remove that image or make the synthetic data set again."
            )
    return truth


def read_visible(root: Path, count: int) -> dict[str, np.ndarray]:
    """Which points (count,) bool of each image can be seen, by id, of a data set whose truth can be read.

    Raises:
        SemalignError: the file cannot be read.
    """
    import pyarrow as pa

    try:
        table = read_table(root / TRUTH, ["image", "visible"])
        visible = table["visible"].to_numpy().astype(bool).reshape(-1, count)
        return dict(zip(table["image"].to_numpy()[::count].tolist(), visible, strict=True))
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError, pa.ArrowException) as error:
        raise SemalignError(
            f"{root / TRUTH}: cannot be read ({reason(error)}); make the synthetic data set again."
        ) from error


def _is_text(kind: Any) -> bool:
    """Whether a column holds words, as Arrow or as pandas writes them."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
