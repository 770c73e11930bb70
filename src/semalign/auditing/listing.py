"""Findings as rows for tables, CSV and JSON files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

from semalign.auditing.result import Audit, Finding
from semalign.files import shown, write_text

COLUMNS = ("rank", "image", "face", "landmark", "kind", "probability", "dx", "dy")


def rows(audit: Audit, findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """A row for each finding, worst first: `rank` from 1, `face` its number in the audit, `landmark` None for a whole face;
    image, face and dy are None for a shift of the whole set.
    """
    number = {name: index for index, name in enumerate(audit.ids)}
    return [
        {
            "rank": rank,
            "image": shown(found.image) if found.image else None,
            "face": number[found.image] if found.image else None,
            "landmark": found.landmark,
            "kind": found.kind,
            "probability": round(found.probability, 4),
            "dx": round(found.dx, 3),
            "dy": None if isnan(found.dy) else round(found.dy, 3),
        }
        for rank, found in enumerate(findings, start=1)
    ]


def write_csv(path: Path, found: Sequence[dict[str, Any]]) -> None:
    """Rows as a CSV file with the columns rank, image, face, landmark (empty for a whole face), kind, probability, dx, dy."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    write_text(path, text.getvalue())
