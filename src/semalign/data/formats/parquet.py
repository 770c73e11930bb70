"""Parquet with a row for each landmark; what it holds is described in `semalign.data.formats.table`."""

from __future__ import annotations

from semalign.data.formats.table import Parquet

READER = Parquet()
