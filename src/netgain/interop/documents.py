"""Documents of results: Markdown, CSV, TSV and Parquet tables -> one `Document`, whatever state they are in.

    Document.tables     cells with number, unit and line; columns with a role (arm, seed, axis, score, delta, ...)
    Document.scores     the long frame: (table, row, arm, task, metric, axis, seed, value)
    Document.changes    every before -> after, with what the author says of it
    Document.settings   `key: value`, `key=value`, flags, parameter tables
    Document.problems   what could not be read as written; reading itself never fails on content

A sidecar `<file>.netgain.yaml` may set roles: `columns: {"My column": score}` and `n: 500`.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from netgain.errors import UserError
from netgain.interop._md_blocks import MAX_LINE, RawTable, blocks
from netgain.interop._md_frame import changes, scores, sentences, settings
from netgain.interop._md_model import (
    Cell,
    Change,
    Column,
    Document,
    Heading,
    Problem,
    Score,
    Sentence,
    Setting,
    Table,
)
from netgain.interop._md_numbers import Value
from netgain.interop._md_roles import ROLES, columns

__all__ = [
    "ROLES",
    "Cell",
    "Change",
    "Column",
    "Document",
    "Heading",
    "Problem",
    "Score",
    "Sentence",
    "Setting",
    "Table",
    "Value",
    "parse_csv",
    "parse_markdown",
    "read",
]

MAX_BYTES = 8_000_000
MAX_ROWS = 5_000
TABLES = (".csv", ".tsv", ".parquet")
PROSE = (".md", ".markdown", ".txt", ".rst")


def read(path: Path, roles: Mapping[str, str] | None = None) -> Document:
    """The document at `path`; `roles` maps column names to roles and wins over what is inferred."""
    said = roles or {}
    if wrong := sorted(set(said.values()) - set(ROLES)):
        raise UserError(f'{path}: a column role is one of {", ".join(ROLES)}; "{wrong[0]}" is none of them.')
    if path.suffix == ".parquet":
        return _parquet(path, said)
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    problems = []
    if b"\0" in content[:65536]:
        return Document(str(path), problems=(Problem("binary", 1, "this is a binary file, not a document"),))
    if len(content) > MAX_BYTES:
        content = content[:MAX_BYTES]
        problems.append(Problem("partial", 1, f"only the first {MAX_BYTES // 1_000_000} MB were read"))
    text = _decoded(content, problems)
    parse = parse_csv if path.suffix in (".csv", ".tsv") else parse_markdown
    return parse(text, str(path), said, problems)


def parse_markdown(
    text: str, path: str = "document", roles: Mapping[str, str] | None = None, problems: Sequence[Problem] = ()
) -> Document:
    """A Markdown text as a Document."""
    found = blocks(text)
    tables = [_table(raw, roles or {}) for raw in found.tables]
    noted = settings(found.lines, tables)
    title = found.headings[0][1] if found.headings else Path(path).name
    return Document(
        path,
        title,
        tuple(found.headings),
        tuple(tables),
        tuple(noted),
        tuple(sentences(found.lines)),
        (*problems, *_empty(text), *found.problems, *_twins(tables)),
        tuple(scores(tables)),
        tuple(changes(found.lines, tables, noted)),
        tuple(found.silenced),
    )


def parse_csv(
    text: str, path: str = "table.csv", roles: Mapping[str, str] | None = None, problems: Sequence[Problem] = ()
) -> Document:
    """A CSV or TSV text as a Document of one table; the separator is the likeliest of comma, semicolon, tab, pipe."""
    first = text.lstrip("\ufeff").split("\n", 1)[0][:MAX_LINE]
    separator = max(",;\t|", key=first.count)
    wrong: list[Problem] = [*problems, *_empty(text)]
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""), delimiter=separator):
            if len(rows) > MAX_ROWS:
                wrong.append(Problem("partial", MAX_ROWS, f"only the first {MAX_ROWS:,} rows were read as a table"))
                break
            rows.append(row)
    except csv.Error as error:
        wrong.append(Problem("ragged", len(rows) + 1, f"the table cannot be read from here on ({error})"))
    return _from_rows(path, rows, roles or {}, wrong)


def _from_rows(path: str, rows: list[list[str]], roles: Mapping[str, str], wrong: list[Problem]) -> Document:
    names = tuple(rows[0]) if rows else ()
    body: list[tuple[int, tuple[str, ...]]] = []
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(names):
            text = f"a row has {len(row)} cells under {len(names)} column names"
            wrong.append(Problem("ragged", number, text))
        body.append((number, (*row, *[""] * (len(names) - len(row)))[: len(names)]))
    raw = RawTable((Path(path).stem,), 1, names, tuple(body))
    tables = [_table(raw, roles)] if names else []
    found = tuple(scores(tables))
    noted = tuple(settings([], tables))
    moved = tuple(changes([], tables, noted))
    return Document(path, Path(path).name, (), tuple(tables), noted, (), tuple(wrong), found, moved)


def _parquet(path: Path, roles: Mapping[str, str]) -> Document:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        batch = next(file.iter_batches(batch_size=MAX_ROWS), None)
    except (pa.ArrowException, OSError) as error:
        text = f"not readable as Parquet ({str(error).splitlines()[0][:120]})"
        return Document(str(path), problems=(Problem("binary", 1, text),))
    records: list[dict[str, Any]] = batch.to_pylist() if batch is not None else []
    wrong = []
    if file.metadata.num_rows > MAX_ROWS:
        wrong.append(Problem("partial", MAX_ROWS, f"only the first {MAX_ROWS:,} rows were read as a table"))
    names = list(file.schema_arrow.names)
    rows = [names, *[["" if row[name] is None else str(row[name]) for name in names] for row in records]]
    return _from_rows(str(path), rows, roles, wrong)


def _table(raw: RawTable, roles: Mapping[str, str]) -> Table:
    name = raw.heading[-1] if raw.heading else f"table at line {raw.line}"
    return Table(name, raw.heading, raw.line, tuple(columns(raw.names, raw.rows, roles)))


def _decoded(content: bytes, problems: list[Problem]) -> str:
    for encoding in ("utf-8-sig", "utf-16") if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",):
        try:
            return _newlines(content.decode(encoding))
        except UnicodeDecodeError:
            continue
    text = content.decode("utf-8", errors="replace")
    if text.count("\ufffd") > 3:  # a cut at MAX_BYTES costs at most one character
        problems.append(Problem("encoding", 1, "bytes that are not UTF-8 were replaced by question marks"))
    return _newlines(text)


def _newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _empty(text: str) -> list[Problem]:
    return [] if text.strip() else [Problem("empty", 1, "the file is empty")]


def _twins(tables: Sequence[Table]) -> list[Problem]:
    seen: dict[tuple[Heading, tuple[str, ...]], int] = {}
    found: list[Problem] = []
    for table in tables:
        key = (table.heading, tuple(c.name for c in table.columns))
        if table.heading and key in seen:
            text = f'two tables named "{table.name}" with the same columns (the other is at line {seen[key]})'
            found.append(Problem("twins", table.line, text))
        seen.setdefault(key, table.line)
    return found
