"""Parquet with a row for each landmark; its columns are those of `semalign.data.formats.table`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from semalign.data.formats.document import DocumentFormat
from semalign.data.formats.faces import Edit, Parsed
from semalign.data.formats.kept import lost
from semalign.data.formats.table import IMAGE, KEEPS, NEEDED, OPTIONAL, is_long, parse_long, table_of
from semalign.data.samples import Dataset
from semalign.data.tables import read_table
from semalign.errors import SemalignError


class Parquet(DocumentFormat):
    """Parquet."""

    title, wanted = "Parquet", "a .parquet with the columns image, landmark, x, y"
    short, ending = "parquet", ".parquet"
    endings: ClassVar[tuple[str, ...]] = (".parquet",)

    def recognises(self, path: Path) -> bool:
        """Whether it has the columns; label versions of Semalign, which have more, are no data set."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            names = pq.read_schema(path).names
        except (pa.ArrowException, OSError, ValueError):  # no Parquet file
            return False
        return is_long(names) and "prior_cost" not in names

    def parse(self, data: bytes, path: Path) -> Parsed:
        """The faces of the table."""
        table = _read_parquet(data, path)
        if not is_long(table.schema.names):
            raise SemalignError(f"{path}: has not the columns image, landmark, x and y; name them.")
        try:
            return parse_long(_arrow_records(table, path), table.schema.names, path)
        except UnicodeDecodeError:
            raise SemalignError(f"{path}: holds text that is no UTF-8; replace the file.") from None

    def revise(self, data: bytes, path: Path, edits: Sequence[Edit]) -> bytes:
        """The columns x and y are replaced; types, metadata and all other columns stay."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = _read_parquet(data, path)
        changes = [(axis, int(edit.spot[0]), new) for edit in edits for axis, new in edit.changed()]
        for axis, name in enumerate("xy"):
            index = table.schema.get_field_index(name)
            values = table.column(index).to_pylist()
            for own, row, new in changes:
                if own == axis:
                    values[row] = new
            kind = table.schema.field(index)
            table = table.set_column(index, kind, pa.array(values, kind.type))
        sink = io.BytesIO()
        pq.write_table(table, sink)
        return sink.getvalue()

    def compose(self, dataset: Dataset) -> tuple[bytes, tuple[str, ...]]:
        """A table with a row for each landmark, typed."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        whole = {
            "face": pa.int32(),
            "landmark": pa.int32(),
            "visibility": pa.int8(),
            "width": pa.int32(),
            "height": pa.int32(),
        }
        texts = dict.fromkeys(("image", "name", "track", "split"), pa.string())
        columns, rows = table_of(dataset)
        lists = list(zip(*rows, strict=True)) or [()] * len(columns)
        arrays = [
            pa.array(values, (whole | texts).get(name, pa.float64()))
            for name, values in zip(columns, lists, strict=True)
        ]
        sink = io.BytesIO()
        pq.write_table(pa.table(arrays, names=list(columns)), sink)
        return sink.getvalue(), lost(dataset, KEEPS, self.title)


def _arrow_records(table: Any, path: Path) -> Iterator[tuple[str, dict[str, Any], tuple[int, ...]]]:
    import pyarrow as pa

    wanted = [name for name in (*IMAGE, *NEEDED, *OPTIONAL) if name in table.schema.names]
    columns = {}
    for name in wanted:
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            coded = column.combine_chunks().dictionary_encode() if table.num_rows else None
            words = [] if coded is None else [*coded.dictionary.to_pylist(), None]
            numbers = [] if coded is None else coded.indices.fill_null(len(words) - 1).to_pylist()
            columns[name] = [words[number] for number in numbers]
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            columns[name] = column.to_pylist()
        else:
            raise SemalignError(f"{path}: the column {name} holds neither text nor numbers; correct it.")
    for row in range(table.num_rows):
        yield f"{path}: row {row} (from 0)", {name: column[row] for name, column in columns.items()}, (row, 0, 0, 0)


def _read_parquet(data: bytes, path: Path) -> Any:
    import pyarrow as pa

    try:
        return read_table(data)
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SemalignError(f"{path}: cannot be read as Parquet ({reason}); replace the file.") from None


READER = Parquet()
