"""Rows from files: JSONL, CSV/TSV, Parquet, Hugging Face datasets. Every row knows its line, so that errors name it."""

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from netgain.data.fields import Row
from netgain.errors import UserError
from netgain.spec.place import places
from netgain.spec.run import HfSource

LONGEST_CELL = 2**31 - 1


def locate(path: str, folder: Path | None) -> Path:
    """An absolute path as it is; a relative one in $NETGAIN_DATA, else in the study's folder."""
    tried = places(path, folder)
    for place in tried:
        if place.exists():
            return place
    looked = " nor ".join(str(place) for place in tried)
    raise UserError(f"{path}: no such file: neither {looked} exists; set NETGAIN_DATA to the folder that holds it.")


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.GzipFile(path) if path.suffix == ".gz" else path.open("rb")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, text) of every line; gzip where the name says so."""
    try:
        with _open(path) as raw:
            for number, line in enumerate(raw, start=1):
                try:
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise UserError(
                        f"{path}:{number}: not UTF-8 text: {error.reason} in column {error.start}."
                    ) from None
    except (OSError, EOFError) as error:
        raise UserError(f"{path}: cannot be read: {error}.") from None


def jsonl_rows(path: Path) -> Iterator[Row]:
    """One JSON object a line (blank lines are skipped); a .json file is one array of objects."""
    if path.name.endswith((".json", ".json.gz")):
        yield from _array_rows(path)
        return
    for number, line in _lines(path):
        if line.strip():
            yield _object(f"{path}:{number}", line)


def _object(where: str, line: str) -> Row:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not valid JSON: {error.msg} in column {error.colno}.") from None
    if not isinstance(value, dict):
        raise UserError(f"{where}: a row is a JSON object, not a {type(value).__name__}.")
    return Row(where, value)


def _array_rows(path: Path) -> Iterator[Row]:
    text = "".join(line for _, line in _lines(path))
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not valid JSON: {error.msg} in column {error.colno}.") from None
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise UserError(f"{path}: a .json source is one array of objects; write one object a line in a .jsonl file.")
    for number, value in enumerate(values, start=1):
        yield Row(f"{path} row {number}", value)


def csv_rows(path: Path, separator: str | None, header: Sequence[str] | None) -> Iterator[Row]:
    """Rows of a CSV file, or of a TSV file, in which a quotation mark is a character like any other."""
    if separator is None:
        separator = "\t" if path.name.endswith((".tsv", ".tsv.gz", ".tab")) else ","
    if len(separator) != 1:
        raise UserError(f'{path}: the separator "{separator}" is not one character.')
    quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader((line for _, line in _lines(path)), delimiter=separator, quoting=quoting, strict=True)
    names = list(header) if header is not None else None
    try:
        for cells in reader:
            if not cells:
                continue
            if names is None:
                names = cells
                continue
            if len(cells) != len(names):
                raise UserError(f"{path}:{reader.line_num}: {len(cells)} cells where there are {len(names)} columns.")
            yield Row(f"{path}:{reader.line_num}", dict(zip(names, cells, strict=True)))
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not valid CSV: {error}.") from None


def parquet_rows(path: Path) -> Iterator[Row]:
    """Rows of a Parquet file, read group by group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        number = 0
        for batch in file.iter_batches():
            for value in batch.to_pylist():
                number += 1
                yield Row(f"{path} row {number}", value)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}.") from None


def hf_rows(source: HfSource, folder: Path | None) -> tuple[str, Iterator[Row], dict[str, list[str]]]:
    """`hub_rows` of a source."""
    return hub_rows(source.path, source.config, source.split, folder, source.revision)


def hub_rows(
    path: str, config: str | None, split: str, folder: Path | None, revision: str | None = None
) -> tuple[str, Iterator[Row], dict[str, list[str]]]:
    """(what to call it, rows, the label names of every ClassLabel field) of a dataset by hub id or local folder.

    A field that is a list of labels has names too.
    """
    if find_spec("datasets") is None:
        raise UserError(f"{path}: Hugging Face data needs the datasets package: pip install netgain[train].")
    import datasets
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    local = locate(path, folder) if path.startswith((".", "/", "~")) else None
    where = f"{f'{path}/{config}' if config else path}[{split}]"
    try:
        table: Any = datasets.load_dataset(str(local or path), config, split=split, revision=revision)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(f"{where}: this dataset cannot be loaded ({first}).") from None
    kinds = {field: getattr(kind, "feature", kind) for field, kind in table.features.items()}
    labels = {field: list(kind.names) for field, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)}
    return where, (Row(f"{where} row {i}", row) for i, row in enumerate(table, start=1)), labels
