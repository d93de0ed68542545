"""Scores as people write them: numbers, percentages, decimal commas, right and wrong, and the many words for "none"."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from netgain.errors import UserError

NONE = {
    "": "missing", "-": "missing", "na": "missing", "n/a": "missing", "none": "missing", "null": "missing",
    "missing": "missing", "nan": "undefined", "undefined": "undefined", "inf": "undefined", "+inf": "undefined",
    "-inf": "undefined", "infinity": "undefined", "-infinity": "undefined", "error": "error", "err": "error",
    "[error]": "error", "crash": "error", "crashed": "error", "failure": "error", "oom": "oom", "timeout": "timeout",
    "timed out": "timeout", "skipped": "skipped", "skip": "skipped", "invalid": "invalid", "[invalid]": "invalid",
    "unscored": "unscored",
}  # fmt: skip
"""What is written where there is no score, and the reason that it stands for."""

RIGHT = {"true": 1.0, "yes": 1.0, "correct": 1.0, "right": 1.0, "pass": 1.0, "passed": 1.0, "c": 1.0}
WRONG = {"false": 0.0, "no": 0.0, "incorrect": 0.0, "wrong": 0.0, "fail": 0.0, "i": 0.0}
WORDS = RIGHT | WRONG

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
COMMA = re.compile(r"[+-]?\d*,\d+")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")


@dataclass(frozen=True, slots=True)
class Written:
    """One way of writing a score: its value or reason, and the notation, since a column must keep to one."""

    value: float | None
    reason: str | None
    notation: str


def written(text: str) -> Written | None:
    """What `text` says, or None when it is no score."""
    word = text.strip().lower()
    if word in NONE:
        return Written(None, NONE[word], "none")
    if word in WORDS:
        return Written(WORDS[word], None, "words")
    if word == "failed":
        return Written(None, "error", "failed")
    percent = word.endswith("%")
    number = word.removesuffix("%").strip() if percent else word
    comma = COMMA.fullmatch(number) is not None
    if comma:
        number = number.replace(",", ".")
    if not NUMBER.fullmatch(number) or len(number) > 400:
        return None
    value = float(number)
    if not math.isfinite(value):
        return None
    if percent:
        return Written(value / 100, None, "percent")
    if comma:
        notation = "comma"
    elif value in (0.0, 1.0):
        notation = "unit"
    else:
        notation = "point" if "." in number else "whole"
    return Written(value, None, notation)


def from_json(raw: Any) -> tuple[float | None, str | None] | None:
    """(value, reason) of one JSON score; None when it is no score (a list, an object, other text)."""
    if raw is None:
        return None, "missing"
    if isinstance(raw, bool):
        return float(raw), None
    if isinstance(raw, int | float):
        try:
            value = float(raw)
        except OverflowError:
            return None
        return (value, None) if math.isfinite(value) else (None, "undefined")
    if isinstance(raw, str):
        said = written(raw)
        return None if said is None else (said.value, said.reason)
    return None


def scores(column: pa.ChunkedArray, where: str) -> tuple[pa.Array, pa.Array]:
    """(values, reasons) of a column of any scalar type; exactly one of the two is null in each row."""
    column = pa.chunked_array([column.combine_chunks()]) if column.num_chunks != 1 else column
    kind = column.type
    if pa.types.is_dictionary(kind):
        return scores(column.cast(kind.value_type), where)
    if (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
    ):
        return finite(column.cast(pa.float64(), safe=False).chunk(0) if len(column) else pa.array([], pa.float64()))
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.float64()), pa.array(["missing"] * len(column), pa.string())
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise UserError(f"{where}: holds {kind}, and a score must be a number, true or false.")
    known = pc.if_else(pc.equal(column, ""), pa.scalar(None, kind), column)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        numbers = known.cast(pa.float64()).combine_chunks()
    except pa.ArrowInvalid:
        return from_texts(column, where)
    too_large = pc.any(pc.is_inf(numbers)).as_py()  # pyright: ignore[reportAttributeAccessIssue]
    return from_texts(column, where) if too_large else finite(numbers)


def finite(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """NaN and infinities become missing, with their reason."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    numbers = values.to_numpy(zero_copy_only=False)
    empty = np.asarray(values.is_null())
    bad = ~np.isfinite(numbers)
    if not bad.any():
        return values, pa.nulls(len(values), pa.string())
    reasons = np.where(empty, "missing", "undefined")
    return pa.array(numbers, mask=bad), pa.array(reasons, pa.string(), mask=~bad)


def from_texts(column: pa.ChunkedArray, where: str) -> tuple[pa.Array, pa.Array]:
    """Parse each distinct text once, and refuse a column that mixes notations."""
    encoded = column.combine_chunks().dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    said: list[Written] = []
    for text in texts:
        each = written(text)
        if each is None:
            shown = text if len(text) <= 40 else text[:40] + "..."
            raise UserError(f'{where}, data row {row_of(column, text)}: "{shown}" is no score.')
        said.append(each)
    one_notation(texts, said, column, where)
    tests = any(text.strip().lower() in ("pass", "passed") for text in texts)
    values = [0.0 if each.notation == "failed" and tests else each.value for each in said]
    reasons = [None if value is not None else each.reason for value, each in zip(values, said, strict=True)]
    spread = encoded.indices.fill_null(len(texts))
    return (
        pa.array([*values, None], pa.float64()).take(spread),
        pa.array([*reasons, "missing"], pa.string()).take(spread),
    )


def one_notation(texts: list[str], said: Iterable[Written], column: pa.ChunkedArray, where: str) -> None:
    """Percent signs, decimal commas and points exclude one another; a bare 0 or 1 goes with anything but percent."""
    example: dict[str, str] = {}
    for text, each in zip(texts, said, strict=True):
        example.setdefault(each.notation, text)
    commas = [text for text, each in zip(texts, said, strict=True) if each.notation == "comma"]
    if commas and all(THOUSANDS.fullmatch(text.strip()) for text in commas):
        raise UserError(
            f'{where}, data row {row_of(column, commas[0])}: "{commas[0]}" may be a decimal or thousands; '
            "write numbers without a thousands separator and with a decimal point."
        )
    clashes = [
        ("percent", "point"), ("percent", "whole"), ("percent", "unit"), ("percent", "comma"), ("comma", "point"),
        ("words", "point"), ("words", "whole"), ("words", "percent"), ("words", "comma"),
    ]  # fmt: skip
    for left, right in clashes:
        if left in example and right in example and not (left == "percent" and harmless(example[right])):
            rows = [row_of(column, example[name]) for name in (left, right)]
            raise UserError(
                f'{where}: mixes "{example[left]}" (data row {rows[0]}) and "{example[right]}" (data row {rows[1]}); '
                "write every score the same way."
            )


def harmless(text: str) -> bool:
    """0 means the same with and without a percent sign."""
    said = written(text)
    return said is not None and said.value == 0.0


def row_of(column: pa.ChunkedArray, text: str) -> int:
    """The first data row, from 1, that holds `text`."""
    return pc.index(column, pa.scalar(text, column.type)).as_py() + 1  # pyright: ignore[reportAttributeAccessIssue]
