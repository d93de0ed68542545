"""CSV, TSV, Parquet and JSON-lines tables with an item id: each column's role is inferred from its name, or stated."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from netgain.errors import UserError, did_you_mean
from netgain.interop.files import head, json_lines, text_head
from netgain.interop.samples import Samples, Source, require_unique, row_table, run_name
from netgain.interop.values import scores
from netgain.ledger.files import sha256

if TYPE_CHECKING:
    import pyarrow.parquet as pq

NAMES: dict[str, tuple[str, ...]] = {
    "item": ("item", "item_id", "doc_id", "example_id", "question_id", "problem_id", "sample_id", "qid", "uid", "id",
             "idx", "index", "task_id"),
    "task": ("task", "task_name", "benchmark", "dataset", "subset"),
    "metric": ("metric", "metric_name", "measure", "scorer"),
    "arm": ("arm", "model", "model_name", "system", "variant", "method"),
    "seed": ("seed", "random_seed", "train_seed"),
    "run": ("run", "run_id"),
    "sample": ("sample", "sample_index", "epoch", "repeat", "trial", "attempt"),
    "checkpoint": ("checkpoint",),
    "cluster": ("cluster", "group", "passage", "passage_id", "family", "template"),
    "weight": ("weight",),
    "reason": ("reason",),
    "label": ("label", "gold", "target", "reference", "expected"),
    "prediction": ("prediction", "predicted", "pred", "parsed_answer", "answer"),
    "output": ("output", "response", "completion", "generation"),
    "tokens": ("tokens", "output_tokens", "completion_tokens"),
    "truncated": ("truncated",),
    "parsed": ("parsed",),
    "document": ("document", "doc_hash", "question"),
    "prompt": ("prompt", "prompt_hash"),
}  # fmt: skip
VALUES = ("value", "score", "correct", "is_correct", "acc", "accuracy", "exact_match", "em", "f1", "passed", "pass",
          "reward", "nll", "loss", "result")  # fmt: skip
BLOCK = 16 << 20
FIRST_LINES = 1000
TASK = "items"
"""The task of a table that names none: the same for every file, so that two files can be compared."""


def can_read(path: Path) -> bool:
    """A .csv, .tsv, .parquet or .jsonl file."""
    return path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")


def read(path: Path, roles: Mapping[str, str] | None = None) -> Samples:
    """`roles` maps a role (item, value, task, metric, arm, seed, cluster, ...) to a column's name."""
    found, measured = infer(path, names_of(path), dict(roles or {}))
    table = load(path, [*found.values(), *measured])
    if table.num_rows == 0:
        raise UserError(f"{path}: has a header and no rows.")
    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    for role, name in found.items():
        columns[role] = table[name] if role == "reason" else typed(table[name], role, f'{path}, column "{name}"')
    if columns["item"].null_count:
        row = pc.index(pc.is_null(columns["item"]), True).as_py() + 1  # pyright: ignore[reportAttributeAccessIssue]
        raise UserError(f'{path}, data row {row}: no item id in column "{found["item"]}".')
    name_runs(columns, path.stem, table.num_rows)
    columns.setdefault("task", pa.repeat(TASK, table.num_rows))
    parts = [measure(path, table[name], name, columns, len(measured)) for name in measured]
    rows = pa.concat_tables(parts)
    require_unique(rows, path)
    said = {**found, "value": ", ".join(measured)}
    return Samples(Source(path, sha256(path), "table", roles=said), rows)


def measure(
    path: Path, column: pa.ChunkedArray, name: str, columns: Mapping[str, pa.Array | pa.ChunkedArray], measured: int
) -> pa.Table:
    """The rows of one value column; its name is the metric's unless the table has a metric column."""
    values, reasons = scores(column, f'{path}, column "{name}"')
    own = dict(columns)
    stated = own.pop("reason", None)
    if stated is not None:
        reasons = pc.if_else(  # pyright: ignore[reportAttributeAccessIssue]
            pc.is_valid(reasons), pc.coalesce(stated.cast(pa.string()), reasons), pa.scalar(None, pa.string())  # pyright: ignore[reportAttributeAccessIssue]
        )  # fmt: skip
    if measured > 1 or "metric" not in own:
        generic = name.lower() in ("value", "result")
        own["metric"] = pa.repeat("score" if generic else name, len(column))
    return row_table(len(column), {**own, "value": values, "reason": reasons})


def name_runs(columns: dict[str, pa.Array | pa.ChunkedArray], stem: str, count: int) -> None:
    """Fill arm and run: a run is an arm's seed, unless the table names its runs."""
    if "arm" not in columns:
        columns["arm"] = pa.repeat(stem, count)
    columns["arm"] = pc.fill_null(columns["arm"], stem)  # pyright: ignore[reportAttributeAccessIssue]
    if "run" in columns:
        columns["run"] = pc.coalesce(columns["run"], columns["arm"])  # pyright: ignore[reportAttributeAccessIssue]
    elif "seed" in columns:
        pairs = pa.table({"arm": columns["arm"], "seed": columns["seed"]})
        encoded = [pairs[name].combine_chunks().dictionary_encode(null_encoding="encode") for name in ("arm", "seed")]
        arms, seeds = (each.dictionary.to_pylist() for each in encoded)
        names = pa.array([run_name(arm, seed) for arm in arms for seed in seeds], pa.string())
        index = pc.add(pc.multiply(encoded[0].indices, len(seeds)), encoded[1].indices)  # pyright: ignore[reportAttributeAccessIssue]
        columns["run"] = names.take(index)
    else:
        columns["run"] = columns["arm"]


def typed(column: pa.ChunkedArray, role: str, where: str) -> pa.ChunkedArray:
    """A column as its role needs it; text trimmed, empty text null."""
    if pa.types.is_nested(column.type):
        raise UserError(f"{where}: holds {column.type}, which cannot be the {role}.")
    if role in ("seed", "sample", "tokens"):
        return integers(column, role, where)
    if role == "weight":
        values, _ = scores(column, where)
        if values.null_count or pc.min(values).as_py() < 0:  # pyright: ignore[reportAttributeAccessIssue]
            raise UserError(f"{where}: a weight must be a number, 0 or more, in every row.")
        return pa.chunked_array([values])
    if role in ("parsed", "truncated"):
        values, _ = scores(column, where)
        return pa.chunked_array([pc.not_equal(values, 0.0)])  # pyright: ignore[reportAttributeAccessIssue]
    text = column if pa.types.is_string(column.type) else column.cast(pa.string())
    return text if role in ("output", "prompt", "document") else blank_to_null(text)


def blank_to_null(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Trimmed text; nothing written is nothing."""
    trimmed = pc.utf8_trim_whitespace(text)  # pyright: ignore[reportAttributeAccessIssue]
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)  # pyright: ignore[reportAttributeAccessIssue]


def integers(column: pa.ChunkedArray, role: str, where: str) -> pa.ChunkedArray:
    """Whole numbers; a seed or sample that is not one is an error, an empty token count is null."""
    limits = pa.int64() if role == "seed" else pa.int32()
    text = blank_to_null(column) if pa.types.is_string(column.type) else column
    try:
        whole = text.cast(pa.float64()).cast(limits)
    except pa.ArrowInvalid:
        raise UserError(f"{where}: the {role} must be a whole number of ordinary size in every row.") from None
    if role == "sample" and whole.null_count:
        raise UserError(f"{where}: a row has no {role}.")
    return whole


def infer(path: Path, names: list[str], given: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """(role -> column, value columns): stated roles first, then the first known name of each role."""
    known = {*NAMES, "value"}
    for role, name in given.items():
        if role not in known:
            raise UserError(f'"{role}" is no role of a column.{did_you_mean(role, known)}')
        for each in name.split(",") if role == "value" else [name]:
            if each.strip() not in names:
                listed = ", ".join(names[:20])
                raise UserError(f'{path}: no column "{each}".{did_you_mean(each, names)} It has {listed}.')
    lower = {name.lower().strip(): name for name in reversed(names)}
    taken = set(given.values())
    found = {role: name for role, name in given.items() if role != "value"}
    for role, candidates in NAMES.items():
        free = [lower[c] for c in candidates if c in lower and lower[c] not in taken]
        if role not in found and free:
            found[role] = free[0]
            taken.add(free[0])
    if "item" not in found:
        raise UserError(
            f"{path}: no column says which item a row is about; name one with --column item=COLUMN. {columns_of(names)}"
        )
    if "value" in given:
        return found, [name.strip() for name in given["value"].split(",")]
    measured = [lower[name] for name in VALUES if name in lower and lower[name] not in taken]
    if "metric" in found:
        measured = measured[:1]
    if not measured:
        raise UserError(f"{path}: no column holds a score; name it with --column value=COLUMN. {columns_of(names)}")
    return found, measured


def columns_of(names: list[str]) -> str:
    """The columns, for a sentence."""
    shown = ", ".join(names[:20])
    return f"Its columns are {shown}{' and more' if len(names) > 20 else ''}."


def names_of(path: Path) -> list[str]:
    """The columns' names, before the rows are read; a JSON-lines file shows them in its first lines."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return open_parquet(path).schema_arrow.names
    if suffix in (".jsonl", ".ndjson"):
        return list(dict.fromkeys(name for _, tree in islice(json_lines(path), FIRST_LINES) for name in tree))
    return header_of(path)[0]


def load(path: Path, names: list[str]) -> pa.Table:
    """The named columns as they are: text from CSV, typed from Parquet and JSON lines."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return load_parquet(path, names)
    if suffix in (".jsonl", ".ndjson"):
        return load_jsonl(path, names)
    return load_csv(path, names)


def open_parquet(path: Path) -> "pq.ParquetFile":
    import pyarrow.parquet as pq

    if head(path)[:4] != b"PAR1":
        raise UserError(f"{path}: not a Parquet file.")
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged Parquet file ({first(error)}).") from None


def load_parquet(path: Path, names: list[str]) -> pa.Table:
    try:
        return open_parquet(path).read(columns=list(dict.fromkeys(names)))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged Parquet file ({first(error)}).") from None


def load_csv(path: Path, names: list[str]) -> pa.Table:
    """Columns as text, so that what was written can be judged."""
    from pyarrow import csv

    _, separator = header_of(path)
    rejected: list[csv.InvalidRow] = []

    def reject(row: "csv.InvalidRow") -> str:
        rejected.append(row)
        return "error"

    wanted = list(dict.fromkeys(names))
    try:
        return csv.read_csv(
            path,
            read_options=csv.ReadOptions(block_size=BLOCK, use_threads=True),
            parse_options=csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=reject),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(wanted, pa.string()),
                include_columns=wanted,
                strings_can_be_null=False,
                check_utf8=True,
            ),
        )
    except (pa.ArrowException, OSError) as error:
        if rejected:
            row = rejected[0]
            place = f"line {row.number}" if row.number else line_of(path, row.text)
            raise UserError(
                f"{path}, {place}: has {row.actual_columns} fields where the header has {row.expected_columns}."
            ) from None
        raise UserError(f"{path}: cannot be read as a table ({first(error)}).") from None


def line_of(path: Path, text: str) -> str:
    """Where a ragged row stands in the file."""
    wanted = text.encode().rstrip(b"\r\n")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.rstrip(b"\r\n") == wanted:
                return f"line {number}"
    return "one row"


def header_of(path: Path) -> tuple[list[str], str]:
    """(column names, separator: the header's most frequent one). Two columns of one name cannot be told apart."""
    import csv

    header = text_head(path).splitlines()[0]
    if len(header) > 1 << 15:
        raise UserError(f"{path}: its first line is no table header.")
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=header.count)
    names = next(csv.reader([header], delimiter=separator))
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise UserError(f'{path}: two columns are called "{twice[0]}"; rename one.')
    return names, separator


def load_jsonl(path: Path, names: list[str]) -> pa.Table:
    """Flat objects, one a line; a field may be absent. Mixed types of one field are kept as text."""
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for _, tree in json_lines(path):
        for name, column in columns.items():
            column.append(tree.get(name))
    return pa.table({name: one_type(values) for name, values in columns.items()})


def one_type(values: list[Any]) -> pa.Array:
    """The column's own type, or text when it mixes several or holds numbers beyond 64 bits; lists and objects stay
    nested, so that no role accepts them.
    """
    kinds = {type(value) for value in values if value is not None}
    if kinds & {dict, list}:
        return pa.array([None if value is None else [str(value)] for value in values], pa.list_(pa.string()))
    huge = int in kinds and any(isinstance(value, int) and abs(value) >> 63 for value in values)
    if len(kinds) <= 1 and not huge:
        return pa.array(values)
    if kinds == {int, float} and not huge:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def first(error: Exception) -> str:
    """The first line of a library's complaint, without its full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160].rstrip(".")
