"""Parquet files of others, which a few kilobytes may make as large as they like: looked at before they are read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MOST_BYTES = 2 << 30  # of a table that was read
FREE_ROWS, ROWS_FOR_A_BYTE = 200_000, 4  # rows that any file may have, and those for each of its bytes


def read_table(source: Path | bytes, columns: Sequence[str] | None = None) -> Any:
    """The table in a file, or in its bytes.

    Raises:
        OSError, ValueError, pyarrow.ArrowException and others of pyarrow's: there is none, it is damaged, or larger than what
            such a file holds.
    """
    import pyarrow.parquet as pq

    data = source if isinstance(source, bytes) else source.read_bytes()
    about = pq.ParquetFile(io.BytesIO(data)).metadata
    size = sum(about.row_group(index).total_byte_size for index in range(about.num_row_groups))
    if about.num_rows > FREE_ROWS + ROWS_FOR_A_BYTE * len(data) or not 0 <= size <= MOST_BYTES:
        raise ValueError(f"{len(data)} bytes that say they are {about.num_rows} rows of {size} bytes")
    return pq.read_table(io.BytesIO(data), columns=None if columns is None else list(columns))
